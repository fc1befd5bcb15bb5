"""Samples for a slide: images as small PNG files in data URIs, signals as lines, the beginnings of texts."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from quantscope.ui.content.sample_kinds import Drawing, InputKind
from quantscope.ui.content.sample_names import token_word
from quantscope.ui.content.sample_parts import Part, PicturePart, bytes_text
from quantscope.ui.content.sample_picture_parts import SMALL
from quantscope.ui.content.sample_pictures import picture
from quantscope.ui.content.story_records import Shot

Array = npt.NDArray[Any]
LEAST = 8  # values of a signal
THIN = 8  # times as wide as high, or as high as wide: a strip in which nothing is seen
MOST = 320  # more are left out: a slide shows several images
PLENTY = 40_000  # characters of a picture, beyond which it is made smaller
POINTS = 240  # of a line
LETTERS = 110  # of a text
TOKENS = 60  # of which a text is put together


def image_of(inputs: Mapping[str, Array], drawing: Drawing) -> str:
    """The input that is an image, as it is drawn everywhere; "" where none is.

    Args:
        inputs: One row of each, without the axis of rows.
        drawing: What they are.
    """
    if drawing.image is None:
        return ""
    found = picture(inputs[drawing.image], drawing.inputs[drawing.image])
    return smaller(found.src, square=max(found.width, found.height) <= SMALL)


def signal_of(inputs: Mapping[str, Array], drawing: Drawing) -> tuple[float, ...]:
    """The input that is a signal, as a line; () where none is.

    Args:
        inputs: One row of each, without the axis of rows.
        drawing: What they are.
    """
    signals = (name for name, one in drawing.inputs.items() if one.kind is InputKind.SIGNAL)
    name = next(signals, None)
    return () if name is None else line_of(inputs[name])


def text_of(inputs: Mapping[str, Array], drawing: Drawing, vocabulary: Sequence[str]) -> str:
    """How the input that is a text begins; "" where none is, or its tokens are only known by numbers.

    Args:
        inputs: One row of each, without the axis of rows.
        drawing: What they are.
        vocabulary: How tokens are written.
    """
    for name, one in drawing.inputs.items():
        numbers = inputs[name]
        if one.kind is InputKind.BYTES:
            return _beginning(bytes_text(numbers, "").text)
        if one.kind is InputKind.TOKENS and vocabulary:
            return _beginning(_joined([int(n) for n in numbers.reshape(-1)[:TOKENS]], vocabulary))
    return ""


def _joined(numbers: Sequence[int], vocabulary: Sequence[str]) -> str:
    """Tokens as a text: vocabularies mark either the blanks, or the pieces that no blank stands before."""
    words = [token_word(number, vocabulary) for number in numbers]
    if any(word.startswith(("Ġ", "▁")) for word in vocabulary):
        return "".join(words)
    return "".join(word[2:] if word.startswith("##") else f" {word}" for word in words)


def _beginning(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= LETTERS else f"{words[:LETTERS].rstrip()}…"


def shots_of(parts: Iterable[Part], models: Sequence[str]) -> tuple[Shot, ...]:
    """What goes in and what each model makes of it, as small pictures; empty where outputs are no pictures.

    Args:
        parts: Of a sample's card.
        models: What models are called in the captions of the parts.
    """
    found = [part for part in parts if isinstance(part, PicturePart)]
    made = [part for part in found if part.caption.rpartition(" · ")[2] in models]
    if len(made) < len(models) or any(_thin(part) for part in made[: len(models)]):
        return ()
    given = [part for part in found[:1] if part not in made]
    return tuple(
        Shot(
            caption=part.caption,
            src=smaller(part.src, square=part.square),
            square=part.square,
            boxes=part.boxes,
        )
        for part in (*given, *made[: len(models)])
    )


def _thin(part: PicturePart) -> bool:
    return max(part.width, part.height) > THIN * min(part.width, part.height)


def smaller(src: str, *, square: bool) -> str:
    """A picture as a data URI, no larger than a slide needs it.

    Args:
        src: Data URI of a picture.
        square: Whether its pixels must stay as they are.
    """
    if square and len(src) < PLENTY:
        return src
    image = Image.open(io.BytesIO(base64.b64decode(src.partition(",")[2])))
    image.thumbnail((MOST, MOST), Image.Resampling.NEAREST if square else Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if square:
        image.save(buffer, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    image.convert("RGB").save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def line_of(values: Array) -> tuple[float, ...]:
    """A sample as a line, 0 to 1; empty where it is no signal.

    Args:
        values: Without the batch; one axis of more than one value.
    """
    signal = np.squeeze(values)
    if signal.ndim != 1 or signal.size < LEAST or not np.all(np.isfinite(signal)):
        return ()
    stride = max(1, -(-signal.size // POINTS))
    signal = signal[::stride].astype(np.float64)
    span = float(signal.max() - signal.min())
    return tuple(((signal - signal.min()) / span if span else np.full(signal.shape, 0.5)).round(3).tolist())
