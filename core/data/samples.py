"""Samples: what the model is fed one run at a time, restartable, in constant memory, known by content."""

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from quantscope.core.words import plural

Array = npt.NDArray[Any]
Sample = dict[str, Array]
Load = Callable[[], Sample]
Loads = Generator[Load, None, None]
COMMON = 0.05  # share of judging samples that calibration may have seen all the same


class Feed(Protocol):
    """Where samples come from. Opening one is cheap; only the loads it hands out read and convert."""

    @property
    def count(self) -> int:
        """Runs of the model that the data hold."""

    @property
    def batch(self) -> int:
        """Data rows in one run: 1, or the batch size that the model fixes."""

    @property
    def rows(self) -> int:
        """Data rows in all; the last run is padded where `batch` does not divide them."""

    def open(self, indices: Sequence[int]) -> Loads:
        """One load for each index, in the order given; loads may be called on other threads."""

    def digests(self, indices: Sequence[int]) -> Iterator[bytes] | None:
        """Content digests, where they need no decoding; None where the values must be read."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Samples as the model takes them: each a dict of exactly its inputs, in exactly their types.

    A sample is one run: one data row with its batch axis of 1, or, for a model with a fixed batch of N,
    N consecutive rows. `len`, iteration, `take` and `select` count samples. Where N does not divide the
    rows, the last sample repeats its last row, and `valid(i)` says how many of its rows are data.
    """

    names: tuple[str, ...]  # the model's inputs
    feed: Feed
    indices: Sequence[int]  # the feed's samples in use, in order
    kind: str  # "npz", "npy", "folder", "images", "reader" or "random"
    source: str  # where the samples come from, for people
    # In the order of the samples: (rows,), or (rows, *positions); `core.data.sources.labels.IGNORED` where a
    # sample or position has no class.
    labels: Array | None = None
    label_names: tuple[str, ...] = ()  # class names where the labels came from names
    synthetic: bool = False  # made up: thresholds found on it are guesses
    warnings: tuple[str, ...] = ()
    _digests: dict[int, bytes] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        labels = "" if self.labels is None else ", labelled"
        return f"<Samples: {plural(len(self), 'sample')} from {self.source}{labels}>"

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Sample]:
        for load in self.loads():
            yield load()

    def __getitem__(self, position: int) -> Sample:
        """One sample by its position; `IndexError` beyond the end."""
        return next(iter(self.select((range(len(self))[position],))))

    @property
    def batch(self) -> int:
        """Rows in one sample."""
        return self.feed.batch

    @property
    def rows(self) -> int:
        """Data rows in all samples; padding is not counted."""
        return sum(self.valid(i) for i in range(len(self))) if self.batch > 1 else len(self)

    def valid(self, position: int) -> int:
        """Rows of the sample at `position` that are data rather than padding."""
        return min(self.batch, self.feed.rows - self.indices[position] * self.batch)

    def loads(self) -> Loads:
        """One function a sample, in order, that decodes it; they may be called on other threads.

        Advancing the iterator reads (and belongs to one thread at a time); calling a load converts and
        checks, and raises `DataError` for NaN, infinities and values that the input's type cannot hold.
        """
        return self.feed.open(self.indices)

    def take(self, n: int) -> "Samples":
        """The first `n` samples (all, if there are fewer)."""
        return self.select(range(min(n, len(self))))

    def select(self, positions: Sequence[int]) -> "Samples":
        """The samples at `positions`, in that order, with their labels."""
        chosen = range(len(self))
        picked = [chosen[p] for p in positions]
        if picked == list(range(len(picked))) and isinstance(self.indices, range):
            indices: Sequence[int] = self.indices[: len(picked)]
        else:
            indices = tuple(self.indices[p] for p in picked)
        return replace(self, indices=indices, labels=self._labels_at(picked))

    def _labels_at(self, positions: Sequence[int]) -> Array | None:
        if self.labels is None:
            return None
        counts = np.array([self.valid(i) for i in range(len(self))], np.int64)
        starts = np.cumsum(counts) - counts
        rows = [np.arange(starts[p], starts[p] + counts[p]) for p in positions]
        return self.labels[np.concatenate(rows)] if rows else self.labels[:0]

    def digest(self, position: int, sample: Sample | None = None) -> bytes:
        """Content digest of one sample, remembered; `sample` saves reading it again."""
        index = self.indices[position]
        if index not in self._digests:
            easy = self.feed.digests([index])
            if easy is not None:
                self._digests[index] = next(easy)
            else:
                self._digests[index] = sample_digest(self[position] if sample is None else sample)
        return self._digests[index]

    def digests(self) -> list[bytes]:
        """Content digest of every sample in order; reads only those that are not known yet."""
        missing = [index for index in self.indices if index not in self._digests]
        easy = self.feed.digests(missing)
        if easy is None:
            easy = (sample_digest(load()) for load in self.feed.open(missing))
        self._digests.update(zip(missing, easy, strict=True))
        return [self._digests[index] for index in self.indices]

    def by_content(self) -> list[int]:
        """Positions in the order of content digests: the same samples first, in whatever order data come."""
        digests = self.digests()
        return sorted(range(len(self)), key=digests.__getitem__)

    @property
    def fingerprint(self) -> str:
        """Hex digest of all samples in order.

        It is of content, not container: an npz and a folder of the same arrays agree. The first call reads
        all samples, unless a calibration has already done so.
        """
        total = hashlib.sha256(f"{self.batch}:{self.rows}:".encode())
        for digest in self.digests():
            total.update(digest)
        return total.hexdigest()

    @property
    def duplicates(self) -> int:
        """Samples that equal an earlier one; reads what `fingerprint` reads."""
        return len(self) - len(set(self.digests()))

    def unseen_by(self, other: "Samples") -> bool:
        """Whether hardly one of these is in `other` too: the same file may have been given for both."""
        known = set(other.digests())
        return sum(digest in known for digest in self.digests()) < COMMON * len(self)


def sample_digest(sample: Sample) -> bytes:
    """SHA-256 of names, types, shapes and values (about 2 GB/s)."""
    digest = hashlib.sha256()
    for name in sorted(sample):
        array = sample[name]
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """A feed for a model with a fixed batch: `batch` consecutive rows of `inner` become one sample.

    The last sample repeats the last row until it is full. Inputs in `shared` carry no batch axis; the
    first row's value is used.
    """

    inner: Feed
    batch: int
    shared: frozenset[str] = frozenset()

    @property
    def count(self) -> int:
        """Runs, the last one perhaps padded."""
        return -(-self.inner.count // self.batch)

    @property
    def rows(self) -> int:
        """Rows of the feed underneath."""
        return self.inner.count

    def digests(self, indices: Sequence[int]) -> Iterator[bytes] | None:
        """Digests of the rows' digests, where those are easy."""
        parts = self.inner.digests([row for index in indices for row in self._members(index)])
        if parts is None:
            return None
        groups = ([next(parts) for _ in self._members(index)] for index in indices)
        return (hashlib.sha256(b"".join(group)).digest() for group in groups)

    def open(self, indices: Sequence[int]) -> Loads:
        """Loads that stack the rows' arrays along the batch axis."""
        members = [row for index in indices for row in self._members(index)]
        loads = self.inner.open(members)
        for index in indices:
            yield self._stacked([next(loads) for _ in self._members(index)])

    def _members(self, index: int) -> range:
        return range(index * self.batch, min((index + 1) * self.batch, self.inner.count))

    def _stacked(self, loads: list[Load]) -> Load:
        def load() -> Sample:
            rows = [load() for load in loads]
            rows += [rows[-1]] * (self.batch - len(rows))
            return {
                name: first if name in self.shared else np.concatenate([row[name] for row in rows])
                for name, first in rows[0].items()
            }

        return load


def group(feed: Feed, batch: int, shared: frozenset[str] = frozenset()) -> tuple[Feed, list[str]]:
    """`batch` rows a run, and what is to be said about it."""
    runs = plural(-(-feed.count // batch), "run")
    said = f"the model takes {batch} rows at a time; {plural(feed.count, 'row')} make {runs}"
    if rest := feed.count % batch:
        filling = plural(batch - rest, "repeated row that is", "repeated rows that are")
        said += f", the last one filled up with {filling} not counted"
    return Grouped(inner=feed, batch=batch, shared=shared), [said]
