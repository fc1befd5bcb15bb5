"""KL beside ADMM on several draws: the tail of each draw, with the thresholds in it."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from quantscope.core.playground import KlAdmmDraw
from quantscope.core.thresholds import Method
from quantscope.ui.figures.style import ACCENT, FLOAT, QUANTIZED, WARN, layout

LINES = {Method.KL: ("KL", QUANTIZED), Method.ADMM: ("ADMM", WARN), Method.MSE: ("least MSE", ACCENT)}
BINS = 160


def draws_figure(draws: Sequence[KlAdmmDraw], *, height: int = 340) -> go.Figure:
    """One panel a draw: log counts of |x| from two standard deviations on, and a line a threshold."""
    titles = [f"draw {i + 1} (seed {draw.seed})" for i, draw in enumerate(draws)]
    figure = make_subplots(cols=len(draws), rows=1, subplot_titles=titles, shared_yaxes=True)
    for column, draw in enumerate(draws, start=1):
        x, y = _magnitudes(draw)
        figure.add_scatter(
            x=x,
            y=y,
            row=1,
            col=column,
            name="|x|",
            showlegend=False,
            mode="lines",
            line={"shape": "hv", "width": 1, "color": FLOAT},
            fill="tozeroy",
            hovertemplate="|x| %{x:.3g}: %{y:,} values<extra></extra>",
        )
        lines = [(name, draw.thresholds[method], colour) for method, (name, colour) in LINES.items()]
        for name, value, colour in [*lines, ("3σ bound", draw.bound, FLOAT)]:
            figure.add_scatter(
                x=[value, value],
                y=[0.6, max(float(y.max(initial=1.0)), 2.0)],
                row=1,
                col=column,
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                mode="lines",
                line={"color": colour, "width": 2, "dash": "dash" if name == "3σ bound" else "solid"},
                hovertemplate=f"{name}: %{{x:.4g}}<extra></extra>",
            )
    layout(figure, x="", y="", height=height)
    figure.update_layout(margin_t=64, legend_y=1.12)
    figure.update_annotations(font_size=12)
    figure.update_xaxes(title_text="|x|", showgrid=False, nticks=5)
    figure.update_yaxes(type="log", dtick=1, exponentformat="power")
    figure.update_yaxes(title_text="count, log scale", col=1)
    return figure


def _magnitudes(draw: KlAdmmDraw) -> tuple[np.ndarray, np.ndarray]:
    """Counts of |x| in bins from two standard deviations (about the mean's magnitude) to the maximum."""
    h = draw.histogram
    start, end = abs(draw.mean) + 2 * draw.sigma, h.abs_max
    edges = np.linspace(min(start, end), end or 1.0, BINS + 1)
    counts, _ = np.histogram(np.abs(h.centers), bins=edges, weights=h.counts)
    return edges[:-1], counts
