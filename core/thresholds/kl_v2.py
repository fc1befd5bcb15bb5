"""Entropy without its two known failures, exact zeros and outliers.

Ours; no tool publishes a method of this name. B = 2048 bins h_k, as for `kl`; a candidate keeps a window of
them, and its levels, a step s apart, have rounding cells: half a step wide at both ends, one step elsewhere.

    P = the bins inside the window;  Q = the mass G of each cell spread evenly over the w bins it covers
    loss = 1/N sum_k h_k ln(P_k / Q_k) - what chance alone would give
         + 1/N sum over the clipped values of the steps that they are moved by

Three things differ from `kl`. Spikes say nothing about a threshold, since one level holds them whatever
it is: left out of P and Q are exact zeros, bins that tower above their neighbours, and a heap around zero
that a single level holds even at full range, if it carries next to no energy. Clipped mass is not put on
top of the last bin: it has a term of its own, one nat for a value that is moved by one step (inside, none
is moved by more than half). And few values make any histogram uneven: G counts in w bins would on average
have sum h ln h = G ln(G/w) + (w - 1) e(G/w), with e(m) = E[n ln n] - m ln m for Poisson numbers n of mean
m; that second term (1/2 a bin, where bins are full) is taken off.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram
from quantscope.core.jit import compiled
from quantscope.core.methods import Method
from quantscope.core.quant import QuantSpec, Range
from quantscope.core.thresholds.kl import BINS, magnitude_bins, signed_bins
from quantscope.core.thresholds.outcome import (
    Search,
    flags_of,
    full_range,
    single,
    symmetric_range,
    widened,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_LABEL = "KL and clipping (nats)"
_SPIKE_RATIO = 16.0  # a bin is a spike if it holds this many times the mean of its neighbours …
_SPIKE_SHARE = 0.01  # … and at least this share of all values
_HEAP_NATS = math.log(2.0)  # unevenness from which the values in the cell of zero are a heap …
_HEAP_ENERGY = 0.05  # … if they hold at most this share of the energy: with more, their error counts
_COARSE_BINS = 16  # from one candidate for an end to the next, in the first pass
_LOG_CANDIDATES = 96  # at evenly spaced logarithms, added for heavy tails
_SHARES = 64  # shares of the full range tried with both ends together, evenly spaced and geometric
_MOST_TURNS = 8  # searches of one end and then the other; neither moves any more after two to four
_LOG2_SPARSE, _LOG2_FULL, _PER_OCTAVE = -14, 10, 16  # means in the table of `chance`
_PER_LOG = 1.0 / math.log(2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bins:
    """A histogram prepared for windows; sums before each bin border, (BINS + 1,)."""

    mass: FloatArray  # without spikes
    entropy: FloatArray  # sum of h ln h, without spikes
    above: FloatArray  # sum of (x - border) over all values beyond the border, in bins; for the high end
    below: FloatArray  # the same towards the low end
    count: float  # values that are no exact zeros
    width: float
    low: float  # left end of bin 0
    left_out: str  # what was left out, for people


@lru_cache(maxsize=1)
def chance_table() -> FloatArray:
    """e(m) = E[n ln n] - m ln m of Poisson numbers with mean m, for log2 m from sparse to full."""
    steps = (_LOG2_FULL - _LOG2_SPARSE) * _PER_OCTAVE
    means = 2.0 ** (_LOG2_SPARSE + np.arange(steps + 1) / _PER_OCTAVE)
    out = 0.5 + 1.0 / (12.0 * means)
    for i, mean in enumerate(means[means < 64.0]):
        n = np.arange(2, int(mean + 12.0 * math.sqrt(mean)) + 24)
        log_factorial = np.cumsum(np.log(np.arange(1, n[-1] + 1)))[1:]
        chances = np.exp(n * math.log(mean) - mean - log_factorial)
        out[i] = float((n * np.log(n) * chances).sum()) - mean * math.log(mean)
    return out


@compiled
def chance(table: FloatArray, mean: float, log: float) -> float:
    """e(mean), looked up; `log` is ln(mean)."""
    at = (log * _PER_LOG - _LOG2_SPARSE) * _PER_OCTAVE
    if at <= 0.0:
        return -mean * log
    k = int(at)
    if k >= table.size - 1:
        return 0.5
    return float(table[k] + (at - k) * (table[k + 1] - table[k]))


@compiled
def between(sums: FloatArray, at: float) -> float:
    """A running sum at a place between two borders."""
    k = min(int(at), sums.size - 2)
    return float(sums[k] + (at - k) * (sums[k + 1] - sums[k]))


@compiled
def window_losses(
    mass: FloatArray,
    entropy: FloatArray,
    above: FloatArray,
    below: FloatArray,
    count: float,
    starts: IntArray,
    stops: IntArray,
    levels: int,
    table: FloatArray,
) -> FloatArray:
    """(unevenness, clipping) in nats of each window [starts[i], stops[i]): (windows, 2)."""
    out = np.empty((starts.size, 2))
    for i in range(starts.size):
        a, b = starts[i], stops[i]
        step = (b - a) / levels
        out[i, 1] = (above[b] + below[a]) / (step * count)
        uneven = 0.0
        if step > 1.0:  # otherwise a bin spans several levels, and nothing is merged
            left, mass_left = float(a), mass[a]
            even = 0.0
            for cell in range(levels + 1):
                right = min(a + (cell + 0.5) * step, float(b))
                mass_right = between(mass, right)
                held, bins = mass_right - mass_left, right - left
                if held > 0.0 and bins > 1.0:
                    mean = held / bins
                    log = math.log(mean)
                    even += held * log + (bins - 1.0) * chance(table, mean, log)
                elif held > 0.0:
                    even += between(entropy, right) - between(entropy, left)
                left, mass_left = right, mass_right
            uneven = entropy[b] - entropy[a] - even
        out[i, 0] = uneven / count
    return out


def search_kl_v2(histogram: Histogram, spec: QuantSpec) -> Search:
    """Least unevenness plus clipping; for asymmetric types the high and the low end are searched in turn."""
    flags = flags_of(histogram, spec)
    full = full_range(histogram, spec)
    if full.abs_max == 0.0 or "near_zero" in flags or "constant" in flags:
        reason = "There is nothing to choose: the values are all the same or (nearly) zero."
        return single(Method.KL_V2, full, 0.0, _LABEL, reason, flags)
    levels = _levels(histogram, spec)
    if levels >= BINS:
        reason = f"{spec.type} has as many levels as there are bins to compare ({BINS}): nothing to gain."
        return single(Method.KL_V2, full, 0.0, _LABEL, reason, flags)
    return _symmetric(histogram, spec, levels) if spec.symmetric else _asymmetric(histogram, spec, levels)


def _levels(histogram: Histogram, spec: QuantSpec) -> int:
    """Steps over |x| for symmetric types, or over the whole range."""
    if not spec.symmetric:
        return spec.qmax - spec.qmin
    return spec.qmax if spec.type.signed or histogram.min >= 0.0 else spec.qmax >> 1


def _symmetric(histogram: Histogram, spec: QuantSpec, levels: int) -> Search:
    """Windows [0, i) over |x|."""
    bins = _prepared(histogram, magnitude_bins(histogram), Range(0.0, histogram.abs_max), levels)
    table = _search_end(bins, levels, 0, BINS, moves_high=True, nearest=1)
    highs = bins.low + table[:, 1] * bins.width
    lows = symmetric_range(1.0, histogram, spec).low * highs
    return _result(histogram, spec, bins, np.column_stack([lows, highs, table[:, 2:]]))


def _asymmetric(histogram: Histogram, spec: QuantSpec, levels: int) -> Search:
    """Windows [a, b) over [min, max]: both ends together, then b and a in turn, until neither moves."""
    full = widened(histogram)
    bins = _prepared(histogram, signed_bins(histogram), full, levels)
    zero = -full.low / bins.width
    tried = [_search_both(bins, levels, zero)]
    a, b = (int(end) for end in tried[0][np.argmin(tried[0][:, 2:].sum(axis=1)), :2])
    for turn in range(1, _MOST_TURNS):
        moves_high = full.low == 0.0 or (full.high > 0.0 and turn % 2 == 1)
        nearest = math.ceil(zero) if moves_high else math.floor(zero)
        tried.append(_search_end(bins, levels, a, b, moves_high=moves_high, nearest=nearest))
        before, best = (a, b), tried[-1][np.argmin(tried[-1][:, 2:].sum(axis=1))]
        a, b = int(best[0]), int(best[1])
        if full.low == 0.0 or full.high == 0.0 or (turn > 1 and (a, b) == before):
            break
    table = np.concatenate(tried)
    table[:, :2] = np.clip(full.low + table[:, :2] * bins.width, full.low, full.high)
    return _result(histogram, spec, bins, table)


def _search_both(bins: _Bins, levels: int, zero: float) -> FloatArray:
    """Windows that are shares of the full range: rows of start, stop, unevenness, clipping."""
    shares = np.union1d(np.linspace(0.0, 1.0, _SHARES + 1)[1:], np.geomspace(0.01, 1.0, _SHARES))
    starts = np.floor(zero * (1.0 - shares)).astype(np.int64)
    stops = np.maximum(np.ceil(zero + (BINS - zero) * shares), starts + 1).astype(np.int64)
    return _table(bins, levels, starts, np.minimum(stops, BINS))


def _table(bins: _Bins, levels: int, starts: IntArray, stops: IntArray) -> FloatArray:
    """Rows of start, stop, unevenness, clipping."""
    losses = window_losses(
        bins.mass, bins.entropy, bins.above, bins.below, bins.count, starts, stops, levels, chance_table()
    )
    return np.column_stack([starts, stops, losses])


def _search_end(bins: _Bins, levels: int, a: int, b: int, *, moves_high: bool, nearest: int) -> FloatArray:
    """Move one end of [a, b) no closer than `nearest`: rows of start, stop, unevenness, clipping."""
    closest = max(nearest, a + 1) if moves_high else min(nearest, b - 1)
    reach = BINS - closest if moves_high else closest
    near = np.geomspace(1.0, reach + 1.0, _LOG_CANDIDATES).astype(np.int64) - 1
    offsets = np.unique(np.concatenate([near, np.arange(reach, -1, -_COARSE_BINS)]))
    table = np.zeros((0, 4))
    for _ in range(2):
        ends = closest + offsets if moves_high else closest - offsets
        starts = np.full_like(ends, a) if moves_high else ends
        stops = ends if moves_high else np.full_like(ends, b)
        rows = _table(bins, levels, starts, stops)
        table = np.concatenate([table, rows])
        best = int(offsets[np.argmin(rows[:, 2:].sum(axis=1))])
        offsets = np.arange(max(best - _COARSE_BINS, 0), min(best + _COARSE_BINS, reach) + 1)
    return table


def _prepared(histogram: Histogram, counts: FloatArray, span: Range, levels: int) -> _Bins:
    """Running sums of bins over `span`, with spikes taken out of those that make up P and Q."""
    width = (span.high - span.low) / BINS
    zero = -span.low / width
    values = counts.copy()
    values[min(int(zero), BINS - 1)] -= histogram.zeros
    values = np.maximum(values, 0.0)
    count = max(float(values.sum()), 1.0)
    zeros = histogram.zeros / histogram.count
    left_out = [f"{100 * zeros:.0f} % exact zeros"] if zeros >= _SPIKE_SHARE else []
    body, spikes = _without_spikes(values, count)
    if spikes:
        left_out.append("a spike" if spikes == 1 else f"{spikes} spikes")
    around_zero = slice(max(int(zero - BINS / levels / 2), 0), min(int(zero + BINS / levels / 2) + 1, BINS))
    energy = values * (np.arange(BINS) + 0.5 - zero) ** 2
    if energy[around_zero].sum() <= _HEAP_ENERGY * energy.sum() and _is_heap(body[around_zero]):
        body[around_zero] = 0.0
        left_out.append("a heap around zero")
    terms = body * np.log(np.where(body > 0.0, body, 1.0))
    return _Bins(
        mass=_running(body),
        entropy=_running(terms),
        above=_distances(values[::-1])[::-1].copy(),
        below=_distances(values),
        count=count,
        width=width,
        low=span.low,
        left_out=" and ".join(left_out),
    )


def _running(terms: FloatArray) -> FloatArray:
    """Sums of all terms before each border."""
    return np.concatenate([[0.0], np.cumsum(terms)])


def _distances(counts: FloatArray) -> FloatArray:
    """Sum of (border - x) over all values before each border, in bins."""
    return _running(_running(counts)[:-1] + counts / 2)


def _without_spikes(counts: FloatArray, total: float) -> tuple[FloatArray, int]:
    """The counts with each spike lowered to the mean of its four neighbours, and the number of spikes."""
    near = np.convolve(counts, [1.0, 1.0, 0.0, 1.0, 1.0], "same") / 4
    spikes = (counts > _SPIKE_SHARE * total) & (counts > _SPIKE_RATIO * near)
    return np.where(spikes, near, counts), int(spikes.sum())


def _is_heap(counts: FloatArray) -> bool:
    """Whether counts in one cell are far from even, beyond what chance explains."""
    total = float(counts.sum())
    if counts.size < 2 or total == 0.0:
        return False
    share = counts[counts > 0.0] / total
    nats = float((share * np.log(share * counts.size)).sum())
    return nats > _HEAP_NATS + (counts.size - 1) / (2.0 * total)


def _result(histogram: Histogram, spec: QuantSpec, bins: _Bins, table: FloatArray) -> Search:
    """The best of a table of low, high, unevenness, clipping."""
    table = table[np.argsort(table[:, 1] - table[:, 0], kind="stable")]
    losses = table[:, 2] + table[:, 3]
    best = int(np.argmin(losses))
    reason = f"Least sum of unevenness ({table[best, 2]:.3g} nats) and clipping ({table[best, 3]:.3g} nats)"
    reason += f"; {bins.left_out} left out of it" if bins.left_out else ""
    return Search(
        method=Method.KL_V2,
        range=Range(float(table[best, 0]), float(table[best, 1])),
        lows=table[:, 0],
        highs=table[:, 1],
        loss=losses,
        loss_label=_LABEL,
        reason=f"{reason}.",
        flags=flags_of(histogram, spec),
    )
