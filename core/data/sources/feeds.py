"""Samples from arrays: one npz, or many files, as a feed that reads row after row."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from quantscope.core.data.samples import Load, Loads, Sample
from quantscope.core.data.sources.arrays import Array, Rows
from quantscope.core.data.sources.fitting import Fit, How, Slot, conversion, convert, fit
from quantscope.core.data.sources.inputs import Input


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """One array for each input, and where the samples are in them."""

    label: str  # the file, for messages
    rows: Mapping[str, Rows]
    fit: Fit
    shared: Mapping[str, Array]  # values that all samples use


def open_batch(rows: Mapping[str, Rows], inputs: Sequence[Input], label: str) -> tuple[Batch, list[str]]:
    """A batch and what is to be said about it; `DataError` if its arrays do not fit the inputs."""
    fitted = fit({name: source.shape for name, source in rows.items()}, inputs, label)
    said = list(fitted.warnings)
    said += filter(None, (conversion(rows[info.name].dtype, info.dtype, info.name, label) for info in inputs))
    shared = {}
    for info in inputs:
        slot = fitted.slots[info.name]
        if slot.how is How.SINGLE:
            value = rows[info.name].whole()
            value = value.reshape(_one(slot, value))
            shared[info.name] = convert(value, info.dtype, info.name, label)
    return Batch(label=label, rows=rows, fit=fitted, shared=shared), said


def _one(slot: Slot, value: Array) -> tuple[int, ...]:
    """Shape of a shared value as the model takes it; the sample axis of a lone item goes."""
    return slot.shape if value.size == int(np.prod(slot.shape)) else value.shape


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArrayFeed:
    """Rows of one batch after another; each is one sample (see `Grouped` for models with a fixed batch)."""

    batches: Sequence[Batch]
    inputs: tuple[Input, ...]
    ends: tuple[int, ...]  # rows up to the end of each batch

    batch = 1

    @property
    def count(self) -> int:
        """Rows in all batches."""
        return self.ends[-1] if self.ends else 0

    @property
    def rows(self) -> int:
        """The same: one row is one sample."""
        return self.count

    def digests(self, indices: Sequence[int]) -> Iterator[bytes] | None:
        """None: the values must be read."""
        return None

    def open(self, indices: Sequence[int]) -> Loads:
        """Loads in the order asked for; neighbours in one file are read in one go."""
        for number, group in groupby(indices, key=lambda index: bisect_right(self.ends, index)):
            start = self.ends[number - 1] if number else 0
            yield from self._open_batch(self.batches[number], [index - start for index in group])

    def _open_batch(self, batch: Batch, locals_: list[int]) -> Loads:
        readers = {
            name: source.read(locals_) for name, source in batch.rows.items() if name not in batch.shared
        }
        for row in locals_:
            raw = {name: next(reader) for name, reader in readers.items()}
            label = batch.label if batch.fit.count == 1 else f"{batch.label}, sample {row}"
            yield self._load(batch, raw, label)

    def _load(self, batch: Batch, raw: Mapping[str, Array], label: str) -> Load:
        def load() -> Sample:
            sample = {}
            for info in self.inputs:
                if info.name in raw:
                    cut = shaped(raw[info.name], batch.fit.slots[info.name])
                    sample[info.name] = convert(cut, info.dtype, info.name, label)
                else:
                    sample[info.name] = batch.shared[info.name]
            return sample

        return load


def array_feed(batches: Sequence[Batch], inputs: tuple[Input, ...]) -> ArrayFeed:
    """A feed over `batches` in their order."""
    ends = np.cumsum([batch.fit.count for batch in batches]).tolist()
    return ArrayFeed(batches=batches, inputs=inputs, ends=tuple(ends))


def shaped(row: Array, slot: Slot) -> Array:
    """One row x[i] as the model takes it."""
    if slot.permute:
        row = row.transpose(slot.permute)
    if slot.channel:
        row = row.reshape(slot.shape[1:])
    return row[np.newaxis] if slot.how is How.ROWS else row
