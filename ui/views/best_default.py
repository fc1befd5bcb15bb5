"""Try every method as the default of the whole network, and use the one that measures best."""

import streamlit as st

from quantscope.core.tuning import MARGIN_DB, MeasuredDefault
from quantscope.ui.content import text
from quantscope.ui.content.method_words import default_words
from quantscope.ui.figures.trials import trials_figure
from quantscope.ui.runs import recipe_search
from quantscope.ui.runs.recipe_search import DefaultTrials
from quantscope.ui.session import state
from quantscope.ui.session.jobs import Job, State
from quantscope.ui.views import job_progress


def render(now: state.Session) -> None:
    """Draw it."""
    if now.workspace.samples is None:
        st.info("The calibration data are not there any more, so that nothing can be measured.")
        return
    job = recipe_search.default_trials(now.project.id)
    st.caption(
        "Tries every method for the whole network and measures the int8 output against float on calibration "
        "samples; settings of single layers stay."
    )
    # Buttons stand outside the part that polls: a click on them is never lost to its redrawing.
    if job is None:
        _start("Try every method")
    elif job.active:
        job_progress.watch("trials", lambda: recipe_search.default_trials(now.project.id))
    else:
        _result(now, job)


def _start(label: str) -> None:
    st.button(label, key="start_trials", icon=":material/auto_awesome:", on_click=_begin)


def _begin() -> None:
    now = state.session()
    if now is not None:
        recipe_search.start_default_trials(now)


def _result(now: state.Session, job: Job[DefaultTrials]) -> None:
    if job.state is State.CANCELLED:
        st.info("It was cancelled before every method was measured.")
        _start("Try again")
        return
    if job.error:
        st.error(text.escape(text.sentence(job.error)), icon=":material/error:")
        _start("Try again")
        return
    assert job.result is not None  # it is done
    found = job.result.found
    st.plotly_chart(trials_figure(found.trials, found.best), key="trials", config={"displayModeBar": False})
    in_use = now.recipe.default == found.best.choice
    with st.container(horizontal=True, vertical_alignment="center"):
        label = text.escape(default_words(found.best.choice))
        st.button(
            f"In use: {label}" if in_use else f"Use {label}",
            key="use_best",
            type="primary",
            disabled=in_use,
            on_click=_use,
            args=(found,),
        )
        _start("Measure again")
        said = f"measured on {text.plural(found.samples, 'calibration sample')}, {text.duration(job.elapsed)}"
        refused = [t for t in found.trials if t.refused and t.sqnr_db > found.best.sqnr_db]
        if found.best is found.trials[0] and not refused:
            said += f"; nothing wins {MARGIN_DB:g} dB over MinMax, and less may be chance"
        if state.recipe_token(now.recipe) not in job.result.tokens:
            said += f"; {text.EARLIER}"
        st.caption(said)
    for trial in refused:
        st.caption(
            f"Not taken: {text.escape(default_words(trial.choice))}, which {text.escape(trial.refused)}."
        )


def _use(found: MeasuredDefault) -> None:
    choice = found.best.choice
    state.edit(lambda recipe: recipe_search.with_default(recipe, choice), f"default {default_words(choice)}")
