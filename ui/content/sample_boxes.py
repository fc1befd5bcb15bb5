"""Boxes of detectors, decoded from what their outputs look like, in shares of the image's sides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
MOST = 40  # boxes that are drawn of one image
LEAST_SCORE = 0.3
OVERLAP = 0.5  # of two boxes of a class, of which only the better one is kept
MATCH = 0.5  # overlap from which two models are taken to have found the same thing
FEW = 8  # anchors; fewer are no raw head


class BoxFormat(StrEnum):
    """What the outputs hold."""

    HEAD_FIRST = "(4 + classes, boxes): centre and size in pixels, scores"
    HEAD_LAST = "(boxes, 4 + classes): centre and size in pixels, scores"
    HEAD_OBJECT = "(boxes, 5 + classes): centre and size in pixels, objectness, scores"
    CORNERS = "boxes as corners and scores of each"
    SELECTED = "selected boxes, their classes and scores"
    ROWS = "rows of x, y, x, y, score, class"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxHead:
    """Which outputs hold boxes, and how."""

    format: BoxFormat
    boxes: str
    scores: str = ""
    classes: str = ""

    @property
    def outputs(self) -> frozenset[str]:
        """All of them."""
        return frozenset(filter(None, (self.boxes, self.scores, self.classes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One found thing; coordinates are shares of the image's width and height."""

    x0: float
    y0: float
    x1: float
    y1: float
    score: float
    number: int  # of its class


def find_head(outputs: Mapping[str, Array], sides: tuple[int, int]) -> BoxHead | None:
    """The outputs that hold boxes; None where none is recognized.

    Args:
        outputs: Of one row, without the axis of rows.
        sides: Height and width of the image.
    """
    plain = {name: value for name, value in outputs.items() if value.dtype.kind in "fiu"}
    for name, value in plain.items():
        if value.ndim == 2 and value.shape[1] == 4 and len(value) > 1:
            found = _with_scores(name, len(value), plain)
            if found is not None:
                return found
    for name, value in plain.items():
        if value.ndim != 2 or value.dtype.kind != "f":
            continue
        rows, columns = value.shape
        if 5 <= rows <= 512 and columns >= max(FEW, rows) and _is_head(value, sides):
            return BoxHead(format=BoxFormat.HEAD_FIRST, boxes=name)
        if 5 <= columns <= 512 and rows >= max(FEW, columns) and _is_head(value.T, sides):
            format = BoxFormat.HEAD_OBJECT if columns > 5 and _objectness(value) else BoxFormat.HEAD_LAST
            return BoxHead(format=format, boxes=name)
        if columns in (6, 7) and rows and _is_list(value[:, -6:]):
            return BoxHead(format=BoxFormat.ROWS, boxes=name)
    return None


def _with_scores(boxes: str, count: int, outputs: Mapping[str, Array]) -> BoxHead | None:
    """Boxes with an output that scores as many, or with their scores and classes."""
    others = {name: value for name, value in outputs.items() if name != boxes and len(value.shape) > 0}
    for name, value in others.items():
        known = value.dtype.kind == "f" and value.ndim == 2 and len(value) == count and value.shape[1] < 512
        if known and value.min(initial=0) >= -0.01 and value.max(initial=0) <= 1.01:
            return BoxHead(format=BoxFormat.CORNERS, boxes=boxes, scores=name)
    lists = {name: value for name, value in others.items() if value.shape == (count,)}
    scores = [name for name, value in lists.items() if value.dtype.kind == "f" and _are_scores(value)]
    classes = [name for name, value in lists.items() if name not in scores[:1] and _are_classes(value)]
    if not scores:
        return None
    return BoxHead(
        format=BoxFormat.SELECTED, boxes=boxes, scores=scores[0], classes=classes[0] if classes else ""
    )


def _are_scores(value: Array) -> bool:
    whole = bool(np.all(value == np.floor(value)))
    return bool(value.min(initial=0) >= 0 and value.max(initial=0) <= 1.01) and not (
        whole and value.max(initial=0) > 0
    )


def _are_classes(value: Array) -> bool:
    return bool(np.all(value == np.floor(value)) and value.min(initial=0) >= 0)


def _is_head(value: Array, sides: tuple[int, int]) -> bool:
    """Whether four rows are boxes in pixels, and the others scores."""
    boxes, scores = value[:4], value[4:]
    if not np.isfinite(value).all() or scores.min() < -0.01 or scores.max() > 1.01:
        return False
    longest = max(sides)
    pixels = boxes.max() > 2.0 and boxes.max() < 4.0 * longest and np.median(boxes[2:]) > 0
    return bool(pixels and np.median(boxes[:2]) > 1.0)


def _objectness(value: Array) -> bool:
    """Whether the first score is no class: YOLO up to 7 rates a place first, and classes given a thing there.

    Nearly every place of an image is background: then rated low, while the classes there need not be.
    """
    first, others = value[:, 4], value[:, 5:].max(axis=1)
    return bool(np.median(first) < 0.1 and np.median(others) > 2.0 * np.median(first))


def _is_list(rows: Array) -> bool:
    scores, classes = rows[:, 4], rows[:, 5]
    return _are_scores(scores) and _are_classes(classes) and bool(rows[:, :4].max(initial=0) > 0)


def decode(head: BoxHead, outputs: Mapping[str, Array], sides: tuple[int, int]) -> tuple[Box, ...]:
    """Boxes of one row, the best first, at most `MOST`, without those that others of their class overlap."""
    boxes, scores, numbers = _raw(head, outputs, sides)
    with np.errstate(invalid="ignore"):
        good = np.flatnonzero((scores >= LEAST_SCORE) & np.isfinite(boxes).all(axis=1))
    order = good[np.argsort(-scores[good], kind="stable")][:1000]
    kept: list[int] = []
    for at in order:
        rivals = [other for other in kept if numbers[other] == numbers[at]]
        if not rivals or overlaps(boxes[at : at + 1], boxes[rivals]).max() < OVERLAP:
            kept.append(int(at))
        if len(kept) == MOST:
            break
    return tuple(
        Box(
            x0=float(boxes[at, 0]),
            y0=float(boxes[at, 1]),
            x1=float(boxes[at, 2]),
            y1=float(boxes[at, 3]),
            score=float(scores[at]),
            number=int(numbers[at]),
        )
        for at in kept
    )


def _raw(head: BoxHead, outputs: Mapping[str, Array], sides: tuple[int, int]) -> tuple[Array, Array, Array]:
    """Corners (n, 4) in shares of the image, scores (n,) and classes (n,)."""
    values = np.asarray(outputs[head.boxes], np.float64)
    height, width = sides
    if head.format in (BoxFormat.HEAD_FIRST, BoxFormat.HEAD_LAST, BoxFormat.HEAD_OBJECT):
        rows = values.T if head.format is BoxFormat.HEAD_FIRST else values
        classes = rows[:, 4:]
        if head.format is BoxFormat.HEAD_OBJECT:
            classes = rows[:, 5:] * rows[:, 4:5]
        centre, half = rows[:, :2], rows[:, 2:4] / 2.0
        corners = np.concatenate([centre - half, centre + half], axis=1) / (width, height, width, height)
        return corners, classes.max(axis=1), classes.argmax(axis=1)
    if head.format is BoxFormat.ROWS:
        rows = values[:, -6:]
        return _shares(rows[:, :4], sides), rows[:, 4], rows[:, 5].astype(np.int64)
    scores = np.asarray(outputs[head.scores], np.float64)
    if head.format is BoxFormat.SELECTED:
        numbers = (
            np.asarray(outputs[head.classes], np.int64) if head.classes else np.zeros(len(scores), np.int64)
        )
        if head.classes and values.max(initial=0) <= 2.0:  # as TensorFlow's post-processing gives them
            values = values[:, [1, 0, 3, 2]]
        return _shares(values, sides), scores, numbers
    # The first class of raw scores is background, as in SSD, where it is the usual one.
    background = scores.shape[1] > 1 and np.mean(scores.argmax(axis=1) == 0) > 0.5
    classes = scores[:, 1:] if background else scores
    return _shares(values, sides), classes.max(axis=1), classes.argmax(axis=1) + int(background)


def _shares(corners: Array, sides: tuple[int, int]) -> Array:
    if corners.max(initial=0) <= 2.0:
        return corners
    height, width = sides
    return np.asarray(corners / (width, height, width, height))


def overlaps(one: Array, others: Array) -> Array:
    """Intersection over union of boxes (n, 4) with boxes (m, 4), as (n, m)."""
    low = np.maximum(one[:, np.newaxis, :2], others[np.newaxis, :, :2])
    high = np.minimum(one[:, np.newaxis, 2:], others[np.newaxis, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=2)
    areas = [np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1) for boxes in (one, others)]
    union = areas[0][:, np.newaxis] + areas[1][np.newaxis] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def matched(floats: Sequence[Box], given: Sequence[Box]) -> list[bool]:
    """For each box of `given` whether the float model has found it too: same class, half of it shared."""
    if not floats or not given:
        return [False] * len(given)
    corners = [np.array([(b.x0, b.y0, b.x1, b.y1) for b in boxes]) for boxes in (given, floats)]
    table = overlaps(corners[0], corners[1])
    same = np.array([[b.number == other.number for other in floats] for b in given])
    return [bool(row) for row in ((table >= MATCH) & same).any(axis=1)]
