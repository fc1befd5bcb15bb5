"""Pictures of arrays: images in their own values, class maps in colours, heat maps; as PNG in a data URI."""

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from quantscope.ui.content.sample_kinds import (
    COLOURS,
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    InputDrawing,
    Layout,
    PixelRange,
)

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]  # (height, width, 3)
TALL = 3  # times as high as wide: a plane is turned
LARGEST = 360  # pixels of a side that are sent to the browser
BEYOND = 0.5  # of the range: values that far outside of it are marked
MARK = (232, 145, 12)
# Anchors of a map from low to high: dark blue to yellow, distinct in grey too.
HEAT = ((24, 20, 69), (55, 73, 139), (38, 128, 142), (83, 182, 117), (201, 218, 79), (253, 231, 86))
# Less, equal, more: blue, near white, red.
DIFFERENCE = ((33, 96, 176), (121, 172, 214), (244, 244, 246), (235, 150, 120), (186, 40, 48))


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image for the browser."""

    src: str
    width: int  # of what was drawn, before it was made smaller
    height: int
    beyond: int = 0  # pixels whose values lie far outside of what is shown


def size_of(value: Array, drawing: InputDrawing) -> tuple[int, int, int]:
    """Height, width and channels of an image."""
    height, width, channels = _channels_last(value, drawing.layout).shape
    return height, width, channels


def picture(value: Array, drawing: InputDrawing) -> Picture:
    """An image input or output.

    Args:
        value: One row of it, without the axis of rows.
        drawing: Where its channels are, and what is black and white.
    """
    values = _channels_last(value, drawing.layout).astype(np.float32)
    low, high = _ends(values, drawing.range)
    if drawing.range is PixelRange.IMAGENET and values.shape[2] == COLOURS[1]:
        order = slice(None, None, -1) if drawing.bgr else slice(None)
        values = values * np.array(IMAGENET_DEVIATION[order], np.float32) + np.array(
            IMAGENET_MEAN[order], np.float32
        )
        low, high = 0.0, 1.0
    span = (high - low) or 1.0
    with np.errstate(invalid="ignore"):
        shown = np.nan_to_num(np.clip((values - low) / span, 0.0, 1.0))
        far = np.any((values > high + BEYOND * span) | (values < low - BEYOND * span), axis=2)
    pixels = np.rint(255.0 * shown).astype(np.uint8)
    if drawing.bgr and pixels.shape[2] == COLOURS[1]:
        pixels = pixels[:, :, ::-1]
    pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[:, :, :3].copy()
    if drawing.range is PixelRange.EACH:
        far[:] = False
    pixels[far] = MARK
    return encoded(pixels, beyond=int(np.count_nonzero(far)))


def _channels_last(value: Array, layout: Layout) -> Array:
    """(height, width, channels)."""
    if layout is Layout.FLAT:
        side = int(np.sqrt(value.size))
        return value.reshape(side, side, 1)
    while value.ndim > 3 and value.shape[0] == 1:
        value = value[0]
    if value.ndim == 2:
        return value[:, :, np.newaxis]
    return np.moveaxis(value, 0, 2) if layout is Layout.FIRST else value


def _ends(values: Array, range: PixelRange) -> tuple[float, float]:
    """Black and white."""
    if range is PixelRange.EACH:
        known = values[np.isfinite(values)]
        return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    ends = {
        PixelRange.BYTE: (0.0, 255.0),
        PixelRange.SIGNED: (-1.0, 1.0),
        PixelRange.CENTRED: (-127.5, 127.5),
    }
    return ends.get(range, (0.0, 1.0))


def class_picture(classes: Array) -> Picture:
    """A map of class numbers (height, width), each class in a colour of its own; -1 stays grey."""
    known = class_colours(int(classes.max(initial=0)) + 1)
    pixels = known[np.maximum(classes, 0)]
    pixels[classes < 0] = (128, 128, 128)
    return encoded(pixels, smooth=False)


def class_colours(count: int) -> Pixels:
    """(count, 3) colours: the first is dark, as background usually is; the others far apart in hue."""
    hues = (np.arange(count) * 0.618034) % 1.0  # the golden ratio keeps neighbours apart
    levels = 0.55 + 0.35 * ((np.arange(count) * 0.381966) % 1.0)
    colours = np.stack([_tone(hues, levels, shift) for shift in (0.0, 2 / 3, 1 / 3)], axis=1)
    colours[:1] = (42, 44, 56)
    return colours.astype(np.uint8)


def _tone(hues: Array, levels: Array, shift: float) -> Array:
    wave = np.clip(np.abs(((hues + shift) % 1.0) * 6.0 - 3.0) - 1.0, 0.0, 1.0)
    return np.rint(255.0 * levels * (1.0 - 0.72 * (1.0 - wave)))


def agreement_picture(first: Array, second: Array) -> Picture:
    """Where two class maps differ, in orange on dark."""
    pixels = np.full((*first.shape, 3), (42, 44, 56), np.uint8)
    pixels[first != second] = MARK
    return encoded(pixels, smooth=False)


def heat_picture(values: Array, low: float, high: float) -> Picture:
    """A plane of values between two ends, from dark to bright."""
    return encoded(_coloured(plane_of(values), low, high, HEAT))


def difference_picture(values: Array, largest: float) -> Picture:
    """A plane of differences, from blue (less than float) by white to red (more)."""
    return encoded(_coloured(plane_of(values), -largest, largest, DIFFERENCE))


def plane_of(values: Array) -> Array:
    """Any array as one plane, no narrower than a third of its height."""
    plane = _plane(values)
    return plane.T if plane.shape[0] > TALL * plane.shape[1] else plane


def _plane(values: Array) -> Array:
    """Of three axes, the first counts planes that stand side by side."""
    kept = np.asarray(values, np.float32)
    while kept.ndim > 2 and 1 in kept.shape:
        kept = kept.squeeze(kept.shape.index(1))
    if kept.ndim < 2:
        return kept.reshape(1, -1)
    if kept.ndim == 2:
        return kept
    if kept.ndim == 3:  # planes side by side
        count, height, width = kept.shape
        columns = max(1, min(count, int(np.ceil(np.sqrt(count * height / max(1, width))))))
        rows = -(-count // columns)
        filled = np.full((rows * columns, height, width), np.nan, np.float32)
        filled[:count] = kept
        return filled.reshape(rows, columns, height, width).swapaxes(1, 2).reshape(rows * height, -1)
    return kept.reshape(-1, kept.shape[-1])


def _coloured(values: Array, low: float, high: float, anchors: tuple[tuple[int, int, int], ...]) -> Pixels:
    span = (high - low) or 1.0
    with np.errstate(invalid="ignore"):
        place = np.clip((values - low) / span, 0.0, 1.0) * (len(anchors) - 1)
    missing = ~np.isfinite(place)
    place = np.where(missing, 0.0, place)
    at = np.minimum(place.astype(np.int64), len(anchors) - 2)
    table = np.array(anchors, np.float32)
    part = (place - at)[..., np.newaxis]
    pixels = np.rint(table[at] * (1 - part) + table[at + 1] * part).astype(np.uint8)
    pixels[missing] = (128, 128, 128)
    return pixels


def encoded(pixels: Pixels, *, beyond: int = 0, smooth: bool = True) -> Picture:
    """Pixels as a PNG in a data URI, made smaller where they are many.

    Args:
        pixels: (height, width, 3).
        beyond: Passed on.
        smooth: Made smaller by averages rather than by leaving pixels out.
    """
    height, width = pixels.shape[:2]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if max(height, width) > LARGEST:
        scale = LARGEST / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = image.resize(size, Image.Resampling.BOX if smooth else Image.Resampling.NEAREST)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=3)
    src = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
    return Picture(src=src, width=width, height=height, beyond=beyond)
