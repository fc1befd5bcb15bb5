"""The form that opens the user's own model: model, calibration data, and evaluation data."""

from collections.abc import Callable, Mapping
from pathlib import Path

import streamlit as st

from quantscope.core.errors import DataError
from quantscope.core.project import Project, Source
from quantscope.ui.session import keys, opening
from quantscope.ui.session.keys import Refusal
from quantscope.ui.views import data_options
from quantscope.ui.views.path_or_file import DATA_TYPES, PATH, UPLOAD, PathOrFile, given

Make = Callable[[], Project]
Options = Mapping[str, object]
AT_FORM = "form"  # the place on the page at which a project of one's own is asked for
NO_FILE, RANDOM = "None", "Random"  # beside PATH and UPLOAD
MODEL = PathOrFile(
    path=keys.MODEL_PATH,
    path_label="Path of the model",
    placeholder="/models/net.onnx",
    look=opening.check_model,
    file=keys.MODEL_FILE,
    file_label="Model file",
    types=("onnx",),
)
DATA = PathOrFile(
    path=keys.DATA_PATH,
    path_label="Path of the data",
    placeholder="/data/calibration",
    look=opening.data_source,
    file=keys.DATA_FILE,
    file_label="Data file",
    types=DATA_TYPES,
)
EVALUATION = PathOrFile(
    path=keys.EVALUATION_PATH,
    path_label="Path of the evaluation data",
    placeholder="/data/evaluation",
    look=opening.data_source,
    file=keys.EVALUATION_FILE,
    file_label="Evaluation file",
    types=DATA_TYPES,
)


def render(open_it: Callable[[Make], None], below: Callable[[], None]) -> None:
    """Draw the form.

    Args:
        open_it: Opens the project that the form makes; for use in a callback.
        below: Draws what became of the last attempt, where the user looks.
    """
    with st.container(border=True):
        first, second, third = st.columns(3, gap="medium")
        with first:
            model_by, model_fine = _model_input()
        with second:
            data_by, data_fine = _data_input()
        with third:
            judged_by, judged_fine = _evaluation_input()
        with st.expander("Images, labels and number of samples"):
            options, judged_options = _options(data_by, judged_by)
        lacking = ""
        if not MODEL.chosen(model_by) or (data_by != RANDOM and not DATA.chosen(data_by)):
            lacking = "Choose a model and calibration data first."
        elif judged_by != NO_FILE and not EVALUATION.chosen(judged_by):
            lacking = "Choose the evaluation data first, or *None*."
        ready = model_fine and data_fine and judged_fine and not lacking
        at, beside = st.columns([1, 6])  # what became of it is seen wherever the button is
        at.button(
            "Calibrate",
            type="primary",
            icon=":material/play_arrow:",
            key="calibrate",
            disabled=not ready,
            on_click=lambda: open_it(lambda: _made(model_by, data_by, options, judged_by, judged_options)),
            help=lacking or None,
        )
        with beside:
            below()


def _model_input() -> tuple[str, bool]:
    """How the model is given, and whether a path that was typed is fine."""
    by = st.segmented_control(
        "Model",
        [PATH, UPLOAD],
        default=PATH,
        required=True,
        key="model_by",
        on_change=_forget_refusal,
        help="A path is read in place: use it for large models and those with external data.",
    )
    return by, MODEL.draw(by, _forget_refusal)


def _forget_refusal() -> None:
    """Say no more why the last model or data were refused, now that others are given; a callback."""
    if keys.REFUSED.get().place == AT_FORM:
        keys.REFUSED.set(Refusal("", ""))


def _data_input() -> tuple[str, bool]:
    """How the data are given, and whether a path that was typed is fine."""
    by = st.segmented_control(
        "Calibration data",
        [PATH, UPLOAD, RANDOM],
        default=PATH,
        required=True,
        key="data_by",
        on_change=_forget_refusal,
        help="Typical inputs, 32 to 512 of them: .npz or .npy arrays (first axis = samples), "
        "a folder of those, or images in a folder or .zip.",
    )
    if by != RANDOM:
        return by, DATA.draw(by, _forget_refusal)
    st.warning(
        "Noise shows how the tool works, not how your model behaves: ranges come out wrong.",
        icon=":material/casino:",
    )
    return by, True


def _evaluation_input() -> tuple[str, bool]:
    """As `_data_input`, for the samples that quality is judged on."""
    by = st.segmented_control(
        "Evaluation data, optional",
        [NO_FILE, PATH, UPLOAD],
        default=PATH if keys.EVALUATION_PATH.get() else NO_FILE,
        required=True,
        key="evaluation_by",
        on_change=_forget_refusal,
        help="Samples that calibration does not see, best with labels: accuracy and errors are measured on "
        "them. Without any, they are measured on the calibration samples. Can be added later.",
    )
    return by, by == NO_FILE or EVALUATION.draw(by, _forget_refusal)


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


def _made(model_by: str, data_by: str, options: Options, judged_by: str, judged_options: Options) -> Project:
    """The project of what stands in the form now."""
    model = MODEL.chosen(model_by)
    data = None if data_by == RANDOM else DATA.chosen(data_by)
    judged = None if judged_by == NO_FILE else EVALUATION.chosen(judged_by)
    if not model or (data_by != RANDOM and not data) or (judged_by != NO_FILE and not judged):
        raise DataError("a field was emptied while the button was pressed; fill it in again")
    source: opening.Given
    if isinstance(model, str):
        source = opening.model_source(model)
        name = Path(source.path).name
    else:
        source, name = (model.name, model.getvalue()), model.name
    return opening.open_sources(
        name,
        source,
        given(data) if data else Source(kind="random"),
        options=options,
        evaluation=given(judged) if judged else None,
        evaluation_options=judged_options if judged else {},
    )
