"""How samples are read: inputs that the Open page and the dialog about evaluation data share."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from quantscope.core.data.sources import PRESETS
from quantscope.ui.session import opening

GUESS = "As the model suggests"
PRESET_NAMES = {
    GUESS: "guessed from the model's input, and said in the notes",
    "imagenet-torch": "ImageNet, PyTorch: scale 1/255, then mean and standard deviation of ImageNet, RGB",
    "imagenet-tf": "ImageNet, TensorFlow: −1 … 1, RGB",
    "0-1": "0 … 1",
    "0-255": "0 … 255, as stored",
}


def count(place: DeltaGenerator, label: str, key: str, *, all: str = "all") -> dict[str, object]:
    """How many samples are used."""
    limit = place.number_input(
        label,
        min_value=1,
        value=None,
        step=1,
        placeholder=all,
        key=key,
        help="The first so many. 100 to 500 typical inputs are usually enough to calibrate.",
    )
    return {"limit": int(limit)} if limit else {}


def labels(place: DeltaGenerator, label: str, key: str) -> dict[str, object]:
    """A file of labels."""
    path = place.text_input(
        label,
        key=key,
        placeholder="optional: .npy, .npz or .csv",
        help="Class numbers, to measure top-1. Not needed where the data hold `labels`, or sub-folders "
        "name classes.",
    )
    return {"labels": opening.unquoted(path)} if path else {}


def preprocessing(place: DeltaGenerator, prefix: str = "") -> dict[str, object]:
    """What is done to images.

    Args:
        place: Of the choice; what a preset leaves open is asked for below it, in the page.
        prefix: Of the keys of the widgets.
    """
    preset = place.selectbox(
        "Image preprocessing",
        list(PRESET_NAMES),
        key=f"{prefix}preset",
        help="For image files, and for images stored as one uint8 array. "
        + "; ".join(f"*{name}*: {what}" for name, what in PRESET_NAMES.items()),
    )
    if preset == GUESS:
        return {}
    base = PRESETS[preset].to_dict()
    first, second, third = st.columns(3)
    resize = first.selectbox(
        "Resize",
        ["crop", "stretch", "pad", "none"],
        key=f"{prefix}resize",
        help="*crop*: shorter side, then the centre; *stretch*: changes the aspect ratio; "
        "*pad*: longer side, the rest grey; *none*: images already fit.",
    )
    order = second.selectbox("Channels", ["RGB", "BGR", "grey"], key=f"{prefix}order")
    layout = third.selectbox("Layout", ["the model's", "NCHW", "NHWC"], key=f"{prefix}layout")
    if order == "grey":
        base |= {"mean": base["mean"][:1], "std": base["std"][:1]}
    base |= {"resize": resize, "order": order, "layout": None if layout == "the model's" else layout}
    return {"preprocessing": base}
