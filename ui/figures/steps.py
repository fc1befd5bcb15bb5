"""Auto-tune as it climbs: each step tried, those kept, and the best so far."""

from collections.abc import Sequence

import plotly.graph_objects as go

from quantscope.core.tuning import AutotuneStep
from quantscope.ui.content.method_words import step_words
from quantscope.ui.figures.style import FLOAT, GOOD, SQNR_FORMULA, label, layout


def steps_figure(steps: Sequence[AutotuneStep]) -> go.Figure:
    """One point a step; the line is the best of those kept, output SQNR in dB."""
    numbers = list(range(1, len(steps) + 1))
    best: list[float | None] = []
    for step in steps:
        before = best[-1] if best else None
        best.append(max(step.sqnr_db, before or step.sqnr_db) if step.kept else before)
    figure = go.Figure()
    figure.add_scatter(
        x=numbers,
        y=best,
        mode="lines",
        line={"color": GOOD, "width": 2, "shape": "hv"},
        name="best so far",
        hoverinfo="skip",
    )
    for name, kept, colour, symbol in (
        ("kept", True, GOOD, "circle"),
        ("not kept", False, FLOAT, "circle-open"),
    ):
        chosen = [(n, step) for n, step in zip(numbers, steps, strict=True) if step.kept is kept]
        figure.add_scatter(
            x=[n for n, _ in chosen],
            y=[step.sqnr_db for _, step in chosen],
            mode="markers",
            marker={"color": colour, "size": 9, "symbol": symbol, "line": {"width": 2}},
            name=name,
            customdata=[[label(step_words(step.what), 80), label(step.why, 80)] for _, step in chosen],
            hovertemplate="%{customdata[0]}<br>output %{y:.2f} dB<br>%{customdata[1]}<br>"
            f"<i>{SQNR_FORMULA}</i><extra></extra>",
        )
    layout(figure, x="step", y="output SQNR against float, dB", height=260)
    figure.update_xaxes(dtick=1 if len(steps) <= 16 else None, range=[0.5, max(len(steps), 8) + 0.5])
    return figure
