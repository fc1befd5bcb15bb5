"""History: one step, what was changed in it, its name and note, and what can be done with it."""

import streamlit as st

from quantscope.core.errors import QuantScopeError
from quantscope.core.project import Scope, marks
from quantscope.ui.content import text
from quantscope.ui.content.choices import choice_changes
from quantscope.ui.content.step_tree import moment
from quantscope.ui.runs import compared, history, versions
from quantscope.ui.runs.history import Known
from quantscope.ui.runs.versions import Version
from quantscope.ui.session import keys, state
from quantscope.ui.session.keys import Page
from quantscope.ui.session.memory import uninterrupted
from quantscope.ui.views import compare
from quantscope.ui.views.compare_figures import change_line

CHANGES = 6  # lines of changed choices that are shown


def render(now: state.Session, known: Known, version: Version) -> None:
    """Draw it."""
    shown = version.number == now.project.head
    with st.container(border=True):
        st.markdown(f"**Step {version.number}: {text.escape(version.what)}**")
        st.caption(" · ".join(filter(None, (moment(version.time), _origin(now, version)))))
        _what(now, version)
        _words(now, version)
        refused = compared.refused_steps(now).get(version.key)
        if refused and known.figures(version.number, Scope.WHOLE) is None:
            st.caption(f":red[:material/error:] It could not be measured: {text.escape(refused)}")
        _ways(now, known, version, shown=shown)


def _origin(now: state.Session, version: Version) -> str:
    parent = now.project.parents.get(version.number, 0)
    return f"made from step {parent}" if parent else "the first step"


def _what(now: state.Session, version: Version) -> None:
    """What the step chose otherwise than the one before."""
    parent = versions.find(now, versions.step_key(now.project.parents.get(version.number, 0)))
    if parent is None:
        return
    try:
        before, after = versions.recipe_of(now, parent), versions.recipe_of(now, version)
    except QuantScopeError as error:
        st.caption(text.escape(str(error)))
        return
    assert before is not None  # both are steps
    assert after is not None
    found = choice_changes(before, after, now.opened.model)
    lines = [change_line(change) for change in found[:CHANGES]]
    if len(found) > CHANGES:
        lines.append(f"- … and {len(found) - CHANGES:,} more: see *Compare*")
    st.markdown("\n".join(lines) or "- the same choices as the step before")


def _words(now: state.Session, version: Version) -> None:
    """Name and note."""
    identity = now.project.identity
    name, note = keys.step_name(identity, version.number), keys.step_note(identity, version.number)
    st.text_input(
        "Name",
        value=version.name,
        max_chars=marks.NAME_LENGTH,
        key=name.name,
        placeholder="as for the steps that matter",
        on_change=_call,
        args=(version.number,),
    )
    st.text_area(
        "Note",
        value=version.note,
        max_chars=marks.NOTE_LENGTH,
        key=note.name,
        height=68,
        on_change=_call,
        args=(version.number,),
    )


@uninterrupted
def _call(number: int) -> None:
    now = state.session()
    if now is None:
        return
    identity = now.project.identity
    name, note = keys.step_name(identity, number), keys.step_note(identity, number)
    refused = history.call(now.project, number, name.get(), note.get())
    keys.NOTICE.set(refused)
    if refused:
        name.pop()  # what is kept is shown again


def _ways(now: state.Session, known: Known, version: Version, *, shown: bool) -> None:
    """What can be done with the step."""
    number, pinned = version.number, known.pinned == version.number
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Shown" if shown else "Go back to this step" if number < now.project.head else "Show this step",
            key="step_show",
            type="secondary" if shown else "primary",
            icon=":material/restore:",
            disabled=shown,
            on_click=_go,
            args=(number,),
            help="All pages show it then. Nothing is lost: later steps stay; the next edit starts a branch.",
        )
        st.button(
            "Compare with shown",
            key="step_compare",
            icon=":material/compare_arrows:",
            disabled=shown,
            on_click=_compare,
            args=(version,),
        )
        st.button(
            "Unpin" if pinned else "Pin as baseline",
            key="step_pin",
            icon=":material/keep_off:" if pinned else ":material/keep:",
            on_click=_pin,
            args=(None if pinned else version,),
            help="Figures elsewhere then show their distance to it.",
        )
        st.button(
            "Start a branch",
            key="step_branch",
            icon=":material/call_split:",
            on_click=_branch,
            args=(number,),
            help="Makes a new step with the same choices after this one, and shows it.",
        )
    _delete(now, version)


def _delete(now: state.Session, version: Version) -> None:
    number, project = version.number, now.project
    with st.container(horizontal=True, gap="small"):
        if number in project.hidden:
            st.button(
                "Bring back",
                key="step_back",
                icon=":material/restore_from_trash:",
                on_click=_bring_back,
                args=(number,),
            )
            return
        made = history.may_hide(project, number)
        st.button(
            "Delete",
            key="step_delete",
            type="tertiary",
            icon=":material/delete:",
            disabled=not made,
            on_click=_hide,
            args=((number,),),
            help="Takes it out of the history; it can be brought back."
            if made
            else "The shown step is this one or was made from it.",
        )
        if len(made) > 1:
            st.button(
                f"Delete with the {len(made) - 1:,} made from it",
                key="step_delete_all",
                type="tertiary",
                icon=":material/delete_sweep:",
                on_click=_hide,
                args=(tuple(sorted(made)),),
            )


@uninterrupted
def _go(number: int) -> None:
    state.go_to(number)
    _follow_shown()


@uninterrupted
def _branch(number: int) -> None:
    state.branch(number, f"branch from step {number}")
    _follow_shown()


def _follow_shown() -> None:
    """Let the page tell of the shown step, whichever that is."""
    opened = state.project()
    if opened is not None:
        keys.history_step(opened.identity).set(0)


@uninterrupted
def _compare(version: Version) -> None:
    now = state.session()
    if now is not None:
        shown = versions.find(now, versions.step_key(now.project.head))
        compare.choose(now, (version, shown) if shown is not None else (version,))
        keys.GO.set(Page.COMPARE)


@uninterrupted
def _pin(version: Version | None) -> None:
    now = state.session()
    if now is None:
        return
    keys.NOTICE.set(history.pin(now.project, version))
    missing = version is not None and history.known(now).figures(version.number, Scope.WHOLE) is None
    if version is not None and missing and now.workspace.preview is not None:
        compared.measure_steps(now, (version,))


@uninterrupted
def _hide(numbers: tuple[int, ...]) -> None:
    now = state.session()
    if now is not None:
        refused = history.hide(now.project, set(numbers))
        keys.NOTICE.set(refused)
        if not refused:
            keys.history_deleted(now.project.identity).set(numbers)
            keys.history_step(now.project.identity).set(0)


@uninterrupted
def _bring_back(number: int) -> None:
    now = state.session()
    if now is not None:
        keys.NOTICE.set(history.bring_back(now.project, {number}))
