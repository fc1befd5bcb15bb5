"""One item that a reader yields, taken apart: arrays by input, and the label that came with them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.data.sources.arrays import ArrayRows
from quantscope.core.data.sources.inputs import Input, text
from quantscope.core.data.sources.labels import LABELS, RawLabels, of_rows, read_labels
from quantscope.core.errors import DataError

Array = npt.NDArray[Any]
LABEL_KEYS = (LABELS, "label")
MOST_NAMES = 8  # that a message lists


def item_arrays(
    item: Any, inputs: Sequence[Input], label: str, giver: str = "samples()"
) -> tuple[dict[str, ArrayRows], Any]:
    """The arrays of one item by input, and its label as it came; None if it has none.

    An item is a dict of input name → array (labels under `labels` or `label`), for a model with one input
    also a bare array; or a pair of either and a label, as data loaders give them. Messages call what yields
    the items `giver`.

    Raises:
        DataError: It is something else; the message says what it is, and what it must be.
    """
    own = None
    if _is_more(item):
        raise DataError(
            f"{label}: {giver} yields {len(item)} things where a dict, an array, or a pair of one and its "
            f"label is wanted, not {described(item)}; the model takes {wanted(inputs)}"
        )
    if isinstance(item, tuple | list) and len(item) == 2 and _is_pair(item, inputs):
        item, own = item
    if not isinstance(item, Mapping) and len(inputs) == 1 and not _is_text(item) and item is not None:
        item = {inputs[0].name: item}
    if not isinstance(item, Mapping):
        raise DataError(
            f"{label}: {giver} must yield dicts of input name to array, not {described(item)}; "
            f"the model takes {wanted(inputs)}"
        )
    missing = [info.name for info in inputs if info.name not in item]
    if missing:
        shown = [_name(key) for key in item]
        more = f" and {len(shown) - MOST_NAMES} more" if len(shown) > MOST_NAMES else ""
        there = ", ".join(shown[:MOST_NAMES]) + more if shown else "an empty dict"
        raise DataError(
            f"{label}: {giver} yields no {missing[0]!r}; it yields {there}; the model takes {wanted(inputs)}"
        )
    if own is None:
        names = {info.name for info in inputs}
        own = next((item[key] for key in LABEL_KEYS if key in item and key not in names), None)
    arrays = {info.name: input_array(item[info.name], info, label) for info in inputs}
    return {name: ArrayRows(array=array) for name, array in arrays.items()}, own


def unused_keys(item: Any, inputs: Sequence[Input], label: str) -> list[str]:
    """A note where an item, or the first of a pair, has keys that are neither inputs nor labels."""
    if isinstance(item, tuple | list) and len(item) == 2:
        item = item[0]
    if not isinstance(item, Mapping):
        return []
    known = {*LABEL_KEYS, *(info.name for info in inputs)}
    others = [f"'{_name(key)}'" for key in item if key not in known]
    more = f" and {len(others) - MOST_NAMES} more" if len(others) > MOST_NAMES else ""
    shown = ", ".join(others[:MOST_NAMES]) + more
    return [f"{label}: {shown} {'is' if len(others) == 1 else 'are'} no input; not used"] if others else []


def item_labels(own: Any, rows: int, label: str) -> RawLabels:
    """The label of an item as labels of its rows; what is wrong with it where it is none."""

    def read() -> Array:
        array = to_array(own, f"{label}: the label")
        if array.dtype.kind not in "iufb":
            raise DataError(f"{label}: the label is {described(own)}, no class number")
        if rows != 1 and array.shape[:1] != (rows,):
            raise DataError(f"{label}: {described(own)} are the labels of {rows} samples")
        return array

    return of_rows(read_labels(read), rows)


def to_array(value: Any, label: str) -> Array:
    """A NumPy array from whatever holds values: lists, tensors of other libraries, images.

    Raises:
        DataError: It cannot be made one; says what it is.
    """
    try:
        for step in ("detach", "cpu"):  # tensors that know gradients, or lie elsewhere, refuse to be read
            if callable(getattr(value, step, None)):
                value = getattr(value, step)()
        if not hasattr(value, "__array__") and callable(getattr(value, "numpy", None)):
            value = value.numpy()
        if isinstance(value, list | tuple) and any(hasattr(part, "detach") for part in value):
            value = [to_array(part, label) for part in value]
        return np.asarray(value)
    except DataError:
        raise
    except Exception as error:  # a user's own types may raise anything
        if isinstance(value, list | tuple) and "inhomogeneous" in str(error):
            raise DataError(
                f"{label} is a ragged {described(value)}: its parts have different shapes; give an array, "
                "with rows filled up to one length"
            ) from error
        said = " ".join(str(error).split())[:160]
        raise DataError(f"{label} is {described(value)}, which is no array ({said})") from error


def wanted(inputs: Sequence[Input]) -> str:
    """What an item must be, for messages."""
    each = ", ".join(f"{info.name!r}: {info.dtype} {_shape(info)}" for info in inputs[:MOST_NAMES])
    more = f", and {len(inputs) - MOST_NAMES} more" if len(inputs) > MOST_NAMES else ""
    return f"{{{each}{more}}}"


def described(value: Any) -> str:
    """What a value is, for messages: its type, and the type and shape of what it holds."""
    kind = type(value).__name__
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and not isinstance(value, type):
        return f"{kind} of {getattr(value, 'dtype', 'values')} {text(shape)}"
    if isinstance(value, Mapping):
        return f"{kind} of {', '.join(map(_name, list(value)[:MOST_NAMES])) or 'nothing'}"
    if isinstance(value, tuple | list):
        parts = ", ".join(
            described(part) if hasattr(part, "shape") else type(part).__name__ for part in value[:3]
        )
        return (
            f"{kind} of {len(value)} ({parts}{', …' if len(value) > 3 else ''})" if parts else f"empty {kind}"
        )
    if _is_text(value) or isinstance(value, bool | int | float):
        shown = repr(value)
        return f"{kind} {shown if len(shown) <= 24 else shown[:23] + '…'}"
    return kind


def _is_more(item: Any) -> bool:
    """Whether several different things are given: a sample, its label, and what else a loader has of it."""
    if not isinstance(item, tuple | list) or len(item) < 3:
        return False
    first, *others = item
    if isinstance(first, Mapping):
        return True
    axes = len(getattr(first, "shape", None) or ())
    return axes > 0 and any(_rank(part) < axes or _is_text(part) for part in others)


def _is_pair(item: Sequence[Any], inputs: Sequence[Input]) -> bool:
    """Whether two things are a sample and its label, rather than two rows or two numbers."""
    first, second = item
    if isinstance(first, Mapping):
        return True
    if len(inputs) != 1 or _is_text(first) or first is None:
        return False
    if hasattr(first, "shape"):
        if isinstance(item, tuple) and not _are_rows(first, second, inputs[0]):
            return len(first.shape) > 0
        # Data loaders make lists of what were pairs: the first has a batch axis, two rows have none.
        return len(first.shape) == len(inputs[0].shape) or _rank(second) < len(first.shape)
    return isinstance(first, list | tuple) and _rank(second) == 0


def _are_rows(first: Any, second: Any, info: Input) -> bool:
    """Whether two arrays are alike, and have no batch axis."""
    alike = first.shape == getattr(second, "shape", None) and first.dtype == getattr(second, "dtype", None)
    return alike and len(first.shape) < len(info.shape)


def _rank(value: Any) -> int:
    """Axes of a value; lists count as one."""
    shape = getattr(value, "shape", None)
    return len(shape) if isinstance(shape, tuple) else int(isinstance(value, list | tuple))


def input_array(value: Any, info: Input, label: str) -> Array:
    """The array of numbers that an input is given.

    Raises:
        DataError: It is something else; the message says what it is, and what the model takes.
    """
    try:
        array = to_array(value, f"{label}: {info.name!r}")
    except DataError as error:
        raise DataError(f"{error}; the model takes {info.dtype} {_shape(info)}") from error
    if array.dtype.kind not in "biuf":
        what = "Python objects" if array.dtype.hasobject else str(array.dtype)
        raise DataError(
            f"{label}: {info.name!r} has the type {what}; numbers are needed, {info.dtype} {_shape(info)}, "
            f"not {described(value)}"
        )
    return array


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bytes | bytearray)


def _name(key: object) -> str:
    shown = str(key)
    return shown if len(shown) <= 40 else f"{shown[:39]}…"


def _shape(info: Input) -> str:
    return "of any shape" if info.any_rank else text(info.shape)
