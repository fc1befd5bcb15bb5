"""A project whose model was moved or deleted: where it is now, and what can be had without it."""

import streamlit as st

from quantscope.core.errors import DataError, QuantScopeError
from quantscope.core.project import Project, Source
from quantscope.core.project import project as projects
from quantscope.ui.content import text
from quantscope.ui.runs import exporting
from quantscope.ui.session import cached, keys, locating, opening, state, workspace
from quantscope.ui.session.memory import uninterrupted

STEPS = 12  # of the history that are listed


def render(opened: Project, path: str) -> None:
    """Draw it in place of a page.

    Args:
        opened: The project.
        path: Where its model lay.
    """
    st.warning(
        f"**The model's file is no longer where it was:** {text.code(path)}  \nPut it back, or say where "
        "it is now. It is recognized by its content, and everything goes on where you left it.",
        icon=":material/location_searching:",
    )
    left, right = st.columns(2, gap="large")
    with left.container(border=True, height="stretch"):
        _where(opened)
    with right.container(border=True, height="stretch"):
        _kept(opened)


def _where(opened: Project) -> None:
    st.markdown("**Locate the model**")
    typed = st.text_input("New path of the model", key=keys.LOCATE_PATH.name, placeholder="/models/net.onnx")
    uploaded = st.file_uploader("or upload it", type=["onnx"], key=keys.LOCATE_FILE.name)
    with st.container(horizontal=True):
        st.button(
            "Use this model",
            type="primary",
            key="locate",
            icon=":material/check:",
            disabled=not typed and uploaded is None,
            on_click=_locate,
            args=(opened,),
        )
        st.button("Look again", key="look_again", icon=":material/refresh:", on_click=_again, args=(opened,))
    if refused := keys.LOCATE_REFUSED.get():
        st.error(text.escape(text.sentence(refused)), icon=":material/error:")


def _kept(opened: Project) -> None:
    """The recipe, and the steps that led to it."""
    st.markdown("**What is kept**")
    try:
        shown = projects.read_step(opened)
    except QuantScopeError as error:
        st.error(text.escape(text.sentence(str(error))), icon=":material/error:")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Recipe",
            data=shown.recipe,
            file_name=exporting.recipe_name(exporting.stem(opened.name)),
            mime="application/yaml",
            icon=":material/description:",
            on_click="ignore",
            key="get_recipe_kept",
        )
        st.caption("All choices as text; `quantscope quantize --recipe` replays them.")
    with st.expander("Choices"):
        st.code(shown.recipe, language="yaml", height=260)
    number = opened.head
    lines: list[str] = []
    while number and len(lines) < STEPS:
        try:
            lines.append(f"- {text.escape(projects.read_step(opened, number).label)}")
        except QuantScopeError:
            lines.append("- :red[damaged]")
        number = opened.parents.get(number, 0)
    st.caption(f"{text.plural(opened.depth, 'step')}, the newest first")
    st.markdown("\n".join(lines) + ("\n- …" if number else ""))


@uninterrupted
def _locate(opened: Project) -> None:
    """Take the model from the place that stands in the form now, if it is the same."""
    keys.LOCATE_REFUSED.pop()
    known = workspace.saved_statistics(opened.folder)
    try:
        uploaded = keys.LOCATE_FILE.get()
        given = (uploaded.name, uploaded.getvalue()) if uploaded is not None else None
        source = given or opening.model_source(keys.LOCATE_PATH.get())
        found = locating.locate_model(opened, source, known.model_hash if known is not None else "")
    except QuantScopeError as error:
        keys.LOCATE_REFUSED.set(str(error))
        return
    cached.forget(found.id)
    keys.PROJECT.set(found)
    if not state.looked_at(found):
        state.start(found)


@uninterrupted
def _again(opened: Project) -> None:
    keys.LOCATE_REFUSED.pop()
    cached.forget(opened.id)  # the next drawing starts what is to be shown


def data(now: state.Session, path: str) -> None:
    """Draw, above a page, that the calibration data are not there any more.

    Args:
        now: The open project.
        path: Where they lay.
    """
    with st.container(border=True):
        without = "" if now.workspace.evaluation is not None else " Without them nothing can be measured."
        st.markdown(
            f":orange[:material/location_searching:] **The calibration data are no longer where they were:** "
            f"{text.code(path)}  \nRanges stay as they were found.{without}"
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            typed = st.text_input(
                "New path of the data", key=keys.LOCATE_DATA.name, placeholder="/data/calibration", width=420
            )
            st.button(
                "Use these data",
                key="locate_data",
                icon=":material/check:",
                disabled=not typed,
                on_click=_locate_data,
                args=(now,),
            )
        if refused := keys.LOCATE_REFUSED.get():
            st.error(text.escape(text.sentence(refused)), icon=":material/error:")


@uninterrupted
def _locate_data(now: state.Session) -> None:
    """Take the data from the place that stands in the form now, if they are the same."""
    keys.LOCATE_REFUSED.pop()

    def check(project: Project, source: Source) -> None:
        samples = workspace.open_data(project, source, now.opened.model)
        if samples.fingerprint != now.opened.statistics.data_fingerprint:
            raise DataError(
                f"{samples.source} holds other samples than this project was calibrated with; nothing was "
                "changed. Open the model with them on Open, which makes a project of its own"
            )

    try:
        found = locating.locate_data(now.project, opening.data_source(keys.LOCATE_DATA.get()), check)
    except QuantScopeError as error:
        keys.LOCATE_REFUSED.set(str(error))
        return
    cached.forget(found.id)
    keys.PROJECT.set(found)
    state.start(found)
