"""Versions side by side: the error of every layer in each, and figures over the steps of a history."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from quantscope.ui.content.text import decibel, safe_html
from quantscope.ui.figures.style import ACCENT, FLOAT, GOOD, QUANTIZED, SQNR_FORMULA, WARN, label, layout

TOP = 90.0  # dB; the chart of layers ends here at the latest, and a layer with less error is drawn at its end
ROOM = 6.0  # dB above the best layer that has an error
TOP_SHOWN = 120.0  # a step without any error is drawn here
FEW_STEPS = 10  # each of which gets its number
MARKED = 120  # layers; more are drawn without marks
COLOURS = (QUANTIZED, ACCENT, WARN, "#d6409f", GOOD, "#a0713a")  # of quantized versions; grey is float's


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionLine:
    """One version in the chart of layers."""

    label: str
    sqnr: Sequence[float | None]  # cumulative, dB, of each layer in order; None = no figure
    against: bool = False  # it is what others are held against


def layers_figure(names: Sequence[str], lines: Sequence[VersionLine], *, height: int = 300) -> go.Figure:
    """Cumulative SQNR in dB of every layer, a line for each version; layers without error are marked."""
    figure = go.Figure()
    known = [v for line in lines for v in line.sqnr if v is not None and math.isfinite(v)]
    top = min(TOP, max(known, default=TOP - ROOM) + ROOM)
    x = list(range(1, len(names) + 1))
    shown = [label(name, 60) for name in names]
    for at, line in enumerate(lines):
        colour = COLOURS[at % len(COLOURS)]
        figure.add_scatter(
            x=x,
            y=[None if value is None else min(value, top) for value in line.sqnr],
            name=safe_html(line.label),
            mode="lines+markers" if len(names) <= MARKED else "lines",
            line={"color": colour, "width": 2, "dash": "dot" if line.against else "solid"},
            marker={"size": 6},
            customdata=[list(pair) for pair in zip(shown, map(decibel, line.sqnr), strict=True)],
            hovertemplate="<b>%{customdata[0]}</b><br>%{fullData.name}: %{customdata[1]}<br>"
            f"<i>{SQNR_FORMULA}</i><extra></extra>",
        )
    exact = [at for at in range(len(names)) if any(line.sqnr[at] == math.inf for line in lines)]
    if exact:
        figure.add_scatter(
            x=[at + 1 for at in exact],
            y=[top] * len(exact),
            name="no error",
            mode="markers",
            marker={"color": GOOD, "size": 9, "symbol": "triangle-up"},
            hoverinfo="skip",
        )
    layout(figure, x="layer, in order of execution", y="cumulative SQNR, dB", height=height)
    figure.update_layout(hovermode="closest")
    ticks = {"dtick": 1} if len(names) <= FEW_STEPS else {}
    figure.update_xaxes(range=[0.4, len(names) + 0.6], tickformat="d", showgrid=False, **ticks)
    figure.update_yaxes(rangemode="tozero")
    return figure


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPoint:
    """One step in the chart of a figure."""

    number: int
    value: float
    parent: int  # nearest step before it that has a figure; 0 = none
    label: str  # what was changed, or the name
    leads: bool  # it is the shown step, or one that this was made from
    shown: bool = False
    chosen: bool = False
    pinned: bool = False


def history_figure(points: Sequence[StepPoint], *, unit: str, height: int = 150) -> go.Figure:
    """A figure of every step over the steps' numbers, joined to the steps that they were made from.

    Args:
        points: Steps that have the figure, in order.
        unit: Of the figure, for the hover box.
        height: In pixels.
    """
    figure = go.Figure()
    places = {point.number: point for point in points}
    for leads, colour, width in ((False, FLOAT, 1.5), (True, QUANTIZED, 2.5)):
        x: list[float | None] = []
        y: list[float | None] = []
        for point in points:
            if point.leads is leads and point.parent in places:
                x += [point.parent, point.number, None]
                y += [min(places[point.parent].value, TOP_SHOWN), min(point.value, TOP_SHOWN), None]
        figure.add_scatter(
            x=x, y=y, mode="lines", line={"color": colour, "width": width}, hoverinfo="skip", showlegend=False
        )
    if (pinned := next((point for point in points if point.pinned), None)) is not None:
        figure.add_hline(
            y=min(pinned.value, TOP_SHOWN),
            line={"color": ACCENT, "width": 1, "dash": "dot"},
            annotation={"text": "baseline", "font": {"size": 11, "color": ACCENT}},
            annotation_position="bottom left",
        )
    figure.add_scatter(
        x=[point.number for point in points],
        y=[min(point.value, TOP_SHOWN) for point in points],
        mode="markers",
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},  # which one is chosen, its ring says
        marker={
            "opacity": 1,
            "size": [13 if point.shown else 9 for point in points],
            "color": [QUANTIZED if point.leads else FLOAT for point in points],
            "line": {"color": ACCENT, "width": [3 if point.chosen else 0 for point in points]},
        },
        customdata=[
            [
                point.number,
                label(point.label, 60),
                "∞" if point.value == math.inf else f"{point.value:.1f}".replace("-", "−"),
            ]
            for point in points
        ],
        hovertemplate="<b>Step %{customdata[0]}</b><br>%{customdata[1]}<br>"
        f"%{{customdata[2]}} {unit}<extra></extra>",
        showlegend=False,
    )
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 10, "b": 4},
        showlegend=False,
        dragmode=False,
        hoverlabel={"align": "left"},
    )
    last = max(places, default=1)
    ticks = {"dtick": 1} if last <= FEW_STEPS else {}
    figure.update_xaxes(
        range=[0.5, last + 0.5], tickformat="d", showgrid=False, tickprefix="step ", automargin=True, **ticks
    )
    figure.update_yaxes(ticksuffix=f" {unit}", nticks=5, automargin=True)
    return figure
