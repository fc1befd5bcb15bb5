"""The loops of ModelOpt's calibrators: divergences of windows, and squared errors in torch's arithmetic."""

from typing import Any

import numpy as np

from quantscope.core.jit import compiled
from quantscope.core.thresholds.reference.pairwise import pairwise_sum
from quantscope.core.thresholds.reference.relative_entropy import relative_entropy
from quantscope.core.thresholds.reference.torchlike import torch_sum


@compiled
def divergences_of_windows(counts: Any, groups: Any, start_bin: Any, stride: Any) -> Any:
    """KL divergence of each window in nats, NaN where the window is empty."""
    size = counts.size
    result = np.empty((size - start_bin) // stride + 1)
    p = np.empty(size)
    q = np.empty(size)
    terms = np.empty(size)
    total = counts.sum()
    before = 0
    for k in range(start_bin - 1):
        before += counts[k]
    at = start_bin - 1  # `before` is the count of bins below `at`
    for number in range(result.size):
        window = start_bin + number * stride
        while at < window - 1:
            before += counts[at]
            at += 1
        for k in range(window):
            p[k] = counts[k]
        p[window - 1] += total - before - counts[window - 1]
        start = 0
        for group in range(groups):
            # The borders group * window / groups are exact in float64.
            stop = min(window, ((group + 1) * window + groups - 1) // groups)
            mass = 0
            occupied = 0
            for k in range(start, stop):
                mass += counts[k]
                occupied += counts[k] != 0
            share = mass / occupied if occupied else 0.0
            for k in range(start, stop):
                q[k] = share if counts[k] != 0 else 0.0
            start = stop
        p_sum = pairwise_sum(p[:window])
        q_sum = pairwise_sum(q[:window])
        if q_sum == 0:
            result[number] = np.nan
            continue
        for k in range(window):
            terms[k] = relative_entropy(p[k] / p_sum, q[k] / q_sum)
        result[number] = pairwise_sum(terms[:window])
    return result


@compiled
def steps_per_unit(amax: Any, bound: Any) -> Any:
    """Steps per unit; 0 stands for a threshold that counts as 0."""
    return np.float32(0) if amax <= np.float32(2.0**-24) else bound / amax


@compiled
def squared_error(x: Any, scale: Any, low: Any, high: Any) -> Any:
    """Sum of float32 squared errors in torch's order."""
    terms = np.empty(x.size, dtype=np.float32)
    for k in range(x.size):
        level = min(max(np.float32(np.rint(x[k] * scale)), low), high)
        error = (level / scale if scale != 0 else level) - x[k]
        terms[k] = error * error
    return torch_sum(terms)


@compiled
def mean_squares(counts: Any, centers: Any, start_bin: Any, stride: Any, low: Any, high: Any) -> Any:
    """Mean over bins of count times squared error, for each centre from `start_bin` on as the threshold."""
    result = np.empty((centers.size - start_bin + stride - 1) // stride, dtype=np.float32)
    terms = np.empty(centers.size, dtype=np.float32)
    for number in range(result.size):
        scale = steps_per_unit(centers[start_bin + number * stride], high)
        for k in range(centers.size):
            level = min(max(np.float32(np.rint(centers[k] * scale)), low), high)
            error = (level / scale if scale != 0 else level) - centers[k]
            terms[k] = error * error * np.float32(counts[k])
        result[number] = torch_sum(terms) / np.float32(centers.size)
    return result
