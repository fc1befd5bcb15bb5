"""AIMET's C++ encoding analyzers of 2024: `tf_enhanced`, `mse`, `entropy` and `percentile`.

All but entropy read one histogram: 512 buckets over three times the range of the first batch, so only about
171 of them hold data, values go to the nearest left edge, and the range is measured by those edges. Each
batch has the same weight. A range of less than 0.01 is widened to that, which makes `tf_enhanced` useless for
small tensors.

`tf_enhanced` rates saturation three times as high as rounding, so it clips little. Symmetric: 101 scales of 1
% each. Asymmetric: 17 scales times 21 zero points, cut to the data. All arithmetic is float32, every bucket
at its middle, and the saturated mass is measured to the middle of the bucket where the range ends.
`mse` tries every pair of bucket edges below and above zero. `percentile` returns bucket edges.
`entropy` (Glow's) starts with the full range on 512 bins of its own and narrows it until 255 bins are left:
symmetric by one bin at both ends, asymmetric by two where that loses the least. Symmetric data are first
resampled into symmetric bins, in whole counts.
"""

from typing import Any

import numpy as np

from quantscope.core.jit import compiled
from quantscope.core.thresholds.reference.aimet_entropy import best_range
from quantscope.core.thresholds.reference.aimet_pdf import BUCKETS, Density, collect, encoding, observed_range
from quantscope.core.thresholds.reference.result import (
    Data,
    Floats,
    Reference,
    ReferenceThreshold,
    batches_of,
    failure,
)

GAMMA = 3.0  # weight of saturation


@np.errstate(all="ignore")
def tf_enhanced(
    data: Data,
    *,
    bitwidth: int = 8,
    symmetric: bool = False,
    strict_symmetric: bool = False,
    unsigned_symmetric: bool = False,
) -> ReferenceThreshold:
    """`TfEnhancedEncodingAnalyzer`.

    Args:
        data: one array, or batches; the first one sets the histogram's range.
        bitwidth: of the type.
        symmetric: offset in the middle of the integers.
        strict_symmetric: if symmetric, leave the lowest integer out.
        unsigned_symmetric: if symmetric, offset 0 for data without negative values.
    """
    density = collect(data)
    if isinstance(density, ReferenceThreshold):
        return density
    low, high = observed_range(density)
    steps = np.float32(2**bitwidth - 1 - int(symmetric and strict_symmetric))
    if symmetric:
        deltas, offsets = _symmetric_candidates(low, high, steps, unsigned_symmetric)
    else:
        deltas, offsets = _asymmetric_candidates(low, high, steps)
    costs = _costs(density.share, density.start, density.step, deltas, offsets, np.float32(2**bitwidth - 1))
    if not (costs < np.finfo(np.float32).max).any():
        return failure("no candidate has a finite cost: the tool returns a scale of -1")
    best = int(np.argmin(costs))
    scale, offset = deltas[best], int(offsets[best])
    bottom = float(scale * np.float32(offset))
    top = float(scale * (steps + np.float32(offset)))
    return ReferenceThreshold(low=bottom, high=top, scale=float(scale), zero_point=-offset)


@np.errstate(all="ignore")
def mse(
    data: Data,
    *,
    bitwidth: int = 8,
    symmetric: bool = False,
    strict_symmetric: bool = False,
    unsigned_symmetric: bool = False,
) -> ReferenceThreshold:
    """`MseEncodingAnalyzer`; arguments as for `tf_enhanced`."""
    density = collect(data)
    if isinstance(density, ReferenceThreshold):
        return density
    low, high = observed_range(density)
    width = density.step
    high = high + width
    edges = _edges(density, low, high)
    lows = np.concatenate((edges[edges < 0], np.zeros(1, dtype=np.float32)))
    highs = np.concatenate((edges[edges > 0], np.zeros(1, dtype=np.float32)))
    centers = np.empty(edges.size - 1, dtype=np.float32)
    centers[0] = low + width / np.float32(2)
    for k in range(1, centers.size):
        centers[k] = centers[k - 1] + width
    index = np.clip(np.floor((centers - density.start) / width).astype(np.int64), 0, BUCKETS - 1)
    shares = density.share[index].astype(np.float32)
    steps = 2**bitwidth - 1 - int(symmetric and strict_symmetric)
    low_best, high_best = _best_pair(
        lows, highs, centers, shares, steps, symmetric, unsigned_symmetric, low, high
    )
    return encoding(
        min(float(low_best), 0.0),
        max(float(high_best), 0.0),
        bitwidth=bitwidth,
        symmetric=symmetric,
        strict=strict_symmetric,
        unsigned=unsigned_symmetric,
    )


@np.errstate(all="ignore")
def percentile(
    data: Data,
    *,
    bitwidth: int = 8,
    percentile: float = 99.99,
    symmetric: bool = False,
    strict_symmetric: bool = False,
    unsigned_symmetric: bool = False,
) -> ReferenceThreshold:
    """`PercentileEncodingAnalyzer`; `percentile` in percent at each end, the rest as for `tf_enhanced`."""
    density = collect(data)
    if isinstance(density, ReferenceThreshold):
        return density
    low, high = observed_range(density)
    share = np.float32(percentile)
    if share != 100:
        width = density.step
        low, high = density.start, np.float32(density.left[-1] + width)
        cumulated = np.cumsum(density.share)
        reached = np.flatnonzero(cumulated >= np.float32(1) - share / np.float32(100))
        if reached.size:
            low = np.float32(density.left[reached[0]])
        missed = np.flatnonzero(cumulated < share / np.float32(100))
        if missed.size:
            last = int(missed[-1]) + 1
            high = np.float32(density.left[min(last, BUCKETS - 1)])
        if low == high:
            high = high + width
    return encoding(
        min(float(low), 0.0),
        max(float(high), 0.0),
        bitwidth=bitwidth,
        symmetric=symmetric,
        strict=strict_symmetric,
        unsigned=unsigned_symmetric,
    )


@np.errstate(all="ignore")
def entropy(
    data: Data,
    *,
    bitwidth: int = 8,
    symmetric: bool = False,
    strict_symmetric: bool = False,
    unsigned_symmetric: bool = False,
) -> ReferenceThreshold:
    """`EntropyEncodingAnalyzer`; arguments as for `tf_enhanced`."""
    parts = batches_of(data)
    if not parts or not all(part.size for part in parts):
        return failure("there are no values")
    if not all(np.isfinite(part).all() for part in parts):
        return failure("NaN or infinity is cast to a bin index: undefined behaviour")
    found = best_range(parts, bitwidth, symmetric, strict_symmetric, unsigned_symmetric)
    if found is None:
        return failure("all values are 0: the tool takes [-1, 1]")
    return encoding(
        min(float(found[0]), 0.0),
        max(float(found[1]), 0.0),
        bitwidth=bitwidth,
        symmetric=symmetric,
        strict=strict_symmetric,
        unsigned=unsigned_symmetric,
    )


def _symmetric_candidates(low: Any, high: Any, steps: Any, unsigned: bool) -> tuple[Floats, Any]:
    """101 scales (float32 steps of 1 %) with one offset."""
    if low == 0 and unsigned:
        largest, offset = high / steps, 0
    else:
        largest = (np.float32(2) * max(abs(high), abs(low))) / steps
        offset = int(np.floor(-steps / np.float32(2)))
    factors = []
    factor = np.float32(1.0 / 100)
    while float(factor) <= 1 + 1.0 / 100:
        factors.append(factor)
        factor = np.float32(float(factor) + 1.0 / 100)
    deltas = np.array(factors, dtype=np.float32) * largest
    return deltas, np.full(deltas.size, offset, dtype=np.int64)


def _asymmetric_candidates(low: Any, high: Any, steps: Any) -> tuple[Floats, Any]:
    """17 scales times 21 offsets, cut to the data."""
    observed = (high - low) / steps
    observed_offset = _round(low / observed)
    low = observed * np.float32(observed_offset)
    high = observed * (steps + np.float32(observed_offset))
    deltas, offsets = [], []
    for sixteenth in range(1, 18):
        for i in range(21):
            delta = np.float32(sixteenth / 16) * observed
            offset = int(-float(steps) + float(steps) / 20.0 * i)
            bottom = delta * np.float32(offset)
            top = delta * (steps + np.float32(offset))
            if bottom < low and top > high:
                continue
            if bottom < low or top > high:
                bottom, top = max(low, bottom), min(high, top)
                delta = (top - bottom) / steps
                if not delta > 0:
                    continue
                offset = _round(bottom / delta)
            deltas.append(delta)
            offsets.append(offset)
    deltas.append(observed)
    offsets.append(observed_offset)
    return np.array(deltas, dtype=np.float32), np.array(offsets, dtype=np.int64)


def _round(value: Any) -> int:
    """C's round of a float32, as an int."""
    magnitude = abs(float(value))
    whole = int(magnitude) + (magnitude - int(magnitude) >= 0.5)
    return whole if value >= 0 else -whole


def _edges(density: Density, low: Any, high: Any) -> Floats:
    """The least edge, and all those in [low, high] that a float32 sum runs through."""
    width = density.step
    last = np.float32(density.left[-1] + width)
    edges = [low]
    edge = density.start
    for _ in range(2 * BUCKETS):
        if edge > last:
            break
        if low <= edge <= high:
            edges.append(edge)
        edge = edge + width
    return np.array(edges, dtype=np.float32)


@compiled
def _costs(share: Any, start: Any, step: Any, deltas: Any, offsets: Any, steps: Any) -> Any:
    """Weighted saturation plus rounding cost of each candidate, float32 sums of float64 terms."""
    size = share.size
    half = step / np.float32(2)
    result = np.empty(deltas.size, dtype=np.float32)
    for number in range(deltas.size):
        delta = deltas[number]
        offset = np.float32(offsets[number])
        low = delta * offset
        high = delta * steps + low
        first = _bucket(low, start, step, size)
        last = _bucket(high, start, step, size)
        below = np.float32(0)
        bound = start + np.float32(first) * step + half
        for k in range(first):
            error = float((start + np.float32(k) * step + half) - bound)
            below = np.float32(float(below) + share[k] * (error * error))
        above = np.float32(0)
        bound = start + np.float32(last) * step + half
        for k in range(last, size):
            error = float((start + np.float32(k) * step + half) - bound)
            above = np.float32(float(above) + share[k] * (error * error))
        inside = np.float32(0)
        for k in range(first, last):
            value = start + np.float32(k) * step + half
            level = _round_int(value / delta - offset)
            error = float(value - delta * np.float32(level + offsets[number]))
            inside = np.float32(float(inside) + share[k] * (error * error))
        result[number] = np.float32(GAMMA) * (below + above) + inside
    return result


@compiled
def _bucket(value: Any, start: Any, step: Any, size: Any) -> Any:
    at = np.floor((value - start) / step)
    return int(min(at, np.float32(size - 1))) if at > 0 else 0


@compiled
def _round_int(value: Any) -> Any:
    magnitude = abs(value)
    whole = np.int64(magnitude)
    whole += magnitude - whole >= 0.5
    return whole if value >= 0 else -whole


@compiled
def _best_pair(
    lows: Any,
    highs: Any,
    centers: Any,
    shares: Any,
    steps: Any,
    symmetric: Any,
    unsigned: Any,
    low: Any,
    high: Any,
) -> Any:
    """The pair of ends with the least float32 sum of squared errors, the first of equals; not (0, 0)."""
    least = np.float32(np.finfo(np.float32).max)
    best_low = low
    best_high = high
    for i in range(lows.size):
        for j in range(highs.size):
            if i == lows.size - 1 and j == highs.size - 1:
                continue
            bottom = float(lows[i])
            top = float(highs[j])
            if symmetric and (bottom < 0 or not unsigned):
                delta = max(abs(top), abs(bottom)) / (steps // 2)
                offset = -float((steps + 1) // 2)
            else:
                delta = (top - bottom) / steps
                if bottom < 0 and top > 0:
                    offset = -min(float(steps), max(0.0, float(_round_int(-bottom / delta))))
                else:
                    offset = float(_round_int(bottom / delta))
            total = np.float32(0)
            for k in range(centers.size):
                value = centers[k]
                clamped = max(lows[i], min(value, highs[j]))
                level = _round_int(float(clamped) / delta - offset)
                error = float(value - np.float32(delta * (level + offset)))
                total = np.float32(float(total) + float(shares[k]) * (error * error))
            if total < least:
                least = total
                best_low = lows[i]
                best_high = highs[j]
    return best_low, best_high


TOOL = "aimet"
VERSION = "AIMET C++ @c51b284 (2024-10-24), ModelOptimizations/DlQuantization"
PLAIN = {"bitwidth": 8, "symmetric": False, "strict_symmetric": False, "unsigned_symmetric": False}
VARIANTS = ({**PLAIN, "symmetric": True}, {**PLAIN, "symmetric": True, "strict_symmetric": True})

REFERENCES = tuple(
    Reference(
        tool=TOOL,
        algorithm=name,
        version=VERSION,
        function=function,
        parameters={**PLAIN, **more},
        variants=tuple({**variant, **more} for variant in VARIANTS),
        peculiar=peculiar,
        exact=name in ("entropy", "percentile"),
        tolerance=1e-6,
        fidelity="Against a build without fused multiply-add: entropy and percentile are exact, a candidate "
        "of the others may differ in its last bits (2e-7), as the stored sources are a little older or "
        "newer.",
    )
    for name, function, more, peculiar in (
        (
            "tf_enhanced",
            tf_enhanced,
            {},
            "Saturation counts three times as much as rounding, on 512 buckets of which a third hold data; a "
            "range below 0.01 is widened to it.",
        ),
        (
            "mse",
            mse,
            {},
            "Every pair of bucket edges, on 512 buckets of which a third hold data.",
        ),
        (
            "entropy",
            entropy,
            {},
            "Glow's search: 512 bins narrowed to 255 levels, two bins at a time where that loses the least.",
        ),
        (
            "percentile",
            percentile,
            {"percentile": 99.99},
            "Edges of 512 buckets of which a third hold data, the share cut at each end.",
        ),
    )
)
