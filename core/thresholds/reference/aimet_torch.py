"""aimet-torch's encoding analyzers: SQNR search on a histogram of the observed range, percentile, min/max.

The histogram has 2048 bins (512 for `tf_enhanced`, which in turn lets it grow to three times the first range
only). Errors are those of bin middles, and clipped bins count `gamma` times: 3 by default, so the search
clips little; with 1 it is a plain MSE. Symmetric: 101 scales of 1 % of the full one each, offset -128.
Asymmetric: 17 scales times 20 zero points and the observed one, cut to the observed range. No scale is below
2^-23. A later batch beyond the range has the old histogram moved into the new bins, whole bins at a time.
Infinities count in the outer bins.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantscope.core.jit import compiled
from quantscope.core.thresholds.reference import torchlike
from quantscope.core.thresholds.reference.result import (
    Data,
    Floats,
    Reference,
    ReferenceThreshold,
    batches_of,
    failure,
)
from quantscope.core.thresholds.reference.torchlike import torch_sum

SMALLEST_SCALE = 2.0**-23
SYMMETRIC_SCALES = 101
ASYMMETRIC_SCALES = 17
OFFSETS = 20


@dataclass(frozen=True, slots=True)
class _Histogram:
    counts: Floats
    edges: Floats
    low: np.float32
    high: np.float32


@np.errstate(all="ignore")
def sqnr_gamma3_2048(data: Data, *, num_steps: int = 255, symmetric: bool = False) -> ReferenceThreshold:
    """`SqnrEncodingAnalyzer` with its defaults.

    Args:
        data: one array, or batches in order.
        num_steps: largest integer less the smallest.
        symmetric: offset in the middle of the integers.
    """
    return _sqnr(data, num_steps, symmetric, bins=2048, gamma=3.0, growth=math.inf)


@np.errstate(all="ignore")
def sqnr_gamma1_2048(data: Data, *, num_steps: int = 255, symmetric: bool = False) -> ReferenceThreshold:
    """`SqnrEncodingAnalyzer` with gamma 1; arguments as for `sqnr_gamma3_2048`."""
    return _sqnr(data, num_steps, symmetric, bins=2048, gamma=1.0, growth=math.inf)


@np.errstate(all="ignore")
def tf_enhanced_512(data: Data, *, num_steps: int = 255, symmetric: bool = False) -> ReferenceThreshold:
    """`TfEnhancedEncodingAnalyzer`; arguments as for `sqnr_gamma3_2048`."""
    return _sqnr(data, num_steps, symmetric, bins=512, gamma=3.0, growth=3.0)


@np.errstate(all="ignore")
def percentile(
    data: Data, *, num_steps: int = 255, symmetric: bool = False, percentile: float = 99.99
) -> ReferenceThreshold:
    """`PercentileEncodingAnalyzer`.

    Args:
        data: one array, or batches in order.
        num_steps: largest integer less the smallest.
        symmetric: offset in the middle of the integers.
        percentile: share kept at each end, in percent.
    """
    histogram = _collect(data, 2048, math.inf)
    if isinstance(histogram, ReferenceThreshold):
        return histogram
    cumulated = np.cumsum(histogram.counts.astype(np.float64)).astype(np.float32)
    total = cumulated[-1]
    upper = total * np.float32(percentile) / np.float32(100)
    lower = total * np.float32(1 - percentile / 100)
    last = int(np.searchsorted(cumulated, upper)) if percentile != 100 else -1
    first = int(np.searchsorted(cumulated, lower)) if percentile != 100 else 0
    low, high = min(histogram.edges[first], np.float32(0)), max(histogram.edges[last], np.float32(0))
    return _adjusted(low, high, num_steps, symmetric)


@np.errstate(all="ignore")
def minmax(data: Data, *, num_steps: int = 255, symmetric: bool = False) -> ReferenceThreshold:
    """`MinMaxEncodingAnalyzer`; arguments as for `sqnr_gamma3_2048`."""
    parts = batches_of(data)
    if not parts or not all(part.size for part in parts):
        return failure("there are no values")
    low = min(min(part.min() for part in parts), np.float32(0))
    high = max(max(part.max() for part in parts), np.float32(0))
    return _adjusted(low, high, num_steps, symmetric)


def _adjusted(low: Any, high: Any, num_steps: int, symmetric: bool) -> ReferenceThreshold:
    """The range widened to the smallest scale, and mirrored."""
    steps = np.float32(num_steps)
    if (high - low) / steps < SMALLEST_SCALE:
        if symmetric:
            low = low - np.float32(SMALLEST_SCALE * math.ceil(num_steps / 2))
            high = high + np.float32(SMALLEST_SCALE * (num_steps // 2))
        else:
            high = high + np.float32(SMALLEST_SCALE * num_steps)
    if symmetric:
        up, down = np.float32(num_steps // 2), np.float32(math.ceil(num_steps / 2))
        scale = max(high / up, -low / down)
        low, high = -down * scale, up * scale
    return _result(low, high, num_steps)


def _result(low: Any, high: Any, num_steps: int) -> ReferenceThreshold:
    if not (np.isfinite(low) and np.isfinite(high) and high > low):
        return failure(f"the range is ({low}, {high})")
    scale = (float(high) - float(low)) / num_steps
    return ReferenceThreshold(
        low=float(low), high=float(high), scale=scale, zero_point=-round(float(low) / scale)
    )


def _sqnr(
    data: Data, num_steps: int, symmetric: bool, *, bins: int, gamma: float, growth: float
) -> ReferenceThreshold:
    histogram = _collect(data, bins, growth)
    if isinstance(histogram, ReferenceThreshold):
        return histogram
    steps = np.float32(num_steps)
    low, high = min(histogram.low, np.float32(0)), max(histogram.high, np.float32(0))
    high = max(high, low + np.float32(SMALLEST_SCALE * num_steps))
    scales, offsets = (_symmetric if symmetric else _asymmetric)(low, high, steps)
    edges = histogram.edges
    width = edges[1] - edges[0]
    middles = (edges[0] + width / np.float32(2)) + width * np.arange(bins, dtype=np.float32)
    losses = _losses(histogram.counts, middles, scales, offsets, steps, np.float32(gamma))
    best = int(np.argmin(losses))
    bottom = offsets[best] * scales[best]
    return _result(bottom, bottom + steps * scales[best], num_steps)


def _symmetric(low: Any, high: Any, steps: Any) -> tuple[Floats, Floats]:
    largest = np.float32(2) * max(high, -low) / steps
    numbers = np.arange(1, SYMMETRIC_SCALES + 1, dtype=np.float32)
    scales = largest * numbers / np.float32(SYMMETRIC_SCALES - 1)
    scales = np.maximum(scales, np.float32(SMALLEST_SCALE))
    return scales, np.full(scales.size, -int(steps) // 2, dtype=np.float32)


def _asymmetric(low: Any, high: Any, steps: Any) -> tuple[Floats, Floats]:
    """17 x 21 candidates, cut to the observed range on its own grid."""
    observed = (high - low) / steps
    offset = np.rint(low / observed)
    low = observed * offset
    high = low + observed * steps
    numbers = np.arange(1, ASYMMETRIC_SCALES + 1, dtype=np.float32)
    scales = (observed * numbers / np.float32(ASYMMETRIC_SCALES - 1))[:, None]
    spread = np.rint(float(-steps) + np.arange(OFFSETS) * (float(steps) / (OFFSETS - 1)))
    offsets = np.append(spread.astype(np.float32), offset)[None, :]
    bottom = scales * offsets
    top = np.minimum(high, bottom + scales * steps)
    bottom = np.maximum(low, bottom)
    cut = np.maximum((top - bottom) / steps, np.float32(SMALLEST_SCALE))
    return cut.ravel(), np.rint(bottom / cut).ravel()


def _collect(data: Data, bins: int, growth: float) -> _Histogram | ReferenceThreshold:
    current: _Histogram | None = None
    limits = (-math.inf, math.inf)
    for x in batches_of(data):
        finite = x[np.isfinite(x)]
        if not finite.size:
            return failure("a batch has no finite values: torch.histc raises RuntimeError")
        low, high = finite.min(), finite.max()
        if current is None:
            edges = _edges(low, high, bins)
            if not np.isfinite(edges[-1]):
                return failure("the range is wider than float32 holds: torch.histc raises RuntimeError")
            current = _Histogram(_counts(x, edges[0], edges[-1], bins), edges, low, high)
            room = (edges[-1] - edges[0]) * np.float32(growth) / np.float32(2)
            limits = (edges[0] - room, edges[-1] + room)
        else:
            current = _merged(current, x, low, high, limits)
    return current or failure("there are no values")


def _edges(low: Any, high: Any, bins: int) -> Floats:
    if low == high:
        low, high = low - np.float32(0.5), high + np.float32(0.5)
    step = (high - low) / np.float32(bins)
    edges: Floats = np.arange(bins + 1, dtype=np.float32) * step + low
    return edges


def _counts(x: Floats, low: Any, high: Any, bins: int) -> Floats:
    counts = torchlike.histc(x, bins, float(low), float(high)).astype(np.float32)
    counts[0] += np.count_nonzero(x < low)
    counts[-1] += np.count_nonzero(x > high)
    return counts


def _merged(current: _Histogram, x: Floats, low: Any, high: Any, limits: tuple[Any, Any]) -> _Histogram:
    bins = current.counts.size
    edges, counts = current.edges, current.counts
    low = min(max(low, limits[0]), edges[0])
    high = min(max(high, edges[-1]), limits[1])
    if low == current.low and high == current.high:
        moved = counts
    else:
        width = (high - low) / np.float32(bins)
        old_width = edges[1] - edges[0]
        starts = edges[:-1]
        first = _bins(starts, low, width, bins)
        end = low + width * (first + 1).astype(np.float32)
        share = np.minimum(np.rint(((end - starts) / old_width) * counts), counts)
        moved = np.bincount(first, weights=share, minlength=bins).astype(np.float32)
        other = _bins(starts + width, low, width, bins)
        moved = moved + np.bincount(other, weights=counts - share, minlength=bins).astype(np.float32)
    return _Histogram(_counts(x, low, high, bins) + moved, _edges(low, high, bins), low, high)


def _bins(values: Floats, low: Any, width: Any, bins: int) -> Any:
    return np.clip(((values - low) / width).astype(np.int32), 0, bins - 1)


@compiled
def _losses(counts: Any, middles: Any, scales: Any, offsets: Any, steps: Any, gamma: Any) -> Any:
    """Squared errors of the bin middles: float32 terms in torch's order."""
    result = np.empty(scales.size)
    terms = np.empty(counts.size, dtype=np.float32)
    for number in range(scales.size):
        scale = scales[number]
        offset = offsets[number]
        for k in range(counts.size):
            level = np.float32(np.rint(middles[k] / scale - offset))
            clipped = level < 0 or level > steps
            level = min(max(level, np.float32(0)), steps)
            error = (level + offset) * scale - middles[k]
            term = error * error * counts[k]
            terms[k] = term * gamma if clipped else term
        result[number] = torch_sum(terms)
    return result


TOOL = "aimet-torch"
VERSION = "aimet-torch 2.42.0 with torch 2.13.0 on a CPU"
PLAIN = {"num_steps": 255, "symmetric": False}

REFERENCES = tuple(
    Reference(
        tool=TOOL,
        algorithm=name,
        version=VERSION,
        function=function,
        parameters={**PLAIN, **more},
        variants=({**PLAIN, **more, "symmetric": True},),
        peculiar=peculiar,
        exact=True,
        fidelity="Exact: the errors are float32 in torch's own order of summation.",
    )
    for name, function, more, peculiar in (
        (
            "sqnr_gamma3_2048",
            sqnr_gamma3_2048,
            {},
            "Clipped bins count three times, so it clips less than an MSE would.",
        ),
        (
            "sqnr_gamma1_2048",
            sqnr_gamma1_2048,
            {},
            "A plain MSE of bin middles on 101 scales, or 17 scales and 21 zero points.",
        ),
        (
            "tf_enhanced_512",
            tf_enhanced_512,
            {},
            "512 bins, clipped ones counted three times, and no growth beyond three times the first range.",
        ),
        (
            "percentile",
            percentile,
            {"percentile": 99.99},
            "The left edges of the bins where the share is reached at each end.",
        ),
        (
            "minmax",
            minmax,
            {},
            "The extremes; a symmetric scale is the larger of max/127 and -min/128.",
        ),
    )
)
