"""PyTorch's `histc`, `linspace`, `arange` and `sum` of float32, with fused multiply-add, bit for bit."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.jit import compiled
from quantscope.core.thresholds.reference.result import Floats

LANES = 8  # floats of a vector, on every x86-64 processor
LEVELS = 4


def histc(x: Floats, bins: int, low: float, high: float) -> npt.NDArray[np.int64]:
    """Counts over [low, high]: trunc((x - low) * bins / (high - low)) in float32, the top in the last bin.

    Equal bounds mean the range of the data, and ±1 around it if that is empty.

    Raises:
        ValueError: the bounds are not finite, as `torch.histc` says.
    """
    if low == high and x.size:
        low, high = float(x.min()), float(x.max())
    if low == high:
        low, high = low - 1, high + 1
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"range of [{low}, {high}] is not finite")
    counts = np.zeros(bins, dtype=np.int64)
    _histc(x, np.float32(low), np.float32(high), counts)
    return counts


@compiled
def _histc(x: Any, low: Any, high: Any, counts: Any) -> Any:
    bins = np.float32(counts.size)
    width = high - low
    for value in x:
        if value >= low and value <= high:
            at = int((value - low) * bins / width)
            if at >= counts.size:
                at = counts.size - 1
            if at < 0:
                at = 0
            counts[at] += 1


def linspace(start: np.float32, end: np.float32, steps: int) -> Floats:
    """From both ends towards the middle, each value rounded once."""
    step = np.float64((end - start) / np.float32(steps - 1))
    index = np.arange(steps)
    ahead = np.float64(start) + step * index
    back = np.float64(end) - step * (steps - 1 - index)
    return np.where(index < steps // 2, ahead, back).astype(np.float32)


def arange(end: np.float32, step: np.float32) -> Floats:
    """0, step, .. below `end`: eight values from a rounded first one, the last few one by one."""
    count = math.ceil(float(end) / float(step))
    result = (np.arange(count) * np.float64(step)).astype(np.float32)
    together = count // 16 * 16
    first = result[:together:8].astype(np.float64)
    result[:together] = (first[:, None] + np.float64(step) * np.arange(8)).astype(np.float32).reshape(-1)
    return result


@compiled
def torch_sum(values: Any) -> Any:
    """`torch.sum` of a contiguous float array in one thread: 32 sums side by side, in four levels."""
    rows = values.size // LANES // 4
    power = 0
    while (1 << power) < rows:
        power += 1
    power = max(4, power // LEVELS)
    step = 1 << power
    sums = np.zeros((LEVELS, 4 * LANES), dtype=values.dtype)
    row = 0
    while row + step <= rows:
        for _ in range(step):
            for k in range(4 * LANES):
                sums[0, k] += values[row * 4 * LANES + k]
            row += 1
        for level in range(1, LEVELS):
            for k in range(4 * LANES):
                sums[level, k] += sums[level - 1, k]
                sums[level - 1, k] = 0
            if row & ((step - 1) << (level * power)):
                break
    for at in range(row * 4 * LANES, rows * 4 * LANES):
        sums[0, at % (4 * LANES)] += values[at]
    for level in range(1, LEVELS):
        for k in range(4 * LANES):
            sums[0, k] += sums[level, k]
    lanes = sums[0, :LANES]
    whole = values.size // LANES * LANES
    for at in range(rows * 4 * LANES, whole):
        lanes[at % LANES] += values[at]
    for group in range(1, 4):
        for k in range(LANES):
            lanes[k] += sums[0, group * LANES + k]
    total = values.dtype.type(0)
    for at in range(whole, values.size):
        total += values[at]
    for k in range(LANES):
        total += lanes[k]
    return total
