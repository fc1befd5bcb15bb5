"""The entropy windows about zero that onnxruntime and onnx-neural-compressor have in common."""

from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.jit import compiled
from quantscope.core.thresholds.reference.pairwise import pairwise_sum
from quantscope.core.thresholds.reference.relative_entropy import relative_entropy

CHUNK = 1 << 20  # window bins that are held at a time


def window_divergences(
    counts: npt.NDArray[np.int64], levels: int, *, scipy: bool = False
) -> npt.NDArray[np.float64] | None:
    """KL divergence of each window, narrowest first; None where the tools' smoothing asserts.

    Args:
        counts: (bins,) of signed values, zero in the middle.
        levels: groups that a window is merged into.
        scipy: take the terms from SciPy's `rel_entr` instead of NumPy's float32 logarithm.
    """
    middle, half = counts.size // 2, levels // 2
    before = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
    result = np.empty(middle - half + 1, dtype=np.float64)
    p = np.empty(CHUNK + counts.size + 1, dtype=np.float32)
    q = np.empty_like(p)
    first = half
    while first <= middle:
        last, used = first, 0
        while last <= middle and (used == 0 or used + 2 * last + 1 <= CHUNK):
            used += min(2 * last + 1, counts.size - middle + last)
            last += 1
        if not _fill_windows(counts, before, levels, first, last, p, q):
            return None
        if scipy:
            _relative_entropies(p[:used], q[:used])
            terms = q[:used]
        else:
            # NumPy's own float32 logarithm: the C library's differs in the last bit.
            terms = p[:used] * np.log(p[:used] / q[:used])
        _sum_windows(counts.size, half, first, last, terms, result)
        first = last
    return result


@compiled
def _fill_windows(counts: Any, before: Any, levels: Any, first: Any, last: Any, p: Any, q: Any) -> Any:
    """Write P and Q of windows `first` to `last` - 1, one after the other; false if smoothing asserts."""
    middle = counts.size // 2
    total = before[counts.size]
    at = 0
    for half in range(first, last):
        begin = middle - half
        end = min(middle + half + 1, counts.size)
        size = end - begin
        pw = p[at : at + size]
        qw = q[at : at + size]
        for k in range(size):
            pw[k] = np.float32(counts[begin + k])
        pw[0] = np.float32(counts[begin] + before[begin])
        pw[size - 1] = np.float32(counts[end - 1] + total - before[end])
        zeros = 0
        for k in range(size):
            zeros += pw[k] == 0
        q_zeros = _merge(pw, before[begin : end + 1], levels, qw)
        if q_zeros == size:  # nothing is left of Q: the divergence is infinite
            for k in range(size):
                pw[k] = np.float32(1)
            at += size
            continue
        if not (_smooth(pw, zeros) and _smooth(qw, q_zeros)):
            return False
        p_sum = pairwise_sum(pw)
        q_sum = pairwise_sum(qw)
        for k in range(size):
            pw[k] /= p_sum
            qw[k] /= q_sum
        at += size
    return True


@compiled
def _merge(p: Any, before: Any, levels: Any, q: Any) -> Any:
    """Give each group's bins its mass over its occupied bins, cut to an integer; the number of empty bins."""
    size = p.size
    merged = size // levels
    zeros = size - levels * merged
    for k in range(levels * merged, size):
        q[k] = np.float32(0)
    for level in range(levels):
        start = level * merged
        stop = start + merged
        mass = before[stop] - before[start]
        if level == levels - 1:
            mass += before[size] - before[stop]
        occupied = 0
        for k in range(start, stop):
            occupied += p[k] != 0
        share = np.int64(mass / occupied) if occupied else np.int64(0)
        if share == 0:
            zeros += merged
        for k in range(start, stop):
            q[k] = np.float32(share)
    return zeros


@compiled
def _smooth(values: Any, zeros: Any) -> Any:
    """Give empty bins 1e-4 at the cost of the others; false where there are too few of those."""
    taken = 0.0001 * float(zeros) / float(values.size - zeros)
    if taken >= 1.0:
        return False
    for k in range(values.size):
        values[k] += np.float32(0.0001) if values[k] == 0 else np.float32(-taken)
    return True


@compiled
def _relative_entropies(p: Any, q: Any) -> Any:
    """Replace q by the terms."""
    for k in range(p.size):
        q[k] = np.float32(relative_entropy(float(p[k]), float(q[k])))


@compiled
def _sum_windows(bins: Any, half_levels: Any, first: Any, last: Any, terms: Any, result: Any) -> Any:
    """Add up the terms of windows `first` to `last` - 1 as NumPy adds float32."""
    middle = bins // 2
    at = 0
    for half in range(first, last):
        size = min(middle + half + 1, bins) - (middle - half)
        result[half - half_levels] = np.float64(pairwise_sum(terms[at : at + size]))
        at += size
