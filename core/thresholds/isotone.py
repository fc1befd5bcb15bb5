"""Keep the winner of each row of scores ahead of the second.

For the output of a classifier only the order at the top matters. A row with highest score a and second b
keeps its order with steps of s, if b lies below the last level, b / s <= n - 0.51 for n levels above zero,
and both do not fall together, which a step up to 2 (a - b) can avoid. PPQ's observer of this name takes the
scale that lies in the most of these intervals. Here the ends of the intervals are candidates, next to
shares of the full range, and each is tried on all rows with the real quantizer: the loss is the share of
rows whose winner is no longer ahead. Many ranges lose none: of these, the one with the least MSE is taken.

It applies to outputs with one score for each class along the last axis, before or after a softmax; it has
nothing to say about any other tensor.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import BySample, Histogram
from quantscope.core.methods import Method
from quantscope.core.quant import Encoding, QuantSpec, Range, encoding_from_ranges
from quantscope.core.thresholds.density import density_of
from quantscope.core.thresholds.error import errors_of
from quantscope.core.thresholds.minmax import search_minmax
from quantscope.core.thresholds.outcome import Search, flags_of, full_range

FloatArray = npt.NDArray[np.float64]

_ROOM = 0.51  # of a step that the second stays below the last level
_CANDIDATES = 256  # of each kind
_LABEL = "share of rows whose winner is not ahead"


def search_isotone(histogram: Histogram, spec: QuantSpec, by_sample: BySample | None) -> Search:
    """The range that keeps the winner ahead in the most rows, and of such ranges the one of least MSE.

    Without rows of scores it is MinMax, and says so. The low end stays at the minimum (or is mirrored).
    """
    full = full_range(histogram, spec)
    tops = None if by_sample is None else by_sample.tops
    if tops is None or len(tops) == 0 or full.high <= 0.0:
        whole = search_minmax(histogram, spec)
        reason = (
            "There are no rows of scores to keep in order: keeps every value, "
            f"from {histogram.min:.6g} to {histogram.max:.6g}."
        )
        return replace(whole, method=Method.ISOTONE, reason=reason)
    highs = _candidates(tops, full, spec)
    lows = (full.low / full.high) * highs if spec.symmetric else np.full(highs.size, full.low)
    encodings = encoding_from_ranges(lows, highs, spec)
    lost = lost_rows(tops, encodings)
    mse = errors_of(density_of(histogram), encodings).mse
    best = int(np.lexsort((mse, lost))[0])
    count, least = round(float(lost[best]) * len(tops)), int(np.count_nonzero(lost == lost[best]))
    return Search(
        method=Method.ISOTONE,
        range=Range(float(lows[best]), float(highs[best])),
        lows=lows,
        highs=highs,
        loss=lost,
        loss_label=_LABEL,
        reason=f"The winner stays ahead in all but {count} of {len(tops)} rows of scores; of {least} such "
        "ranges the one with the least MSE.",
        flags=flags_of(histogram, spec),
    )


def _candidates(tops: FloatArray, full: Range, spec: QuantSpec) -> FloatArray:
    """High ends in ascending order, at most the maximum."""
    low = 0.0 if spec.symmetric else full.low
    first, second = tops[:, 0] - low, tops[:, 1] - low
    steps = spec.levels
    least, most = second / (steps - _ROOM), 2.0 * (first - second)
    scales = np.concatenate([least[(least < most) & (least > 0.0)], most[most > 0.0]])
    shares = np.linspace(0.0, 1.0, _CANDIDATES)
    picked = np.quantile(scales, shares, method="nearest") if scales.size else scales
    highs = np.concatenate([picked * steps + low, full.high * shares[1:], [full.high]])
    return np.unique(highs[(highs > 0.0) & (highs <= full.high)])


def lost_rows(tops: FloatArray, encodings: Encoding) -> FloatArray:
    """For each of (candidates,) encodings the share of rows whose winner is no longer above the second."""
    out = np.empty(encodings.scale.size)
    for i, (scale, zero) in enumerate(zip(encodings.scale, encodings.zero_point, strict=True)):
        q = np.clip(np.rint(tops / np.float64(scale)) + zero, encodings.qmin, encodings.qmax)
        out[i] = np.mean(q[:, 0] <= q[:, 1])
    return out
