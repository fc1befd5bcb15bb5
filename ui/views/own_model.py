"""The form that opens the user's own model: model, calibration data, and evaluation data."""

from collections.abc import Callable, Mapping
from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from quantscope.core.project import Project, Source
from quantscope.ui.session import keys, opening
from quantscope.ui.session.keys import Refusal
from quantscope.ui.session.memory import Key
from quantscope.ui.views import data_options

Make = Callable[[], Project]
Options = Mapping[str, object]
AT_FORM = "form"  # the place on the page at which a project of one's own is asked for
NO_FILE, PATH, UPLOAD, RANDOM = "None", "Local path", "Upload", "Random"


def render(open_it: Callable[[Make], None], below: Callable[[], None]) -> None:
    """Draw the form.

    Args:
        open_it: Opens the project that the form makes; for use in a callback.
        below: Draws what became of the last attempt, where the user looks.
    """
    with st.container(border=True):
        first, second, third = st.columns(3, gap="medium")
        with first:
            model, model_fine = _model_input()
        with second:
            kind, data, data_fine = _data_input()
        with third:
            judged_by, judged, judged_fine = _evaluation_input()
        with st.expander("Images, labels and number of samples"):
            options, judged_options = _options(kind, judged_by)
        lacking = ""
        if not model or (kind != RANDOM and not data):
            lacking = "Choose a model and calibration data first."
        elif judged_by != NO_FILE and not judged:
            lacking = "Choose the evaluation data first, or *None*."
        ready = model_fine and data_fine and judged_fine and not lacking
        judge = (judged, judged_options) if judged and judged_by != NO_FILE else None
        at, beside = st.columns([1, 6])  # what became of it is seen wherever the button is
        at.button(
            "Calibrate",
            type="primary",
            icon=":material/play_arrow:",
            key="calibrate",
            disabled=not ready,
            on_click=lambda: open_it(lambda: _made(model, data if kind != RANDOM else None, options, judge)),
            help=lacking or None,
        )
        with beside:
            below()


def _model_input() -> tuple[str | UploadedFile | None, bool]:
    """The model's path or file, and whether a path that was typed is fine."""
    by = st.segmented_control(
        "Model",
        [PATH, UPLOAD],
        default=PATH,
        required=True,
        key="model_by",
        on_change=_forget_refusal,
        help="A path is read in place: use it for large models and those with external data.",
    )
    if by == UPLOAD:
        found = st.file_uploader("Model file", type=["onnx"], key="model_file", on_change=_forget_refusal)
        return found, True
    path = st.text_input(
        "Path of the model",
        key=keys.MODEL_PATH.name,
        placeholder="/models/net.onnx",
        on_change=_forget_refusal,
    )
    return path or "", data_options.checked(opening.check_model, path or "")


def _forget_refusal() -> None:
    """Say no more why the last model or data were refused, now that others are given; a callback."""
    if keys.REFUSED.get().place == AT_FORM:
        keys.REFUSED.set(Refusal("", ""))


def _data_input() -> tuple[str, str | UploadedFile | None, bool]:
    """The kind of data, their path or file, and whether a path that was typed is fine."""
    kind = st.segmented_control(
        "Calibration data",
        [PATH, UPLOAD, RANDOM],
        default=PATH,
        required=True,
        key="data_by",
        on_change=_forget_refusal,
        help="Typical inputs, 32 to 512 of them: .npz or .npy arrays (first axis = samples), "
        "a folder of those, or images in a folder or .zip.",
    )
    if kind == PATH:
        path = st.text_input(
            "Path of the data",
            key=keys.DATA_PATH.name,
            placeholder="/data/calibration",
            on_change=_forget_refusal,
        )
        return kind, path or "", data_options.checked(opening.data_source, path or "")
    if kind == UPLOAD:
        found = st.file_uploader(
            "Data file", type=data_options.DATA_TYPES, key="data_file", on_change=_forget_refusal
        )
        return kind, found, True
    st.warning(
        "Noise shows how the tool works, not how your model behaves: ranges come out wrong.",
        icon=":material/casino:",
    )
    return RANDOM, None, True


def _evaluation_input() -> tuple[str, str | UploadedFile | None, bool]:
    """As `_data_input`, for the samples that quality is judged on."""
    kind = st.segmented_control(
        "Evaluation data, optional",
        [NO_FILE, PATH, UPLOAD],
        default=PATH if keys.EVALUATION_PATH.get() else NO_FILE,
        required=True,
        key="evaluation_by",
        on_change=_forget_refusal,
        help="Samples that calibration does not see, best with labels: accuracy and errors are measured on "
        "them. Without any, they are measured on the calibration samples. Can be added later.",
    )
    if kind == PATH:
        path = st.text_input(
            "Path of the evaluation data",
            key=keys.EVALUATION_PATH.name,
            placeholder="/data/evaluation",
            on_change=_forget_refusal,
        )
        return kind, path or "", data_options.checked(opening.data_source, path or "")
    if kind == UPLOAD:
        found = st.file_uploader(
            "Evaluation file", type=data_options.DATA_TYPES, key="evaluation_file", on_change=_forget_refusal
        )
        return kind, found, True
    return NO_FILE, None, True


def _options(kind: str, judged_by: str) -> tuple[Options, Options]:
    """How the calibration and the evaluation data are read."""
    chosen: dict[str, object] = {}
    first, second, third = st.columns(3)
    chosen |= data_options.count(first, "Samples to use", "limit", all="all (random: 32)")
    images: Options = {}
    if kind == RANDOM:
        seed = second.number_input("Seed", min_value=0, value=0, step=1, key="seed")
        chosen["seed"] = int(seed)
        if judged_by != NO_FILE:
            images = data_options.preprocessing(third)
    else:
        chosen |= data_options.labels(third, "Labels file", "labels")
        images = data_options.preprocessing(second)
        chosen |= images
    if judged_by == NO_FILE:
        return chosen, {}
    first, second, _ = st.columns(3)
    judged = {
        **data_options.count(first, "Evaluation samples to use", "evaluation_limit"),
        **data_options.labels(second, "Labels of the evaluation data", "evaluation_labels"),
        **images,
    }
    return chosen, judged


def given(chosen: str | UploadedFile) -> opening.Given:
    """Data as a path that was typed, or as an uploaded file."""
    if isinstance(chosen, str):
        return opening.data_source(chosen)
    return chosen.name, chosen.getvalue()


def _typed(was: str | UploadedFile, path: Key[str]) -> str | UploadedFile:
    return (path.get() or was) if isinstance(was, str) else was


def _made(
    model: str | UploadedFile | None,
    data: str | UploadedFile | None,
    options: Options,
    judged: tuple[str | UploadedFile, Options] | None,
) -> Project:
    """The project of the form; paths are taken as they stand in it now: a click may come with a new one."""
    assert model is not None
    model, data = _typed(model, keys.MODEL_PATH), None if data is None else _typed(data, keys.DATA_PATH)
    theirs = Source(kind="random") if data is None else given(data)
    evaluation: opening.Given | None = None
    how: Options = {}
    if judged is not None:
        evaluation, how = given(_typed(judged[0], keys.EVALUATION_PATH)), judged[1]
    source: opening.Given
    if isinstance(model, str):
        source = opening.model_source(model)
        name = Path(source.path).name
    else:
        source, name = (model.name, model.getvalue()), model.name
    return opening.open_sources(
        name, source, theirs, options=options, evaluation=evaluation, evaluation_options=how
    )
