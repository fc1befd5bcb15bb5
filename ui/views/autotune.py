"""Auto-tune: the app looks for the recipe that measures best, and tells what it tried and why it kept it."""

import pandas as pd
import streamlit as st

from quantscope.core.evaluate import Comparison
from quantscope.core.tuning import AutotuneResult
from quantscope.ui.content import text
from quantscope.ui.content.method_words import step_words
from quantscope.ui.content.outcome import outcome
from quantscope.ui.figures.steps import steps_figure
from quantscope.ui.runs import measured, recipe_search
from quantscope.ui.runs.recipe_search import AutotuneRun
from quantscope.ui.session import state
from quantscope.ui.session.jobs import Job
from quantscope.ui.views import common, job_progress

PLAIN = {"displayModeBar": False}
WHAT = (
    "Looks for the recipe that measures best: methods, model fixes, single layers. What you have set stays, "
    "and nothing changes before you use the result."
)
HOW = (
    "Builds and runs complete int8 models: every method as the default, each model fix, other methods "
    "for the worst layers. A step is kept only where the output comes closer to float; the result is "
    "judged on samples that no threshold has seen, and is never worse there than plain MinMax. "
    "Layers that you have set keep their choice."
)


def render(now: state.Session) -> None:
    """Draw it."""
    if now.opened.samples is None:
        st.info("The calibration data are not there any more, so that nothing can be tuned.")
        return
    found = recipe_search.autotune_run(now.project.id)
    if found is None and not now.encodings.placement.nodes:
        st.info("No layer is quantized, so there is nothing to tune.")
    elif found is None:
        with st.container(horizontal=True, vertical_alignment="center"):
            _start("Auto-tune", primary=True)
            st.caption(WHAT, help=HOW, width="stretch")
    elif found[0].active:
        with st.container(border=True):
            common.poll("tune", 0.5, _progress, now.project.id)
    else:
        with st.container(border=True):
            _ended(now, *found)


def _start(label: str, *, primary: bool = False) -> None:
    st.button(
        label,
        key="start_tune",
        icon=":material/auto_fix_high:",
        type="primary" if primary else "secondary",
        on_click=_begin,
    )


def _begin() -> None:
    now = state.session()
    if now is not None:
        recipe_search.start_tune(now)


def _progress(id: str) -> None:
    found = recipe_search.autotune_run(id)
    job = common.running("tune", found[0] if found is not None else None)
    if found is None or job is None:
        return
    growing, label = found[1], job.progress.label or "starting"
    if growing.result is None:
        total = max(job.progress.total, 1)
        words = f"Auto-tune: step {min(job.progress.done + 1, total)} of about {total}"
    else:
        words = "Auto-tune: before and after"
    words += f" · {text.duration(job.elapsed)} · {text.escape(step_words(label))}"
    job_progress.line(job, "tune", words, keeps=True)
    st.caption(
        "You may leave this page: the work goes on. The figure is the output's SQNR against float on the "
        "calibration samples that choices are made on."
    )
    if growing.steps:
        st.plotly_chart(steps_figure(list(growing.steps)), key="steps_growing", config=PLAIN)


def _ended(now: state.Session, job: Job[object], growing: AutotuneRun) -> None:
    if growing.result is None:
        if job.error:
            st.error(text.escape(text.sentence(job.error)), icon=":material/error:")
        else:
            st.info("It was stopped before anything was found.")
        _start("Try again")
        return
    found = growing.result
    _verdict(now, found, growing)
    with st.container(horizontal=True, vertical_alignment="center"):
        in_use = recipe_search.used(now.recipe, found)
        st.button(
            "In use" if in_use else "Use the tuned recipe",
            key="use_tuned",
            type="primary",
            icon=":material/check:",
            disabled=in_use,
            on_click=_use,
            args=(found,),
        )
        _start("Tune again")
        said = f"{text.plural(len(found.steps), 'step')}, {text.duration(job.elapsed)}"
        if not in_use and growing.token != state.recipe_token(now.recipe):
            said += f"; {text.EARLIER}"
        st.caption(said)
    with st.expander("What was tried, and why it was kept"):
        _steps(found)


def _steps(found: AutotuneResult) -> None:
    st.caption(
        f"Output SQNR against float on the {text.plural(found.choosing, 'calibration sample')} that choices "
        "are made on; where there are several outputs, or channels of very different size, all count alike. "
        + HOW
    )
    st.plotly_chart(steps_figure(found.steps), key="steps", config=PLAIN)
    st.dataframe(
        pd.DataFrame(
            {
                "step": range(1, len(found.steps) + 1),
                "kept": [step.kept for step in found.steps],
                "output SQNR, dB": [round(step.sqnr_db, 2) for step in found.steps],
                "what": [step_words(step.what) for step in found.steps],
                "why": [step.why for step in found.steps],
            }
        ),
        hide_index=True,
        width="stretch",
        column_config={"step": st.column_config.NumberColumn(width="small")},
    )


def _verdict(now: state.Session, found: AutotuneResult, growing: AutotuneRun) -> None:
    where = (
        f"on {text.plural(found.held_out, 'calibration sample')} kept for judging"
        if found.held_out
        else "on the samples that it was chosen on: with 16 or more, a third would be held out"
    )
    judged = (
        f"What decided: output SQNR **{text.decibel(found.minmax_db)}** with plain MinMax → "
        f"**{text.decibel(found.tuned_db)}** tuned, {where}."
    )
    words = judged if growing.after is None else f"{_figures(now, growing.before, growing.after)}  \n{judged}"
    if not found.complete:
        words += " It was stopped early: more might be found."
    if growing.unmeasured:
        words += f" It could not be measured as a whole: {text.escape(growing.unmeasured)}."
    for warning in found.warnings:
        st.warning(text.escape(warning), icon=":material/warning:")
    if found.tuned_db > found.minmax_db:
        st.success(words, icon=":material/trending_up:")
    else:
        st.info(f"Nothing measures better than plain MinMax here. {words}", icon=":material/info:")


def _figures(now: state.Session, before: Comparison | None, after: Comparison) -> str:
    """What counts, before → after, over the samples that the cards are over."""
    return f"{outcome(before or after, after)}, over {measured.judged_basis(now).markdown}."


def _use(found: AutotuneResult) -> None:
    state.edit(lambda _: found.recipe, "auto-tune")
