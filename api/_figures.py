"""A tensor's histogram, and the ranges that are kept of it."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from quantscope.core.calibration import Histogram
from quantscope.core.quant import Range
from quantscope.ui.figures.style import ACCENT, BAD, FLOAT, GOOD, QUANTIZED, WARN, label, layout

BINS = 512  # that are drawn at most
COLOURS = (QUANTIZED, ACCENT, GOOD, WARN, BAD, FLOAT)
DASHES = ("solid", "dash", "dot")


def histogram_figure(
    histogram: Histogram, name: str, ranges: Mapping[str, Range] | None = None, *, height: int = 340
) -> go.Figure:
    """Counts of a tensor's values on a log scale; each range is a pair of lines.

    Args:
        histogram: Of the tensor.
        name: Of the tensor.
        ranges: What is kept, by what stands in the legend.
        height: In pixels.
    """
    shown = histogram
    while shown.counts.size > BINS:
        shown = shown.coarsen(1)
    counts = shown.counts.astype(np.float64)
    at_zero = -shown.first
    if 0 <= at_zero < counts.size:
        counts[at_zero] += histogram.zeros
    figure = go.Figure()
    figure.add_bar(
        x=shown.centers,
        y=counts,
        width=shown.width,
        name=label(name),
        marker={"color": FLOAT, "line": {"width": 0}},
        hovertemplate="%{x:.4g}: %{y:,} values<extra></extra>",
    )
    top = max(float(counts.max(initial=1.0)), 2.0)
    for i, (method, kept) in enumerate((ranges or {}).items()):
        figure.add_scatter(
            x=[kept.low, kept.low, None, kept.high, kept.high],
            y=[0.6, top, None, 0.6, top],
            name=label(method),
            mode="lines",
            line={"color": COLOURS[i % 6], "width": 2, "dash": DASHES[i // 6 % 3]},
            hovertemplate=f"{label(method)}: %{{x:.4g}}<extra></extra>",
        )
    layout(figure, x="value", y="count, log scale", height=height, legend=bool(ranges))
    figure.update_layout(bargap=0)
    figure.update_yaxes(type="log", dtick=1, exponentformat="power")
    return figure
