"""Classes: how many of each are right in float and quantized, and which are taken for which."""

from collections.abc import Sequence

import plotly.graph_objects as go

from quantscope.ui.content.sample_classes import ClassRow, Matrix
from quantscope.ui.figures.style import FLOAT, QUANTIZED, WARN, label, layout

SHOWN = 25  # classes
NUMBERED = 14  # classes up to which counts are written into the matrix


def classes_figure(rows: Sequence[ClassRow], version: str, *, labelled: bool) -> go.Figure:
    """The classes that change most, one line each, from the float model's share to the version's."""
    shown = sorted(rows, key=lambda row: (-abs(row.change), row.number))[:SHOWN]
    shown.sort(key=lambda row: (-row.change, -row.number))  # plotly draws from below
    names = [label(row.name, 24) for row in shown]
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


def matrix_figure(matrix: Matrix, version: str, *, labelled: bool) -> go.Figure:
    """Counts of each pair of classes; the right ones, on the diagonal, are left out of the colours."""
    size = len(matrix.names)
    names = [label(name, 16) for name in matrix.names]
    wrong = [
        [None if at == other else count for other, count in enumerate(row)]
        for at, row in enumerate(matrix.counts)
    ]
    words = [[f"{count:,}" if count else "" for count in row] for row in matrix.counts]
    figure = go.Figure(
        go.Heatmap(
            z=wrong,
            x=names,
            y=names,
            colorscale=[[0, "rgba(232,145,12,0)"], [0.001, "rgba(232,145,12,0.15)"], [1, WARN]],
            zmin=0,
            zmax=max([count or 0 for row in wrong for count in row] or [1]) or 1,
            showscale=False,
            xgap=1,
            ygap=1,
            customdata=matrix.counts,
            hovertemplate="%{y} taken for %{x}: %{customdata:,}<extra></extra>",
            hoverongaps=True,
        )
    )
    if size <= NUMBERED:
        for at, row in enumerate(words):
            for other, word in enumerate(row):
                if word:
                    dim = 1.0 if at != other else 0.55
                    figure.add_annotation(x=other, y=at, text=word, showarrow=False, opacity=dim)
    first = "label" if labelled else "class of float"
    layout(figure, x=f"class of {label(version)}", y=first, height=max(320, 110 + 26 * size), legend=False)
    figure.update_xaxes(type="category", showgrid=False, side="bottom")
    figure.update_yaxes(type="category", showgrid=False, autorange="reversed")
    return figure
