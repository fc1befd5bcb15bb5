"""Labels as sources hold them, fitted to a model's outputs: one class a sample, or one for each position."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.data.sources.fitting import fits
from quantscope.core.data.sources.inputs import Dims, text
from quantscope.core.errors import DataError
from quantscope.core.model import Model

LABELS = "labels"  # the key, and the name of files, that sources look for
IGNORED = -100  # stands for positions without a class; the value that token data sets use
VOID = 255  # what label maps of up to 255 classes hold where there is no class
Labels = npt.NDArray[Any]  # signed integers: (rows,), or (rows, *positions)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawLabels:
    """Labels as a source holds them, before anything is known of what they mean."""

    values: npt.NDArray[Any] | None = None
    fault: str = ""  # why those that are there cannot be used
    incidental: bool = False  # they came along with the samples, and may be meant for something else


def read_labels(read: Callable[[], npt.NDArray[Any]]) -> RawLabels:
    """What `read` gives, or the message of the `DataError` that it raises."""
    try:
        return RawLabels(values=read())
    except DataError as error:
        return RawLabels(fault=str(error))


def of_rows(own: RawLabels, rows: int) -> RawLabels:
    """Labels with an axis of rows; those of a lone sample may come without."""
    values = own.values
    if values is None or (values.ndim and len(values) == rows) or (values.ndim and rows != 1):
        return own
    return replace(own, values=values[np.newaxis])


def fit_labels(
    values: npt.NDArray[Any], model: Model, label: str, ignore: int | None = None
) -> tuple[Labels, list[str]]:
    """Labels that fit the model's outputs, and what is to be said about them.

    Args:
        values: Integers, bools or whole floats: one a sample (n,) or (n, 1), one-hot rows (n, classes), or
            one a position: (n, S) for scores (n, S, classes), (n, H, W) for (n, classes, H, W) or
            (n, H, W, classes); an axis of 1 for the channel is left out.
        model: Its outputs decide between these.
        label: How messages name the labels.
        ignore: A value that is no class: these positions are not counted. -100 is none either way, nor is
            255 in maps of models with at most 255 classes.

    Returns:
        Signed integers, with `IGNORED` where there is no class. Those of samples are int64.

    Raises:
        DataError: They fit nothing; names the shapes that would.
    """
    if values.dtype.kind not in "iufb" or not values.ndim or not np.all(np.isfinite(values)):
        raise DataError(f"{label} must be whole class numbers, not {values.dtype} {text(values.shape)}")
    if values.dtype.kind == "f" and bool(np.any(values != np.floor(values))):
        raise DataError(f"{label} must be whole class numbers, not fractions")
    if values.dtype.kind == "f" and values.size and float(np.abs(values).max()) > 2**31:
        raise DataError(f"{label} must be class numbers, not values up to {np.abs(values).max():.4g}")
    given = values.shape
    values = _settled(values, model)
    if values.ndim != 1 and not _may_be_scored(model, values.shape[1:]):
        raise DataError(f"{label} have the shape {text(given)}; {label_shapes(model)}")
    if values.ndim == 1:
        whole = values.astype(np.int64)
        return whole if ignore is None else np.where(whole == ignore, IGNORED, whole), []
    return _positions(values, model, label, ignore)


def scoring(classes: Mapping[str, int | None], highest: int) -> str | None:
    """The output that labels up to `highest` are of, among some that score the right positions.

    It is the one with the fewest classes that holds them all, since others of that shape may be features;
    where none does, the one with the most. None stands for an unknown number of classes.
    """
    known = {name: size for name, size in classes.items() if size is not None}
    enough = {name: size for name, size in known.items() if size > highest}
    if enough:
        return min(enough, key=enough.__getitem__)
    unknown = next((name for name, size in classes.items() if size is None), None)
    return unknown or max(known, key=known.__getitem__, default=None)


def _dense(model: Model, positions: Sequence[int]) -> dict[str, int | None]:
    """The outputs that score each of a sample's positions, and their numbers of classes, as far as known."""
    found: dict[str, int | None] = {}
    for info in model.outputs:
        axis = class_axis(info.shape or (), positions) if info.dtype.kind == "f" else None
        if axis is not None and info.shape is not None:
            size = info.shape[axis]
            found[info.name] = size if isinstance(size, int) else None
    return found


def _may_be_scored(model: Model, positions: Sequence[int]) -> bool:
    """Whether an output scores positions, or the model does not say what shape one has."""
    unknown = any(info.shape is None and info.dtype.kind == "f" for info in model.outputs)
    return len(positions) > 0 and (unknown or bool(_dense(model, positions)))


def class_axis(output: Dims, positions: Sequence[int]) -> int | None:
    """The axis of the classes in an output that scores each position of a sample: 1, or the last one.

    For tokens (S,) the last one is looked at first, for maps (H, W) the first one. None if it is neither.
    """
    last = len(positions) + 1
    if not positions or len(output) != last + 1:
        return None
    rest = {1: output[2:], last: output[1:last]}
    for axis in (last, 1) if len(positions) == 1 else (1, last):
        size = output[axis]
        if fits(positions, rest[axis]) and (not isinstance(size, int) or size > 1):
            return axis
    return None


def joined(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Labels of several files one after another; shorter ones are filled up with `IGNORED` at their ends.

    Raises:
        DataError: They have different numbers of axes, or are no numbers.
    """
    if len({part.ndim for part in parts}) > 1 or any(part.dtype.kind not in "iufb" for part in parts):
        raise DataError(f"the {LABELS} of the samples are of different kinds: {_kinds(parts)}")
    if len({part.shape[1:] for part in parts}) <= 1:
        return np.concatenate(parts)
    most = np.max([part.shape[1:] for part in parts], axis=0)
    kind = np.result_type(np.int16, *(part.dtype for part in parts))  # unsigned types lack `IGNORED`
    whole = np.full((sum(len(part) for part in parts), *most), IGNORED, kind)
    row = 0
    for part in parts:
        whole[(slice(row, row + len(part)), *(slice(size) for size in part.shape[1:]))] = part
        row += len(part)
    return whole


def may_be_labelled(model: Model) -> bool:
    """Whether labels of any shape fit an output of the model."""
    return bool(_label_shapes(model))


def label_shapes(model: Model) -> str:
    """The shapes of labels that the model's outputs take, in words."""
    shapes = _label_shapes(model)
    if not shapes:
        return "the model has no output of class scores"
    return f"the model takes {' or '.join(shapes[:3])}"


def _label_shapes(model: Model) -> list[str]:
    shapes = []
    for info in model.outputs:
        dims = info.shape
        if info.dtype.kind != "f" or dims is None or len(dims) < 2:
            continue
        # What stays (N, C, 1, 1) is scores of whole samples, as (N, C) is.
        positions = () if dims[2:] == (1,) * (len(dims) - 2) else dims[1:-1] if len(dims) == 3 else dims[2:]
        each = "position" if positions else "sample"
        shapes.append(f"one class a {each}, {text(('N', *positions))}, for '{info.name}' {text(dims)}")
    return shapes


def wrong_labels(labels: Labels | None, model: Model) -> str:
    """What is wrong with labels that are no classes of the model; "" if nothing is, or nothing tells."""
    classes = _classes(labels, model)
    if classes is None or labels is None:
        return ""
    low, high = _ends(labels)
    return out_of_range(low, high, classes)


def out_of_range(low: int, high: int, classes: int) -> str:
    """What is wrong with labels from `low` to `high`; "" if nothing is."""
    if low >= 0 and high < classes:
        return ""
    return (
        f"labels go from {low} to {high}, but the model has classes 0 to {classes - 1} (where one of these "
        "is no class, name it with --ignore-label or ignore_label=)"
    )


def all_ignored(labels: Labels) -> bool:
    """Whether there are labels, and none of them is a class."""
    return labels.size > 0 and bool(np.all(labels == IGNORED))


def _classes(labels: Labels | None, model: Model) -> int | None:
    """How many classes the output has that the labels are of, where exactly that is known."""
    if labels is None or not labels.size:
        return None
    if labels.ndim == 1:
        found = [info.shape[1] for info in model.outputs if info.shape is not None and len(info.shape) == 2]
        size = found[0] if len(found) == 1 else None
    else:
        dense = _dense(model, labels.shape[1:])
        size = dense.get(scoring(dense, _ends(labels)[1]) or "")
    return size if isinstance(size, int) and size > 1 else None


def _ends(labels: Labels) -> tuple[int, int]:
    """The lowest and the highest class; (0, 0) if there is none."""
    known = labels[labels != IGNORED]
    return (int(known.min()), int(known.max())) if known.size else (0, 0)


def _settled(values: npt.NDArray[Any], model: Model) -> npt.NDArray[Any]:
    """Without an axis that only says "one channel", and with one-hot rows as numbers."""
    dense = bool(_dense(model, values.shape[1:]))
    if values.ndim == 2:
        classes = _sample_classes(model)
        if values.shape[1] == 1 and (classes or not dense):
            return values[:, 0]
        one_hot = bool(np.all((values == 0) | (values == 1)) and np.all(values.sum(axis=1) == 1))
        if one_hot and (not dense or values.shape[1] in classes):
            return np.asarray(values.argmax(axis=1))
    if values.ndim < 2 or dense:
        return values
    for axis in (1, values.ndim - 1):
        if values.shape[axis] == 1:
            less = values.squeeze(axis)
            if less.ndim > 1 and _dense(model, less.shape[1:]):
                return less
    return values


def _sample_classes(model: Model) -> list[int | str | None]:
    """Numbers of classes of the outputs that score whole samples."""
    shapes = [info.shape for info in model.outputs if info.dtype.kind == "f" and info.shape is not None]
    return [shape[1] for shape in shapes if len(shape) == 2 and shape[1] != 1]


def _positions(
    values: npt.NDArray[Any], model: Model, label: str, ignore: int | None
) -> tuple[Labels, list[str]]:
    """Labels of positions in a small signed type, with `IGNORED` where there is no class."""
    void = values == ignore if ignore is not None else None
    said = []
    if ignore is None and values.ndim > 2 and values.size and _is_void(values, model):
        void = values == VOID
        said = [f"{label}: {VOID} is taken for 'no class' (the ignore label)"]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    kind = np.int16 if low >= -(2**15) and high < 2**15 else np.int64
    out = values.astype(kind)
    if void is not None:
        out[void] = IGNORED
    turned = _turned(out, model)
    return out, [*said, f"{label}: {turned}"] if turned else said


def _turned(labels: Labels, model: Model) -> str:
    """A note where labels of sequences fit only with more classes than positions, on the axis before them.

    They may be of other positions then: (N, 5) for scores (N, 7, 5) of 7 tokens.
    """
    positions = labels.shape[1:]
    dense = _dense(model, positions)
    name = scoring(dense, _ends(labels)[1])
    shape = next((info.shape for info in model.outputs if info.name == name), None)
    if len(positions) != 1 or shape is None or class_axis(shape, positions) != 1:
        return ""
    classes = shape[1]
    if not isinstance(classes, int) or classes <= positions[0]:
        return ""
    return (
        f"axis 1 of '{name}' {text(shape)} is read as {classes:,} classes, since the labels "
        f"{text(labels.shape)} are of {positions[0]:,} positions"
    )


def _is_void(values: npt.NDArray[Any], model: Model) -> bool:
    """Whether 255 stands for "no class": the highest value there is, and no class of the model."""
    if values.max() != VOID:
        return False
    dense = _dense(model, values.shape[1:])
    others = values[values != VOID]
    size = dense.get(scoring(dense, int(others.max()) if others.size else 0) or "")
    return size <= VOID if size is not None else bool(values.dtype == np.uint8)


def _kinds(parts: Sequence[npt.NDArray[Any]]) -> str:
    shown = list(dict.fromkeys(f"{part.dtype} {text(part.shape)}" for part in parts))
    return ", ".join(shown[:3]) + (" …" if len(shown) > 3 else "")
