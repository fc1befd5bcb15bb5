"""Open: a sample, uploaded files or local paths; then calibration, with progress; and recent projects."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import streamlit as st

from quantscope.core.errors import QuantScopeError
from quantscope.core.project import Project, ProjectEntry, Source, left_at
from quantscope.core.project import project as projects
from quantscope.sample_data import SAMPLES, Sample
from quantscope.ui.content import text
from quantscope.ui.session import cached, keys, locating, opening, state, workspace
from quantscope.ui.session.jobs import State
from quantscope.ui.session.keys import Page, Refusal
from quantscope.ui.session.memory import uninterrupted
from quantscope.ui.views import common, own_model
from quantscope.ui.views.own_model import AT_FORM

RECENT = 12  # projects listed before all are asked for
AT_SAMPLES, AT_RECENT = "samples", "recent"  # where a project is asked for
FRESH = "The sample starts fresh. What was done with it before is kept: “Continue where you left” is on Open."


def greet(*, model: str, data: str, evaluation: str, demo: str) -> None:
    """Open what the command line named, once a session."""
    keys.ASKED_AT.set("")
    try:
        if model:
            if data.endswith(".py"):
                workspace.READERS.add(data)
            if evaluation.endswith(".py"):
                workspace.READERS.add(evaluation)
            for key, path in (
                (keys.MODEL_PATH, model),
                (keys.DATA_PATH, data),
                (keys.EVALUATION_PATH, evaluation),
            ):
                key.set(path)  # in the form, should any of them turn out to be wrong
            state.show(opening.open_paths(model, data or None, evaluation or None))
        elif demo:
            before = opening.known_sample(demo)
            first = cached.first_time(
                f"demo {demo}"
            )  # of this server: another tab goes on with what is there
            state.show(opening.fresh_sample(demo) if first else opening.open_sample(demo))
            if first and before is not None and left_at(before):
                state.tell(FRESH)
    except QuantScopeError as error:
        state.refuse(str(error))


def render() -> None:
    """Draw the page."""
    common.title(
        "Open a model", "A float ONNX model and some calibration data go in; a tuned int8 model comes out."
    )
    if keys.ENTER.get() and _ready():
        keys.ENTER.pop()
        common.go(Page.OVERVIEW)
    _became("")
    st.subheader("Try a sample", anchor=False)
    for column, sample in zip(st.columns(len(SAMPLES)), SAMPLES.values(), strict=True):
        with column.container(border=True, height="stretch", vertical_alignment="distribute"):
            _sample_card(sample)
    _became(AT_SAMPLES)
    st.subheader("Your model", anchor=False)
    own_model.render(lambda make: _attempt(make, AT_FORM), lambda: _became(AT_FORM))
    _recent()


def _ready() -> bool:
    """Whether there is something to look at."""
    opened, job = state.project(), state.job()
    return opened is not None and (state.looked_at(opened) or (job is not None and job.state is State.DONE))


def _became(place: str) -> None:
    """What became of the project that was asked for at a place: how far it is, or why it was refused."""
    refused = keys.REFUSED.get()
    if refused.words and refused.place == place:
        st.error(text.escape(text.sentence(refused.words)), icon=":material/error:")
    if keys.ASKED_AT.get() == place and not (refused.words and refused.place == place):
        common.preparing()


def _enter(opened: Project) -> None:
    """Open a project and go to its Overview as soon as it is ready."""
    before = state.project()
    if before is not None and before.id != opened.id:
        keys.OPEN_BEFORE.set(before.id)
    state.show(opened)
    keys.ENTER.set(True)
    if not state.looked_at(opened):
        state.restart(opened) if _ended_badly(opened) else state.start(opened)


def _ended_badly(opened: Project) -> bool:
    job = state.start(opened)
    return job.state in (State.FAILED, State.CANCELLED)


@uninterrupted
def _attempt(make: Callable[[], Project], place: str, said: str = "") -> None:
    """Make a project and enter it; what is wrong is said where it was asked for."""
    keys.REFUSED.set(Refusal("", ""))
    keys.ASKED_AT.set(place)
    known = {entry.id for entry in projects.list_projects(limit=100_000)} if place == AT_FORM else set()
    try:
        opened = make()
        _enter(opened)
    except QuantScopeError as error:
        state.refuse(str(error))
        return
    if place == AT_FORM and opened.id in known and opened.depth > 1:
        said = f"This model was opened with these data before: it goes on where it was left, {_left(opened)}."
    if said:
        state.tell(said)


def _sample_card(sample: Sample) -> None:
    with st.container():
        st.markdown(f"**{text.escape(sample.title)}**")
        st.caption(text.escape(sample.description))
    known = opening.known_sample(sample.name)
    left = left_at(known) if known is not None else 0
    with st.container():
        st.caption(f"float top-1 {100 * sample.float_accuracy:.1f} %")
        _sample_buttons(sample, known, left)


def _sample_buttons(sample: Sample, known: Project | None, left: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Start fresh" if left else "Open",
            key=f"sample_{sample.name}",
            on_click=_attempt,
            args=(lambda: opening.fresh_sample(sample.name), AT_SAMPLES),
            help="From the defaults; what was done before stays in the history." if left else None,
        )
        if known is not None and left:
            st.button(
                "Continue where you left",
                key=f"continue_{sample.name}",
                on_click=_attempt,
                args=(lambda: opening.continued_sample(sample.name), AT_SAMPLES),
                type="tertiary",
                icon=":material/history:",
                help=text.escape(f"Goes on {_left(known, left)}."),
            )


def _left(known: Project, number: int | None = None) -> str:
    """The step that work goes on from, in words."""
    try:
        return f"at “{projects.read_step(known, number).label}”"
    except QuantScopeError:
        return "at the newest step"


def _recent() -> None:
    listed = projects.list_projects(limit=1000)
    entries = [entry for entry in listed if entry.calibrated or not _refused(entry)]
    if not entries:
        return
    st.subheader("Recent projects", anchor=False)
    _became(AT_RECENT)
    opened = state.project()
    alike = Counter(_looks(entry) for entry in entries)
    with st.container(border=True, gap=None):
        for entry in entries if keys.ALL_RECENT.get() else entries[:RECENT]:
            _recent_entry(entry, opened is not None and opened.id == entry.id, alike[_looks(entry)] > 1)
        if len(entries) > RECENT:
            st.toggle(f"Show all {len(entries)}", key=keys.ALL_RECENT.name)
    asked = keys.REMOVAL.get()  # until it is answered: the page may be drawn again meanwhile
    if asked is not None:
        _confirm(asked)


def _refused(entry: ProjectEntry) -> bool:
    """Never calibrated, and not about to be: model or data were of no use, and there is nothing to keep."""
    job = cached.registry().get(state.opening_id(entry.id))
    return job is None or job.state is State.FAILED


def _looks(entry: ProjectEntry) -> tuple[str, ...]:
    """What the list shows of a project: its name, model and data."""
    return entry.name, *(_where(source) for source in (entry.model, entry.data) if source is not None)


def _recent_entry(entry: ProjectEntry, is_open: bool, alike: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center", wrap=False):
        badge = "  :green-badge[open]" if is_open else ""
        badge += "  :orange-badge[moved]" if locating.missing(entry.model) else ""
        st.markdown(f"**{text.escape(entry.name)}**{badge}", width=260)
        parts = list(_looks(entry)[1:])
        if alike and entry.created:
            versions = text.plural(entry.steps, "recipe version")
            parts.append(f"begun {_local(entry.created)}, {versions}")
        st.caption("  \n".join(dict.fromkeys(parts)) if parts else ":red[damaged]", width="stretch")
        st.caption(_ago(entry.changed), width=120)
        st.button(
            "Open",
            key=f"open_{entry.id}",
            on_click=_attempt,
            args=(lambda: projects.open_project(entry.id), AT_RECENT),
            type="tertiary",
        )
        st.button(
            "",
            key=f"remove_{entry.id}",
            icon=":material/delete:",
            type="tertiary",
            on_click=_ask_removal,
            args=(entry.id,),
            help="Remove this project and its recipe history",
        )


def _where(source: Source) -> str:
    if source.kind == "random":
        return "random data"
    if source.kind == "stored":
        return f"uploaded {text.code(text.short(Path(source.path).name, 30))}"
    return "sample" if source.kind == "sample" else text.code(text.short(source.path, 44))


def _local(time: str) -> str:
    """Date and time of this machine's clock."""
    return f"{datetime.fromisoformat(time).astimezone():%d %b %Y, %H:%M:%S}"


def _ask_removal(id: str) -> None:
    keys.REMOVAL.set(id)


def _answered() -> None:
    keys.REMOVAL.pop()


@st.dialog("Remove this project?", on_dismiss=_answered)
def _confirm(id: str) -> None:
    st.markdown(
        f"The recipe history and uploaded files of {text.code(id)} are deleted. "
        "Models and data that were opened by path stay where they are."
    )
    with st.container(horizontal=True):
        if st.button("Remove", type="primary", key="confirm_removal", on_click=_remove, args=(id,)):
            st.rerun()
        if st.button("Keep", key="keep_project", on_click=_answered):
            st.rerun()


def _remove(id: str) -> None:
    """Remove a project; its work ends first, which has files of it open."""
    _answered()
    opened = state.project()
    cached.forget(id)
    try:
        projects.delete(id)
    except QuantScopeError as error:
        keys.NOTICE.set(str(error))
        return
    if opened is not None and opened.id == id:
        state.show(None)


def _ago(time: str) -> str:
    gone = (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()
    for seconds, noun in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if gone >= seconds:
            return f"{text.plural(int(gone // seconds), noun)} ago"
    return "just now"
