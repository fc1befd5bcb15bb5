"""Seeded random samples by shape and type, for when there are no data: every threshold is then a guess."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.data.samples import Load, Loads, Sample, Samples
from quantscope.core.data.sources.inputs import Input, model_inputs, text
from quantscope.core.errors import DataError
from quantscope.core.model import Model

Array = npt.NDArray[Any]

DEFAULT_COUNT = 32
MAX_ELEMENTS = 1 << 28  # of one input; sizes beyond it come from a wrong override
_SIZES = (  # what a dynamic dimension's name suggests
    (("batch", "n", "b", "bs"), 1),
    (("height", "width", "h", "w"), 224),
    (("seq", "len", "time", "token", "step", "frame", "t", "s", "l"), 64),
    (("channel", "c"), 3),
)
_KNOWN_SCALARS = {"sr": 16000, "sample_rate": 16000, "sampling_rate": 16000}


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomInput:
    """How one input is drawn."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    kind: str  # "normal", "pixels", "ones", "zeros", "range", "bool", "integers" or "constant"
    high: int = 0  # exclusive bound of integers, or the constant

    def draw(self, generator: np.random.Generator) -> Array:
        """One sample's array."""
        shape = self.shape
        match self.kind:
            case "normal":
                return generator.standard_normal(shape, np.float32).astype(self.dtype)
            case "ones" | "zeros":
                return np.full(shape, self.kind == "ones", self.dtype)
            case "range":
                return np.broadcast_to(np.arange(shape[-1], dtype=self.dtype), shape).copy()
            case "constant":
                return np.full(shape, self.high, self.dtype)
            case _:
                return generator.integers(0, self.high, shape).astype(self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomFeed:
    """Sample `i` is drawn from its own generator, so it does not depend on how many come before it."""

    drawn: tuple[RandomInput, ...]
    count: int
    seed: int

    batch = 1

    @property
    def rows(self) -> int:
        """Samples."""
        return self.count

    def digests(self, indices: Sequence[int]) -> Iterator[bytes]:
        """Digests of what determines the samples."""
        return (hashlib.sha256(f"random|{self.seed}|{i}|{self.drawn}".encode()).digest() for i in indices)

    def open(self, indices: Sequence[int]) -> Loads:
        """Loads that draw one sample each."""
        for index in indices:
            yield self._load(index)

    def _load(self, index: int) -> Load:
        def load() -> Sample:
            generator = np.random.default_rng((self.seed, index))
            return {source.name: source.draw(generator) for source in self.drawn}

        return load


def random_samples(
    model: Model, n: int = DEFAULT_COUNT, *, seed: int = 0, dims: Mapping[str, int] | None = None
) -> Samples:
    """`n` random samples that fit the model; flagged as synthetic.

    Floats are standard normal, integers small and valid where the graph tells (rows of an embedding table).
    `dims` sets dynamic dimensions, by their name or by the input's name and axis (`"x:1"`). Raises
    `DataError` for impossible sizes and for inputs that are not numbers.
    """
    if n < 1:
        raise DataError("at least one random sample is needed")
    inputs = model_inputs(model)
    drawn = tuple(_plan(info, dims or {}, model) for info in inputs)
    open_dims = [
        f"{info.name} {text(info.shape)} as {text(plan.shape)}"
        for info, plan in zip(inputs, drawn, strict=True)
        if any(not isinstance(dim, int) for dim in info.shape[1:])
    ]
    warnings = ["random data: thresholds come from noise and say nothing about accuracy; use real samples"]
    if open_dims:
        warnings.append("sizes that the model leaves open were chosen: " + ", ".join(open_dims))
    return Samples(
        names=tuple(info.name for info in inputs),
        feed=RandomFeed(drawn=drawn, count=n, seed=seed),
        indices=range(n),
        kind="random",
        source=f"random data (seed {seed})",
        synthetic=True,
        warnings=tuple(warnings),
    )


def _plan(info: Input, dims: Mapping[str, int], model: Model) -> RandomInput:
    shape = tuple(_size(info, axis, dims) for axis in range(len(info.shape)))
    if np.prod(shape, dtype=np.float64) > MAX_ELEMENTS or min(shape, default=1) < 0:
        raise DataError(f"random data of shape {text(shape)} for input '{info.name}' cannot be made")
    kind, high = _kind(info, model)
    return RandomInput(name=info.name, shape=shape, dtype=info.dtype, kind=kind, high=high)


def _size(info: Input, axis: int, dims: Mapping[str, int]) -> int:
    """A sensible size of one axis: the override, the fixed size, or a guess by name and place."""
    dim = info.shape[axis]
    if isinstance(dim, int):
        return dim
    for key in (dim, f"{info.name}:{axis}"):
        if key is not None and key in dims:
            return dims[key]
    if axis == 0 or (axis == 1 and isinstance(info.shape[0], int) and info.shape[0] > 1):
        return 1
    name = str(dim or "").lower()
    for words, size in _SIZES:
        if any(name == word or (len(word) > 2 and word in name) for word in words):
            return size
    return 224 if len(info.shape) == 4 else 512 if len(info.shape) == 2 and info.dtype.kind == "f" else 64


def _kind(info: Input, model: Model) -> tuple[str, int]:
    """How to draw an input, by type, name and what reads it."""
    name = info.name.lower()
    if info.dtype.kind == "f":
        return "normal", 0
    if info.dtype.kind == "b":
        return "integers", 2
    if name in _KNOWN_SCALARS:
        return "constant", _KNOWN_SCALARS[name]
    if "mask" in name:
        return "ones", 0
    if "type" in name or "segment" in name:
        return "zeros", 0
    if "position" in name:
        return "range", 0
    if info.shape == ():
        return "constant", 1
    if info.dtype == np.uint8 and len(info.shape) == 4:
        return "pixels", 256
    return "integers", min(_table_rows(info.name, model) or 10, 1 << 20)


def _table_rows(name: str, model: Model) -> int | None:
    """Rows of the embedding table that an input indexes, if the graph shows one."""
    for node in model.ir.graph:
        if node.op_type == "Gather" and len(node.inputs) == 2:
            table, index = node.inputs
            while index is not None and (maker := index.producer()) is not None and maker.op_type == "Cast":
                index = maker.inputs[0]
            value = table.const_value if table is not None else None
            if index is not None and index.name == name and value is not None and len(value.shape) > 1:
                return int(value.shape[0])  # type: ignore[arg-type]
    return None
