"""The front of mixed precision: cost against error, one point a recipe that was measured."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from quantscope.core.tuning.mixed import Cost, Front, Point
from quantscope.ui.content.text import number, plural, size
from quantscope.ui.figures.style import ACCENT, BAD, FLOAT, GOOD, QUANTIZED, SQNR_FORMULA, layout

ABOVE = 6.0  # dB over the best finite point, where those that lose nothing are drawn


def front_figure(front: Front, chosen: int | None, used: int | None = None) -> go.Figure:
    """Cost in kB or as a share of the float model's time, SQNR in dB and top-1 in percent.

    Points carry their number as custom data: first those of the front, then those that another one beats.

    Args:
        front: What was found.
        chosen: The point that is shown below the chart.
        used: The one whose recipe is in use.
    """
    everything = (*front.points, *front.beaten)
    top = max((p.sqnr_db for p in everything if math.isfinite(p.sqnr_db)), default=0.0) + ABOVE
    figure = go.Figure()
    _add_beaten(figure, front, chosen, top)  # below the others: where they meet, a click means the better one
    figure.add_scatter(
        x=[_cost(point, front) for point in front.points],
        y=[min(point.sqnr_db, top) for point in front.points],
        mode="lines+markers",
        line={"color": QUANTIZED, "width": 2, "shape": "hv"},
        marker={
            "color": [ACCENT if n == chosen else QUANTIZED for n in range(len(front.points))],
            "size": [15 if n == chosen else 10 for n in range(len(front.points))],
            "line": {"width": 0},
        },
        name="best at its cost",
        customdata=[[n, *_words(point, front)] for n, point in enumerate(front.points)],
        hovertemplate=_HOVER,
        # Points that are not selected keep their colour: the chosen one is drawn larger instead.
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
    )
    if used is not None:
        _add_ring(figure, everything[used], front, top)
    _add_classes(figure, front)
    whole = front.float_bytes / 1e3 if front.kind is Cost.SIZE else 100.0
    figure.add_vline(
        x=whole,
        line_width=1.5,
        line_dash="dot",
        line_color=BAD,
        annotation_text="float",
        annotation_position="bottom left",
    )
    title = "size of the file, kB" if front.kind is Cost.SIZE else "estimated time, % of the float model's"
    layout(figure, x=title, y="output SQNR, dB", height=360)
    figure.update_layout(clickmode="event+select")
    return figure


def _add_beaten(figure: go.Figure, front: Front, chosen: int | None, top: float) -> None:
    """Points that another one beats."""
    if not front.beaten:
        return
    numbers = range(len(front.points), len(front.points) + len(front.beaten))
    colours = [ACCENT if n == chosen else FLOAT for n in numbers]
    figure.add_scatter(
        x=[_cost(point, front) for point in front.beaten],
        y=[min(point.sqnr_db, top) for point in front.beaten],
        mode="markers",
        marker={
            "color": colours,
            "size": [13 if n == chosen else 8 for n in numbers],
            "symbol": "x-thin",
            "line": {"width": 2, "color": colours},
        },
        name="beaten by another",
        legendrank=1001,  # after the rest
        customdata=[[n, *_words(point, front)] for n, point in zip(numbers, front.beaten, strict=True)],
        hovertemplate=_HOVER,
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
    )


def _add_ring(figure: go.Figure, point: Point, front: Front, top: float) -> None:
    """A ring around the point whose recipe is in use."""
    figure.add_scatter(
        x=[_cost(point, front)],
        y=[min(point.sqnr_db, top)],
        mode="markers+text",
        marker={"size": 22, "symbol": "circle-open", "color": ACCENT, "line": {"width": 2.5}},
        text=["in use"],
        textposition="bottom right",
        textfont={"size": 13},
        showlegend=False,
        hoverinfo="skip",
    )


def _add_classes(figure: go.Figure, front: Front) -> None:
    """Top-1 of the points on an axis of its own, or how many rows keep their class without labels."""
    shares = [point.top1 if front.labelled else point.agreement for point in front.points]
    if any(share is None for share in shares):
        return
    name = "top-1" if front.labelled else "same class as float"
    figure.add_scatter(
        x=[_cost(point, front) for point in front.points],
        y=[100.0 * share for share in shares if share is not None],
        yaxis="y2",
        mode="lines+markers",
        line={"color": GOOD, "width": 1.5, "dash": "dot", "shape": "hv"},
        marker={"size": 6, "symbol": "diamond"},
        customdata=[[n] for n in range(len(front.points))],
        name=f"{name} (right axis)",
        hovertemplate=f"{name} %{{y:.1f}} %<extra></extra>",
    )
    figure.update_layout(
        yaxis2={
            "title": {"text": f"{name}, %"},
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
            "tickmode": "auto",
            "nticks": 6,
            "tickformat": ".1f",
        }
    )


_HOVER = (
    "%{customdata[1]}<br>%{customdata[2]}<br>%{customdata[3]}<br>%{customdata[4]}<br>"
    f"<i>{SQNR_FORMULA}</i><extra></extra>"
)


def _cost(point: Point, front: Front) -> float:
    return point.size_bytes / 1e3 if front.kind is Cost.SIZE else 100.0 * point.time


def _words(point: Point, front: Front) -> Sequence[str]:
    return (
        f"{size(point.size_bytes)}, estimated time {100.0 * point.time:.0f} % of float",
        f"output {number(point.sqnr_db)} dB" if math.isfinite(point.sqnr_db) else "equals float",
        lost(point, front),
        f"{plural(len(point.layers), 'layer')} above {front.lowest}",
    )


def lost(point: Point, front: Front) -> str:
    """What a point loses by class, in words; empty where outputs are no class scores."""
    if point.drop is None:
        return ""
    if not front.labelled:
        return (
            f"{point.drop:.1f} % of {front.rows:,} {'positions' if front.positions else 'rows'} change class"
        )
    assert point.top1 is not None
    change = f"{-point.drop:+.1f}".replace("-", "−") if abs(point.drop) >= 0.05 else "±0"
    over = " over positions" if front.positions else ""
    return f"top-1{over} {100.0 * point.top1:.1f} % ({change} pp against float)"
