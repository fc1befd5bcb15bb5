"""Classes: how many of each are right in float and quantized, and which are taken for which."""

from collections.abc import Sequence

import plotly.graph_objects as go

from quantscope.ui.content.sample_classes import ClassRow, Matrix
from quantscope.ui.figures.style import FLOAT, QUANTIZED, WARN, label, layout

SHOWN = 25  # classes
RIGHT, FEW, DARK = "#c9d3e6", "#fbe9cf", "#1d2230"  # cells, and what is written on them
NUMBERED = 14  # classes up to which counts are written into the matrix


def classes_figure(rows: Sequence[ClassRow], version: str, *, labelled: bool) -> go.Figure:
    """The classes that change most, one line each, from the float model's share to the version's."""
    shown = sorted(rows, key=lambda row: (-abs(row.change), row.number))[:SHOWN]
    shown.sort(key=lambda row: (-row.change, -row.number))  # plotly draws from below
    names = _told_apart([row.name for row in shown], [row.number for row in shown], 24)
    figure = go.Figure()
    for row, name in zip(shown, names, strict=True):
        figure.add_scatter(
            x=[100 * row.float_right, 100 * row.version_right],
            y=[name, name],
            mode="lines",
            line={"color": FLOAT, "width": 2},
            showlegend=False,
            hoverinfo="skip",
        )
    parts = [("float", FLOAT, [100 * row.float_right for row in shown])]
    parts.append((label(version), QUANTIZED, [100 * row.version_right for row in shown]))
    for name, colour, values in parts:
        figure.add_scatter(
            x=values,
            y=names,
            mode="markers",
            name=name,
            marker={"color": colour, "size": 10},
            customdata=[[row.count, row.change, row.taken_for and label(row.taken_for)] for row in shown],
            hovertemplate="%{y}: %{x:.1f} %<br>of %{customdata[0]:,}; change %{customdata[1]:+.1f} points"
            "<br>most often taken for: %{customdata[2]}<extra></extra>",
        )
    what = "right, %" if labelled else "as in float, %"
    layout(figure, x=what, y="", height=90 + 24 * max(4, len(shown)))
    figure.update_yaxes(type="category", showgrid=False)
    return figure


def _told_apart(names: Sequence[str], numbers: Sequence[int], length: int) -> list[str]:
    """Names for an axis, where those of one spelling would be one: with their numbers where any are alike."""
    cut = [label(name, length) for name in names]
    if len(set(cut)) == len(cut):
        return cut
    return [f"{name} ({number})" for name, number in zip(cut, numbers, strict=True)]


def matrix_figure(matrix: Matrix, version: str, *, labelled: bool) -> go.Figure:
    """Counts of each pair of classes; the right ones, on the diagonal, have a colour of their own.

    Cells are opaque, and counts dark, so that they can be read on light and dark pages.
    """
    size = len(matrix.names)
    names = _told_apart(matrix.names, matrix.numbers, 16)
    table = list(enumerate(matrix.counts))
    wrong = [[None if at == other or not n else n for other, n in enumerate(row)] for at, row in table]
    right = [[n or None if at == other else None for other, n in enumerate(row)] for at, row in table]
    figure = go.Figure()
    for counts, colours in ((right, [RIGHT, RIGHT]), (wrong, [FEW, WARN])):
        figure.add_heatmap(
            z=counts,
            x=names,
            y=names,
            colorscale=[[0, colours[0]], [1, colours[1]]],
            zmin=0,
            zmax=max([n for row in counts for n in row if n] or [1]),
            showscale=False,
            xgap=1,
            ygap=1,
            hoverinfo="skip",
            texttemplate="%{z:,d}" if size <= NUMBERED else None,
            textfont={"color": DARK, "size": 12},
        )
    cells = [(at, other) for at in range(size) for other in range(size) if matrix.counts[at][other]]
    figure.add_scatter(  # points can be clicked, cells of a heat map cannot
        x=[names[other] for _, other in cells],
        y=[names[at] for at, _ in cells],
        mode="markers",
        marker={"symbol": "square", "size": 22, "opacity": 0},
        customdata=[
            [matrix.numbers[at], matrix.numbers[other], matrix.counts[at][other]] for at, other in cells
        ],
        hovertemplate="%{y} taken for %{x}: %{customdata[2]:,}<extra></extra>",
        showlegend=False,
    )
    first = "label" if labelled else "class of float"
    layout(figure, x=f"class of {label(version)}", y=first, height=max(320, 110 + 26 * size), legend=False)
    figure.update_xaxes(type="category", showgrid=False, side="bottom", categoryarray=names)
    figure.update_yaxes(type="category", showgrid=False, autorange="reversed", categoryarray=names)
    return figure
