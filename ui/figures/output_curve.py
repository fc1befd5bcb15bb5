"""Cosine of layers' outputs against the range of the tensor that they read."""

import plotly.graph_objects as go

from quantscope.core.evaluate import OutputCurve
from quantscope.core.quant import Range
from quantscope.ui.figures.style import COSINE_FORMULA, FLOAT, label, layout

MOST = 6  # readers drawn


def output_curve_figure(curve: OutputCurve, kept: Range, *, height: int = 300) -> go.Figure:
    """One line a reader; the range that is kept is marked."""
    figure = go.Figure()
    far = curve.highs if abs(curve.highs[-1]) >= abs(curve.lows[-1]) else -curve.lows
    for i, reader in enumerate(curve.readers[:MOST]):
        name = label(reader)
        figure.add_scatter(
            x=far,
            y=curve.cosine[:, i],
            name=name,
            mode="lines",
            line={"width": 2},
            customdata=list(zip(curve.lows, curve.highs, strict=True)),
            hovertemplate=f"{name}<br>range %{{customdata[0]:.4g}} … %{{customdata[1]:.4g}}<br>"
            f"cosine %{{y:.6f}}<br><i>{COSINE_FORMULA}</i><extra></extra>",
        )
    figure.add_vline(
        x=kept.abs_max, line_width=1.5, line_dash="dot", line_color=FLOAT, annotation_text="kept now"
    )
    layout(
        figure,
        x="farther end of the range (both ends scaled alike)",
        y="cosine of the output, against float",
        height=height,
    )
    figure.update_layout(showlegend=True)
    return figure
