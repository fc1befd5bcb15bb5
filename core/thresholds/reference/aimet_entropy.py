"""AIMET's entropy search: 512 bins narrowed to 255, with P and Q conditioned after Glow."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.jit import compiled
from quantscope.core.thresholds.reference.result import Floats

BINS = 512
LEVELS = 255
Counts = npt.NDArray[np.float64]


def best_range(
    parts: list[Floats], bitwidth: int, symmetric: bool, strict: bool, unsigned: bool
) -> tuple[np.float32, np.float32] | None:
    """The range of least divergence; None for data of nothing but zeros."""
    counts: Counts | None = None
    low = high = 0.0
    for part in parts:
        part_low, part_high = float(part.min()), float(part.max())
        if part_low == 0 and part_high == 0:
            continue
        if part_low == part_high:
            part_high = max(part_high, part_low + float(np.float32(0.01)))
        if counts is None:
            counts, low, high = np.zeros(BINS), part_low, part_high
        if part_low < low or part_high > high:
            wider = min(part_low, low), max(part_high, high)
            counts = np.asarray(_widened(counts, low, high, *wider))
            low, high = wider
        _add(part, np.float32((high - low) / BINS), np.float32(low), counts)
    if counts is None:
        return None
    if symmetric and (low < 0 or not unsigned):
        top = float(np.float32(max(abs(high), abs(low))))
        if (low, high) != (-top, top):
            counts = np.asarray(_rescaled(counts, low, high, -top, top))
        low, high = -top, top
    if bitwidth != 8:
        return np.float32(low), np.float32(high)
    ends = _narrow(counts, low, high, symmetric or strict)
    return np.float32(ends[0]), np.float32(ends[1])


@compiled
def _add(x: Any, width: Any, low: Any, counts: Any) -> Any:
    for value in x:
        at = 0
        if width != 0:
            at = max(0, min(int((value - low) / width), BINS - 1))
        counts[at] += 1.0


@compiled
def _round(value: Any) -> Any:
    """C's round of a non-negative number."""
    whole = math.floor(value)
    return float(whole + 1) if value - whole >= 0.5 else float(whole)


@compiled
def _widened(counts: Any, low: Any, high: Any, new_low: Any, new_high: Any) -> Any:
    """The counts in the bins of a wider range: each goes to the bin of its start, the rest to the next."""
    result = np.zeros(BINS)
    width = (new_high - new_low) / BINS
    old_width = (high - low) / BINS
    for k in range(BINS):
        if counts[k] == 0:
            continue
        begin = low + old_width * k
        end = new_low + width * (int((begin - new_low) / width) + 1)
        first = min(_round((end - begin) / old_width * counts[k]), counts[k])
        result[_bin(width, new_low, begin)] += first
        if first < counts[k]:
            result[_bin(width, new_low, begin + width)] += counts[k] - first
    return result


@compiled
def _bin(width: Any, low: Any, value: Any) -> Any:
    width32 = np.float32(width)
    if width32 == 0:
        return 0
    return max(0, min(int((np.float32(value) - np.float32(low)) / width32), BINS - 1))


@compiled
def _rescaled(counts: Any, low: Any, high: Any, new_low: Any, new_high: Any) -> Any:
    """The counts in symmetric bins, shared by overlap in whole numbers."""
    result = np.zeros(BINS)
    old_width = (high - low) / BINS
    width = (new_high - new_low) / BINS
    for k in range(BINS):
        if counts[k] == 0:
            continue
        begin = low + k * old_width
        end = low + (k + 1) * old_width
        first = min(int(max(math.floor((begin - new_low) / width), 0)), BINS - 1)
        last = min(int(max(math.ceil((end - new_low) / width), 0)), BINS - 1)
        rest = counts[k]
        for j in range(first, last + 1):
            overlap = min(end, new_low + (j + 1) * width) - max(begin, new_low + j * width)
            share = min(max(overlap / old_width, 0.0), 1.0)
            moved = min(_round(share * counts[k]), rest)
            result[j] += moved
            rest -= moved
    return result


@compiled
def _narrow(counts: Any, low: Any, high: Any, both: Any) -> Any:
    """Narrow the window and keep the ends of the least divergence, the first of equals."""
    width = (high - low) / BINS
    least = np.inf
    best_low = low
    best_high = high
    start = 0
    stop = BINS - 1
    p = np.empty(BINS)
    q = np.empty(BINS)
    while stop - start + 1 >= LEVELS:
        size = stop - start + 1
        divergence = _divergence(counts, start, stop, p[:size], q[:size])
        if divergence != divergence:
            break
        if divergence < least:
            least = divergence
            best_low = low + start * width
            best_high = low + (stop + 1) * width
        if both:
            start += 1
            stop -= 1
            continue
        losses = (
            counts[start] + counts[stop],
            counts[start] + counts[start + 1],
            counts[stop] + counts[stop - 1],
        )
        side = 0
        for k in range(1, 3):
            if losses[k] < losses[side]:
                side = k
        # Zero must stay inside.
        if (side == 0 and low + (start + 1) * width > 0) or (side == 1 and low + (start + 2) * width > 0):
            side = 2
        elif (side == 0 and low + stop * width < 0) or (side == 2 and low + (stop - 1) * width < 0):
            side = 1
        if side == 0:
            start += 1
            stop -= 1
        elif side == 1:
            start += 2
        else:
            stop -= 2
    return best_low, best_high


@compiled
def _divergence(counts: Any, start: Any, stop: Any, p: Any, q: Any) -> Any:
    """KL of one window in nats; NaN where P or Q is empty."""
    size = p.size
    for k in range(size):
        p[k] = counts[start + k]
        q[k] = 0.0
    left = 0.0
    for k in range(start + 1):
        left += counts[k]
    right = 0.0
    for k in range(stop, counts.size):
        right += counts[k]
    p[0] = left
    p[size - 1] = right
    merged = float(size) / float(LEVELS)
    for level in range(LEVELS):
        first = math.ceil(level * merged)
        last = math.ceil((level + 1) * merged) if level < LEVELS - 1 else size
        mass = 0.0
        occupied = 0.0
        for k in range(first, last):
            mass += counts[start + k]
            occupied += counts[start + k] != 0
        for k in range(first, last):
            if counts[start + k] != 0:
                q[k] = mass / occupied
    if _float_sum(p) == 0 or _float_sum(q) == 0:
        return np.nan
    _condition(p)
    _condition(q)
    p_sum = float(_float_sum(p))
    q_sum = float(_float_sum(q))
    result = 0.0
    for k in range(size):
        pk = p[k] / p_sum
        qk = q[k] / q_sum
        if pk > 0 and qk > 0:
            result += pk * math.log(pk / qk)
    return result


@compiled
def _float_sum(values: Any) -> Any:
    """A float32 accumulator, as `std::accumulate` with 0.f has."""
    total = np.float32(0)
    for value in values:
        total = np.float32(float(total) + value)
    return total


@compiled
def _condition(values: Any) -> Any:
    """Give empty bins 1e-4 at the cost of the others."""
    zeros = 0
    for value in values:
        zeros += value == 0
    if zeros == values.size:
        return
    taken = 0.0001 * float(zeros) / float(values.size - zeros)
    if taken >= 1:
        return
    for k in range(values.size):
        if values[k] == 0:
            values[k] += 0.0001
        else:
            values[k] -= taken
