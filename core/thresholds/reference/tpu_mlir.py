"""tpu-mlir's calibration: KL at 16 window widths, OCTAV with an absolute stop, ACIQ.

KL: |x| without exact zeros is rounded to the nearest of 2048 bins of width max|x| / 2047. Only windows of
128, 256, .. 2048 bins are tried. P holds the clipped mass in its last bin and is divided by the total; Q is
divided by the mass of the window alone, so a narrow window is not charged for what it cuts off. Logs are to
base 10, empty bins count as 1e-30, and the sum is rounded to float32 after every bin. The result is a
multiple of 128 bins, cut back to max|x|.

OCTAV (called `mse`) starts from the mean of the non-zero magnitudes and stops when the threshold moves by
less than 1e-6 in absolute terms: on tensors of that size it never starts, and the last step is always thrown
away. `unsigned` data are recognised by a minimum near 0. ACIQ for Gauss takes the spread from max - min and
the number of values, for Laplace from the mean deviation. Each takes the mean over samples.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.jit import compiled
from quantscope.core.thresholds.reference.pairwise import pairwise_sum
from quantscope.core.thresholds.reference.result import (
    Data,
    Floats,
    Reference,
    ReferenceThreshold,
    batches_of,
    failure,
    symmetric,
    too_many_bins,
)

LARGEST_HISTOGRAM = 1 << 17  # the tool goes on to 8 million, each window through all bins


@np.errstate(all="ignore")
def kl(data: Data, *, bins: int = 2048, dst_bins: int = 128) -> ReferenceThreshold:
    """`kl_diversity_hist` on the combined histograms.

    Args:
        data: one array, or batches in order; a larger one adds bins.
        bins: bins of the first batch.
        dst_bins: groups, and the step between windows.
    """
    parts = batches_of(data)
    top, reason = _largest(parts)
    if reason:
        return failure(reason)
    first = float(np.abs(parts[0]).max())
    if first > 0 and bins * top / first > LARGEST_HISTOGRAM:
        return too_many_bins(int(bins * top / first), LARGEST_HISTOGRAM)
    counts, width = _combined(parts, bins)
    if counts is None:
        return failure("the first batch is all zero: numpy.histogram raises ValueError or the width is 0")
    padded = -(-counts.size // dst_bins) * dst_bins
    counts = np.concatenate((counts, np.zeros(padded - counts.size, dtype=np.int64)))
    best = int(_best_window(counts, dst_bins))
    threshold = width * np.float32(best + 1) * np.float32(dst_bins)
    return _threshold(float(threshold), top)


@np.errstate(all="ignore")
def octav_mse(data: Data, *, bits: int = 8) -> ReferenceThreshold:
    """`threshold_mse`: Newton's iteration on the magnitudes.

    Args:
        data: one array, or batches, whose thresholds are averaged.
        bits: of the type.
    """
    return _averaged(data, lambda x: _octav(x, bits))


@np.errstate(all="ignore")
def aciq_gauss(data: Data, *, bits: int = 8) -> ReferenceThreshold:
    """`threshold_aciq_gauss`; arguments as for `octav_mse`."""
    alpha = 3.92403337 if bits == 8 else 2.55913642
    share = (0.5 * 0.35) * (1 + (math.pi * math.log(4)) ** 0.5)

    def one(x: Floats) -> Any:
        if x.size < 2:
            return np.float32(np.nan)
        return alpha * (((x.max() - x.min()) * share) / ((2 * math.log(x.size)) ** 0.5))

    return _averaged(data, one)


@np.errstate(all="ignore")
def aciq_laplace(data: Data, *, bits: int = 8) -> ReferenceThreshold:
    """`threshold_aciq_laplace`; arguments as for `octav_mse`."""
    beta = 9.89675982 if bits == 8 else 5.02864014
    return _averaged(data, lambda x: beta * np.mean(np.abs(x - np.mean(x))))


def _largest(parts: list[Floats]) -> tuple[float, str]:
    if not all(part.size for part in parts):
        return 0.0, "there are no values"
    if not all(np.isfinite(part).all() for part in parts):
        return 0.0, "NaN or infinity: numpy.histogram raises ValueError, the means are not finite"
    return float(max(np.abs(part).max() for part in parts)), ""


def _threshold(threshold: float, top: float) -> ReferenceThreshold:
    if not math.isfinite(threshold):
        return failure(f"the threshold is {threshold}")
    threshold = min(threshold, max(top, float(np.float32(1e-5))))
    return symmetric(threshold, threshold / 127)


def _averaged(data: Data, function: Callable[[Floats], Any]) -> ReferenceThreshold:
    """The mean over batches of a threshold each."""
    parts = batches_of(data)
    top, reason = _largest(parts)
    if reason:
        return failure(reason)
    return _threshold(float(np.mean([float(function(part)) for part in parts])), top)


def _octav(x: Floats, bits: int) -> Any:
    unsigned = 4 if abs(x.min()) < 1e-6 else 1
    magnitudes = np.abs(x)
    occupied = np.count_nonzero(magnitudes)
    if not occupied:
        return np.float32(np.nan)
    threshold = magnitudes.sum() / np.float32(occupied)
    buffer = np.empty_like(magnitudes)
    for _ in range(20):
        mass, above = _above(magnitudes, threshold, buffer)
        following = np.float32(mass) / np.float32(1 / (4**bits) / 3 / unsigned * (x.size - above) + above)
        if abs(following - threshold) < 1e-6:
            break
        threshold = following
    return threshold


def _combined(parts: list[Floats], bins: int) -> tuple[npt.NDArray[np.int64] | None, np.float32]:
    """Counts and bin width after all batches; a larger batch appends bins of the old reach / bins."""
    counts: npt.NDArray[np.int64] | None = None
    reach = width = 0.0
    for x in parts:
        top = float(np.abs(x).max())
        if counts is None:
            if top == 0:
                return None, np.float32(0)
            counts, width, reach = _histogram(x, top, bins), top / (bins - 1), top
        elif top <= reach:
            counts = counts + _histogram(x, reach, counts.size)
        else:
            step = reach / counts.size
            more = int((top - reach) // step + 1)
            size = counts.size + more
            reach = more * step + reach
            grown = _histogram(x, reach, size)
            grown[: counts.size] += counts
            counts, width = grown, reach / (size - 1)
    return counts, np.float32(width)


def _histogram(x: Floats, reach: float, bins: int) -> npt.NDArray[np.int64]:
    counts = np.zeros(bins, dtype=np.int64)
    _count(x, np.float32(reach / (bins - 1)), counts)
    return counts


@compiled
def _count(x: Any, width: Any, counts: Any) -> Any:
    for value in x:
        if value != 0:
            at = np.floor(abs(value) / width + np.float32(0.5))
            if at < np.float32(counts.size):  # not for a width of 0
                counts[int(at)] += 1


@compiled
def _above(magnitudes: Any, threshold: Any, buffer: Any) -> Any:
    """NumPy's float32 sum of the magnitudes above the threshold, and their number."""
    count = 0
    for value in magnitudes:
        buffer[count] = value
        count += value > threshold
    return pairwise_sum(buffer[:count]), count


@compiled
def _best_window(counts: Any, groups: Any) -> Any:
    """Number of the window with the least divergence, the first of equals."""
    size = counts.size
    total = np.float32(counts.sum())
    p = np.empty(size, dtype=np.float32)
    q = np.empty(size, dtype=np.float32)
    best = 0
    least = np.float32(np.inf)
    for number in range(size // groups):
        window = (number + 1) * groups
        tail = np.float32(0)
        mass = np.float32(0)
        for k in range(window):
            p[k] = np.float32(counts[k])
            mass += np.float32(counts[k])
        tail = p[window - 1]
        for k in range(window, size):
            tail += np.float32(counts[k])
        p[window - 1] = tail
        merged = window // groups
        for group in range(groups):
            group_mass = np.float32(0)
            occupied = np.float32(0)
            for k in range(group * merged, (group + 1) * merged):
                group_mass += np.float32(counts[k])
                occupied += np.float32(counts[k] > 0)
            share = group_mass / max(occupied, np.float32(1)) / mass
            for k in range(group * merged, (group + 1) * merged):
                q[k] = share if counts[k] > 0 else np.float32(0)
        divergence = np.float32(0)
        for k in range(window):
            pk = p[k] / total
            term = float(pk) * (math.log10(float(pk) + 1e-30) - math.log10(float(q[k]) + 1e-30))
            divergence = np.float32(float(divergence) + term)
        if number == 0 or divergence < least:
            least = divergence
            best = number
    return best


TOOL = "tpu-mlir"
VERSION = "tpu-mlir @17c2303, cali_math.py with NumPy 2.4.6 and calibration_math.cpp"

REFERENCES = (
    Reference(
        tool=TOOL,
        algorithm="kl",
        version=VERSION,
        function=kl,
        parameters={"bins": 2048, "dst_bins": 128},
        peculiar="Only 16 windows of 128, 256, .. 2048 bins, and Q is not charged for the mass that a window "
        "cuts off.",
        exact=True,
        fidelity="Exact; windows a factor apart leave no near ties.",
    ),
    Reference(
        tool=TOOL,
        algorithm="octav_mse",
        version=VERSION,
        function=octav_mse,
        parameters={"bits": 8},
        peculiar="OCTAV from the mean magnitude, with an absolute stop at 1e-6 that keeps small tensors at "
        "the start value.",
        exact=True,
        fidelity="Exact.",
    ),
    Reference(
        tool=TOOL,
        algorithm="aciq_gauss",
        version=VERSION,
        function=aciq_gauss,
        parameters={"bits": 8},
        peculiar="The deviation is guessed from max - min and the number of values, so shifted data get too "
        "small a threshold.",
        exact=True,
        fidelity="Exact.",
    ),
    Reference(
        tool=TOOL,
        algorithm="aciq_laplace",
        version=VERSION,
        function=aciq_laplace,
        parameters={"bits": 8},
        peculiar="9.9 mean deviations about the mean as a threshold about zero, cut back to the largest "
        "magnitude.",
        exact=True,
        fidelity="Exact.",
    ),
)
