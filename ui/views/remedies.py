"""Why the layers on top of a ranking lose, and a button for each remedy, predicted and measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from core.causes import Cause
from core.remedies import OutputForecast, Remedy, output_forecast
from core.sensitivity.ranking import Score
from ui import state, text
from ui.figures.sensitivity import Axis
from ui.sensitivityruns import Sweep

APPLIED = "sens_applied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The remedy that was used last, to be compared with what is measured."""

    project: str
    words: str
    forecast: OutputForecast | None
    before: float | None  # measured output SQNR, dB
    token: str  # of the recipe with it


def render(now: state.Session, sweep: Sweep, scores: Sequence[Score], axis: Axis, *, current: bool) -> None:
    """Draw the part for the layers given, worst first."""
    if not sweep.causes:
        if sweep.complete and current:
            st.caption("It ended before causes were looked at; *Run* again looks at them.")
        return
    flagged = any(score.flagged for score in scores)
    st.subheader("Why, and what helps", anchor=False)
    if not flagged:
        st.caption("No layer stands out; these matter most.")
    _measured(now)
    for place, score in enumerate(scores):
        with st.container(border=True):
            with st.container(horizontal=True, vertical_alignment="center"):
                value = f"{axis.words} {text.number(axis.shown(score.value), 3)} {axis.unit}".strip()
                mark = ":red[:material/flag:] " if score.flagged else ""
                st.markdown(
                    f"{mark}**{score.rank}.** {text.code(text.short(score.name, 56))} · "
                    f"{text.escape(now.model.layer(score.name).op)} · {text.escape(value)}",
                    width="stretch",
                )
                inspect_button(score.name, f"sens_inspect_{place}")
            found = sweep.causes.get(score.name)
            if not found:
                st.caption(
                    "No single cause: its error is what 8 bits cost."
                    if found is not None
                    else "Not looked at yet; run again."
                )
            for at, cause in enumerate(found or ()):
                _cause(now, sweep, cause, f"{place}_{at}")


def _cause(now: state.Session, sweep: Sweep, cause: Cause, key: str) -> None:
    st.markdown(f"{text.escape(cause.sentence)} :gray[(about {100 * cause.share:.0f} % of its own error)]")
    for at, remedy in enumerate(cause.remedies):
        if remedy.fix is not None:
            st.caption(
                f":material/build: {text.escape(remedy.label)}: changes the model itself, which the app does "
                f"not do yet. {text.code('quantscope tune MODEL --data DATA -o recipe.yaml')} tries it, and "
                f"a recipe with {text.code(f'passes: [{remedy.fix}]')} asks for it."
            )
            continue
        used = remedy.applied(now.recipe) == now.recipe
        forecast = _forecast(sweep, remedy)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                text.escape(remedy.label),
                key=f"sens_remedy_{key}_{at}",
                icon=":material/check:" if used else ":material/healing:",
                disabled=used,
                on_click=_use,
                args=(remedy, forecast),
            )
            st.caption("In use. " * used + _predicted(remedy, forecast))


def _forecast(sweep: Sweep, remedy: Remedy) -> OutputForecast | None:
    if remedy.gain_db is None:
        return None
    return output_forecast(sweep.runs, remedy.layer, remedy.gain_db)


def _predicted(remedy: Remedy, forecast: OutputForecast | None) -> str:
    """What a remedy should do, in words."""
    if remedy.gain_db is None:
        said = "Only measuring tells what it wins"
    elif math.isinf(remedy.gain_db):
        said = "Predicted: the layer alone loses nothing"
    else:
        said = f"Predicted: the layer alone {remedy.gain_db:+.1f} dB"
    if forecast is not None:
        said += f", the output {text.decibel(forecast.before)} → {text.decibel(forecast.after)}"
    return text.escape(said + (f". {remedy.price[:1].upper()}{remedy.price[1:]}" if remedy.price else ""))


def _use(remedy: Remedy, forecast: OutputForecast | None) -> None:
    """Apply a remedy to the recipe; a callback."""
    now = state.session()
    if now is None:
        return
    seen = state.effect(now).value
    state.edit(remedy.applied, f"{text.short(remedy.layer)}: {remedy.label}")
    after = state.session()
    if after is not None:
        st.session_state[APPLIED] = Applied(
            project=now.project.id,
            words=f"{remedy.label} for {text.short(remedy.layer, 40)}",
            forecast=forecast,
            before=seen.output.overall.sqnr_db if seen is not None else None,
            token=state.recipe_token(after.recipe),
        )


def _measured(now: state.Session) -> None:
    """What the last remedy did, as long as the recipe is the one with it."""
    last: Applied | None = st.session_state.get(APPLIED)
    if last is None or (last.project, last.token) != (now.project.id, state.recipe_token(now.recipe)):
        return
    live = state.effect(now)
    if live.error:
        st.error(text.escape(live.error), icon=":material/error:")
        return
    before = f"{text.decibel(last.before)} → " if last.before is not None else ""
    value = "measuring…" if live.value is None else text.decibel(live.value.output.overall.sqnr_db)
    said = f"{text.escape(last.words)}: output SQNR measured **{before}{value}**"
    if last.forecast is not None:
        said += f", predicted {text.decibel(last.forecast.before)} → {text.decibel(last.forecast.after)}"
    said += f". The exported model in ONNX Runtime, {state.preview_samples(now)}; undo takes it back."
    st.success(said, icon=":material/healing:")


def inspect_button(name: str, key: str) -> None:
    """The way to a layer's Inspector."""
    st.button("Inspect", key=key, icon=":material/tune:", on_click=inspect, args=(name,))


def inspect(name: str) -> None:
    """Show a layer in the Inspector; a callback."""
    state.choose_layer(name)
    st.session_state["go"] = "inspector"
