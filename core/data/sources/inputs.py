"""What data must fit: the inputs of a model, as far as their shapes are known."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantscope.core.errors import DataError
from quantscope.core.model import Model

Dims = tuple[int | str | None, ...]
MOST_DIM = 24  # characters of a dimension's name in messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input of a model: a dimension is a size, a symbol's name, or None (unknown)."""

    name: str
    dtype: np.dtype[Any]
    shape: Dims
    any_rank: bool = False  # the model does not say how many axes there are; `shape` is empty then


def model_inputs(model: Model) -> tuple[Input, ...]:
    """The model's inputs; `DataError` for those that are not numbers."""
    if not model.inputs:
        raise DataError("the model has no inputs, so there is nothing to calibrate it with")
    for info in model.inputs:
        if info.dtype.kind not in "biuf":
            kind = "text" if info.dtype.kind in "OSU" else info.dtype
            raise DataError(f"input '{info.name}' takes {kind}; only numbers can be fed")
        if info.shape is not None and 0 in info.shape:
            raise DataError(
                f"input '{info.name}' has the shape {text(info.shape)}, so it never holds a value: "
                "export the model with other sizes"
            )
    return tuple(
        Input(name=info.name, dtype=info.dtype, shape=info.shape or (), any_rank=info.shape is None)
        for info in model.inputs
    )


def text(shape: Iterable[int | str | None]) -> str:
    """A shape as messages write it: unnamed dynamic dimensions are `?`, and long names are cut."""
    dims = ["?" if dim is None else _short(str(dim)) for dim in shape]
    return f"({', '.join(dims)}{',' if len(dims) == 1 else ''})"


def _short(name: str) -> str:
    """The name of a dimension, cut in the middle."""
    return name if len(name) <= MOST_DIM else f"{name[: MOST_DIM // 3]}…{name[1 - MOST_DIM * 2 // 3 :]}"
