"""What every threshold search returns, the widest ranges, and the flags that unusual tensors get."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram
from quantscope.core.methods import Method
from quantscope.core.quant import QuantSpec, Range

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The outcome of a search: the range, every candidate that was looked at, and why.

    Candidate i is the range [lows[i], highs[i]] with loss[i] (smaller is better); they are sorted from
    narrow to wide. `loss_label` says what the loss is, with its unit.
    """

    method: Method
    range: Range
    lows: FloatArray  # (candidates,)
    highs: FloatArray
    loss: FloatArray
    loss_label: str
    reason: str  # one sentence
    flags: tuple[str, ...] = ()  # keys of FLAGS
    asked: Range | None = None  # what the method chose, where a rule for scales made `range` of it


FLAGS = {
    "empty": "The tensor holds no finite value; the scale is 1.",
    "all_zero": "Every value is zero; the scale is 1.",
    "constant": "Every value is the same.",
    "near_zero": "The values are too small for a normal float32 scale; the scale is 1 and they become 0.",
    "huge": "The values are so large that float32 scales or sums may overflow.",
    "nan": "NaN values were seen and left out.",
    "inf": "Infinite values were seen and left out.",
    "non_negative": "No value is negative: the low end stays at 0.",
    "non_positive": "No value is positive: the high end stays at 0.",
    "zero_spike": "At least half of the values are exactly zero.",
    "two_values": "Besides zero, all values equal the minimum or the maximum.",
    "outliers": "At most 0.01 % of the values take up three quarters of the range.",
    "few_values": "Fewer than 1,000 values were seen: thresholds hang on chance.",
}
_HUGE = 1e30
_MANY = 1000


def flags_of(histogram: Histogram, spec: QuantSpec) -> tuple[str, ...]:
    """What is unusual about a tensor; keys of FLAGS."""
    h = histogram
    body = h.count - h.zeros
    smallest = float(np.finfo(np.float32).tiny)
    spread = h.abs_max if spec.symmetric else max(h.max, 0.0) - min(h.min, 0.0)
    found = {
        "empty": h.count == 0,
        "all_zero": 0 < h.count == h.zeros,
        "constant": h.count > 0 and h.min == h.max != 0.0,
        "near_zero": 0.0 < spread < smallest * spec.levels,
        "huge": h.abs_max >= _HUGE,
        "nan": h.nans > 0,
        "inf": h.infs > 0,
        "non_negative": h.min >= 0.0 < h.max,
        "non_positive": h.max <= 0.0 > h.min,
        "zero_spike": 0 < h.zeros < h.count and 2 * h.zeros >= h.count,
        "two_values": h.min < h.max and body == _at_extremes(h),
        "outliers": h.count >= _MANY and 10_000 * _far_out(h) <= h.count,
        "few_values": 0 < h.count < _MANY,
    }
    return tuple(code for code, present in found.items() if present)


def _at_extremes(h: Histogram) -> int:
    """Non-zero values that equal the minimum or the maximum."""
    return (h.at_min if h.min != 0.0 else 0) + (h.at_max if h.max != 0.0 else 0)


def _far_out(h: Histogram) -> int:
    """Values beyond a quarter of the largest magnitude."""
    quarter = int(np.ldexp(h.abs_max, -h.exponent) / 4)
    low, high = max(-quarter - h.first, 0), max(quarter - h.first, 0)
    return int(h.counts[:low].sum() + h.counts[high:].sum())


def full_range(histogram: Histogram, spec: QuantSpec) -> Range:
    """The range that clips nothing: [min, max], or [-T, T] with T = max|x| for symmetric types."""
    return symmetric_range(histogram.abs_max, histogram, spec) if spec.symmetric else widened(histogram)


def widened(histogram: Histogram) -> Range:
    """[min, max], widened to hold 0."""
    return Range(min(histogram.min, 0.0), max(histogram.max, 0.0))


def symmetric_range(threshold: float, histogram: Histogram, spec: QuantSpec) -> Range:
    """[-T, T], or [0, T] for unsigned types where nothing is negative."""
    one_sided = not spec.type.signed and histogram.min >= 0.0
    return Range(0.0 if one_sided else -threshold, threshold)


def single(
    method: Method, range_: Range, loss: float, loss_label: str, reason: str, flags: tuple[str, ...]
) -> Search:
    """A search with one candidate."""
    return Search(
        method=method,
        range=range_,
        lows=np.array([range_.low]),
        highs=np.array([range_.high]),
        loss=np.array([loss]),
        loss_label=loss_label,
        reason=reason,
        flags=flags,
    )
