"""Tengine's quantization tool: int8 KL over |x| without its first bin, uint8 KL cut from both ends in turn.

The histogram is counted with a width of range / 2047 and read with a width of range / 2048, so a threshold is
a little below the bin it came from. Exact zeros are skipped and bin 0 is thrown away before normalising. The
128 levels (256 for uint8) have fractional width, and all sums are sequential float32 (MNN's search, of the
same ancestor).

uint8: bins lie over [min, max]; the upper end is searched first, then the lower end on the reversed
remainder. The zero point is cut to an integer, not rounded, so it is one too low about half of the time. ACIQ
is ncnn's: a constant times max|x|. The text table keeps 6 decimals of a scale; the numbers here are before
that. The tool's own int8 program refuses KL; its functions are what is reproduced.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.jit import compiled
from quantscope.core.thresholds.reference.ncnn import gauss_threshold
from quantscope.core.thresholds.reference.proportional import best_window
from quantscope.core.thresholds.reference.result import (
    Data,
    Floats,
    Reference,
    ReferenceThreshold,
    failure,
    flat,
    symmetric,
)

FLOAT_MAX = float(np.finfo(np.float32).max)


@np.errstate(all="ignore")
def kl_s8(data: Data, *, bins: int = 2048) -> ReferenceThreshold:
    """KL for int8: one threshold for |x|.

    Args:
        data: one array; batches are joined, as counts are simply added.
        bins: of the histogram.
    """
    x = flat(data)
    top, reason = _largest(x)
    if reason:
        return failure(reason)
    width = top / np.float32(bins - 1)
    if width == 0:
        return failure("the bin width is 0 in float32: undefined behaviour")
    counts = np.zeros(bins, dtype=np.int64)
    _count_magnitudes(x, width, counts)
    best = _best(counts, 128)
    edge = top / np.float32(bins) * (np.float32(best) + np.float32(0.5))
    return _symmetric(edge)


@np.errstate(all="ignore")
def kl_u8(data: Data, *, bins: int = 2048) -> ReferenceThreshold:
    """KL for uint8: the upper end, then the lower end of what is left.

    Args:
        data: one array; batches are joined, as counts are simply added.
        bins: of the histogram.
    """
    x = flat(data)
    _, reason = _largest(x)
    if reason:
        return failure(reason)
    low, high = x.min(), x.max()
    width = (high - low) / np.float32(bins - 1)
    offset = -low / width
    if not (width > 0 and np.isfinite(width)) or not abs(offset) < 2**31:
        return failure("all values are (almost) equal: the bin width or the integer offset is no number")
    counts = np.zeros(bins + 1, dtype=np.int64)
    if not _count_range(x, width, np.float32(int(offset)), counts):
        return failure("values fall outside of the histogram: undefined behaviour")
    upper = _best(counts[:bins], 256)
    lower = upper - _best(counts[upper::-1], 256) + 1
    step = (high - low) / np.float32(bins)
    ends = [step * (np.float32(k) + np.float32(0.5)) + low for k in (lower, upper)]
    return _asymmetric(ends[0], ends[1])


@np.errstate(all="ignore")
def aciq_s8(data: Data) -> ReferenceThreshold:
    """ACIQ (Gauss) for int8."""
    x = flat(data)
    top, reason = _largest(x)
    if reason:
        return failure(reason)
    return _symmetric(gauss_threshold(top, x.size))


@np.errstate(all="ignore")
def aciq_u8(data: Data) -> ReferenceThreshold:
    """ACIQ (Gauss) for uint8: the same threshold on both sides of zero, whatever the sign of the data."""
    x = flat(data)
    top, reason = _largest(x)
    if reason:
        return failure(reason)
    threshold = gauss_threshold(top, x.size)
    scale = np.float32(2) * threshold / np.float32(255)
    if not (np.isfinite(scale) and scale > 0):
        return failure(f"the scale is {scale}")
    end = float(threshold)
    return ReferenceThreshold(
        low=-end, high=end, threshold=end, scale=float(scale), zero_point=int(threshold / scale)
    )


@np.errstate(all="ignore")
def minmax_s8(data: Data) -> ReferenceThreshold:
    """The largest magnitude over 127; the threshold is 127 times the float32 scale."""
    top, reason = _largest(flat(data))
    if reason:
        return failure(reason)
    result = _symmetric(top)
    return result if result.scale is None else symmetric(result.scale * 127, result.scale)


def _largest(x: Floats) -> tuple[np.float32, str]:
    if not x.size:
        return np.float32(0), "there are no values"
    if not np.isfinite(x).all():
        return np.float32(0), "NaN or infinity is cast to a bin index: undefined behaviour"
    top = np.abs(x).max()
    return top, "" if top > 0 else "max|x| is 0, and so is the scale"


def _best(counts: npt.NDArray[np.int64], levels: int) -> int:
    return int(best_window(_normalised(np.ascontiguousarray(counts)), levels, FLOAT_MAX))


def _symmetric(threshold: np.float32) -> ReferenceThreshold:
    scale = threshold / np.float32(127)
    if not (np.isfinite(scale) and scale > 0):
        return failure(f"the scale is {scale}")
    top = float(threshold)
    return ReferenceThreshold(low=-top, high=top, threshold=top, scale=float(scale), zero_point=0)


def _asymmetric(low: np.float32, high: np.float32) -> ReferenceThreshold:
    if high < 0:
        scale = (np.float32(0) - low) / np.float32(255)
    elif low > 0:
        scale = high / np.float32(255)
    else:
        scale = (high - low) / np.float32(255)
    if not (np.isfinite(scale) and scale > 0):
        return failure(f"the scale is {scale}")
    zero_point = 0 if low > 0 else int(-low / scale)
    return ReferenceThreshold(low=float(low), high=float(high), scale=float(scale), zero_point=zero_point)


@compiled
def _count_magnitudes(x: Any, width: Any, counts: Any) -> Any:
    """Nearest bin of |x|, halves upwards."""
    for value in x:
        if value != 0:
            bin_ = abs(value) / width
            whole = int(bin_)
            if bin_ - np.float32(whole) >= np.float32(0.5):
                whole += 1
            counts[min(whole, counts.size - 1)] += 1


@compiled
def _count_range(x: Any, width: Any, offset: Any, counts: Any) -> Any:
    for value in x:
        if value != 0:
            bin_ = value / width + offset
            if not (bin_ > -1 and bin_ < counts.size):
                return False
            counts[int(bin_)] += 1
    return True


@compiled
def _normalised(counts: Any) -> Any:
    """Shares without bin 0."""
    total = np.float32(0)
    for k in range(1, counts.size):
        total += np.float32(counts[k])
    shares = np.zeros(counts.size, dtype=np.float32)
    for k in range(1, counts.size):
        shares[k] = np.float32(counts[k]) / total
    return shares


TOOL = "Tengine"
VERSION = "Tengine @c73708c (2023-05-18), tools/quantize, before its table is rounded to 6 decimals"
NEAR_TIES = (
    "Exact; another C library's logf or a build with fused multiply-add can decide a near tie differently, "
    "up to 7 % in the threshold."
)

REFERENCES = (
    Reference(
        tool=TOOL,
        algorithm="kl_s8",
        version=VERSION,
        function=kl_s8,
        parameters={"bins": 2048},
        peculiar="Bin 0 is thrown away, counts use a width of max/2047 but edges max/2048, and sums are "
        "sequential float32.",
        exact=True,
        tolerance=0.08,
        fidelity=NEAR_TIES,
    ),
    Reference(
        tool=TOOL,
        algorithm="kl_u8",
        version=VERSION,
        function=kl_u8,
        parameters={"bins": 2048},
        peculiar="Cuts the upper end first and the lower end of what is left, at 256 levels each, and cuts "
        "the zero point to an integer instead of rounding it.",
        exact=True,
        tolerance=0.08,
        fidelity=NEAR_TIES,
    ),
    *(
        Reference(
            tool=TOOL,
            algorithm=name,
            version=VERSION,
            function=function,
            parameters={},
            peculiar=peculiar,
            exact=True,
            fidelity="Exact.",
        )
        for name, function, peculiar in (
            ("aciq_s8", aciq_s8, "ncnn's formula: a constant times the largest magnitude."),
            ("aciq_u8", aciq_u8, "The same threshold on both sides of zero, also for data of one sign."),
            ("minmax_s8", minmax_s8, "The largest magnitude over 127."),
        )
    ),
)
