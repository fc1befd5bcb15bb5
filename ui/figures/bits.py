"""How much each further bit is worth, for several methods."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from quantscope.core.playground import BitsCurve
from quantscope.ui.figures.style import FLOAT, SQNR_FORMULA, layout

DASHES = ("solid", "dash", "dot", "dashdot")


def bits_figure(
    curves: Sequence[BitsCurve], names: Sequence[str], bits: int, *, height: int = 340
) -> go.Figure:
    """SQNR in dB against the number of bits, one line a method; `bits` is marked."""
    figure = go.Figure()
    for i, (curve, name) in enumerate(zip(curves, names, strict=True)):
        figure.add_scatter(
            x=list(curve.bits),
            y=[value if math.isfinite(value) else None for value in curve.sqnr_db],
            name=name,
            mode="lines+markers",
            marker={"size": 5},
            line={"width": 2, "dash": DASHES[i // 10 % len(DASHES)]},
            hovertemplate=f"{name}, %{{x}} bits: %{{y:.2f}} dB<br><i>{SQNR_FORMULA}</i><extra></extra>",
        )
    layout(figure, x="bits", y="SQNR, dB", height=height)
    figure.add_vline(x=bits, line_width=1.5, line_dash="dot", line_color=FLOAT)
    figure.update_xaxes(dtick=1, range=[1.7, 16.3], showgrid=False)
    return figure
