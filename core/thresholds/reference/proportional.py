"""The KL search with levels of fractional width that MNN and Tengine share (both from one ancestor)."""

import math
from typing import Any

import numpy as np

from quantscope.core.jit import compiled


@compiled
def best_window(distribution: Any, levels: Any, ceiling: Any) -> Any:
    """The window of least divergence among `levels` .. `distribution.size` - 1 bins, in sequential float32.

    The window's bins are merged into `levels` groups of equal real width: a bin on a border goes to both in
    proportion. Each group's mass is spread over its occupied bins, also counted in proportion. A bin that P
    has and Q lacks costs 1. The first minimum below `ceiling` wins; without one it is `levels`.

    Args:
        distribution: float32 (bins,), sums to about 1.
        levels: number of groups, and the narrowest window.
        ceiling: divergences from here on are not accepted.
    """
    size = distribution.size
    merged = np.empty(levels, dtype=np.float32)
    expanded = np.empty(size + 1, dtype=np.float32)
    best = levels
    least = np.float32(ceiling)
    tail = np.float32(0)
    for k in range(levels, size):
        tail += distribution[k]
    for window in range(levels, size):
        width = np.float32(window) / np.float32(levels)
        for k in range(window + 1):
            expanded[k] = np.float32(0)
        for level in range(levels):
            merged[level] = _merge(distribution, level, width)
        for level in range(levels):
            _expand(distribution, level, width, merged[level], expanded)
        divergence = np.float32(0)
        for k in range(window):
            p = distribution[k]
            if k == window - 1:
                p += tail
            if p != 0:
                if expanded[k] == 0:
                    divergence += np.float32(1)
                else:
                    divergence += p * np.float32(math.log(p / expanded[k]))
        tail -= distribution[window]
        if divergence < least:
            least = divergence
            best = window
    return best


@compiled
def _merge(distribution: Any, level: Any, width: Any) -> Any:
    start = np.float32(level) * width
    end = start + width
    first = math.ceil(start)
    last = math.floor(end)
    mass = np.float32(0)
    if np.float32(first) > start:
        mass += (np.float32(first) - start) * distribution[first - 1]
    if np.float32(last) < end:
        mass += (end - np.float32(last)) * distribution[last]
    for k in range(first, last):
        mass += distribution[k]
    return mass


@compiled
def _expand(distribution: Any, level: Any, width: Any, mass: Any, expanded: Any) -> Any:
    start = np.float32(level) * width
    end = start + width
    first = math.ceil(start)
    last = math.floor(end)
    left = np.float32(first) - start
    right = end - np.float32(last)
    count = np.float32(0)
    if left > 0 and distribution[first - 1] != 0:
        count += left
    if right > 0 and distribution[last] != 0:
        count += right
    for k in range(first, last):
        if distribution[k] != 0:
            count += np.float32(1)
    if count == 0:
        return
    share = mass / count
    if left > 0 and distribution[first - 1] != 0:
        expanded[first - 1] += share * left
    if right > 0 and distribution[last] != 0:
        expanded[last] += share * right
    for k in range(first, last):
        if distribution[k] != 0:
            expanded[k] += share
