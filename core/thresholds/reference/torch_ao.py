"""PyTorch's eager observers (torch.ao.quantization): a greedy search on 2048 signed bins, and min/max.

The histogram covers [min, max] of signed values, so its width depends on both tails. From both ends,
quantiles of 1e-5 each are given up, always at the end where that frees more bins, and the first step that
makes the L2 error larger ends the search: a local minimum, close to the full range where a tail is thin. The
error is analytic (values spread evenly within a bin) and float32, and levels are 256 whatever the type's
range is. Both ends of the range come from the data, zero is included only when the scale is computed; a
symmetric scale is max / 127.5. A batch with a wider range has the old histogram resampled 16 times finer into
the new one, which loses where values were.
"""

import math
from typing import Any

import numpy as np

from quantscope.core.jit import compiled
from quantscope.core.thresholds.reference import torchlike
from quantscope.core.thresholds.reference.pairwise import pairwise_sum
from quantscope.core.thresholds.reference.result import (
    Data,
    Floats,
    Reference,
    ReferenceThreshold,
    batches_of,
    failure,
)

QINT8, QUINT8 = "torch.qint8", "torch.quint8"
SYMMETRIC, AFFINE = "torch.per_tensor_symmetric", "torch.per_tensor_affine"
EPSILON = np.float32(2.0**-23)  # smallest scale
DST_BINS = 256


@np.errstate(all="ignore")
def histogram(
    data: Data, *, dtype: str = QUINT8, qscheme: str = AFFINE, bins: int = 2048, upsample_rate: int = 16
) -> ReferenceThreshold:
    """`HistogramObserver`.

    Args:
        data: one array, or batches in order.
        dtype: "torch.qint8" or "torch.quint8".
        qscheme: "torch.per_tensor_symmetric" or "torch.per_tensor_affine".
        bins: of the histogram.
        upsample_rate: how much finer an old histogram is made before it is put into a wider one.
    """
    parts = [part[np.isfinite(part) | np.isnan(part)] for part in batches_of(data)]  # infinities are ignored
    parts = [part for part in parts if part.size]
    if not parts:
        return failure("there are no finite values: the observer keeps its default scale of 1")
    if any(np.isnan(part).any() for part in parts):
        return failure("torch.histc raises RuntimeError: range of [nan, nan] is not finite")
    low, high = parts[0].min(), parts[0].max()
    counts = torchlike.histc(parts[0], bins, float(low), float(high)).astype(np.float32)
    for part in parts[1:]:
        new_low, new_high = min(low, part.min()), max(high, part.max())
        update = torchlike.histc(part, bins, float(new_low), float(new_high)).astype(np.float32)
        if low == high != new_high or low == high != new_low:
            one = torchlike.histc(np.array([low]), bins, float(new_low), float(new_high))
            counts = one.astype(np.float32) * torchlike.torch_sum(counts) + update
        elif low == new_low and high == new_high:
            counts = counts + update
        else:
            counts = _resampled(counts, low, high, new_low, new_high, upsample_rate) + update
        low, high = new_low, new_high
    cumulated = np.cumsum(counts.astype(np.float64)).astype(np.float32)
    total = float(torchlike.torch_sum(counts))
    start, end = search(counts, cumulated, total, (float(high) - float(low)) / bins, True)
    width = (high - low) / np.float32(bins)
    return _encoding(low + width * np.float32(start), low + width * np.float32(end + 1), dtype, qscheme)


@np.errstate(all="ignore")
def minmax(data: Data, *, dtype: str = QUINT8, qscheme: str = AFFINE) -> ReferenceThreshold:
    """`MinMaxObserver`; arguments as for `histogram`."""
    parts = [part for part in batches_of(data) if part.size]
    if not parts:
        return failure("there are no values: the observer keeps its default scale of 1")
    low, high = min(part.min() for part in parts), max(part.max() for part in parts)
    return _encoding(low, high, dtype, qscheme)


@np.errstate(all="ignore")
def moving_average_minmax(
    data: Data, *, dtype: str = QUINT8, qscheme: str = AFFINE, averaging_constant: float = 0.01
) -> ReferenceThreshold:
    """`MovingAverageMinMaxObserver`: depends on the order of the batches.

    Args:
        data: one array, or batches in order.
        dtype: as for `histogram`.
        qscheme: as for `histogram`.
        averaging_constant: share of the way to the next batch's extremes.
    """
    parts = [part for part in batches_of(data) if part.size]
    if not parts:
        return failure("there are no values: the observer keeps its default scale of 1")
    low, high = parts[0].min(), parts[0].max()
    share = np.float32(averaging_constant)
    for part in parts[1:]:
        low = low + share * (part.min() - low)
        high = high + share * (part.max() - high)
    return _encoding(low, high, dtype, qscheme)


def _encoding(low: np.float32, high: np.float32, dtype: str, qscheme: str) -> ReferenceThreshold:
    """Scale and zero point, and the values of the lowest and the highest integer."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return failure(f"the range is ({low}, {high}), and so is not finite")
    bottom, top = (-128, 127) if dtype == QINT8 else (0, 255)
    low, high = min(low, np.float32(0)), max(high, np.float32(0))
    if qscheme == SYMMETRIC:
        scale = max(max(-low, high) / np.float32(127.5), EPSILON)
        zero_point = 0 if dtype == QINT8 else 128
    else:
        scale = max((high - low) / np.float32(255), EPSILON)
        if not np.isfinite(scale):
            return failure("the range is wider than float32 holds: the scale is infinite")
        zero_point = min(max(bottom - int(np.rint(low / scale)), bottom), top)
    step = float(scale)
    return ReferenceThreshold(
        low=step * (bottom - zero_point), high=step * (top - zero_point), scale=step, zero_point=zero_point
    )


def _resampled(
    counts: Floats, low: np.float32, high: np.float32, new_low: np.float32, new_high: np.float32, rate: int
) -> Floats:
    """The counts in the bins of a wider range, each put where the middle of its finer bins falls."""
    bins = counts.size
    fine = np.repeat(counts, rate) / np.float32(rate)
    size = (high - low) / np.float32(bins * rate)
    middles = torchlike.linspace(low, high, bins * rate + 1)[:-1] + np.float32(0.5) * size
    borders = torchlike.linspace(new_low, new_high, bins + 1)
    index = np.clip(np.searchsorted(borders, middles, side="right") - 1, 0, bins - 1)
    return np.bincount(index, weights=fine, minlength=bins).astype(np.float32)


@compiled
def search(counts: Any, cumulated: Any, total: Any, width: Any, as_torch: Any) -> Any:
    """First and last bin kept, computed in the type of `counts`, summed as torch or as NumPy does."""
    real = counts.dtype.type
    start = 0
    end = counts.size - 1
    alpha = 0.0
    beta = 1.0
    least = np.inf
    while alpha < beta:
        next_alpha = alpha + 1e-5
        next_beta = beta - 1e-5
        low = real(next_alpha * total)
        high = real(next_beta * total)
        left = start
        right = end
        while left < end and cumulated[left] < low:
            left += 1
        while right > start and cumulated[right] > high:
            right -= 1
        next_start = start
        next_end = end
        if left - start > end - right:
            next_start = left
            alpha = next_alpha
        else:
            next_end = right
            beta = next_beta
        if next_start == start and next_end == end:
            continue
        norm = _norm(counts, next_start, next_end, width, as_torch)
        if norm > least:
            break
        least = norm
        start = next_start
        end = next_end
    return start, end


@compiled
def _norm(counts: Any, start: Any, end: Any, width: Any, as_torch: Any) -> Any:
    """L2 error of bins `start` .. `end` at 256 levels."""
    real = counts.dtype.type
    target = width * (end - start + 1) / DST_BINS
    if target == 0:
        return 0.0
    source = real(width)
    level = real(target)
    half = real(target / 2)
    three = real(3)
    cube = half * half * half
    whole = (cube + cube) / three
    terms = np.empty_like(counts)
    for k in range(counts.size):
        begin = real(k - start) * source
        stop = begin + source
        # The quotient of two float32 is exact enough in float64.
        first = real(min(max(math.floor(float(begin) / float(level)), 0), DST_BINS - 1))
        last = real(min(max(math.floor(float(stop) / float(level)), 0), DST_BINS - 1))
        density = counts[k] / source
        before = begin - (first + real(0.5)) * level
        norm = density * ((cube - before * before * before) / three)
        norm += (last - first - real(1)) * (density * whole)
        after = stop - (last * level + half)
        norm += density * ((after * after * after + cube) / three)
        terms[k] = norm
    return float(torchlike.torch_sum(terms)) if as_torch else float(pairwise_sum(terms))


TOOL = "torch.ao"
VERSION = "torch 2.13.0 on a CPU"
TYPES = (
    {"dtype": QUINT8, "qscheme": AFFINE},
    {"dtype": QINT8, "qscheme": SYMMETRIC},
    {"dtype": QINT8, "qscheme": AFFINE},
)

REFERENCES = (
    Reference(
        tool=TOOL,
        algorithm="histogram",
        version=VERSION,
        function=histogram,
        parameters={**TYPES[0], "bins": 2048, "upsample_rate": 16},
        variants=tuple({**kind, "bins": 2048, "upsample_rate": 16} for kind in TYPES[1:]),
        peculiar="Gives up quantiles of 1e-5 where that frees more bins and stops at the first step that "
        "makes the L2 error larger: a local minimum.",
        exact=True,
        tolerance=1e-2,
        fidelity="Exact in all cases seen; a step whose error agrees with the last to seven digits may end "
        "the search earlier or later, as torch sums float32 in an order of its own.",
    ),
    Reference(
        tool=TOOL,
        algorithm="minmax",
        version=VERSION,
        function=minmax,
        parameters=TYPES[0],
        variants=TYPES[1:],
        peculiar="The extremes; a symmetric scale is the larger one over 127.5.",
        exact=True,
        fidelity="Exact.",
    ),
    Reference(
        tool=TOOL,
        algorithm="moving_average_minmax",
        version=VERSION,
        function=moving_average_minmax,
        parameters={**TYPES[0], "averaging_constant": 0.01},
        variants=tuple({**kind, "averaging_constant": 0.01} for kind in TYPES[1:]),
        peculiar="Each batch moves the extremes by 1 % of the way, so the first batch decides.",
        exact=True,
        fidelity="Exact.",
    ),
)
