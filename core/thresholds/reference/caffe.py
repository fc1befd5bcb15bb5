"""caffe-int8-convert-tools (BUG1989), the ancestor of ncnn's table: KL on the positive values only.

The histogram runs over [0, max|x|] but is filled with signed values, so negative ones are not counted. The
first bin is dropped, and the winning window's number is not shifted back. A window's bins are merged into 128
groups of equal whole width; the remainder goes to the last group, whose span then runs up to the last bin but
one, so the last bin, where the clipped mass is, has no counterpart in Q. Empty bins get 1e-4. Windows of 128
j - 1 bins, with the largest remainder, win very often (1919 of 2048).
"""

from typing import Any

import numpy as np

from quantscope.core.jit import compiled
from quantscope.core.thresholds.reference.pairwise import pairwise_sum
from quantscope.core.thresholds.reference.relative_entropy import relative_entropy
from quantscope.core.thresholds.reference.result import (
    Data,
    Reference,
    ReferenceThreshold,
    batches_of,
    failure,
    symmetric,
)


@np.errstate(all="ignore")
def kl(data: Data, *, bins: int = 2048, statistic: int = 1, target_bin: int = 128) -> ReferenceThreshold:
    """`QuantizeLayer.quantize_blob`.

    Args:
        data: one array, or batches (the order has no effect).
        bins: over [0, max|x|].
        statistic: factor of the bin width.
        target_bin: groups, and the narrowest window.
    """
    parts = batches_of(data)
    if not all(part.size for part in parts):
        return failure("there are no values")
    if not all(np.isfinite(part).all() for part in parts):
        return failure("numpy.histogram raises ValueError: the range is not finite")
    top = max(np.abs(part).max() for part in parts)
    if top == 0:
        return failure("max|x| is 0, and the scale 127 / 0")
    try:
        counts = sum(np.histogram(part, bins=bins, range=(0, top))[0] for part in parts)
    except (ValueError, IndexError) as error:
        return failure(f"numpy.histogram raises {type(error).__name__}: {error}")
    divergences = _divergences(np.asarray(counts)[1:], target_bin)
    best = int(np.argmin(divergences)) + target_bin
    threshold = (best + 0.5) * float(np.float32(statistic) * top / np.float32(bins))
    return symmetric(threshold, threshold / 127)


@compiled
def _divergences(counts: Any, groups: Any) -> Any:
    size = counts.size
    result = np.empty(size - groups)
    p = np.empty(size)
    q = np.empty(size)
    terms = np.empty(size)
    tail = 0
    for k in range(groups, size):
        tail += counts[k]
    for window in range(groups, size):
        for k in range(window):
            p[k] = counts[k]
            q[k] = 0.0
        p[window - 1] += tail
        tail -= counts[window]
        merged = window // groups
        for group in range(groups):
            start = group * merged
            mass_stop = start + merged if group < groups - 1 else window
            stop = start + merged if group < groups - 1 else window - 1
            mass = 0
            for k in range(start, mass_stop):
                mass += counts[k]
            occupied = 0
            for k in range(start, stop):
                occupied += p[k] != 0
            if occupied:
                for k in range(start, stop):
                    q[k] = float(mass) / float(occupied)
        for k in range(window):
            if p[k] == 0:
                q[k] = 0.0
                p[k] = 0.0001
            if q[k] == 0:
                q[k] = 0.0001
        p_sum = pairwise_sum(p[:window])
        q_sum = pairwise_sum(q[:window])
        for k in range(window):
            terms[k] = relative_entropy(p[k] / p_sum, q[k] / q_sum)
        result[window - groups] = pairwise_sum(terms[:window])
    return result


REFERENCES = (
    Reference(
        tool="caffe-int8-convert-tools",
        algorithm="kl",
        version="BUG1989/caffe-int8-convert-tools @93ec69e with NumPy 2.4.6",
        function=kl,
        parameters={"bins": 2048, "statistic": 1, "target_bin": 128},
        peculiar="Negative values are not counted, the window's number is off by one, and the last bin has "
        "no counterpart, so that 1919 of 2048 bins win very often.",
        exact=True,
        fidelity="Exact with NumPy 2.",
    ),
)
