"""Defaults that were tried for the whole network, and how close the integer model came to the float one."""

from collections.abc import Sequence

import plotly.graph_objects as go

from quantscope.core.tuning import DefaultTrial
from quantscope.ui.figures.style import FLOAT, GOOD, SQNR_FORMULA, label, layout


def trials_figure(trials: Sequence[DefaultTrial], best: DefaultTrial) -> go.Figure:
    """One bar a trial, best on top: SQNR of the network's output in dB; the one chosen is coloured."""
    ordered = sorted(trials, key=lambda trial: trial.sqnr_db)
    names = [label(trial.label, 48) for trial in ordered]
    figure = go.Figure(
        go.Bar(
            x=[max(trial.sqnr_db, 0.0) for trial in ordered],
            y=names,
            orientation="h",
            marker={"color": [GOOD if trial == best else FLOAT for trial in ordered]},
            text=[f"{trial.sqnr_db:.1f} dB" for trial in ordered],
            textposition="outside",
            cliponaxis=False,
            customdata=[[trial.sqnr_db, trial.cosine] for trial in ordered],
            hovertemplate="%{y}<br>output %{customdata[0]:.2f} dB, cosine %{customdata[1]:.6f}<br>"
            f"<i>{SQNR_FORMULA}</i><extra></extra>",
        )
    )
    layout(figure, x="output SQNR, dB", y="", height=70 + 28 * len(ordered), legend=False)
    return figure
