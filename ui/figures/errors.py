"""Error of every layer: alone, and with everything before it quantized too."""

from collections.abc import Sequence

import plotly.graph_objects as go

from quantscope.ui.content.rows import Row
from quantscope.ui.figures.style import BAD, FLOAT, QUANTIZED, SQNR_FORMULA, label, layout

TOP = 90.0  # dB; a layer without any error is drawn here
FEW = 10  # layers, each of which gets its number


def error_figure(rows: Sequence[Row], *, height: int = 320) -> go.Figure:
    """Local and cumulative SQNR in dB against the layer's place in the model.

    Flagged layers are marked; layers without a figure leave a gap.
    """
    x = list(range(1, len(rows) + 1))
    names = [[label(row.name, 60), label(row.op), row.cosine_text] for row in rows]
    figure = go.Figure()
    if any(row.local_sqnr is not None for row in rows):
        figure.add_bar(
            x=x,
            y=[_shown(row.local_sqnr) for row in rows],
            name="alone (inputs float)",
            marker={"color": FLOAT, "opacity": 0.45},
            customdata=names,
            hovertemplate="<b>%{customdata[0]}</b><br>alone: %{y:.1f} dB<extra></extra>",
        )
    figure.add_scatter(
        x=x,
        y=[_shown(row.cumulative_sqnr) for row in rows],
        name="cumulative (all before it quantized)",
        mode="lines+markers" if len(rows) <= 120 else "lines",
        line={"color": QUANTIZED, "width": 2},
        marker={"size": 6},
        customdata=names,
        hovertemplate="<b>%{customdata[0]}</b> (%{customdata[1]})<br>cumulative: %{y:.1f} dB, cosine "
        f"%{{customdata[2]}}<br><i>{SQNR_FORMULA}</i><extra></extra>",
    )
    flagged = [(i, row) for i, row in zip(x, rows, strict=True) if row.flag and row.best_known is not None]
    if flagged:
        figure.add_scatter(
            x=[i for i, _ in flagged],
            y=[_shown(row.best_known) for _, row in flagged],
            name="flagged",
            mode="markers",
            marker={"color": BAD, "size": 11, "symbol": "triangle-down", "line": {"width": 0}},
            customdata=[[label(row.name, 60), label(row.flag, 90)] for _, row in flagged],
            hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
        )
    layout(figure, x="layer, in order of execution", y="SQNR, dB", height=height)
    few = {"dtick": 1} if len(rows) <= FEW else {}  # else halves would be rounded to the same number
    figure.update_xaxes(range=[0.4, len(rows) + 0.6], tickformat="d", showgrid=False, **few)
    figure.update_yaxes(rangemode="tozero")
    return figure


def _shown(value: float | None) -> float | None:
    return None if value is None else min(value, TOP)
