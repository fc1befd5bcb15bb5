"""Before and after: the float values, and the levels they are moved to."""

import plotly.graph_objects as go

from quantscope.ui.content.tensor_view import Levels
from quantscope.ui.figures.style import QUANTIZED, WARN, arrangement


def overlay_figure(levels: Levels, *, height: int = 300) -> go.Figure:
    """Counts of a tensor's float values (line) and of its quantized levels (bars), log scale.

    Both are counts per step of the quantizer, so that they can be compared; the piles at the ends are
    what was clipped.
    """
    quantized = go.Bar(
        x=levels.value,
        y=levels.count,
        width=levels.step * 0.8,
        name="quantized",
        marker={"color": QUANTIZED, "line": {"width": 0}},
        customdata=levels.integer,
        hovertemplate="level %{x:.4g} (q = %{customdata})<br>%{y:,.0f} values<br>"
        "<i>q = clip(round(x / s) + z),  x' = (q − z)·s</i><extra></extra>",
    )
    floats = go.Scatter(
        x=levels.float_x,
        y=levels.float_y,
        name="float",
        mode="lines",
        line={"shape": "hv", "width": 1.4, "color": WARN},
        hovertemplate="value %{x:.4g}<br>%{y:.4g} float values a step<extra></extra>",
    )
    # Drawn after every drag: a figure that is made at once takes a quarter of the time of one that grows.
    arranged = arrangement(x="value of the tensor", y="count, log scale", height=height)
    arranged["yaxis"] |= {"type": "log", "dtick": 1, "exponentformat": "power", "range": [-0.35, levels.top]}
    return go.Figure([quantized, floats], {**arranged, "bargap": 0, "barmode": "overlay"})
