"""A quantizer of an already quantized model: its values, and the range that it keeps."""

import numpy as np
import plotly.graph_objects as go

from quantscope.core.calibration import Histogram
from quantscope.core.evaluate import StoredQuantizer
from quantscope.ui.figures.style import ACCENT, BAD, QUANTIZED, layout

BARS = 240


def stored_figure(histogram: Histogram, ends: tuple[float, float] | None, *, height: int = 320) -> go.Figure:
    """Counts of a tensor's values, log scale, with the range that its quantizer keeps as lines.

    Args:
        histogram: Of the values; zeros, which it counts apart, are drawn as a bar of their own.
        ends: Lowest and highest value that can be kept.
        height: In pixels.
    """
    shift = max(0, int(np.ceil(np.log2(max(1, histogram.counts.size) / BARS))))
    shown = histogram.coarsen(shift)
    figure = go.Figure()
    figure.add_bar(
        x=shown.centers,
        y=shown.counts,
        width=shown.width,
        name="values",
        marker={"color": QUANTIZED, "line": {"width": 0}},
        hovertemplate="around %{x:.4g}<br>%{y:,} values<extra></extra>",
    )
    if histogram.zeros:
        figure.add_bar(
            x=[0.0],
            y=[histogram.zeros],
            width=[shown.width],
            marker={"color": ACCENT, "line": {"width": 0}},
            name="exact zeros",
            hovertemplate="0<br>%{y:,} values are exactly zero<extra></extra>",
        )
    if ends is not None:
        edges = (min(histogram.min, ends[0]), max(histogram.max, ends[1]))
        for end, edge in zip(ends, edges, strict=True):
            figure.add_vline(x=end, line={"color": BAD, "width": 1.5, "dash": "dash"})
            if edge != end:
                figure.add_vrect(x0=end, x1=edge, fillcolor=BAD, opacity=0.08, line_width=0)
        room = 0.02 * (edges[1] - edges[0] or 1.0)
        figure.update_xaxes(range=[edges[0] - room, edges[1] + room])
    layout(
        figure, x="value of the tensor; dashed: the range that is kept", y="count, log scale", height=height
    )
    figure.update_layout(bargap=0, barmode="overlay", showlegend=bool(histogram.zeros))
    top = float(max(shown.counts.max(initial=1), histogram.zeros, 1))
    figure.update_yaxes(type="log", dtick=1, exponentformat="power", range=[-0.3, np.log10(top) + 0.2])
    return figure


def channels_figure(quantizer: StoredQuantizer, *, height: int = 220) -> go.Figure:
    """The scale of each channel."""
    figure = go.Figure()
    figure.add_bar(
        x=np.arange(quantizer.channels),
        y=quantizer.scale,
        marker={"color": QUANTIZED, "line": {"width": 0}},
        customdata=quantizer.zero_point,
        hovertemplate="channel %{x}<br>scale %{y:.4g}, zero point %{customdata}<extra></extra>",
    )
    layout(figure, x="channel", y="scale, log", height=height, legend=False)
    figure.update_yaxes(type="log", exponentformat="power")
    figure.update_xaxes(tickformat="d", showgrid=False)
    return figure
