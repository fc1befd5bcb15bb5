"""MNN's quantization tool: KL over 2048 bins of |x| with float32 arithmetic, ADMM on the raw values.

The KL search leaves values up to 1e-6 in magnitude out, starts every bin at 1e-7 so that none is empty, and
merges into 128 groups of fractional width; nothing is smoothed or normalised again. All sums are float32 and
sequential. The scale is the middle of the bin behind the window over 127.

ADMM starts from max|x| / 317.5 and takes 300 steps of q = clip(round(x / a), ±127), a = Σqx / Σq², rounding
halves away from zero. Its two sums are one float32 each: over many values they stop growing, so the result is
not the least-squares scale, and it depends on the number of values and on their order. A tensor within ±1e-5
gets scale 0 from KL and max, which is no scale.
"""

from typing import Any

import numpy as np

from quantscope.core.jit import compiled
from quantscope.core.thresholds.reference.proportional import best_window
from quantscope.core.thresholds.reference.result import (
    Data,
    Reference,
    ReferenceThreshold,
    batches_of,
    failure,
    flat,
)

BINS = 2048
LEVELS = 128
ROUNDS = 300  # of ADMM
BLOCK = 1024  # values rounded at a time, so that only the sums are one by one


@np.errstate(all="ignore")
def kl(data: Data, *, feature_clamp_value: int = 127) -> ReferenceThreshold:
    """`TensorStatistic` with method KL and channels merged.

    Args:
        data: one array, or batches (the order has no effect).
        feature_clamp_value: largest integer of the activation.
    """
    parts = batches_of(data)
    interval, reason = _interval(parts)
    if reason:
        return failure(reason)
    if interval == 0:
        return _scale(0.0, feature_clamp_value)
    counts = np.full(BINS, 1e-7, dtype=np.float32)
    for part in parts:
        _count(part, interval, counts)
    best = best_window(_normalised(counts), LEVELS, 10000.0)
    return _scale((best + 0.5) / float(interval) / feature_clamp_value, feature_clamp_value)


@np.errstate(all="ignore")
def largest(data: Data, *, feature_clamp_value: int = 127) -> ReferenceThreshold:
    """`TensorStatistic` with THRESHOLD_MAX (method "max", and any tensor of fewer than 100 pixels)."""
    interval, reason = _interval(batches_of(data))
    if reason:
        return failure(reason)
    if interval == 0:
        return _scale(0.0, feature_clamp_value)
    return _scale((BINS - 1 + 0.5) / float(interval) / feature_clamp_value, feature_clamp_value)


@np.errstate(all="ignore")
def admm(data: Data, *, feature_clamp_value: int = 127) -> ReferenceThreshold:
    """`TensorStatistic.computeScaleADMM` of one tensor.

    Args:
        data: one array; batches are joined, as the tool stacks them.
        feature_clamp_value: largest integer of the activation.
    """
    x = flat(data)
    top = np.fmax.reduce(np.abs(x)) if x.size else np.float32(0)
    if not np.isfinite(x).all():
        return failure("the alternation's sums are NaN, and so is the scale")
    if top == 0:
        return failure("the start scale is 0 and the sums are 0 / 0: the scale is NaN")
    start = np.float32(float(top) / (feature_clamp_value * 2.5))
    scale = float(_alternate(x, start, np.float32(feature_clamp_value)))
    if not np.isfinite(scale):
        return failure(f"the alternation ends with the scale {scale}: float32 does not hold its sums")
    return _scale(scale, feature_clamp_value)


def _interval(parts: list[Any]) -> tuple[np.float32, str]:
    """Bins per unit of |x|, 0 for a tensor the tool skips, and why there is none."""
    if not any(part.size for part in parts):
        return np.float32(0), "there are no values"
    if not all(np.isfinite(part).all() for part in parts):
        return np.float32(0), "NaN or infinity is cast to a bin index: undefined behaviour"
    top = max(np.abs(part).max() for part in parts if part.size)
    return (np.float32(BINS) / top if top > np.float32(1e-5) else np.float32(0)), ""


def _scale(scale: float, clamp: int) -> ReferenceThreshold:
    scale = float(np.float32(scale))
    top = scale * clamp
    return ReferenceThreshold(low=-top, high=top, threshold=top, scale=scale, zero_point=0)


@compiled
def _count(x: Any, interval: Any, counts: Any) -> Any:
    """Add |x| above 1e-6 to its bin, in float32."""
    for value in x:
        magnitude = abs(value)
        if magnitude > np.float32(1e-6):
            counts[min(int(magnitude * interval), counts.size - 1)] += np.float32(1)


@compiled
def _normalised(counts: Any) -> Any:
    total = np.float32(0)
    for value in counts:
        total += value
    return counts / total


@compiled
def _alternate(x: Any, scale: Any, bound: Any) -> Any:
    """300 rounds of quantize and refit, each sum one sequential float32.

    A scale that comes up again repeats everything since, so the last one is known without the rest.
    """
    seen = np.empty(ROUNDS + 1, dtype=np.float32)
    seen[0] = scale
    levels = np.empty(BLOCK, dtype=np.float32)
    products = np.empty(BLOCK, dtype=np.float32)
    for done in range(1, ROUNDS + 1):
        inverse = np.float32(1) / seen[done - 1]
        product_sum = np.float32(0)
        square_sum = np.float32(0)
        for start in range(0, x.size, BLOCK):
            n = min(BLOCK, x.size - start)
            _quantize(x[start : start + n], inverse, bound, levels, products)
            for k in range(n):
                product_sum += products[k]
                square_sum += levels[k] * levels[k]
        seen[done] = product_sum / square_sum
        for before in range(done - 1, -1, -1):
            if seen[before] == seen[done]:
                return seen[before + (ROUNDS - before) % (done - before)]
    return seen[ROUNDS]


@compiled
def _quantize(x: Any, inverse: Any, bound: Any, levels: Any, products: Any) -> Any:
    """Magnitudes of the integers, halves away from zero, and their products with the values."""
    for k in range(x.size):
        level = abs(x[k] * inverse)
        if level != level:  # 0 * inf: C's fmax passes the bound on, and the product is with 0
            level = bound
        level = min(level, bound)
        whole = np.float32(np.int32(level))
        if level - whole >= np.float32(0.5):
            whole += np.float32(1)
        levels[k] = whole
        products[k] = whole * abs(x[k])


TOOL = "MNN"
VERSION = "MNN @4d40bdb (2026-08-20), tools/quantization/TensorStatistic.cpp"
CLAMP = {"feature_clamp_value": 127}

REFERENCES = (
    Reference(
        tool=TOOL,
        algorithm="kl",
        version=VERSION,
        function=kl,
        parameters=CLAMP,
        peculiar="Every bin starts at 1e-7 so that none is empty, levels have fractional width, nothing is "
        "smoothed, and values within 1e-6 are left out.",
        exact=True,
        tolerance=0.08,
        fidelity="Exact; another C library's logf or a build with fused multiply-add can decide a near tie "
        "differently, up to 7 % in the threshold.",
    ),
    Reference(
        tool=TOOL,
        algorithm="admm",
        version=VERSION,
        function=admm,
        parameters=CLAMP,
        peculiar="300 alternations from max/317.5 whose two sums are sequential float32: over many values "
        "they stop growing, which moves the scale by up to 16 %.",
        exact=True,
        fidelity="Exact.",
    ),
    Reference(
        tool=TOOL,
        algorithm="max",
        version=VERSION,
        function=largest,
        parameters=CLAMP,
        peculiar="The middle of the last of 2048 bins; scale 0 for a tensor within 1e-5.",
        exact=True,
        fidelity="Exact.",
    ),
)
