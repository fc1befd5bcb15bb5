"""Linear, power-of-two and logarithmic grids: the levels of each, and what they cost."""

from collections.abc import Sequence

import plotly.graph_objects as go

from quantscope.core.playground import staircase
from quantscope.core.thresholds import Grid, GridError
from quantscope.ui.figures.style import ACCENT, FLOAT, QUANTIZED, WARN, layout

GRIDS = {
    Grid.LINEAR: ("Linear", QUANTIZED),
    Grid.POWER_OF_TWO: ("Power-of-two scale", WARN),
    Grid.LOG2: ("LOG2", ACCENT),
}


def grids_figure(grids: Sequence[GridError], low: float, high: float, *, height: int = 340) -> go.Figure:
    """Output against input of each grid in [low, high]."""
    figure = go.Figure()
    figure.add_scatter(
        x=[low, high],
        y=[low, high],
        name="x′ = x",
        mode="lines",
        line={"color": FLOAT, "width": 1.2, "dash": "dot"},
        hoverinfo="skip",
    )
    for entry in grids:
        name, colour = GRIDS[entry.grid]
        found = staircase(entry.codebook, low, high)
        figure.add_scatter(
            x=found.x,
            y=found.y,
            name=name,
            mode="lines",
            line={"color": colour, "width": 1.8},
            hovertemplate=f"{name}: x %{{x:.4g}} → x′ %{{y:.4g}}<extra></extra>",
        )
    layout(figure, x="input x", y="output x′", height=height)
    figure.update_xaxes(range=[low, high])
    return figure
