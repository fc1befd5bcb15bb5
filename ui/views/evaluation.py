"""Evaluation data of the open project: given later, replaced, or taken away again."""

from collections.abc import Mapping
from pathlib import Path

import streamlit as st

from quantscope.core.errors import QuantScopeError
from quantscope.core.project import Project
from quantscope.ui.content import text
from quantscope.ui.session import cached, keys, opening, state, workspace
from quantscope.ui.session.memory import uninterrupted
from quantscope.ui.views import data_options
from quantscope.ui.views.path_or_file import DATA_TYPES, PATH, UPLOAD, PathOrFile, given

LATER = PathOrFile(
    path=keys.LATER_PATH,
    path_label="Path of the evaluation data",
    placeholder="/data/evaluation",
    look=opening.data_source,
    file=keys.LATER_FILE,
    file_label="Evaluation file",
    types=DATA_TYPES,
)
GONE = "The evaluation data cannot be opened: judged on the calibration samples"


def words(now: state.Session) -> str:
    """What quality is judged on, as a line of the sidebar; nothing where that is the calibration data."""
    found = now.workspace.evaluation
    if found is None:
        return f":orange[{GONE}]  \n" if now.project.evaluation is not None else ""
    return f"Judged on: {text.plural(len(found), 'sample')}, {text.escape(found.source)}  \n"


def offer(opened: Project) -> None:
    """The way to other evaluation data, for the user's own model."""
    if opened.model.kind == "sample":
        return
    st.button(
        "Add evaluation data" if opened.evaluation is None else "Change evaluation data",
        key="evaluation",
        icon=":material/fact_check:",
        type="tertiary",
        on_click=_ask,
        help="Accuracy and errors come from the calibration samples now, which the thresholds were set on. "
        "Give samples that calibration has not seen."
        if opened.evaluation is None
        else None,
    )
    if keys.EVALUATION_ASKED.get():
        _dialog(opened)


def _ask() -> None:
    keys.EVALUATION_REFUSED.pop()
    keys.EVALUATION_ASKED.set(True)


def _dismissed() -> None:
    keys.EVALUATION_ASKED.set(False)


@st.dialog("Evaluation data", width="medium", on_dismiss=_dismissed)
def _dialog(opened: Project) -> None:
    st.markdown(
        "Samples that calibration does not see, best with labels. Accuracy, errors and every figure of "
        "quality are measured on them; thresholds stay as they are."
    )
    _present(opened)
    by = st.segmented_control(
        "New evaluation data" if opened.evaluation else "Evaluation data",
        [PATH, UPLOAD],
        default=PATH,
        required=True,
        key="later_by",
    )
    fine = LATER.draw(by)
    with st.expander("Images, labels and number of samples"):
        first, second, third = st.columns(3)
        options = {
            **data_options.count(first, "Samples to use", "later_limit"),
            **data_options.labels(second, "Labels file", "later_labels"),
            **data_options.preprocessing(third, "later_"),
        }
        if opened.data.options.get("preprocessing") and "preprocessing" not in options:
            options["preprocessing"] = opened.data.options["preprocessing"]
            st.caption("Images are prepared as the calibration data are, unless you choose otherwise.")
    st.button(
        "Judge on these",
        type="primary",
        key="later_use",
        icon=":material/check:",
        disabled=not LATER.chosen(by) or not fine,
        on_click=_use,
        args=(by, options),
    )
    if refused := keys.EVALUATION_REFUSED.get():
        st.error(text.escape(text.sentence(refused)), icon=":material/error:")
    if not keys.EVALUATION_ASKED.get():
        st.rerun()


def _present(opened: Project) -> None:
    """The evaluation data that are there, and the way to do without."""
    if opened.evaluation is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", border=True):
        st.markdown(f"Now: {text.code(Path(opened.evaluation.path).name)}", width="stretch")
        st.button("Remove", key="later_remove", icon=":material/delete:", type="tertiary", on_click=_remove)
    now = state.session()
    if now is not None and now.workspace.evaluation is None:
        why = next((note for note in now.workspace.notes if note.startswith(workspace.UNUSABLE)), f"{GONE}.")
        st.warning(
            text.escape(f"{text.sentence(why)} Until then, figures come from the calibration samples."),
            icon=":material/warning:",
        )


@uninterrupted
def _use(by: str, options: Mapping[str, object]) -> None:
    """Judge on other data, if they can be used."""
    keys.EVALUATION_REFUSED.pop()
    now, chosen = state.session(), LATER.chosen(by)
    if now is None or not chosen:
        return
    try:
        found = opening.give_evaluation(
            now.project,
            given(chosen),
            options,
            lambda project, source: workspace.open_evaluation(project, source, now.opened.model),
        )
    except QuantScopeError as error:
        keys.EVALUATION_REFUSED.set(str(error))
        return
    _changed(found)


@uninterrupted
def _remove() -> None:
    opened = state.project()
    if opened is None:
        return
    try:
        _changed(opening.drop_evaluation(opened))
    except QuantScopeError as error:
        keys.EVALUATION_REFUSED.set(str(error))


def _changed(found: Project) -> None:
    """Measure anew: every figure of quality was of other samples."""
    keys.EVALUATION_ASKED.set(False)
    cached.forget(found.id)
    keys.PROJECT.set(found)
    state.start(found)
