"""Keep a given share of the values (ALGORITHMS §3, `percentile`)."""

import numpy as np
import numpy.typing as npt

from core.histogram import Histogram
from core.quant import QuantSpec, Range
from core.thresholds.search import Method, Search, flags_of, symmetric_range

FloatArray = npt.NDArray[np.float64]

_TAILS = np.geomspace(0.1, 1e-6, 101)  # shares clipped along the curve: 90 % to 99.9999 % kept


def search_percentile(histogram: Histogram, spec: QuantSpec, *, percentile: float = 99.99) -> Search:
    """The range that keeps `percentile` % of the values.

    Symmetric: T is that quantile of |x|. Asymmetric: half of the rest is cut at each end; where all
    values lie on one side of 0, all of it at the far end. Quantiles are interpolated within a bin.

    Raises:
        ValueError: `percentile` is not within (0, 100].
    """
    if not 0.0 < percentile <= 100.0:
        raise ValueError(f"a percentile lies above 0 and at most at 100, not at {percentile}")
    tails = np.append(_TAILS, 1.0 - percentile / 100.0)
    lows, highs = _ranges(histogram, spec, tails)
    chosen = Range(float(lows[-1]), float(highs[-1]))
    order = np.argsort(-tails, kind="stable")
    return Search(
        method=Method.PERCENTILE,
        range=chosen,
        lows=lows[order],
        highs=highs[order],
        loss=tails[order],
        loss_label="share clipped",
        reason=_reason(histogram, spec, percentile, chosen),
        flags=flags_of(histogram, spec),
    )


def _ranges(histogram: Histogram, spec: QuantSpec, tails: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Low and high ends that clip each share of `tails`."""
    h = histogram
    if h.count == 0:
        return np.zeros(tails.size), np.zeros(tails.size)
    if spec.symmetric:
        values, cumulative = magnitude_distribution(h)
        high = quantile(values, cumulative, 1.0 - tails)
        low = -high if symmetric_range(1.0, h, spec).low < 0.0 else np.zeros(tails.size)
        return low, high
    values, cumulative = signed_distribution(h)
    if h.min >= 0.0:
        return np.zeros(tails.size), quantile(values, cumulative, 1.0 - tails)
    mirrored = -values[::-1], cumulative[-1] - cumulative[::-1]
    if h.max <= 0.0:
        return -quantile(*mirrored, 1.0 - tails), np.zeros(tails.size)
    low = -quantile(*mirrored, 1.0 - tails / 2)
    high = quantile(values, cumulative, 1.0 - tails / 2)
    return np.minimum(low, 0.0), np.maximum(high, 0.0)


def signed_distribution(h: Histogram) -> tuple[FloatArray, FloatArray]:
    """Points (value, number of values <= it) of the cumulative distribution; jumps are double points."""
    counts = h.counts.astype(np.float64)
    edges = np.clip(h.edges, h.min, h.max)
    if h.max != 0.0 and counts.size:
        counts[-1] -= h.at_max
    if h.min != 0.0 and h.min != h.max and counts.size:
        counts[0] -= h.at_min
    cumulative = np.concatenate([[0.0], np.cumsum(counts)])
    if h.zeros and h.min < 0.0 < h.max:
        middle = -h.first  # the border at 0
        edges = np.insert(edges, middle, 0.0)
        cumulative = np.insert(cumulative, middle, cumulative[middle])
        cumulative[middle + 1 :] += h.zeros
    if h.min != h.max:  # jumps at the extremes; a zero there has its zeros in at_min, at_max
        edges = np.concatenate([[h.min], edges, [h.max]])
        cumulative = np.concatenate([[0.0], cumulative + h.at_min, [h.count]])
    else:
        edges, cumulative = np.array([h.min, h.max]), np.array([0.0, h.count])
    return edges, np.minimum(cumulative, h.count)


def magnitude_distribution(h: Histogram) -> tuple[FloatArray, FloatArray]:
    """`signed_distribution` of |x|."""
    values, cumulative = signed_distribution(h)
    if h.min >= 0.0:
        return values, cumulative
    mirrored = -values[::-1], cumulative[-1] - cumulative[::-1]
    if h.max <= 0.0:
        return mirrored
    points = np.unique(np.abs(values))
    above = np.interp(points, values, cumulative)
    # Left of a jump on the mirrored side lies right of it on the true one.
    below = np.interp(np.nextafter(-points, -np.inf), values, cumulative, left=0.0)
    return np.append(points, h.abs_max), np.append(above - below, h.count)


def quantile(values: FloatArray, cumulative: FloatArray, share: FloatArray) -> FloatArray:
    """Smallest value with at least this share of the mass at or below it."""
    rank = share * cumulative[-1]
    right = np.clip(np.searchsorted(cumulative, rank * (1 - 1e-15)), 1, cumulative.size - 1)
    left = right - 1
    rise = cumulative[right] - cumulative[left]
    part = np.divide(rank - cumulative[left], rise, out=np.ones(rank.size), where=rise > 0.0)
    return values[left] + np.clip(part, 0.0, 1.0) * (values[right] - values[left])


def _reason(histogram: Histogram, spec: QuantSpec, percentile: float, chosen: Range) -> str:
    if spec.symmetric:
        return f"{percentile:g} % of the magnitudes are at most {chosen.high:.6g}."
    if histogram.min < 0.0 < histogram.max:
        share = (100.0 - percentile) / 2
        return f"Leaves out {share:.3g} % of the values at each end."
    return f"Leaves out {100.0 - percentile:.3g} % of the values at the far end."
