"""TensorRT's entropy method: the range whose quantized histogram diverges least (ALGORITHMS §3, `kl`).

S. Migacz, "8-bit inference with TensorRT", GTC 2017. B = 2048 bins; a candidate keeps a window of them:

    P = the window, with the mass left outside added to its outermost bins
    Q = the window merged into `levels` groups, each group's mass spread evenly over its bins with P > 0
    loss = KL(P || Q) in nats, both normalised;  T = (i + 1/2) w for i bins kept, at most max|x|

`levels` is 128 for int8 and 256 for unsigned or asymmetric 8-bit types (the type's levels on one side, or
all of them). Where the paper leaves a gap: a group that holds clipped mass only (Q = 0 < P) gets the
mass of one value; and a candidate that would clip more than half of all values is not considered.
"""

import math

import numpy as np
import numpy.typing as npt

from core.histogram import Histogram
from core.jit import compiled
from core.quant import QuantSpec, Range
from core.thresholds.minmax import search_minmax
from core.thresholds.percentile import magnitude_distribution, signed_distribution
from core.thresholds.search import Method, Search, flags_of, full_range, single, symmetric_range

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

BINS = 2048
_ROUNDS = 3  # of high end, low end; they settle after one or two


@compiled
def window_divergences(counts, starts, stops, levels):  # type: ignore[no-untyped-def]
    """KL(P || Q) in nats of each window [starts[i], stops[i]) of a histogram.

    With prefix sums of h, h ln h and of the occupied bins, a window costs one logarithm a group:
    N KL = sum p ln p - sum_g P_g ln(G_g / occupied_g) + N ln(M / N), M = sum G.
    """
    n = counts.size
    mass, entropy, occupied = np.zeros(n + 1), np.zeros(n + 1), np.zeros(n + 1, np.int64)
    for k in range(n):
        c = counts[k]
        mass[k + 1] = mass[k] + c
        entropy[k + 1] = entropy[k] + (c * math.log(c) if c > 0.0 else 0.0)
        occupied[k + 1] = occupied[k] + (c > 0.0)
    total = mass[n]
    out = np.empty(starts.size)
    for i in range(starts.size):
        a, b = starts[i], stops[i]
        size = b - a
        left, right = mass[a], total - mass[b]
        if left + right > 0.5 * total:
            out[i] = np.inf
            continue
        first, last = counts[a] + left, counts[b - 1] + right
        sum_p = entropy[b - 1] - entropy[a + 1] if size > 1 else 0.0
        sum_p += (first * math.log(first) if first > 0.0 else 0.0) + (last * math.log(last) if last > 0.0 else 0.0)
        kept, cross = mass[b] - mass[a], 0.0
        begin = a
        for g in range(levels):
            end = a + ((g + 1) * size + levels - 1) // levels
            group = mass[end] - mass[begin]
            spread = occupied[end] - occupied[begin]
            if g == 0:
                spread += counts[a] == 0.0 and left > 0.0
            if g == levels - 1:
                spread += counts[b - 1] == 0.0 and right > 0.0
            p = group + (left if g == 0 else 0.0) + (right if g == levels - 1 else 0.0)
            if p > 0.0:
                if group == 0.0:
                    group = 1.0
                    kept += 1.0
                cross += p * math.log(group / spread)
            begin = end
        out[i] = max((sum_p - cross) / total + math.log(kept / total), 0.0)
    return out


def search_kl(histogram: Histogram, spec: QuantSpec) -> Search:
    """argmin of KL(P || Q); for asymmetric types the high end and the low end are searched in turn."""
    flags = flags_of(histogram, spec)
    full = full_range(histogram, spec)
    if full.abs_max == 0.0 or "near_zero" in flags or "constant" in flags:
        reason = "There is nothing to choose: the values are all the same or (nearly) zero."
        return single(Method.KL, full, 0.0, "KL (nats)", reason, flags)
    levels = kl_levels(spec)
    if levels >= BINS:
        reason = f"{spec.type} has no fewer levels than the {BINS} bins compared, so nothing is gained by clipping."
        return single(Method.KL, search_minmax(histogram, spec).range, 0.0, "KL (nats)", reason, flags)
    return _symmetric(histogram, spec, levels) if spec.symmetric else _asymmetric(histogram, spec, levels)


def kl_levels(spec: QuantSpec) -> int:
    """Groups that a window is merged into: 128 for symmetric int8, 256 for the other 8-bit types."""
    return 1 << (spec.type.bits - int(spec.symmetric and spec.type.signed))


def magnitude_bins(histogram: Histogram) -> FloatArray:
    """Counts of |x| in BINS equal bins over [0, max|x|]; a bin of the histogram is split evenly."""
    values, cumulative = magnitude_distribution(histogram)
    return _rebin(values, cumulative, 0.0, histogram.abs_max)


def signed_bins(histogram: Histogram) -> tuple[FloatArray, float, float]:
    """Counts in BINS equal bins over [min, max] widened to hold 0, and those two ends."""
    low, high = min(histogram.min, 0.0), max(histogram.max, 0.0)
    values, cumulative = signed_distribution(histogram)
    return _rebin(values, cumulative, low, high), low, high


def _rebin(values: FloatArray, cumulative: FloatArray, low: float, high: float) -> FloatArray:
    """Counts in equal bins over [low, high] of a cumulative distribution with jumps."""
    edges = low + (high - low) * (np.arange(BINS + 1) / BINS)
    edges[-1] = high
    # A jump at an edge belongs to the bin on its right, as values on a border do.
    right = np.searchsorted(values, edges, side="left")
    right = np.clip(right, 1, values.size - 1)
    x0, x1, c0, c1 = values[right - 1], values[right], cumulative[right - 1], cumulative[right]
    part = np.divide(edges - x0, x1 - x0, out=np.zeros(edges.size), where=x1 > x0)
    at = c0 + np.clip(part, 0.0, 1.0) * (c1 - c0)
    at[0], at[-1] = 0.0, cumulative[-1]
    return np.maximum(np.diff(at), 0.0)


def _symmetric(histogram: Histogram, spec: QuantSpec, levels: int) -> Search:
    """Windows [0, i) over |x|."""
    stops = np.arange(levels, BINS + 1)
    loss = window_divergences(magnitude_bins(histogram), np.zeros_like(stops), stops, levels)
    peak = histogram.abs_max
    thresholds = np.minimum((stops + 0.5) * (peak / BINS), peak)
    best = int(np.argmin(loss))
    chosen = symmetric_range(float(thresholds[best]), histogram, spec)
    return Search(
        method=Method.KL,
        range=chosen,
        lows=thresholds * (0.0 if chosen.low == 0.0 else -1.0),
        highs=thresholds,
        loss=loss,
        loss_label="KL (nats)",
        reason=_reason(float(loss[best]), float(loss[-1])),
        flags=flags_of(histogram, spec),
    )


def _asymmetric(histogram: Histogram, spec: QuantSpec, levels: int) -> Search:
    """Windows [a, b) over [min, max]: b with a fixed, then a with b fixed, until neither moves."""
    counts, low, high = signed_bins(histogram)
    width = (high - low) / BINS
    zero = min(int(-low / width), BINS - 1)
    a, b = 0, BINS
    tried: list[tuple[IntArray, IntArray, FloatArray]] = []
    for _ in range(_ROUNDS):
        before = a, b
        if high > 0.0:
            stops = np.arange(max(a + levels, zero + 1), BINS + 1)
            loss = window_divergences(counts, np.full_like(stops, a), stops, levels)
            b = int(stops[np.argmin(loss)])
            tried.append((np.full_like(stops, a), stops, loss))
        if low < 0.0:
            starts = np.arange(min(b - levels, zero), -1, -1)
            loss = window_divergences(counts, starts, np.full_like(starts, b), levels)
            a = int(starts[np.argmin(loss)])
            tried.append((starts, np.full_like(starts, b), loss))
        if (a, b) == before or not low < 0.0 < high:
            break
    starts, stops, loss = (np.concatenate(part) for part in zip(*tried, strict=True))
    order = np.argsort(stops - starts, kind="stable")
    lows, highs = window_ends(starts, stops, low, high)
    end = window_ends(np.array([a]), np.array([b]), low, high)
    chosen_loss = float(loss[(starts == a) & (stops == b)][0])
    return Search(
        method=Method.KL,
        range=Range(float(end[0][0]), float(end[1][0])),
        lows=lows[order],
        highs=highs[order],
        loss=loss[order],
        loss_label="KL (nats)",
        reason=_reason(chosen_loss, float(loss[(stops - starts).argmax()])),
        flags=flags_of(histogram, spec),
    )


def window_ends(starts: IntArray, stops: IntArray, low: float, high: float) -> tuple[FloatArray, FloatArray]:
    """Real ends of windows of bins: half a bin beyond what is kept, at most the data's own ends."""
    width = (high - low) / BINS
    return np.maximum(low + (starts - 0.5) * width, low), np.minimum(low + (stops + 0.5) * width, high)


def _reason(best: float, unclipped: float) -> str:
    """Why: the divergence at the choice against that of the full range."""
    return f"Clipping here changes the distribution least: {best:.3g} nats, against {unclipped:.3g} for min and max."
