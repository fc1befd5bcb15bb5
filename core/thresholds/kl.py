"""TensorRT's entropy method: the range whose quantized histogram diverges least.

S. Migacz, "8-bit inference with TensorRT", GTC 2017. B = 2048 bins; a candidate keeps a window of them:

    P = the window, with the mass left outside added to its outermost bins
    Q = the window merged into `levels` groups, each group's mass spread evenly over its bins with P > 0
    loss = KL(P || Q) in nats, both normalised;  T = (i + 1/2) w for i bins kept, at most max|x|

`levels` is 128 for int8 and 256 for unsigned or asymmetric 8-bit types: the type's levels on one side of 0
where |x| is searched and both sides are in use, else all of them. Where the paper leaves a gap: a group
that holds clipped mass only (Q = 0 < P) gets the mass of one value; and a candidate that would clip more
than half of all values is not considered.
"""

import math

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram
from quantscope.core.jit import compiled
from quantscope.core.methods import Method
from quantscope.core.quant import QuantSpec, Range
from quantscope.core.thresholds.distribution import magnitude_distribution, signed_distribution
from quantscope.core.thresholds.minmax import search_minmax
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

BINS = 2048
_LABEL = "KL (nats)"
_SPIKE = 0.1  # share of exact zeros that distorts the divergence: no group of bins reproduces them
_LOOKED_UP = 16  # bins in a group up to which looking up its term saves logarithms
_MOST_TURNS = 8  # searches of one end and then the other; neither moves any more after two to four


@compiled
def prefix_sums(counts: FloatArray) -> FloatArray:
    """Sums before each bin of h, h ln h and of the occupied bins: (3, bins + 1)."""
    sums = np.zeros((3, counts.size + 1))
    for k in range(counts.size):
        c = counts[k]
        sums[0, k + 1] = sums[0, k] + c
        sums[1, k + 1] = sums[1, k] + (c * math.log(c) if c > 0.0 else 0.0)
        sums[2, k + 1] = sums[2, k] + (1.0 if c > 0.0 else 0.0)
    return sums


@compiled
def group_terms(sums: FloatArray, longest: int) -> FloatArray:
    """G ln(G / occupied) of the group of bins [k, k + length), at [length - 1, k]."""
    bins = sums.shape[1] - 1
    terms = np.zeros((longest, bins))
    for length in range(1, longest + 1):
        for k in range(bins - length + 1):
            group = sums[0, k + length] - sums[0, k]
            if group > 0.0:
                terms[length - 1, k] = group * math.log(group / (sums[2, k + length] - sums[2, k]))
    return terms


@compiled
def inner_terms(sums: FloatArray, terms: FloatArray, start: int, size: int, log2_levels: int) -> float:
    """Sum of G ln(G / occupied) over all groups of a window but the first and the last."""
    levels, up = 1 << log2_levels, (1 << log2_levels) - 1
    even, odd = 0.0, 0.0  # two sums, so that additions need not wait for each other
    if terms.shape[0] > 0:
        for pair in range(levels // 2 - 1):
            g = 2 * pair + 1
            first, second = (g * size + up) >> log2_levels, ((g + 1) * size + up) >> log2_levels
            third = ((g + 2) * size + up) >> log2_levels
            odd += terms[second - first - 1, start + first]
            even += terms[third - second - 1, start + second]
        return odd + even
    for g in range(1, levels - 1):
        begin, end = start + ((g * size + up) >> log2_levels), start + (((g + 1) * size + up) >> log2_levels)
        group = sums[0, end] - sums[0, begin]
        if group > 0.0:
            even += group * math.log(group / (sums[2, end] - sums[2, begin]))
    return even


@compiled
def end_group(group: float, occupied: float, outer_bin: float, clipped: float) -> tuple[float, float]:
    """P ln(G / occupied) of the first or last group, which takes clipped mass, and mass added to Q."""
    if outer_bin == 0.0 and clipped > 0.0:
        occupied += 1.0
    if group + clipped == 0.0:
        return 0.0, 0.0
    if group == 0.0:
        return 0.0, 1.0  # clipped mass only: Q gets one value in one bin, and its logarithm is 0
    return (group + clipped) * math.log(group / occupied), 0.0


@compiled
def divergences(
    counts: FloatArray,
    sums: FloatArray,
    terms: FloatArray,
    starts: IntArray,
    stops: IntArray,
    log2_levels: int,
) -> FloatArray:
    """KL(P || Q) in nats of each window [starts[i], stops[i]) of a histogram, inf for those not considered.

    N KL = sum p ln p - sum_g P_g ln(G_g / occupied_g) + N ln(M / N), with N = sum p and M = sum G. A group
    is one of few lengths at one of few places: its term is looked up, if `terms` has any.
    """
    levels, total = 1 << log2_levels, sums[0, counts.size]
    out = np.full(starts.size, np.inf)
    for i in range(starts.size):
        a, b = starts[i], stops[i]
        size = b - a
        left, right = sums[0, a], total - sums[0, b]
        if left + right > 0.5 * total or size < levels:
            continue
        first, last = counts[a] + left, counts[b - 1] + right
        own = sums[1, b - 1] - sums[1, a + 1]
        own += (first * math.log(first) if first > 0.0 else 0.0) + (
            last * math.log(last) if last > 0.0 else 0.0
        )
        inner = inner_terms(sums, terms, a, size, log2_levels)
        begin, end = b - (size >> log2_levels), a + ((size + levels - 1) >> log2_levels)
        low, more = end_group(sums[0, end] - sums[0, a], sums[2, end] - sums[2, a], counts[a], left)
        high, most = end_group(sums[0, b] - sums[0, begin], sums[2, b] - sums[2, begin], counts[b - 1], right)
        kept = sums[0, b] - sums[0, a] + more + most
        out[i] = max((own - (inner + low + high)) / total + math.log(kept / total), 0.0)
    return out


def window_divergences(counts: FloatArray, starts: IntArray, stops: IntArray, log2_levels: int) -> FloatArray:
    """`divergences` of windows of a histogram."""
    return Windows(counts, log2_levels).divergences(starts, stops)


class Windows:
    """A histogram prepared for the divergences of any of its windows."""

    def __init__(self, counts: FloatArray, log2_levels: int) -> None:
        self._counts, self._log2_levels = counts, log2_levels
        self._sums = prefix_sums(counts)
        longest = -(-counts.size >> log2_levels)  # bins in a group
        self._terms = group_terms(self._sums, longest if longest <= _LOOKED_UP else 0)

    def divergences(self, starts: IntArray, stops: IntArray) -> FloatArray:
        """KL(P || Q) in nats of each window, inf for those not considered."""
        return divergences(self._counts, self._sums, self._terms, starts, stops, self._log2_levels)


def search_kl(histogram: Histogram, spec: QuantSpec) -> Search:
    """Least KL(P || Q); for asymmetric types the high end and the low end are searched in turn."""
    flags = flags_of(histogram, spec)
    full = full_range(histogram, spec)
    if full.abs_max == 0.0 or "near_zero" in flags or "constant" in flags:
        reason = "There is nothing to choose: the values are all the same or (nearly) zero."
        return single(Method.KL, full, 0.0, _LABEL, reason, flags)
    levels = kl_levels(histogram, spec)
    if levels >= BINS:
        reason = f"{spec.type} has as many levels as there are bins to compare ({BINS}): nothing to gain."
        return single(Method.KL, search_minmax(histogram, spec).range, 0.0, _LABEL, reason, flags)
    return _symmetric(histogram, spec, levels) if spec.symmetric else _asymmetric(histogram, spec, levels)


def kl_levels(histogram: Histogram, spec: QuantSpec) -> int:
    """Groups that a window is merged into: 128 for symmetric int8, 256 for most other 8-bit types."""
    one_side = spec.symmetric and (spec.type.signed or histogram.min < 0.0)
    return 1 << (spec.type.bits - int(one_side))


def magnitude_bins(histogram: Histogram) -> FloatArray:
    """Counts of |x| in BINS equal bins over [0, max|x|]; a bin of the histogram is split evenly."""
    return magnitude_distribution(histogram).rebin(_edges(0.0, histogram.abs_max))


def signed_bins(histogram: Histogram) -> FloatArray:
    """Counts in BINS equal bins over [min, max] widened to hold 0."""
    full = widened(histogram)
    return signed_distribution(histogram).rebin(_edges(full.low, full.high))


def _edges(low: float, high: float) -> FloatArray:
    edges = low + (high - low) * (np.arange(BINS + 1) / BINS)
    edges[-1] = high
    return edges


def _symmetric(histogram: Histogram, spec: QuantSpec, levels: int) -> Search:
    """Windows [0, i) over |x|."""
    stops = np.arange(levels, BINS + 1)
    starts = np.zeros_like(stops)
    loss = window_divergences(magnitude_bins(histogram), starts, stops, levels.bit_length() - 1)
    _, thresholds = window_ends(starts, stops, Range(0.0, histogram.abs_max))
    sign = symmetric_range(1.0, histogram, spec).low
    return _result(histogram, spec, sign * thresholds, thresholds, loss, int(np.argmin(loss)))


def _asymmetric(histogram: Histogram, spec: QuantSpec, levels: int) -> Search:
    """Windows [a, b) over [min, max]: b with a fixed, then a with b fixed, until neither moves."""
    windows, full = Windows(signed_bins(histogram), levels.bit_length() - 1), widened(histogram)
    zero = min(int(-full.low * (BINS / (full.high - full.low))), BINS - 1)
    a, b = 0, BINS
    tried: list[tuple[IntArray, IntArray, FloatArray]] = []
    for turn in range(1, _MOST_TURNS):
        if full.low == 0.0 or (full.high > 0.0 and turn % 2 == 1):
            stops = np.arange(max(a + levels, zero + 1), BINS + 1)
            starts = np.full_like(stops, a)
        else:
            starts = np.arange(min(b - levels, zero), -1, -1)
            stops = np.full_like(starts, b)
        loss = windows.divergences(starts, stops)
        tried.append((starts, stops, loss))
        before, best = (a, b), int(np.argmin(loss))
        a, b = int(starts[best]), int(stops[best])
        if full.low == 0.0 or full.high == 0.0 or (turn > 1 and (a, b) == before):
            break
    starts, stops, loss = (np.concatenate(part) for part in zip(*tried, strict=True))
    lows, highs = window_ends(starts, stops, full)
    return _result(histogram, spec, lows, highs, loss, int(np.flatnonzero((starts == a) & (stops == b))[0]))


def window_ends(starts: IntArray, stops: IntArray, full: Range) -> tuple[FloatArray, FloatArray]:
    """Real ends of windows of bins: half a bin beyond what is kept, at most the data's own ends."""
    width = (full.high - full.low) / BINS
    lows = np.maximum(full.low + (starts - 0.5) * width, full.low)
    return np.minimum(lows, 0.0), np.maximum(np.minimum(full.low + (stops + 0.5) * width, full.high), 0.0)


def _result(
    histogram: Histogram, spec: QuantSpec, lows: FloatArray, highs: FloatArray, loss: FloatArray, best: int
) -> Search:
    """The search that chose candidate `best`; those that clip too much are left out."""
    considered = np.flatnonzero(np.isfinite(loss))
    order = considered[np.argsort((highs - lows)[considered], kind="stable")]
    reason = f"Changes the distribution least: {loss[best]:.3g} nats, against {loss[order[-1]]:.3g} unclipped"
    share = histogram.zeros / histogram.count
    if share >= _SPIKE and loss[best] < loss[order[-1]]:
        reason += f"; the {100 * share:.0f} % of exact zeros pull the threshold down"
    return Search(
        method=Method.KL,
        range=Range(float(lows[best]), float(highs[best])),
        lows=lows[order],
        highs=highs[order],
        loss=loss[order],
        loss_label=_LABEL,
        reason=f"{reason}.",
        flags=flags_of(histogram, spec),
    )
