"""Exact, mergeable histograms of tensors on a grid of power-of-two bins aligned at 0.

Bin k of width w = 2**exponent holds the values with floor(x / w) = k. Scaling by a power of two and
flooring are exact, and making bins twice as wide is k >> 1; so for any split of the data

    merge(histogram(a), histogram(b)) == histogram(a ++ b)        bit for bit,

whatever the order, the batch size or the number of threads. The exponent follows from the data alone:
the smallest one with max|x| <= BINS_PER_SIDE * 2**exponent.
"""

import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import binning

LOG2_BINS_PER_SIDE = 13
BINS_PER_SIDE = 1 << LOG2_BINS_PER_SIDE  # on each side of 0; between half of it and all of it are in use
_CHUNK = 1 << 30  # elements per pass, well below what the 32-bit counters of a pass can hold


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram:
    """Counts of a tensor's finite values, and what a histogram alone would lose: zeros and extremes.

    `counts[i]` counts the non-zero values in [(first + i) * w, (first + i + 1) * w), w = 2**exponent;
    it begins and ends with an occupied bin. Equality and `digest` ignore `min_sample`, `max_sample`.
    """

    exponent: int
    first: int  # grid index of counts[0]
    counts: npt.NDArray[np.int64]  # exact zeros are not in it; the extremes are
    count: int  # finite values, zeros included
    zeros: int
    nans: int
    infs: int  # infinite as float32, that is beyond ±3.4e38
    min: float  # of the finite values; 0.0 if there are none
    max: float
    at_min: int  # how many values equal min
    at_max: int
    min_sample: int = -1  # index of the (first) sample that reached min; -1: unknown
    max_sample: int = -1

    @property
    def width(self) -> float:
        """Width of a bin."""
        return float(np.ldexp(1.0, self.exponent))

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """Bin borders, (len(counts) + 1,)."""
        last = self.first + self.counts.size
        return np.ldexp(np.arange(self.first, last + 1, dtype=np.float64), self.exponent)

    @property
    def centers(self) -> npt.NDArray[np.float64]:
        """Bin centres, (len(counts),)."""
        middles = np.arange(self.counts.size, dtype=np.float64) + (self.first + 0.5)
        return np.asarray(np.ldexp(middles, self.exponent), np.float64)

    @property
    def abs_max(self) -> float:
        """Largest magnitude."""
        return max(-self.min, self.max)

    def coarsen(self, shift: int) -> "Histogram":
        """The histogram of the same data with bins 2**shift times as wide."""
        if shift < 0:
            raise ValueError(f"a histogram can only be made coarser, not by 2**{shift}")
        if shift == 0 or self.counts.size == 0:
            return replace(self, exponent=self.exponent + shift)
        shift_index = min(shift, 62)
        keys = np.arange(self.first, self.first + self.counts.size) >> shift_index
        starts = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1))
        counts = np.add.reduceat(self.counts, starts)
        return replace(self, exponent=self.exponent + shift, first=int(keys[0]), counts=counts)

    def merge(self, other: "Histogram") -> "Histogram":
        """The histogram of both data sets together."""
        exponent = max(self.exponent, other.exponent)
        a, b = self.coarsen(exponent - self.exponent), other.coarsen(exponent - other.exponent)
        first, counts = _add_counts(a, b)
        filled = [h for h in (a, b) if h.count]
        low, at_min, min_sample = _extreme(min, [(h.min, h.at_min, h.min_sample) for h in filled])
        high, at_max, max_sample = _extreme(max, [(h.max, h.at_max, h.max_sample) for h in filled])
        return Histogram(
            exponent=exponent,
            first=first,
            counts=counts,
            count=a.count + b.count,
            zeros=a.zeros + b.zeros,
            nans=a.nans + b.nans,
            infs=a.infs + b.infs,
            min=low,
            max=high,
            at_min=at_min,
            at_max=at_max,
            min_sample=min_sample,
            max_sample=max_sample,
        )

    def __post_init__(self) -> None:
        counts = self.counts.view()
        counts.flags.writeable = False  # histograms are shared between threads and caches
        object.__setattr__(self, "counts", counts)

    def _content(self) -> tuple[object, ...]:
        numbers = (self.exponent, self.first, self.count, self.zeros, self.nans, self.infs)
        return (*numbers, self.min, self.max, self.at_min, self.at_max)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self._content() == other._content() and np.array_equal(self.counts, other.counts)

    def __hash__(self) -> int:
        """Of all but the counts, so that what follows from a histogram is soon found; equality sees these."""
        return hash(self._content())

    def digest(self) -> str:
        """SHA-256 of the content, in hex; the same on every machine."""
        head = ",".join(part.hex() if isinstance(part, float) else str(part) for part in self._content())
        return hashlib.sha256(head.encode() + b"\n" + self.counts.astype("<i8").tobytes()).hexdigest()


def _extreme(
    pick: Callable[[Iterable[float]], float], ends: list[tuple[float, int, int]]
) -> tuple[float, int, int]:
    """The extreme of some (value, how often, sample): the value, how often in all, the first sample."""
    if not ends:
        return 0.0, 0, -1
    value = pick(end for end, _, _ in ends)
    times = sum(times for end, times, _ in ends if end == value)
    return value, times, min((sample for end, _, sample in ends if end == value and sample >= 0), default=-1)


def _add_counts(a: Histogram, b: Histogram) -> tuple[int, npt.NDArray[np.int64]]:
    """First index and counts of the sum of two histograms on the same grid."""
    if a.counts.size == 0 or b.counts.size == 0:
        some = a if a.counts.size else b
        return some.first, some.counts
    first = min(a.first, b.first)
    counts = np.zeros(max(a.first + a.counts.size, b.first + b.counts.size) - first, np.int64)
    counts[a.first - first : a.first - first + a.counts.size] += a.counts
    counts[b.first - first : b.first - first + b.counts.size] += b.counts
    return first, counts


EMPTY = Histogram(
    exponent=binning.MIN_EXPONENT,
    first=0,
    counts=np.zeros(0, np.int64),
    count=0,
    zeros=0,
    nans=0,
    infs=0,
    min=0.0,
    max=0.0,
    at_min=0,
    at_max=0,
)


def merge(histograms: Iterable[Histogram]) -> Histogram:
    """The histogram of all data sets together; of none, the empty one."""
    return reduce(Histogram.merge, histograms, EMPTY)


def histogram_of(x: npt.NDArray[np.generic], *, log2_bins: int = LOG2_BINS_PER_SIDE) -> Histogram:
    """The histogram of one array; `log2_bins` as for `Accumulator`."""
    accumulator = Accumulator(log2_bins=log2_bins)
    accumulator.add(x)
    return accumulator.histogram()


class Accumulator:
    """Counts a stream of arrays into one histogram. Not thread-safe: one a thread, merged at the end."""

    __slots__ = ("_bins", "_done", "_log2_bins", "_pending", "_real", "_whole", "latest")

    def __init__(self, *, log2_bins: int = LOG2_BINS_PER_SIDE) -> None:
        """Start empty.

        Args:
            log2_bins: log2 of the bins on each side of 0. Histograms that are merged should agree on it:
                the coarser one decides.
        """
        self._log2_bins = log2_bins
        self._done = EMPTY
        self.latest = (math.inf, -math.inf)  # extremes of what `add` was last given; so if nothing was finite
        self._reset()

    def _reset(self) -> None:
        self._bins = np.zeros((2, (2 << self._log2_bins) + 1 + binning.SPARE), np.int32)
        self._whole = np.zeros(binning.FIELDS, np.int64)
        self._whole[binning.EXPONENT] = binning.MIN_EXPONENT
        self._real = np.array([np.inf, -np.inf, np.inf, -np.inf])
        self._pending = 0

    def add(self, x: npt.NDArray[np.generic], sample: int = -1) -> None:
        """Count every element of `x`.

        Args:
            x: float16, float32 or float64, any shape and memory layout.
            sample: index of the calibration sample it belongs to, remembered where it sets an extreme.

        Raises:
            TypeError: `x` does not hold floating-point numbers.
        """
        flat = _as_plain(x)
        bits: npt.NDArray[np.signedinteger] = flat.view(np.int32 if flat.itemsize == 4 else np.int64)
        lowest, highest = math.inf, -math.inf
        for start in range(0, flat.size, _CHUNK):
            size = min(_CHUNK, flat.size - start)
            if self._pending + size > _CHUNK:
                self._done = self.histogram()
                self._reset()
            self._pending += size
            part, part_bits = flat[start : start + size], bits[start : start + size]
            self._real[binning.LOWEST :] = math.inf, -math.inf
            binning.accumulate(part, part_bits, sample, self._log2_bins, self._bins, self._whole, self._real)
            lowest = min(lowest, float(self._real[binning.LOWEST]))
            highest = max(highest, float(self._real[binning.HIGHEST]))
        self.latest = lowest, highest

    def histogram(self) -> Histogram:
        """What has been counted so far."""
        if self._pending == 0:
            return self._done
        used = (2 << self._log2_bins) + 1
        start, counts = _trimmed(self._bins[0, :used].astype(np.int64) + self._bins[1, :used])
        zeros = int(self._bins[:, used:].sum(dtype=np.int64))
        exponent, count, nans, infs, at_min, at_max, min_sample, max_sample = self._whole.tolist()
        low, high = self._real[: binning.LOWEST].tolist() if count else (0.0, 0.0)
        fresh = Histogram(
            exponent=exponent,
            first=start - (1 << self._log2_bins) if counts.size else 0,
            counts=counts,
            count=count,
            zeros=zeros,
            nans=nans,
            infs=infs,
            min=low,
            max=high,
            at_min=at_min if low else zeros,
            at_max=at_max if high else zeros,
            min_sample=min_sample if count else -1,
            max_sample=max_sample if count else -1,
        )
        return self._done.merge(fresh)


def _trimmed(bins: npt.NDArray[np.int64]) -> tuple[int, npt.NDArray[np.int64]]:
    """Index of the first occupied bin, and the counts up to the last one."""
    occupied = np.flatnonzero(bins)
    if occupied.size == 0:
        return 0, np.zeros(0, np.int64)
    start, stop = int(occupied[0]), int(occupied[-1]) + 1
    return start, bins[start:stop].copy()


def _as_plain(x: npt.NDArray[np.generic]) -> npt.NDArray[np.floating]:
    """`x` flat, as native, aligned, writable float32 or float64, so that one compiled version serves all."""
    x = np.asarray(x)
    if x.dtype.type not in (np.float16, np.float32, np.float64):
        raise TypeError(f"a histogram counts float16, float32 or float64 values, not {x.dtype}")
    if x.flags.carray and x.dtype in (np.float32, np.float64) and x.dtype.isnative:
        return x.reshape(-1)  # type: ignore[return-value]  # the dtype was looked at
    wide = np.float64 if x.dtype.type is np.float64 else np.float32
    copy: npt.NDArray[np.floating] = np.array(x, wide, order="C")
    return copy.reshape(-1)
