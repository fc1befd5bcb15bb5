"""ncnn's `ncnn2table`: KL over 2048 bins with mean densities, and ACIQ that only sees the maximum.

The KL search leaves exact zeros out of the histogram. Its 128 levels have fractional width, and a level's
value is the mean *density* over all its bins, empty ones too (TensorRT's rule spreads over occupied bins).
Both distributions get 1e-4 in every bin and are not normalised again, so the sum of the added mass grows with
the window; the clipped mass goes into the last bin of P. The sum is float32 and sequential, and the curve is
flat: its minimum may sit in noise.

ACIQ estimates the standard deviation from max|x| and the number of values of the last sample alone, so its
threshold is a constant times max|x| (0.858 for 200 000 values), whatever the distribution is.
"""

import math
from typing import Any

import numpy as np

from quantscope.core.jit import compiled
from quantscope.core.thresholds.reference.result import (
    Data,
    Floats,
    Reference,
    ReferenceThreshold,
    batches_of,
    failure,
)

BINS = 2048
LEVELS = 128
ALPHA_GAUSS_8BIT = np.float32(3.92403714)


@np.errstate(all="ignore")
def kl(data: Data) -> ReferenceThreshold:
    """`ncnn2table method=kl` for one blob.

    Args:
        data: one array, or one array a file (the order has no effect).
    """
    parts = batches_of(data)
    top, reason = _largest(parts)
    if reason:
        return failure(reason)
    counts = np.zeros(BINS, dtype=np.int64)
    for part in parts:
        _count(part, top, counts)
    shares = (counts / np.float64(counts.sum())).astype(np.float32)
    best = np.float32(_best_window(shares))
    threshold = (best + np.float32(0.5)) * top / np.float32(BINS)
    return _threshold(threshold)


@np.errstate(all="ignore")
def aciq(data: Data) -> ReferenceThreshold:
    """`ncnn2table method=aciq` for one blob.

    Args:
        data: one array, or one array a file; the number of values of the last one enters.
    """
    parts = batches_of(data)
    top, reason = _largest(parts)
    if reason:
        return failure(reason)
    return _threshold(gauss_threshold(top, parts[-1].size))


def gauss_threshold(top: np.float32, count: int) -> np.float32:
    """The 8-bit Gauss threshold of `compute_aciq_gaussian_clip`, in float64 and rounded; Tengine's too."""
    share = (0.5 * 0.35) * (1 + math.sqrt(math.pi * math.log(4)))
    deviation = np.float64(top * np.float32(2)) * share / np.sqrt(2 * np.log(np.float64(count)))
    return np.float32(np.float64(ALPHA_GAUSS_8BIT) * deviation)


def _largest(parts: list[Floats]) -> tuple[np.float32, str]:
    """max|x|, and why the tool has no use for it."""
    if not all(part.size for part in parts):
        return np.float32(0), "there are no values"
    if not all(np.isfinite(part).all() for part in parts):
        return np.float32(0), "NaN or infinity is cast to a bin index: undefined behaviour"
    top = max(np.abs(part).max() for part in parts)
    return top, "" if top > 0 else "max|x| is 0: the table gets the inverse scale 127 / 0"


def _threshold(threshold: np.float32) -> ReferenceThreshold:
    top = float(threshold)
    if not (math.isfinite(top) and top > 0):
        return failure(f"the threshold is {top}, and the inverse scale is no number")
    inverse = np.float32(127) / threshold
    scale = 1 / float(inverse) if np.isfinite(inverse) else top / 127
    return ReferenceThreshold(low=-top, high=top, threshold=top, scale=scale, zero_point=0)


@compiled
def _count(x: Any, top: Any, counts: Any) -> Any:
    for value in x:
        if value != 0:
            counts[min(int(abs(value) / top * np.float32(BINS)), BINS - 1)] += 1


@compiled
def _best_window(shares: Any) -> Any:
    """The window of 128 .. 2047 bins with the least divergence, the first of equals."""
    floor = np.float32(0.0001)
    density = np.empty(LEVELS, dtype=np.float32)
    q = np.empty(BINS + 1, dtype=np.float32)
    best = LEVELS
    least = np.float32(np.finfo(np.float32).max)
    for window in range(LEVELS, BINS):
        width = np.float32(window) / np.float32(LEVELS)
        for k in range(window + 1):
            q[k] = floor
        for level in range(LEVELS):
            density[level] = _level(shares, level, width, window, q, np.float32(0), True)
        for level in range(LEVELS):
            _level(shares, level, width, window, q, density[level], False)
        divergence = np.float32(0)
        for k in range(window):
            p = floor + shares[k]
            if k == window - 1:
                for j in range(window, BINS):
                    p += shares[j]
            divergence += p * np.float32(math.log(p / q[k]))
        if divergence < least:
            least = divergence
            best = window
    return best


@compiled
def _level(shares: Any, level: Any, width: Any, window: Any, q: Any, density: Any, reading: Any) -> Any:
    """Reading: the level's mean density. Else: add its density to Q. The outer borders are whole numbers."""
    left = np.float32(0)
    right = np.float32(0)
    first = 0
    last = window
    if level > 0:
        start = np.float32(level) * width
        if level == LEVELS - 1:
            start = np.float32(window) - width
        first = math.ceil(start)
        left = np.float32(first) - start
    if level < LEVELS - 1:
        end = np.float32(level + 1) * width
        last = math.floor(end)
        right = end - np.float32(last)
    if not reading:
        if left > 0:
            q[first - 1] += left * density
        if right > 0:
            q[last] += right * density
        for k in range(first, last):
            q[k] += density
        return density
    mass = np.float32(0)
    if left > 0:
        mass += left * shares[first - 1]
    if right > 0:
        mass += right * shares[last]
    for k in range(first, last):
        mass += shares[k]
    return mass / ((np.float32(last - first) + left) + right)


VERSION = "ncnn @a4d2ea1 (2026-07-22), ncnn2table built for x86-64 with SSE2"

REFERENCES = (
    Reference(
        tool="ncnn",
        algorithm="kl",
        version=VERSION,
        function=kl,
        parameters={},
        peculiar="Levels are mean densities over empty bins too, both distributions get 1e-4 in every bin "
        "and are not normalised again, and zeros are left out.",
        exact=True,
        tolerance=0.08,
        fidelity="Exact to the 6 decimals the table prints; another C library's logf or a build with fused "
        "multiply-add can decide a near tie of this flat curve differently, up to 7 % in the threshold.",
    ),
    Reference(
        tool="ncnn",
        algorithm="aciq",
        version=VERSION,
        function=aciq,
        parameters={},
        peculiar="A constant times the largest magnitude: the deviation is estimated from the maximum and "
        "the number of values, never measured.",
        exact=True,
        fidelity="Exact to the 6 decimals the table prints.",
    ),
)
