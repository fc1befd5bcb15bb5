"""Defaults that were tried for the whole network, and how close the integer model came to the float one."""

from collections.abc import Sequence

import plotly.graph_objects as go

from quantscope.core.tuning import DefaultTrial
from quantscope.ui.content.method_words import default_words
from quantscope.ui.figures.style import FLOAT, GOOD, SQNR_FORMULA, label, layout


def trials_figure(trials: Sequence[DefaultTrial], best: DefaultTrial) -> go.Figure:
    """One bar a trial, best on top: SQNR of the network's output in dB; the one chosen is coloured."""
    ordered = sorted(trials, key=lambda trial: trial.sqnr_db)
    names = [label(default_words(trial.choice), 48) for trial in ordered]
    places = list(range(len(ordered)))  # not the names: bars of the same name would be stacked
    figure = go.Figure(
        go.Bar(
            x=[max(trial.sqnr_db, 0.0) for trial in ordered],
            y=places,
            orientation="h",
            marker={"color": [GOOD if trial is best else FLOAT for trial in ordered]},
            text=[f"{trial.sqnr_db:.1f} dB".replace("-", "−").replace("inf", "∞") for trial in ordered],
            textposition="outside",
            cliponaxis=False,
            customdata=[
                [trial.sqnr_db, trial.cosine, name] for trial, name in zip(ordered, names, strict=True)
            ],
            hovertemplate="%{customdata[2]}<br>output %{customdata[0]:.2f} dB, "
            "cosine %{customdata[1]:.6f}<br>"
            f"<i>{SQNR_FORMULA}</i><extra></extra>",
        )
    )
    layout(figure, x="output SQNR against float, dB", y="", height=70 + 28 * len(ordered), legend=False)
    figure.update_yaxes(tickmode="array", tickvals=places, ticktext=names)
    return figure
