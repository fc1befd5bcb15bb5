"""Class scores of positions, as tokens and pixels: how often they are right, and how classes overlap."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.data.sources import IGNORED, Labels, class_axis

Array = npt.NDArray[Any]
MAP_CLASSES = 3  # fewer are an image, a depth, a mask or a flow
# (5, classes): positions of a class by label; then for the float and for the quantized model, those where it
# comes first and is right, and those where it comes first.
Overlap = npt.NDArray[np.int64]


def scored_axis(shape: tuple[int, ...], labels: Labels) -> int | None:
    """The axis of the classes in an output (N, …) for labels (rows, *positions); None if there is none.

    Labels may be longer than the output, where nothing but `IGNORED` is beyond it: samples of different
    lengths are filled up to one.
    """
    axis = class_axis(shape, labels.shape[1:])
    if axis is not None or len(shape) != labels.ndim + 1:
        return axis
    for axis in (len(shape) - 1, 1):
        sizes = shape[1:axis] + shape[axis + 1 :]
        if shape[axis] > 1 and cropped(labels, sizes) is not None:
            return axis
    return None


def class_map_axis(shape: tuple[int, ...], inputs: Iterable[tuple[int, ...]]) -> int | None:
    """The axis of the classes, if an output looks like scores of each pixel of an image; None if not.

    That is one with as many pixels as an image that goes in, and with `MAP_CLASSES` channels or more, other
    than the image has: an image that comes out has one to three, or as many as went in.

    Args:
        shape: Of the output.
        inputs: Shapes of all inputs.
    """
    if len(shape) != 4:
        return None
    for size in inputs:
        if len(size) != 4 or size[0] != shape[0]:
            continue
        for axis, pixels in ((1, shape[2:]), (3, shape[1:3])):
            images = ((size[2:], size[1]), (size[1:3], size[3]))
            fits = any(pixels == of and shape[axis] != channels for of, channels in images)
            if fits and shape[axis] >= MAP_CLASSES and min(pixels) > 1:
                return axis
    return None


def cropped(labels: Labels, sizes: tuple[int, ...]) -> Labels | None:
    """Labels (rows, *sizes) from longer ones; None if they are shorter, or classes would get lost."""
    if labels.shape[1:] == sizes:
        return labels
    if any(size > have for size, have in zip(sizes, labels.shape[1:], strict=True)):
        return None
    kept: Labels = labels[(slice(None), *map(slice, sizes))]
    return kept if np.count_nonzero(kept != IGNORED) == np.count_nonzero(labels != IGNORED) else None


def count_positions(
    f: Array, q: Array, labels: Labels | None, *, axis: int
) -> tuple[npt.NDArray[np.int64], Overlap | None]:
    """Counts for the positions of some samples, and for label maps how classes overlap.

    A position with NaN agrees with nothing and is never right.

    Args:
        f: Scores of the float model, (rows, …) with the classes on `axis`.
        q: The same of the quantized one.
        labels: (rows, *positions), `IGNORED` where a position does not count; None: all count.
        axis: 1, or the last one.

    Returns:
        As `core.evaluate.scores.count_rows`, with zeros for top-5. The overlap is None without labels, and
        for sequences.
    """
    classes = f.shape[axis]
    first = [scores.argmax(axis=axis) for scores in (f, q)]
    valid = [~np.isnan(scores).any(axis=axis) for scores in (f, q)]
    known = np.ones(first[0].shape, bool) if labels is None else labels != IGNORED
    same = known & valid[0] & valid[1] & (first[0] == first[1])
    counts = np.zeros(6, np.int64)
    counts[:2] = np.count_nonzero(known), np.count_nonzero(same)
    if labels is None:
        return counts, None
    right = [known & ok & (found == labels) for found, ok in zip(first, valid, strict=True)]
    counts[2], counts[4] = (np.count_nonzero(hits) for hits in right)
    if labels.ndim < 3:
        return counts, None
    overlap = [np.bincount(labels[known], minlength=classes)]
    for found, ok, hits in zip(first, valid, right, strict=True):
        overlap += [np.bincount(found[at], minlength=classes) for at in (hits, known & ok)]
    return counts, np.array(overlap, np.int64)


def mean_iou(truth: Array, right: Array, predicted: Array) -> float | None:
    """Mean over classes of intersection over union, |A ∩ B| / |A ∪ B| (Jaccard index).

    Classes that neither labels nor predictions hold are left out; None if that leaves none.

    Args:
        truth: (classes,) positions that the labels give each class.
        right: (classes,) those of them where the model puts it first.
        predicted: (classes,) all positions where the model puts it first.
    """
    union = truth + predicted - right
    there = union > 0
    return float(np.mean(right[there] / union[there])) if there.any() else None
