"""Open: a sample, uploaded files or local paths; then calibration, with progress; and recent projects."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from quantscope.core.data.sources import PRESETS
from quantscope.core.errors import QuantScopeError
from quantscope.core.project import Project, ProjectEntry, Source
from quantscope.core.project import project as projects
from quantscope.sample_data import SAMPLES, Sample
from quantscope.ui.content import text
from quantscope.ui.session import cached, keys, opening, state, workspace
from quantscope.ui.session.jobs import State
from quantscope.ui.session.keys import Page
from quantscope.ui.views import common

P = ParamSpec("P")
RECENT = 12  # projects listed before all are asked for
GUESS = "As the model suggests"
PRESET_NAMES = {
    GUESS: "guessed from the model's input, and said in the notes",
    "imagenet-torch": "ImageNet, PyTorch: scale 1/255, then mean and standard deviation of ImageNet, RGB",
    "imagenet-tf": "ImageNet, TensorFlow: −1 … 1, RGB",
    "0-1": "0 … 1",
    "0-255": "0 … 255, as stored",
}


def greet(*, model: str, data: str, demo: str) -> None:
    """Open what the command line named, once a session."""
    try:
        if model:
            if data.endswith(".py"):
                workspace.READERS.add(data)
            state.show(opening.open_paths(model, data or None))
        elif demo:
            state.show(opening.open_sample(demo))
    except QuantScopeError as error:
        keys.NOTICE.set(str(error))


def render() -> None:
    """Draw the page."""
    common.title(
        "Open a model", "A float ONNX model and some calibration data go in; a tuned int8 model comes out."
    )
    _running()
    st.subheader("Try a sample", anchor=False)
    for column, sample in zip(st.columns(len(SAMPLES)), SAMPLES.values(), strict=True):
        with column.container(border=True, height="stretch", vertical_alignment="distribute"):
            _sample_card(sample)
    st.subheader("Your model", anchor=False)
    _own()
    _recent()


def _running() -> None:
    """The job of the open project, where it is not ready."""
    job = state.job()
    if job is None:
        return
    if job.state is State.DONE:
        if keys.ENTER.pop():
            common.go(Page.OVERVIEW)
        return
    common.preparing()


def _enter(opened: Project) -> None:
    """Open a project and go to its Overview as soon as it is ready."""
    state.show(opened)
    state.restart(opened) if _ended_badly(opened) else state.start(opened)
    keys.ENTER.set(True)


def _ended_badly(opened: Project) -> bool:
    job = state.start(opened)
    return job.state in (State.FAILED, State.CANCELLED)


def _attempt(make: Callable[P, Project], *args: P.args, **kwargs: P.kwargs) -> None:
    """Make a project and enter it; what is wrong is said on the page."""
    try:
        _enter(make(*args, **kwargs))
    except QuantScopeError as error:
        keys.NOTICE.set(str(error))


def _sample_card(sample: Sample) -> None:
    with st.container():
        st.markdown(f"**{text.escape(sample.title)}**")
        st.caption(text.escape(sample.description))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Open", key=f"sample_{sample.name}", on_click=_attempt, args=(opening.open_sample, sample.name)
        )
        st.caption(f"float top-1 {100 * sample.float_accuracy:.1f} %")


def _own() -> None:
    with st.container(border=True):
        left, right = st.columns(2, gap="large")
        with left:
            model, model_fine = _model_input()
        with right:
            kind, data, data_fine = _data_input()
        options = _options(kind)
        ready = model_fine and data_fine and bool(model) and (kind == "Random" or bool(data))
        st.button(
            "Calibrate",
            type="primary",
            icon=":material/play_arrow:",
            key="calibrate",
            disabled=not ready,
            on_click=_submit,
            args=(model, kind, data, options),
            help=None if ready else "Choose a model and calibration data first.",
        )


def _model_input() -> tuple[str | UploadedFile | None, bool]:
    """The model's path or file, and whether a path that was typed is fine."""
    by = st.segmented_control(
        "Model",
        ["Local path", "Upload"],
        default="Local path",
        required=True,
        key="model_by",
        help="A path is read in place: use it for large models and those with external data.",
    )
    if by == "Upload":
        return st.file_uploader("Model file", type=["onnx"], key="model_file"), True
    path = st.text_input("Path of the model", key="model_path", placeholder="/models/net.onnx") or ""
    return path, _checked(opening.check_model, path)


def _data_input() -> tuple[str, str | UploadedFile | None, bool]:
    """The kind of data, their path or file, and whether a path that was typed is fine."""
    kind = st.segmented_control(
        "Calibration data",
        ["Local path", "Upload", "Random"],
        default="Local path",
        required=True,
        key="data_by",
        help="Typical inputs, 32 to 512 of them: .npz or .npy arrays (first axis = samples), "
        "a folder of those, or images in a folder or .zip.",
    )
    if kind == "Local path":
        path = st.text_input("Path of the data", key="data_path", placeholder="/data/calibration") or ""
        return kind, path, _checked(opening.data_source, path)
    if kind == "Upload":
        return kind, st.file_uploader("Data file", type=["npz", "npy", "zip"], key="data_file"), True
    st.warning(
        "Noise shows how the tool works, not how your model behaves: ranges come out wrong.",
        icon=":material/casino:",
    )
    return "Random", None, True


def _checked(look: Callable[[str], object], path: str) -> bool:
    """Whether a path that was typed leads somewhere; what is wrong is said below it."""
    if not path:
        return True
    try:
        look(path)
    except QuantScopeError as error:
        st.error(text.escape(str(error)), icon=":material/error:")
        return False
    return True


def _options(kind: str) -> dict[str, object]:
    """Preprocessing of images, number of samples, seed."""
    chosen: dict[str, object] = {}
    with st.expander("Images, labels and number of samples"):
        first, second, third = st.columns(3)
        limit = first.number_input(
            "Samples to use",
            min_value=1,
            value=None,
            step=1,
            placeholder="all (random: 32)",
            key="limit",
            help="The first so many. 100 to 500 typical inputs are usually enough.",
        )
        if limit:
            chosen["limit"] = int(limit)
        if kind == "Random":
            chosen["seed"] = int(second.number_input("Seed", min_value=0, value=0, step=1, key="seed"))
            return chosen
        preset = second.selectbox(
            "Image preprocessing",
            list(PRESET_NAMES),
            key="preset",
            help="For image files, and for images stored as one uint8 array. "
            + "; ".join(f"*{name}*: {what}" for name, what in PRESET_NAMES.items()),
        )
        labels = third.text_input(
            "Labels file",
            key="labels",
            placeholder="optional: .npy, .npz or .csv",
            help="Class numbers, to measure top-1. Not needed where the data hold `labels`, or sub-folders "
            "name classes.",
        )
        if labels:
            chosen["labels"] = opening.unquoted(labels)
        if preset != GUESS:
            base = PRESETS[preset].to_dict()
            resize = first.selectbox(
                "Resize",
                ["crop", "stretch", "pad", "none"],
                key="resize",
                help="*crop*: shorter side, then the centre; *stretch*: changes the aspect ratio; "
                "*pad*: longer side, the rest grey; *none*: images already fit.",
            )
            order = second.selectbox("Channels", ["RGB", "BGR", "grey"], key="order")
            layout = third.selectbox("Layout", ["the model's", "NCHW", "NHWC"], key="layout")
            if order == "grey":
                base |= {"mean": base["mean"][:1], "std": base["std"][:1]}
            base |= {"resize": resize, "order": order, "layout": None if layout == "the model's" else layout}
            chosen["preprocessing"] = base
    return chosen


def _submit(
    model: str | UploadedFile,
    kind: str,
    data: str | UploadedFile | None,
    options: dict[str, object],
) -> None:
    """Make the project of the form; a callback."""

    def make() -> Project:
        given: Source | tuple[str, bytes]
        if data is None or isinstance(data, str):
            given = opening.data_source(data if kind == "Local path" else None)
        else:
            given = (data.name, data.getvalue())
        if isinstance(model, str):
            source = opening.model_source(model)
            return opening.open_sources(Path(source.path).name, source, given, options=options)
        return opening.open_sources(model.name, (model.name, model.getvalue()), given, options=options)

    _attempt(make)


def _recent() -> None:
    listed = projects.list_projects(limit=1000)
    entries = [entry for entry in listed if entry.calibrated or not _refused(entry)]
    if not entries:
        return
    st.subheader("Recent projects", anchor=False)
    opened = state.project()
    alike = Counter(_looks(entry) for entry in entries)
    with st.container(border=True, gap=None):
        for entry in entries if keys.ALL_RECENT.get() else entries[:RECENT]:
            _recent_entry(entry, opened is not None and opened.id == entry.id, alike[_looks(entry)] > 1)
        if len(entries) > RECENT:
            st.toggle(f"Show all {len(entries)}", key=keys.ALL_RECENT.name)
    asked = keys.REMOVAL.pop()
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
            args=(projects.open_project, entry.id),
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


@st.dialog("Remove this project?")
def _confirm(id: str) -> None:
    st.markdown(
        f"The recipe history and uploaded files of {text.code(id)} are deleted. "
        "Models and data that were opened by path stay where they are."
    )
    with st.container(horizontal=True):
        if st.button("Remove", type="primary", key="remove_now", on_click=_remove, args=(id,)):
            st.rerun()
        if st.button("Keep", key="remove_not"):
            st.rerun()


def _remove(id: str) -> None:
    """Remove a project; its work ends first, which has files of it open."""
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
