"""Match arrays to a model's inputs: which axis holds samples, what must be converted, what does not fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.data.sources.inputs import Input, text
from quantscope.core.errors import DataError

Array = npt.NDArray[Any]

_NO_NAMES = frozenset({"", "?", "-1", "none", "dynamic", "unk"})  # dimension "names" that name nothing
_CHANNELS = (1, 3, 4)


class How(Enum):
    """Where an array's samples are."""

    ROWS = auto()  # x[i:i+1]: the first axis is the model's batch axis
    ITEMS = auto()  # x[i]: a sample axis before the model's own axes
    SINGLE = auto()  # x, without or with the batch axis: one value, shared by all samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """How one input is cut out of its array."""

    how: How
    count: int  # rows that the array holds
    batch: int = 1  # rows that one run takes, where the model fixes more than one
    permute: tuple[int, ...] = ()  # axis order of one row, where images come in the other layout
    channel: bool = False  # grey images without a channel axis: insert it
    shape: tuple[int, ...] = ()  # of one sample as the model gets it
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How a set of arrays, one an input, becomes rows."""

    slots: Mapping[str, Slot]
    count: int
    batch: int
    warnings: tuple[str, ...]


def fits(shape: Sequence[int], dims: Sequence[int | str | None]) -> bool:
    """Whether concrete sizes satisfy a shape with free dimensions."""
    return len(shape) == len(dims) and all(
        not isinstance(dim, int) or size == dim for size, dim in zip(shape, dims, strict=True)
    )


def fit(shapes: Mapping[str, tuple[int, ...]], inputs: Sequence[Input], label: str) -> Fit:
    """Find the samples of arrays with `shapes` (one for each of `inputs`); `label` names them in messages.

    Raises `DataError` where a shape does not fit, where inputs hold different numbers of samples, and
    where there are none.
    """
    slots = {info.name: _slot(shapes[info.name], info, label) for info in inputs}
    slots, shared = _settle_batches(slots, inputs, shapes)
    counts = {name: slot.count for name, slot in slots.items() if slot.how is not How.SINGLE}
    several = {name: count for name, count in counts.items() if count != 1}
    count = max(several.values(), default=1) if 0 not in several.values() else 0
    if count == 0:
        raise DataError(f"{label} holds no samples (an axis of size 0)")
    if len(set(several.values())) > 1:
        listed = ", ".join(f"'{name}' {n}" for name, n in several.items())
        raise DataError(f"{label}: the inputs hold different numbers of samples ({listed})")
    for name in counts.keys() - several.keys():
        if count > 1:  # one row for many samples
            slots[name] = replace(slots[name], how=How.SINGLE)
            shared.append(name)
    warnings = [slot.warning for slot in slots.values() if slot.warning]
    warnings += [f"{label}: '{name}' has one value; all samples share it" for name in shared]
    warnings += _clashing_dimensions(slots, inputs, label)
    batch = max((slot.batch for slot in slots.values() if slot.how is How.ROWS), default=1)
    return Fit(slots=slots, count=count, batch=batch, warnings=tuple(warnings))


def _slot(shape: tuple[int, ...], info: Input, label: str) -> Slot:
    """The one way in which an array of `shape` fits the input."""
    dims, rank = info.shape, len(info.shape)
    if info.any_rank:
        return Slot(
            how=How.ROWS if shape else How.SINGLE, count=shape[0] if shape else 1, shape=(1, *shape[1:])
        )
    if len(shape) == rank + 1 and fits(shape[1:], dims):
        return Slot(how=How.ITEMS, count=shape[0], shape=shape[1:])
    if len(shape) == rank and rank and fits(shape[1:], dims[1:]):
        return _rows(shape[0], shape[1:], info)
    free = rank > 0 and (not isinstance(dims[0], int) or dims[0] == 1)
    if fits(shape, dims[1:]) if free else shape == () == dims:
        return Slot(how=How.SINGLE, count=1, shape=(1, *shape) if free else shape)
    if shape == (1,) and not rank:
        return Slot(how=How.SINGLE, count=1)
    return _image_slot(shape, info, label)


def _rows(count: int, row: tuple[int, ...], info: Input, **extra: Any) -> Slot:
    fixed = info.shape[0]
    batch = fixed if isinstance(fixed, int) and fixed > 1 else 1
    return Slot(how=How.ROWS, count=count, batch=batch, shape=(batch, *row), **extra)


def _image_slot(shape: tuple[int, ...], info: Input, label: str) -> Slot:
    """Arrays of images in the other layout, or grey without a channel axis; else the shape is an error."""
    dims = info.shape
    if len(shape) == len(dims) == 4:
        for permute, names in (((2, 0, 1), "NHWC to NCHW"), ((1, 2, 0), "NCHW to NHWC")):
            row = tuple(shape[1 + axis] for axis in permute)
            channels = row[0] if permute[0] == 2 else row[2]
            if channels in _CHANNELS and fits(row, dims[1:]):
                message = f"{label}: images for '{info.name}' are transposed from {names}"
                return _rows(shape[0], row, info, permute=permute, warning=message)
    if len(shape) == 3 and len(dims) == 4 and 1 in (dims[1], dims[3]):
        first = dims[1] == 1
        row = (1, *shape[1:]) if first else (*shape[1:], 1)
        if fits(row, dims[1:]):
            message = f"{label}: grey images for '{info.name}' get a channel axis of 1"
            return _rows(shape[0], row, info, channel=True, warning=message)
    sample = (1, *shape[1:]) if len(shape) == len(dims) else shape
    raise DataError(
        f"{label}: input '{info.name}' has samples of shape {text(sample)}; the model takes {text(dims)}"
        + _shape_hint(shape, info)
    )


def _shape_hint(shape: tuple[int, ...], info: Input) -> str:
    if len(shape) == 4 and len(info.shape) == 4:
        return " (images in files or in one uint8 array are resized where the preprocessing is described)"
    if not info.shape:
        return " (a scalar: give one number, or one for each sample)"
    if not shape:
        return " (the array is a single number)"
    return f" (the first axis of the array {text(shape)} counts samples)"


def _settle_batches(
    slots: dict[str, Slot], inputs: Sequence[Input], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, Slot], list[str]]:
    """Tell a fixed batch from an input that merely starts with a fixed axis, such as a recurrent state.

    Only if all inputs that vary have the same fixed first axis is it a batch. Otherwise an array that is
    exactly one value of such an input is shared.
    """
    varying = [slot for slot in slots.values() if slot.how is not How.SINGLE]
    batches = {slot.batch if slot.how is How.ROWS else 1 for slot in varying}
    if len(batches) <= 1:
        return slots, []
    shared, settled = [], dict(slots)
    for info in inputs:
        slot = slots[info.name]
        if slot.how is How.ROWS and slot.batch > 1:
            if slot.count != slot.batch:
                raise DataError(
                    f"input '{info.name}' takes {text(info.shape)}, which is no batch of single rows here: "
                    f"give one value for each sample, (samples, {text(info.shape)[1:]}, not "
                    f"{text(shapes[info.name])}"
                )
            settled[info.name] = replace(slot, how=How.SINGLE, count=1, batch=1)
            shared.append(info.name)
    return settled, shared


def _clashing_dimensions(slots: Mapping[str, Slot], inputs: Sequence[Input], label: str) -> list[str]:
    """Warnings for dimensions that the model gives one name and the data two sizes."""
    sizes: dict[str, tuple[int, str]] = {}
    out = []
    for info in inputs:
        for size, dim in zip(slots[info.name].shape, info.shape, strict=False):
            if not isinstance(dim, str) or dim.lower() in _NO_NAMES:
                continue
            other, name = sizes.setdefault(dim, (size, info.name))
            if other != size:
                both = f"{other} in '{name}' but {size} in '{info.name}'"
                out.append(f"{label}: the model's dimension '{dim}' is {both}")
    return out


def conversion(source: np.dtype[Any], wanted: np.dtype[Any], name: str, label: str) -> str:
    """What converting an array's type to the input's means: "" if nothing, else a sentence for the user.

    Raises `DataError` where no conversion is safe.
    """
    if source == wanted or (source.kind == wanted.kind and np.can_cast(source, wanted, "safe")):
        return ""
    if wanted.kind == "f" and source.kind == "f":
        return f"{label}: '{name}' is {source}; converted to the model's {wanted}"
    if wanted.kind == "f" and source.kind in "iub":
        return (
            f"{label}: '{name}' is {source}; converted to {wanted} without scaling: if the model expects "
            "scaled values (0 to 1, mean and std), save them so or describe the preprocessing"
        )
    if wanted.kind in "iu" and source.kind in "iub":
        return (
            "" if np.can_cast(source, wanted, "safe") else f"{label}: '{name}' is {source}; taken as {wanted}"
        )
    if wanted.kind == "b" and source.kind in "iu":
        return f"{label}: '{name}' is {source}; taken as bool"
    raise DataError(f"{label}: input '{name}' takes {wanted}, but the data are {source}: convert them first")


def convert(array: Array, wanted: np.dtype[Any], name: str, label: str) -> Array:
    """`array` in the input's type, C-ordered; `DataError` for NaN, infinities and values out of range."""
    if array.dtype.kind == "f" and not all_finite(array):
        bad = int(array.size - np.count_nonzero(np.isfinite(array)))
        raise DataError(
            f"{label}: input '{name}' holds {bad:,} NaN or infinite values of {array.size:,}: "
            "remove the sample or repair it"
        )
    if array.dtype == wanted:
        return np.asarray(array, order="C")
    if wanted.kind in "iub" and array.size:
        low, high = (0, 1) if wanted.kind == "b" else (np.iinfo(wanted).min, np.iinfo(wanted).max)
        if int(array.min()) < low or int(array.max()) > high:
            raise DataError(
                f"{label}: input '{name}' holds values from {array.min()} to {array.max()}; "
                f"the model's {wanted} takes {low} to {high}"
            )
    with np.errstate(over="ignore"):
        out = np.asarray(array, dtype=wanted, order="C")
    if wanted.kind == "f" and not all_finite(out):
        raise DataError(f"{label}: input '{name}' holds values too large for the model's {wanted}")
    return out


def all_finite(array: Array) -> bool:
    """Whether no value is NaN or infinite; one fast pass where the sum does not overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum(dtype=np.float32 if array.dtype == np.float16 else None)
    return bool(np.isfinite(total)) or bool(np.isfinite(array).all())
