"""Weights of a layer: the range of every output channel against what its scale can express."""

import plotly.graph_objects as go

from quantscope.ui.content.tensor_view import Weights
from quantscope.ui.figures.style import ACCENT, QUANTIZED, WARN, layout


def weights_figure(weights: Weights, *, height: int = 300) -> go.Figure:
    """Minimum to maximum of each output channel as a bar, with the quantizer's range as lines."""
    channels = list(range(len(weights.low)))
    figure = go.Figure()
    figure.add_bar(
        x=channels,
        y=weights.high - weights.low,
        base=weights.low,
        name="range of the channel's weights",
        marker={"color": QUANTIZED, "opacity": 0.75, "line": {"width": 0}},
        customdata=list(zip(weights.low, weights.high, weights.steps, strict=True)),
        hovertemplate="channel %{x}<br>%{customdata[0]:.4g} … %{customdata[1]:.4g}<br>"
        "uses %{customdata[2]:.0f} of 255 steps<br><i>steps = (max − min) / scale</i><extra></extra>",
    )
    for sign, shown in ((1, True), (-1, False)):
        figure.add_scatter(
            x=channels,
            y=sign * weights.limit,
            name="what int8 can express" if shown else "",
            showlegend=shown,
            mode="lines" if len(channels) > 1 else "markers",
            line={"shape": "hvh", "color": ACCENT if weights.per_channel else WARN, "width": 1.5},
            hovertemplate="limit %{y:.4g} = 127 · scale<extra></extra>",
        )
    layout(figure, x="output channel", y="weight value", height=height)
    figure.update_xaxes(tickformat="d", showgrid=False)
    return figure
