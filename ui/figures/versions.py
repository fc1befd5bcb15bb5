"""Versions side by side: the error of every layer in each, and figures over the steps of a history."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from quantscope.ui.content.text import safe_html
from quantscope.ui.figures.style import SQNR_FORMULA, label, layout

TOP = 90.0  # dB; a layer without any error is drawn here
MARKED = 120  # layers; more are drawn without marks
# Of the version that others are held against, then of these; they read on light and dark.
COLOURS = ("#8b93a7", "#6d6cf0", "#e8910c", "#0e9bb8", "#d6409f", "#12a150")
DASHES = ("dot", "solid", "solid", "solid", "solid", "solid")


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionLine:
    """One version in the chart of layers."""

    label: str
    sqnr: Sequence[float | None]  # cumulative, dB, of each layer in order; None = no figure


def layers_figure(names: Sequence[str], lines: Sequence[VersionLine], *, height: int = 300) -> go.Figure:
    """Cumulative SQNR in dB of every layer, a line for each version; the first is what is held against."""
    figure = go.Figure()
    x = list(range(1, len(names) + 1))
    shown = [label(name, 60) for name in names]
    for at, line in enumerate(lines):
        colour = COLOURS[at % len(COLOURS)]
        figure.add_scatter(
            x=x,
            y=[None if value is None else min(value, TOP) for value in line.sqnr],
            name=safe_html(line.label),
            mode="lines+markers" if len(names) <= MARKED else "lines",
            line={"color": colour, "width": 2, "dash": DASHES[at % len(DASHES)]},
            marker={"size": 6},
            customdata=shown,
            hovertemplate="<b>%{customdata}</b><br>"
            + safe_html(line.label)
            + f": %{{y:.1f}} dB<br><i>{SQNR_FORMULA}</i><extra></extra>",
        )
    layout(figure, x="layer, in order of execution", y="cumulative SQNR, dB", height=height)
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(range=[0.4, len(names) + 0.6], tickformat="d", showgrid=False)
    figure.update_yaxes(rangemode="tozero")
    return figure
