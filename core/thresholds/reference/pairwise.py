"""NumPy's pairwise summation, so that a float sum inside a compiled loop has NumPy's last bit."""

from typing import Any

import numpy as np

from quantscope.core.jit import compiled

BLOCK = 128
DEPTH = 64  # halvings; more than any array has


@compiled
def pairwise_sum(values: Any) -> Any:
    """`values.sum()` of a contiguous float array.

    Halves are summed from the left with a stack of their own: a compiled function that calls itself does not
    survive Numba's cache.
    """
    if values.size <= BLOCK:
        return _block_sum(values, 0, values.size)
    sums = np.empty(DEPTH, dtype=values.dtype)
    starts = np.empty(DEPTH, dtype=np.int64)
    stops = np.empty(DEPTH, dtype=np.int64)  # -1: add the two sums on top
    starts[0] = 0
    stops[0] = values.size
    waiting = 1
    done = 0
    while waiting:
        waiting -= 1
        start = starts[waiting]
        stop = stops[waiting]
        if stop < 0:
            done -= 1
            sums[done - 1] += sums[done]
        elif stop - start <= BLOCK:
            sums[done] = _block_sum(values, start, stop)
            done += 1
        else:
            half = (stop - start) // 2
            half -= half % 8
            stops[waiting] = -1
            starts[waiting + 1] = start + half
            stops[waiting + 1] = stop
            starts[waiting + 2] = start
            stops[waiting + 2] = start + half
            waiting += 3
    return sums[0]


@compiled
def _block_sum(values: Any, start: Any, stop: Any) -> Any:
    """At most 128 values, with eight sums side by side."""
    if stop - start < 8:
        total = values.dtype.type(0)
        for k in range(start, stop):
            total += values[k]
        return total
    r0, r1, r2, r3 = values[start], values[start + 1], values[start + 2], values[start + 3]
    r4, r5, r6, r7 = values[start + 4], values[start + 5], values[start + 6], values[start + 7]
    whole = stop - (stop - start) % 8
    for k in range(start + 8, whole, 8):
        r0 += values[k]
        r1 += values[k + 1]
        r2 += values[k + 2]
        r3 += values[k + 3]
        r4 += values[k + 4]
        r5 += values[k + 5]
        r6 += values[k + 6]
        r7 += values[k + 7]
    total = ((r0 + r1) + (r2 + r3)) + ((r4 + r5) + (r6 + r7))
    for k in range(whole, stop):
        total += values[k]
    return total
