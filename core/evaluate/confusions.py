"""Which class stands where another stood: pairs of classes that were counted together, kept sparsely."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_CLASSES = 1024  # of positions that are counted in pairs: 8 MB for each table
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassPairs:
    """Pairs of classes that occurred, in order of their numbers."""

    first: npt.NDArray[np.int64]  # (pairs,) labels, or classes of the float model
    second: npt.NDArray[np.int64]  # (pairs,) classes of another model
    counts: npt.NDArray[np.int64]  # (pairs,) how often

    def total(self, number: int) -> int:
        """How often `number` is the first class."""
        return int(self.counts[self.first == number].sum())

    def kept(self, number: int) -> int:
        """How often `number` is the first class and the second one, too."""
        return int(self.counts[(self.first == number) & (self.second == number)].sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """One pair of different classes."""

    first: int
    second: int
    count: int


def pairs_of(first: Array, second: Array) -> ClassPairs:
    """Count pairs; negative numbers stand for no class, and are left out.

    Args:
        first: (n,) classes.
        second: (n,) classes.
    """
    a, b = np.asarray(first, np.int64).reshape(-1), np.asarray(second, np.int64).reshape(-1)
    known = (a >= 0) & (b >= 0)
    size = int(b.max(initial=0)) + 1
    # One number for each pair: NumPy sorts numbers several hundred times faster than rows, and maps have
    # hundreds of thousands of pixels.
    pairs, counts = np.unique(a[known] * size + b[known], return_counts=True)
    return ClassPairs(first=pairs // size, second=pairs % size, counts=counts.astype(np.int64))


def swaps(pairs: ClassPairs, most: int | None = None) -> tuple[Swap, ...]:
    """Pairs of different classes, the most frequent first; ties by class."""
    different = np.flatnonzero(pairs.first != pairs.second)
    order = different[np.argsort(-pairs.counts[different], kind="stable")][:most]
    return tuple(
        Swap(first=int(pairs.first[at]), second=int(pairs.second[at]), count=int(pairs.counts[at]))
        for at in order
    )


def class_numbers(pairs: Iterable[ClassPairs]) -> tuple[int, ...]:
    """All classes that occur, in order."""
    found: set[int] = set()
    for one in pairs:
        found.update(one.first.tolist(), one.second.tolist())
    return tuple(sorted(found))


@dataclass(slots=True)
class PairCounter:
    """Adds up pairs of many rows, in memory that does not grow with them."""

    classes: int
    table: npt.NDArray[np.int64] | None = field(default=None)

    def add(self, first: Array, second: Array) -> None:
        """Count the pairs of two arrays of classes of one shape; nothing with more than `MOST_CLASSES`."""
        if self.classes > MOST_CLASSES:
            return
        if self.table is None:
            self.table = np.zeros((self.classes, self.classes), np.int64)
        found = pairs_of(first, second)
        self.table[found.first, found.second] += found.counts

    def pairs(self) -> ClassPairs | None:
        """What was counted; None with more than `MOST_CLASSES`."""
        if self.classes > MOST_CLASSES:
            return None
        if self.table is None:
            nothing = np.zeros(0, np.int64)
            return ClassPairs(first=nothing, second=nothing, counts=nothing)
        first, second = np.nonzero(self.table)
        return ClassPairs(first=first, second=second, counts=self.table[first, second])
