"""The quantizer's staircase over the distribution that it meets."""

import plotly.graph_objects as go

from quantscope.core.calibration import Histogram
from quantscope.core.playground import Staircase
from quantscope.ui.figures.style import ACCENT, FLOAT, QUANTIZED, layout

BINS = 400  # of the distribution behind, at most


def staircase_figure(
    found: Staircase, histogram: Histogram, low: float, high: float, *, height: int = 380
) -> go.Figure:
    """Output against input of a quantizer in [low, high], with the values' density behind it."""
    figure = go.Figure()
    shown = histogram
    while shown.counts.size and (high - low) / shown.width > BINS:
        shown = shown.coarsen(1)
    inside = (shown.edges[1:] > low) & (shown.edges[:-1] < high)
    figure.add_bar(
        x=shown.centers[inside],
        y=shown.counts[inside],
        width=shown.width,
        name="values (log count)",
        marker={"color": FLOAT, "opacity": 0.3, "line": {"width": 0}},
        yaxis="y2",
        hovertemplate="x %{x:.4g}<br>%{y:,} values in a bin<extra></extra>",
    )
    figure.add_scatter(
        x=[low, high],
        y=[low, high],
        name="no quantization: x′ = x",
        mode="lines",
        line={"color": ACCENT, "width": 1.2, "dash": "dot"},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=found.x,
        y=found.y,
        name="quantizer" if found.whole else f"quantizer ({found.shown:,} levels: too many to draw)",
        mode="lines",
        line={"color": QUANTIZED, "width": 2},
        hovertemplate="x %{x:.5g} → x′ %{y:.5g}<br>"
        "<i>x′ = (clip(round(x / s) + z) − z) · s</i><extra></extra>",
    )
    layout(figure, x="input x", y="output x′", height=height)
    figure.update_xaxes(range=[low, high])
    figure.update_layout(
        bargap=0,
        yaxis={"zeroline": False},
        yaxis2={
            "overlaying": "y",
            "side": "right",
            "type": "log",
            "showgrid": False,
            "showticklabels": False,
        },
    )
    return figure
