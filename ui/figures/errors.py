"""Error of every layer: alone, and with everything before it quantized too."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from quantscope.ui.content.rows import Row
from quantscope.ui.content.text import decibel
from quantscope.ui.figures.style import BAD, FLOAT, GOOD, QUANTIZED, SQNR_FORMULA, label, layout

TOP = 90.0  # dB; the chart ends here at the latest, and a layer with less error is drawn at its end
ROOM = 6.0  # dB above the best layer that has an error
FEW = 10  # layers, each of which gets its number


def error_figure(rows: Sequence[Row], *, height: int = 320) -> go.Figure:
    """Local and cumulative SQNR in dB against the layer's place in the model.

    Flagged layers are marked; layers without a figure leave a gap.
    """
    x = list(range(1, len(rows) + 1))
    top = _top(rows)
    names = [
        [
            label(row.name, 60),
            label(row.op),
            row.cosine_text,
            decibel(row.local_sqnr),
            decibel(row.cumulative_sqnr),
        ]
        for row in rows
    ]
    figure = go.Figure()
    if any(row.local_sqnr is not None for row in rows):
        figure.add_bar(
            x=x,
            y=[_shown(row.local_sqnr, top) for row in rows],
            name="alone (inputs float)",
            marker={"color": FLOAT, "opacity": 0.45},
            customdata=names,
            hovertemplate="<b>%{customdata[0]}</b><br>alone: %{customdata[3]}<extra></extra>",
        )
    figure.add_scatter(
        x=x,
        y=[_shown(row.cumulative_sqnr, top) for row in rows],
        name="cumulative (all before it quantized)",
        mode="lines+markers" if len(rows) <= 120 else "lines",
        line={"color": QUANTIZED, "width": 2},
        marker={"size": 6},
        customdata=names,
        hovertemplate="<b>%{customdata[0]}</b> (%{customdata[1]})<br>cumulative: %{customdata[4]}, cosine "
        f"%{{customdata[2]}}<br><i>{SQNR_FORMULA}</i><extra></extra>",
    )
    _add_beyond(figure, rows, top)
    _add_flagged(figure, rows, top)
    layout(figure, x="layer, in order of execution", y="SQNR against float, dB", height=height)
    few = {"dtick": 1} if len(rows) <= FEW else {}  # else halves would be rounded to the same number
    figure.update_xaxes(range=[0.4, len(rows) + 0.6], tickformat="d", showgrid=False, **few)
    figure.update_yaxes(rangemode="tozero")
    return figure


def _add_beyond(figure: go.Figure, rows: Sequence[Row], top: float) -> None:
    """Layers with less error than the chart shows, at its end, with their figures where they are few."""
    beyond = [(i, row) for i, row in enumerate(rows, 1) if (row.cumulative_sqnr or 0.0) > top]
    if beyond:
        figure.add_scatter(
            x=[i for i, _ in beyond],
            y=[top] * len(beyond),
            name="above the chart"
            if any(row.cumulative_sqnr != math.inf for _, row in beyond)
            else "no error",
            mode="markers+text" if len(beyond) <= FEW else "markers",
            text=[decibel(row.cumulative_sqnr).removesuffix(" dB") for _, row in beyond],
            textposition="middle right",
            marker={"color": GOOD, "size": 9, "symbol": "triangle-up"},
            hoverinfo="skip",
        )


def _add_flagged(figure: go.Figure, rows: Sequence[Row], top: float) -> None:
    """Marks on the flagged layers."""
    flagged = [(i, row) for i, row in enumerate(rows, 1) if row.flag and row.best_known is not None]
    if flagged:
        figure.add_scatter(
            x=[i for i, _ in flagged],
            y=[_shown(row.best_known, top) for _, row in flagged],
            name="flagged",
            mode="markers",
            marker={"color": BAD, "size": 11, "symbol": "triangle-down", "line": {"width": 0}},
            customdata=[[label(row.name, 60), label(row.flag, 90)] for _, row in flagged],
            hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
        )


def _top(rows: Sequence[Row]) -> float:
    """Where the chart ends: all layers with an error are below, up to `TOP`."""
    known = [
        v for row in rows for v in (row.local_sqnr, row.cumulative_sqnr) if v is not None and math.isfinite(v)
    ]
    return min(TOP, max(known, default=TOP - ROOM) + ROOM)


def _shown(value: float | None, top: float) -> float | None:
    return None if value is None else min(value, top)
