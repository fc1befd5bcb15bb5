"""Model fixes: each can be switched on and off, with what it did and what it wins."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from quantscope.core.passes import PassRecord
from quantscope.core.recipe import PASSES, Pass, PassChoice, Recipe
from quantscope.core.tuning import FixTrial, switch_pass
from quantscope.ui.content import text
from quantscope.ui.runs import exported_encodings, recipe_search
from quantscope.ui.session import state
from quantscope.ui.session.jobs import Job
from quantscope.ui.views import common, job_progress

MOST = 300  # rows of a table


def render(now: state.Session) -> None:
    """Draw the panel."""
    st.caption(
        "Fixes change weights or biases, not what the float network computes. They are part of the recipe, "
        "applied in this order, replayed by the command line, and undone like any other edit."
    )
    if now.opened.samples is None:
        st.info("The calibration data are not there any more; the fixes measure on them.")
        return
    job = recipe_search.fix_trials(now.project.id)
    known = _known(now, job)
    records = {record.choice.name: record for record in exported_encodings.pass_records(now)}
    for entry in PASSES.values():
        _row(now, entry, known.get(entry.name), records.get(entry.name))
    if job is not None and job.active:
        job_progress.watch("fixes", lambda: recipe_search.fix_trials(now.project.id))
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Measure again" if known else "Measure each fix",
            key="start_fixes",
            icon=":material/straighten:",
            on_click=_begin,
        )
        if known:
            samples = text.plural(next(iter(known.values())).samples, "calibration sample")
            st.caption(f"Gains: output SQNR with against without the fix, on {samples}.")
        elif job is not None and job.error:
            st.caption(f":red[{text.escape(job.error)}]")
        else:
            st.caption("Builds the int8 model once more for each, and runs it on samples kept for judging.")


def _known(now: state.Session, job: Job[recipe_search.FixTrials] | None) -> Mapping[str, FixTrial]:
    """Trials of the shown recipe."""
    found = job.result if job is not None else None
    if found is None or found.token != state.recipe_token(now.recipe):
        return {}
    return {trial.name: trial for trial in found.trials}


def _row(now: state.Session, entry: Pass, trial: FixTrial | None, record: PassRecord | None) -> None:
    chosen = next((choice for choice in now.recipe.passes if choice.name == entry.name), None)
    switch, words, gain = st.columns([3, 7, 2], vertical_alignment="top")
    with switch:
        key, on = common.follow(f"fix_{entry.name}", chosen is not None)
        st.toggle(entry.label, value=on, key=key, on_change=common.changed, args=(key, _toggle, entry.name))
        if chosen is not None and entry.options:
            _options(entry, chosen)
    with words:
        st.markdown(text.escape(entry.sentence))
        if record is not None:
            st.caption("  \n".join(text.escape(sentence) for sentence in record.sentences[:4]))
            if record.touched:
                _touched(entry, record)
    with gain:
        if trial is not None:
            colour = "green" if trial.gain_db >= 0.1 else "red" if trial.gain_db <= -0.1 else "gray"
            st.markdown(
                f":{colour}[**{_signed(trial.gain_db)} dB**]",
                help=f"Output SQNR {text.decibel(trial.before_db)} as it is, "
                f"{text.decibel(trial.after_db)} {'with' if trial.added else 'without'} this fix.",
            )
            if trial.gain_db <= -0.1:
                st.caption("The outputs lose by it: leave it out.")


def _signed(gain: float) -> str:
    return "0.0" if abs(gain) < 0.05 else f"{gain:+.1f}".replace("-", "−")


def _options(entry: Pass, chosen: PassChoice) -> None:
    with st.popover("Options", icon=":material/settings:"):
        for name, option in entry.options.items():
            key, value = common.follow(f"fix_{entry.name}_{name}", float(chosen.option(name)))
            st.number_input(
                option.what[:1].upper() + option.what[1:],
                value=value,
                min_value=float(option.low),
                max_value=float(option.high),
                step=0.05 if option.high <= 1 else 8.0,
                format="%.2f" if option.high <= 1 else "%.0f",
                key=key,
                on_change=common.changed,
                args=(key, _set, entry.name, name),
            )


def _touched(entry: Pass, record: PassRecord) -> None:
    with st.expander(f"Before and after: {text.escape(record.measure)}"):
        rows = record.touched[:MOST]
        st.dataframe(
            pd.DataFrame(
                {
                    "where": [row.name for row in rows],
                    "before": [row.before for row in rows],
                    "after": [row.after for row in rows],
                }
            ),
            hide_index=True,
            width="stretch",
            height=min(280, 38 + 35 * len(rows)),
            key=f"touched_{entry.name}",
            column_config={
                name: st.column_config.NumberColumn(format="%.4g") for name in ("before", "after")
            },
        )


def _begin() -> None:
    now = state.session()
    if now is not None:
        recipe_search.start_fix_trials(now)


def _toggle(on: bool, name: str) -> None:
    state.edit(lambda recipe: switch_pass(recipe, name, on), f"{PASSES[name].label} {'on' if on else 'off'}")


def _set(value: float, name: str, option: str) -> None:
    def change(recipe: Recipe) -> Recipe:
        return recipe.with_passes(
            *(
                PassChoice(name=c.name, options={**c.options, option: value}) if c.name == name else c
                for c in recipe.passes
            )
        )

    state.edit(change, f"{PASSES[name].label}: {option} {value:g}")
