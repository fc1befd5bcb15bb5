"""Outputs judged by channel: quantities of different size in one tensor, and channels that become constant.

A detector's boxes (0 … 640) and scores (0 … 1) in one tensor have one SQNR, which the boxes decide alone.
Here the channels of an output are sorted into parts of about the same size, and each part has a figure of
its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.evaluate.sums import flat_pair
from quantscope.core.jit import compiled

Flat = npt.NDArray[Any]
Rows = npt.NDArray[np.float64]  # (fields, channels)

MOST_CHANNELS = 1 << 16  # a longer axis counts positions, not channels
GAP_DB = 24.0  # between neighbours in the order of their energy: 4 of 8 bits; logits lie closer together
SPAN_DB = 36.0  # what the channels of a part may span on a short axis, also without a gap: 6 of 8 bits
SHORT = 32  # channels; on longer axes a steady fall of the energy is that of a spectrum or a place
VARIES = 1e-3  # of a channel's largest magnitude: what it spans at least to carry something
ROUND_OFF = 1e-6  # of the output's largest magnitude: less is float32's own error
PROBABLE = 1.0 / 128.0  # probabilities that never exceed it are none, also for the best 8-bit range
LIKELY = 0.1  # that some probability exceeds
FEW = 4  # values, of which nobody can say that they vary
SMALL = 0.5  # of the typical span of its part: a channel that spans less may vanish by itself …
MANY = 0.1  # … unless so large a share of the channels does
ENOUGH = 32  # values, that all round to the same integer by chance no more
STIRS = 0.05  # of its values: a channel with fewer that are not 0 is no quantity of its own

_FF, _DD, _USED, _F_LOW, _F_HIGH, _Q_LOW, _Q_HIGH = range(7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Channels of one output whose values are about as large."""

    channels: tuple[int, ...]
    sqnr_db: float  # of them alone; inf where nothing differs, -inf where all is noise
    lost: tuple[int, ...]  # channels that vary in the float model and are constant in the quantized one

    @property
    def nmse(self) -> float:
        """Noise over signal, of which a lost channel has 1, however small it is beside the others."""
        share = len(self.lost) / len(self.channels)
        return (1.0 - share) * math.pow(10.0, -self.sqnr_db / 10.0) + share


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelError:
    """One output by its channels."""

    axis: int | None  # of the channels; None = the output is taken as one
    size: int  # channels along it
    parts: tuple[Part, ...]  # by falling energy; only channels that carry something
    sqnr_db: tuple[float, ...]  # of each channel; nan where the float model gives only zeros
    peak: tuple[float, ...]  # largest magnitude of each channel in the float model
    span: tuple[float, ...]  # largest less smallest value of each
    low: float  # of all channels that carry something, in the float model; 0 where none does
    high: float
    zero: bool  # whether the lost channels are all 0, and not just constant

    @property
    def lost(self) -> tuple[int, ...]:
        """Channels that vary in the float model and are constant in the quantized one."""
        return tuple(sorted(c for part in self.parts for c in part.lost))

    @property
    def nmse(self) -> float:
        """Noise over signal where every channel counts alike, scaled to the same energy by its part."""
        return math.fsum(len(part.channels) * part.nmse for part in self.parts) / self.varying

    @property
    def varying(self) -> int:
        """Channels that carry something in the float model."""
        return sum(len(part.channels) for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSums:
    """What one run contributes: for each axis an array (fields, channels)."""

    axes: dict[int | None, Rows]
    counts: dict[int | None, int]  # values of one channel
    rank: int


def candidate_axes(shape: Sequence[int]) -> tuple[int, ...]:
    """Axes that may count channels: not the first, which counts samples, and of images not the spatial ones.

    (N, C): 1. (N, C, A) and (N, A, C): both. (N, C, H, W) and (N, H, W, C): 1 and the last.
    """
    rank = len(shape)
    asked = {1, rank - 1} if rank >= 4 else set(range(1, rank))
    return tuple(axis for axis in sorted(asked) if 1 < shape[axis] <= MOST_CHANNELS)


def channel_sums(f: npt.NDArray[Any], q: npt.NDArray[Any]) -> ChannelSums | None:
    """Sums and ranges of each channel, along every axis that may count channels, and of all values as one.

    Args:
        f: An output of the float model.
        q: The same of the quantized model, in the same shape.

    Returns:
        None where a value is not finite, and for empty arrays.
    """
    if not f.size:
        return None
    left, right = flat_pair(f, q)
    axes: dict[int | None, Rows] = {}
    counts: dict[int | None, int] = {}
    for axis in candidate_axes(f.shape):
        size = f.shape[axis]
        inner = math.prod(f.shape[axis + 1 :])
        axes[axis] = _by_channel(left, right, f.size // (size * inner), size, inner)
        counts[axis] = f.size // size
    whole = _whole(next(iter(axes.values()))) if axes else _by_channel(left, right, 1, 1, f.size)
    if not np.isfinite(whole).all():
        return None
    return ChannelSums(axes={**axes, None: whole}, counts={**counts, None: f.size}, rank=f.ndim)


def _whole(rows: Rows) -> Rows:
    """All channels as one."""
    low, high = rows.min(axis=1), rows.max(axis=1)
    summed = rows.sum(axis=1)
    ends = (low[_F_LOW], high[_F_HIGH], low[_Q_LOW], high[_Q_HIGH])
    return np.array([*summed[:3], *ends]).reshape(7, 1)


@compiled
def _by_channel(f: Flat, q: Flat, outer: int, size: int, inner: int) -> Rows:
    out = np.zeros((7, size))
    out[3], out[4], out[5], out[6] = np.inf, -np.inf, np.inf, -np.inf
    at = 0
    for _ in range(outer):
        for c in range(size):
            ff, dd, used = 0.0, 0.0, 0.0
            f_low, f_high, q_low, q_high = out[3, c], out[4, c], out[5, c], out[6, c]
            for _ in range(inner):
                x, y = np.float64(f[at]), np.float64(q[at])
                ff += x * x
                dd += (x - y) * (x - y)
                used += x != 0.0
                f_low, f_high = min(f_low, x), max(f_high, x)
                q_low, q_high = min(q_low, y), max(q_high, y)
                at += 1
            out[0, c] += ff
            out[1, c] += dd
            out[2, c] += used
            out[3, c], out[4, c], out[5, c], out[6, c] = f_low, f_high, q_low, q_high
    return out


@dataclass(slots=True)
class ChannelTotal:
    """Adds up runs; the result does not depend on their order."""

    axes: dict[int | None, "_AxisTotal"] = field(default_factory=dict)
    rank: int | None = None
    usable: bool = True  # False once a run could not be judged

    def add(self, part: ChannelSums | None) -> None:
        """Add one run; None marks one that cannot be judged."""
        if part is None or (self.rank is not None and part.rank != self.rank):
            self.usable = False
            return
        if self.rank is None:
            self.rank = part.rank
            self.axes = {axis: _AxisTotal(rows.shape[1]) for axis, rows in part.axes.items()}
        for axis in list(self.axes):
            rows = part.axes.get(axis)
            if rows is None or rows.shape[1] != self.axes[axis].size:
                del self.axes[axis]  # its length changes from run to run, so it counts no channels
            else:
                self.axes[axis].add(rows, part.counts[axis])

    def error(self) -> ChannelError | None:
        """The figures of all runs together; None where they cannot be had."""
        if not self.usable or self.rank is None:
            return None
        views = {axis: _View(total.rows(), total.count) for axis, total in self.axes.items()}
        grouped = {axis: view.groups(self._is_short(axis)) for axis, view in views.items()}
        best = max(grouped, key=lambda axis: (views[axis].spread(grouped[axis]), -(axis or 0)))
        if len(grouped[best]) < 2:
            best = self._usual()
        return views[best].figures(best, grouped[best] if len(grouped[best]) > 1 else None)

    def _is_short(self, axis: int | None) -> bool:
        assert self.rank is not None
        return axis is not None and self.axes[axis].size <= SHORT and (self.rank < 4 or axis == 1)

    def _usual(self) -> int | None:
        """The axis that counts channels where nothing tells it: 1 for images, else the shorter one."""
        known = [axis for axis in self.axes if axis is not None]
        if self.rank is not None and self.rank >= 4:
            return 1 if 1 in known else None
        return min(known, key=lambda axis: (self.axes[axis].size, -axis), default=None)


class _AxisTotal:
    """Channels along one axis. Sums are kept to twice the precision, so that no order of runs shows."""

    def __init__(self, size: int) -> None:
        self.size, self.count = size, 0
        self.sums = np.zeros((3, size))
        self.rest = np.zeros((3, size))
        self.low = np.full((2, size), np.inf)
        self.high = np.full((2, size), -np.inf)

    def add(self, rows: Rows, count: int) -> None:
        self.count += count
        given = rows[:3]
        total = self.sums + given
        back = total - self.sums
        self.rest += (self.sums - (total - back)) + (given - back)  # what rounding took (Knuth, TwoSum)
        self.sums = total
        self.low = np.minimum(self.low, rows[[_F_LOW, _Q_LOW]])
        self.high = np.maximum(self.high, rows[[_F_HIGH, _Q_HIGH]])

    def rows(self) -> Rows:
        sums = self.sums + self.rest
        return np.stack([*sums, self.low[0], self.high[0], self.low[1], self.high[1]])


class _View:
    """One axis, after all runs."""

    def __init__(self, rows: Rows, count: int) -> None:
        self.ff, self.dd, used, self.low, self.high, q_low, q_high = rows
        self.count = count
        self.span = self.high - self.low
        self.peak = np.maximum(np.abs(self.low), np.abs(self.high))
        top = float(self.peak.max(initial=0.0))
        known = (self.span > VARIES * self.peak) & (self.span > ROUND_OFF * top)
        # What carries something: for a few values it cannot be told, so that these count.
        self.live = (known if count >= FEW else self.ff > 0.0) & (self.ff > 0.0)
        self.constant = known & (q_low == q_high) & (count >= FEW)
        self.zero = (q_low == 0.0) & (q_high == 0.0)
        self.probable = self._probabilities()
        self.rare = self.live & (used < STIRS * count)

    def _probabilities(self) -> Flat:
        """Channels that hold probabilities, which have one unit however rare some of them are."""
        used = self.ff > 0.0
        inside = used & (self.low >= 0.0) & (self.high <= 1.0 + ROUND_OFF)
        at = np.flatnonzero(inside)
        likely = at.size >= 2 and float(self.high[at].max()) > LIKELY
        if at.size == 2:  # of two classes, one is what the other is not
            (a, b), (low, high) = at, (self.low, self.high)
            opposite = np.allclose([low[a], high[a]], [1.0 - high[b], 1.0 - low[b]], rtol=0.0, atol=1e-5)
            likely = likely and opposite and at.size == used.sum()
        return self.live & inside if likely else np.zeros_like(inside)

    def groups(self, short: bool) -> list[Flat]:
        """Channels that carry something, sorted into parts of about the same energy, the largest first."""
        at = np.flatnonzero(self.live)
        if not at.size or self.count < FEW:
            return [at] if at.size else []
        level = np.full(self.ff.shape, -np.inf)
        np.log10(self.ff, out=level, where=self.ff > 0.0)
        level *= 10.0
        level[self.probable] = level[self.probable].max(initial=-np.inf)
        level[self.rare] = level[self.live].max()
        order = at[np.lexsort((at, -level[at]))]
        cuts, top = [0], float(level[order[0]])
        for i in range(1, order.size):
            here, before = float(level[order[i]]), float(level[order[i - 1]])
            if before - here > GAP_DB or (short and top - here > SPAN_DB):
                cuts.append(i)
                top = here
        return [order[a:b] for a, b in zip(cuts, [*cuts[1:], order.size], strict=True)]

    def spread(self, groups: list[Flat]) -> float:
        """How much energy lies between the parts, in dB; 0 where there is one."""
        if len(groups) < 2:
            return 0.0
        means = [float(np.mean(self.ff[group])) for group in groups]
        return 10.0 * math.log10(max(means) / min(means))

    def figures(self, axis: int | None, groups: list[Flat] | None) -> ChannelError:
        ratio = np.divide(self.dd, self.ff, out=np.full_like(self.ff, np.nan), where=self.ff > 0.0)
        with np.errstate(divide="ignore"):
            each = -10.0 * np.log10(ratio)
        live = [np.flatnonzero(self.live)] if self.live.any() else []
        parts = tuple(self._part(group) for group in (live if groups is None else groups))
        return ChannelError(
            axis=axis,
            size=self.ff.size,
            parts=parts,
            low=float(self.low[self.live].min(initial=0.0)),
            high=float(self.high[self.live].max(initial=0.0)),
            zero=all(bool(self.zero[c]) for part in parts for c in part.lost),
            sqnr_db=tuple(each.tolist()),
            peak=tuple(self.peak.tolist()),
            span=tuple(self.span.tolist()),
        )

    def _part(self, group: Flat) -> Part:
        signal, noise = math.fsum(self.ff[group]), math.fsum(self.dd[group])
        constant = self.constant[group] & ~(self.probable[group] & (self.span[group] < PROBABLE))
        typical = float(np.median(self.span[group]))
        # A channel that hardly ever stirs beside its like is no loss, nor one that a few values of round
        # alike by chance; many of them are.
        few = constant.sum() < MANY * group.size
        stirs = (self.span[group] >= SMALL * typical) & (self.count >= ENOUGH)
        constant &= stirs | ~(few | self.rare[group])
        return Part(
            channels=tuple(sorted(group.tolist())),
            sqnr_db=math.inf if not noise else 10.0 * math.log10(signal / noise),
            lost=tuple(sorted(group[constant].tolist())),
        )


def balanced_db(noises: Sequence[float]) -> float:
    """SQNR in dB of several outputs, each scaled to the same energy, from their noise over signal.

    The sum is led by the worst: none, loud or exact as it may be, hides what another one loses, and yet a
    gain of any of them shows. For one output it is its own SQNR. nan if there is none.
    """
    if not noises:
        return math.nan
    mean = math.fsum(noises) / len(noises)
    if not mean:
        return math.inf
    return -10.0 * math.log10(mean) if math.isfinite(mean) else -math.inf
