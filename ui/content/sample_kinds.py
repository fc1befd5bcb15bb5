"""What samples and outputs are, to be drawn as such: guessed from shapes, names and values."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

COLOURS = (1, 3)  # channels of an image
SMALL = 4  # pixels; fewer on a side are no image
LINES = 8  # channels that are drawn as lines of one signal
LONG = 24  # values that make a signal rather than a list
MOST_CLASSES = 256  # channels that may be classes of a map
TEXT, FILLING = 64, 256  # numbers from which up to 256 are bytes, and what fills them up
SMOOTH = 0.5  # correlation of a pixel with the one below it in a flat image
TYPICAL = 99.5  # percentile up to which values count for the range of pixels
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class InputKind(StrEnum):
    """How an input is drawn."""

    IMAGE = "image"
    SIGNAL = "signal"
    TOKENS = "tokens"
    BYTES = "bytes as text"
    MAP = "heat map"
    VALUES = "numbers"
    HIDDEN = "not shown"


class Layout(StrEnum):
    """Where an image's channels are."""

    FIRST = "channels first"
    LAST = "channels last"
    FLAT = "one row of pixels"


class PixelRange(StrEnum):
    """What values are black and white."""

    UNIT = "0 … 1"
    BYTE = "0 … 255"
    SIGNED = "−1 … 1"
    IMAGENET = "ImageNet mean and deviation"
    CENTRED = "−127.5 … 127.5"
    EACH = "lowest … highest of each"


class OutputKind(StrEnum):
    """How an output is drawn."""

    CLASSES = "class scores"
    CLASS_MAP = "class map"
    TOKEN_CLASSES = "classes of tokens"
    BOXES = "boxes on the image"
    IMAGE = "image"
    SIGNAL = "signal"
    MAP = "heat map"
    VALUES = "numbers"
    HIDDEN = "not shown"


WITH_CLASSES = (OutputKind.CLASSES, OutputKind.CLASS_MAP, OutputKind.TOKEN_CLASSES)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputDrawing:
    """How one input is drawn."""

    kind: InputKind
    layout: Layout = Layout.FIRST
    range: PixelRange = PixelRange.UNIT
    bgr: bool = False  # blue comes first


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """How samples and outputs are drawn; by name."""

    inputs: Mapping[str, InputDrawing] = field(default_factory=dict)
    outputs: Mapping[str, OutputKind] = field(default_factory=dict)

    @property
    def image(self) -> str | None:
        """The input that is an image: boxes are drawn on it."""
        return next((name for name, one in self.inputs.items() if one.kind is InputKind.IMAGE), None)

    @property
    def token(self) -> str:
        """What tells it from others."""
        return repr((sorted(self.inputs.items()), sorted(self.outputs.items())))


def drawing_to_json(drawing: Drawing) -> dict[str, Any]:
    """As plain data."""
    return {
        "inputs": {name: asdict(one) for name, one in drawing.inputs.items()},
        "outputs": {name: kind.value for name, kind in drawing.outputs.items()},
    }


def drawing_from_json(body: Mapping[str, Any], guess: Drawing) -> Drawing:
    """What `drawing_to_json` gave, where it still fits: as guessed for all that is not there or not known."""
    inputs, outputs = dict(guess.inputs), dict(guess.outputs)
    with suppress(KeyError, TypeError, ValueError, AttributeError):
        for name, one in body["inputs"].items():
            if name in inputs:
                inputs[name] = InputDrawing(
                    kind=InputKind(one["kind"]),
                    layout=Layout(one["layout"]),
                    range=PixelRange(one["range"]),
                    bgr=bool(one["bgr"]),
                )
        for name, kind in body["outputs"].items():
            if name in outputs:
                outputs[name] = OutputKind(kind)
    return Drawing(inputs=inputs, outputs=outputs)


# --- inputs ---


def guess_inputs(samples: Sequence[Mapping[str, Array]]) -> dict[str, InputDrawing]:
    """How inputs are drawn, from a few rows of them, without the axis of rows."""
    names = list(samples[0]) if samples else []
    found = {name: guess_input(name, [sample[name] for sample in samples]) for name in names}
    if len(names) > 1 and len(samples) > 1:  # a state that begins with zeros, a sampling rate
        for name in names:
            if all(np.array_equal(sample[name], samples[0][name]) for sample in samples[1:]):
                found[name] = replace(found[name], kind=InputKind.HIDDEN)
    return found


def guess_input(name: str, rows: Sequence[Array]) -> InputDrawing:
    """How one input is drawn.

    Args:
        name: Its name: that of a mask or a state is not what a person looks at.
        rows: A few of it, without the axis of rows.
    """
    first = rows[0]
    layout = _layout(first.shape)
    if first.dtype.kind in "iu" and first.dtype != np.uint8:
        if first.ndim != 1 or first.size < 2:
            return InputDrawing(kind=InputKind.VALUES)
        bytes_ = first.size >= TEXT and all(row.min() >= 0 and row.max() <= FILLING for row in rows)
        return InputDrawing(kind=InputKind.BYTES if bytes_ else InputKind.TOKENS)
    if layout is not None and not _spectral(name):
        return InputDrawing(kind=InputKind.IMAGE, layout=layout, range=pixel_range(rows, layout))
    if first.ndim == 1 and (flat := _flat_image(rows)):
        return InputDrawing(kind=InputKind.IMAGE, layout=Layout.FLAT, range=flat)
    return InputDrawing(kind=_plain_kind(first.shape))


def _layout(shape: tuple[int, ...]) -> Layout | None:
    if len(shape) != 3:
        return None
    for layout, channels, sides in ((Layout.FIRST, shape[0], shape[1:]), (Layout.LAST, shape[2], shape[:2])):
        if channels in COLOURS and min(sides) >= SMALL and max(sides) <= 24 * min(sides):
            return layout
    return None


def _spectral(name: str) -> bool:
    return any(word in name.lower() for word in ("mel", "spec", "mfcc", "fbank", "audio", "state", "hidden"))


def _plain_kind(shape: tuple[int, ...]) -> InputKind:
    sizes = [size for size in shape if size > 1]
    if not sizes or (len(sizes) == 1 and sizes[0] < LONG):
        return InputKind.VALUES
    if len(sizes) == 1 or (len(sizes) == 2 and min(sizes) <= LINES and max(sizes) >= LONG):
        return InputKind.SIGNAL
    return InputKind.MAP


def _flat_image(rows: Sequence[Array]) -> PixelRange | None:
    """The range of pixels where rows are square images of one channel; None where they are not.

    Values are not negative, and a pixel is like the one below it.
    """
    size = rows[0].size
    side = math.isqrt(size)
    if side * side != size or side < 2 * SMALL or rows[0].dtype.kind not in "fu":
        return None
    images = np.stack([np.asarray(row, np.float64).reshape(side, side) for row in rows])
    if images.min() < 0:
        return None
    images = np.minimum(images, np.percentile(images, TYPICAL))
    above, below = images[:, :-1].ravel(), images[:, 1:].ravel()
    if above.std() == 0 or below.std() == 0 or np.corrcoef(above, below)[0, 1] < SMOOTH:
        return None
    return pixel_range(rows, Layout.FLAT)


def pixel_range(rows: Sequence[Array], layout: Layout) -> PixelRange:
    """Which values are black and white, from those that pixels usually have; a few beyond do not count."""
    if rows[0].dtype == np.uint8:
        return PixelRange.BYTE
    values = np.concatenate(
        [np.asarray(row, np.float32).ravel()[:: max(1, row.size // 4096)] for row in rows]
    )
    values = values[np.isfinite(values)]
    if not values.size:
        return PixelRange.EACH
    low, high = (float(v) for v in np.percentile(values, (100 - TYPICAL, TYPICAL)))
    colours = layout is not Layout.FLAT and COLOURS[1] in (rows[0].shape[0], rows[0].shape[-1])
    if low >= -0.02:
        return PixelRange.UNIT if high <= 1.05 else PixelRange.BYTE if high <= 256 else PixelRange.EACH
    if low >= -1.05 and high <= 1.05:
        return PixelRange.SIGNED
    if colours and low >= -2.2 and high <= 2.7:
        return PixelRange.IMAGENET
    if low >= -128 and high <= 128 and high - low > 60:
        return PixelRange.CENTRED
    return PixelRange.EACH


# --- outputs ---


def guess_outputs(
    outputs: Mapping[str, Array],
    inputs: Mapping[str, InputDrawing],
    given: Mapping[str, Array],
    image: tuple[int, int, int] | None,
    scored: str | None,
    positions: bool,
    boxes: frozenset[str],
) -> dict[str, OutputKind]:
    """How outputs are drawn.

    Args:
        outputs: Of the float model for one row, without the axis of rows.
        inputs: How inputs are drawn.
        given: The inputs of that row.
        image: Height, width and channels of the image, where one is shown.
        scored: The output of class scores.
        positions: It scores positions.
        boxes: Outputs that can be decoded to boxes.
    """
    found: dict[str, OutputKind] = {}
    tokens = any(one.kind is InputKind.TOKENS for one in inputs.values())
    for name, value in outputs.items():
        if name in boxes:
            found[name] = OutputKind.BOXES
        elif name == scored:
            deep = value.ndim == 3
            dense = OutputKind.CLASS_MAP if deep else OutputKind.TOKEN_CLASSES
            found[name] = dense if positions else OutputKind.CLASSES
            if not positions and any(_repeats(value, one, inputs.get(key)) for key, one in given.items()):
                found[name] = OutputKind(_plain_kind(value.shape).value)
        elif value.dtype.kind not in "fiub":
            found[name] = OutputKind.HIDDEN
        else:
            found[name] = _output_kind(value, image, tokens)
    return found


def _repeats(value: Array, given: Array, drawing: InputDrawing | None) -> bool:
    """Whether an output has the very shape of an input, as an autoencoder's has."""
    drawn = drawing is not None and drawing.kind in (InputKind.SIGNAL, InputKind.VALUES)
    return drawn and value.shape == given.shape and value.dtype == given.dtype


def _output_kind(value: Array, image: tuple[int, int, int] | None, tokens: bool) -> OutputKind:
    shape = value.shape
    sides = None if image is None else image[:2]
    if value.dtype.kind in "iub":
        flat = tuple(size for size in shape if size > 1)
        return OutputKind.CLASS_MAP if len(flat) == 2 and sides is not None else OutputKind.VALUES
    if sides is not None and len(shape) == 3:
        layout = _layout(shape)
        channels = shape[0] if layout is not Layout.LAST else shape[2]
        plane = shape[1:] if layout is not Layout.LAST else shape[:2]
        if channels == 3 and layout is not None:
            return OutputKind.IMAGE
        if channels == 1 and layout is not None:
            grey = image is not None and image[2] == 1 and plane[0] >= sides[0]
            return OutputKind.IMAGE if grey else OutputKind.MAP
        if 2 <= shape[0] <= MOST_CLASSES and _alike(plane, sides):
            return OutputKind.CLASS_MAP
    if tokens and len(shape) == 2 and shape[1] > 1:
        return OutputKind.MAP
    plain = _plain_kind(shape)
    return OutputKind(plain.value)


def _alike(plane: tuple[int, ...], sides: tuple[int, int]) -> bool:
    """Whether a plane has about the form of the image, and not much less detail than an eighth of it."""
    form = plane[0] * sides[1] / max(1, plane[1] * sides[0])
    return 0.8 < form < 1.25 and plane[0] >= max(SMALL, sides[0] // 8)
