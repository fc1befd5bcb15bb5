"""NVIDIA's `HistogramCalibrator` (ModelOpt, pytorch-quantization): entropy, MSE and percentile on 2048 bins.

Values become magnitudes only if a batch has a negative one. Bins lie over [0, max|x|] (or, with NumPy's
histogram, over [min|x|, max|x|]). Entropy sets bin 0 to the count of bin 1 first, which hides the spike of
exact zeros. Each window of 128 bins and more is merged into 128 groups (256 unsigned) whose borders are real
numbers, and a group's mass is shared by its occupied bins. Divergences are float64 and the LAST least one
wins. Where all bins of a window are empty the divergence is NaN, and NumPy's argmin takes NaN for the least:
if |x| stays away from 0, the threshold lands just below min|x| and everything is clipped.

MSE tries bin centres, with one squared error a bin. ModelOpt 0.47 calls its quantizer with shifted arguments,
so that every value becomes threshold + 8, and the MSE it ships is usually its first candidate, 128 bins of
2048; `mse_intended` is what the code means, and what pytorch-quantization computes. Percentile is the left
edge of the bin where the share is reached.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.thresholds.reference import torchlike
from quantscope.core.thresholds.reference.modelopt_loops import (
    divergences_of_windows,
    mean_squares,
    squared_error,
    steps_per_unit,
)
from quantscope.core.thresholds.reference.result import (
    Data,
    Floats,
    Reference,
    ReferenceThreshold,
    batches_of,
    failure,
    flat,
    too_many_bins,
)
from quantscope.core.thresholds.reference.torchlike import torch_sum

LARGEST_HISTOGRAM = 1 << 15  # beyond that the tool would search for hours


@np.errstate(all="ignore")
def entropy(
    data: Data,
    *,
    num_bits: int = 8,
    unsigned: bool = False,
    num_bins: int = 2048,
    start_bin: int = 128,
    stride: int = 1,
    torch_hist: bool = True,
) -> ReferenceThreshold:
    """`compute_amax("entropy")`.

    Args:
        data: one array, or batches in order.
        num_bits: bits of the type; 2 ** (num_bits - 1) groups.
        unsigned: twice as many groups.
        num_bins: bins of the first batch; more of the same width follow if a later one is larger.
        start_bin: narrowest window, in bins.
        stride: step between windows, in bins.
        torch_hist: bins from 0 by `torch.histc` instead of from min|x| by `numpy.histogram`.
    """
    collected = _collect(data, num_bins, torch_hist)
    if isinstance(collected, ReferenceThreshold):
        return collected
    counts, edges = collected
    if counts.size < start_bin:
        return failure(f"{counts.size} bins are fewer than start_bin {start_bin}: the tool raises ValueError")
    counts[0] = counts[1]
    groups = 1 << (num_bits - 1 + int(unsigned))
    divergences = divergences_of_windows(counts, groups, start_bin, stride)
    last_least = divergences.size - 1 - int(np.argmin(divergences[::-1]))
    return _threshold(edges[last_least * stride + start_bin], num_bits, unsigned)


@np.errstate(all="ignore")
def mse_intended(
    data: Data,
    *,
    num_bits: int = 8,
    unsigned: bool = False,
    num_bins: int = 2048,
    start_bin: int = 128,
    stride: int = 1,
    torch_hist: bool = True,
) -> ReferenceThreshold:
    """`compute_amax("mse")` with the quantizer's arguments in their places; arguments as for `entropy`."""
    collected = _collect(data, num_bins, torch_hist)
    if isinstance(collected, ReferenceThreshold):
        return collected
    counts, edges = collected
    centers = _centers(edges)
    if (refused := _refused(centers, start_bin)) is not None:
        return refused
    top = np.float32(2 ** (num_bits - 1 + int(unsigned)) - 1)
    losses = mean_squares(counts, centers, start_bin, stride, np.float32(0) if unsigned else -top, top)
    return _threshold(centers[start_bin + stride * int(np.argmin(losses))], num_bits, unsigned)


@np.errstate(all="ignore")
def mse(
    data: Data,
    *,
    num_bits: int = 8,
    unsigned: bool = False,
    num_bins: int = 2048,
    start_bin: int = 128,
    stride: int = 1,
    torch_hist: bool = True,
) -> ReferenceThreshold:
    """`compute_amax("mse")` as ModelOpt 0.47 ships it; arguments as for `entropy`.

    `num_bits` arrives as a bias and `unsigned` as the number of bits, 0 or 1. With 0 bits both bounds of the
    clamp are -1/2 and so is the dividend of the scale: every value becomes threshold + num_bits. With 1 bit
    everything is 0 / 0, and the first NaN is taken for the least error.
    """
    collected = _collect(data, num_bins, torch_hist)
    if isinstance(collected, ReferenceThreshold):
        return collected
    counts, edges = collected
    centers = _centers(edges)
    if (refused := _refused(centers, start_bin)) is not None:
        return refused
    candidates = centers[start_bin::stride]
    best = 0
    if not unsigned:
        # Magnitudes up to 2^-24 count as 0 and come back as the bound itself.
        level = np.where(candidates <= 2.0**-24, np.float32(-0.5), candidates) + np.float32(num_bits)
        weights = counts.astype(np.float32)
        losses = [torch_sum((value - centers) ** 2 * weights) / np.float32(centers.size) for value in level]
        best = int(np.argmin(losses))
    return _threshold(candidates[best], num_bits, unsigned)


@np.errstate(all="ignore")
def percentile(
    data: Data,
    *,
    num_bits: int = 8,
    unsigned: bool = False,
    num_bins: int = 2048,
    percentile: float = 99.99,
    torch_hist: bool = True,
) -> ReferenceThreshold:
    """`compute_amax("percentile")`.

    Args:
        data: one array, or batches in order.
        num_bits: for the scale only.
        unsigned: for the scale only.
        num_bins: bins of the first batch.
        percentile: share of values kept, in percent.
        torch_hist: as for `entropy`.
    """
    collected = _collect(data, num_bins, torch_hist)
    if isinstance(collected, ReferenceThreshold):
        return collected
    counts, edges = collected
    share = np.cumsum(counts / counts.sum())
    return _threshold(edges[int(np.searchsorted(share, percentile / 100))], num_bits, unsigned)


@np.errstate(all="ignore")
def largest(data: Data, *, num_bits: int = 8, unsigned: bool = False) -> ReferenceThreshold:
    """`MaxCalibrator`: the largest magnitude."""
    x = flat(data)
    if not x.size:
        return failure("there are no values")
    top = np.abs(x).max()
    return _threshold(top, num_bits, unsigned) if np.isfinite(top) else failure(f"the maximum is {top}")


@np.errstate(all="ignore")
def mse_calibrator(
    data: Data,
    *,
    num_bits: int = 8,
    start_multiplier: float = 0.25,
    stop_multiplier: float = 4.0,
    step_size: float = 0.1,
    narrow_range: bool = True,
) -> ReferenceThreshold:
    """`MseCalibrator`: multiples of the largest magnitude, squared errors of the values themselves.

    Args:
        data: one array; batches add up.
        num_bits: bits of the signed type.
        start_multiplier: smallest multiple.
        stop_multiplier: largest multiple.
        step_size: about the distance of the multiples, which are evenly spaced.
        narrow_range: leave the lowest integer out.
    """
    x = flat(data)
    if not x.size or not np.isfinite(x).all():
        return failure("the largest magnitude is not finite" if x.size else "there are no values")
    top = np.abs(x).max()
    steps = math.ceil((stop_multiplier - start_multiplier) / step_size) + 1
    multiples = torchlike.linspace(np.float32(start_multiplier), np.float32(stop_multiplier), steps)
    bound = np.float32(2 ** (num_bits - 1) - 1)
    low = -bound if narrow_range else -bound - np.float32(1)
    candidates = top * multiples
    losses = np.array([squared_error(x, steps_per_unit(amax, bound), low, bound) for amax in candidates])
    return _threshold(candidates[int(np.argmin(losses))], num_bits, False)


def _centers(edges: Floats) -> Floats:
    """Bin centres in float32; appended NumPy edges are float64 until here."""
    single = edges.astype(np.float32)
    return (single[1:] + single[:-1]) / np.float32(2)


def _refused(centers: Floats, start_bin: int) -> ReferenceThreshold | None:
    if centers.size <= start_bin:
        return failure(f"start_bin {start_bin} leaves no candidate: the tool raises ValueError")
    if centers[start_bin] < 0:
        return failure("ValueError: negative values in amax (NumPy's bins of constant data start below 0)")
    return None


def _threshold(amax: Any, num_bits: int, unsigned: bool) -> ReferenceThreshold:
    top = float(np.float32(amax))
    if not math.isfinite(top):
        return failure(f"the threshold is {top}")
    scale = top / (2 ** (num_bits - 1 + int(unsigned)) - 1)
    low = 0.0 if unsigned else -top
    return ReferenceThreshold(low=low, high=top, threshold=top, scale=scale, zero_point=0)


def _collect(
    data: Data, bins: int, torch_hist: bool
) -> tuple[npt.NDArray[np.int64], Floats] | ReferenceThreshold:
    """Counts and edges, or what the tool raises."""
    counts: Any = None
    edges: Any = None
    for x in batches_of(data):
        if not x.size:
            return failure("torch.min of no values raises RuntimeError")
        magnitudes = np.abs(x) if x.min() < 0 else x
        if edges is not None and (bins := _bins_after(edges, float(magnitudes.max()))) > LARGEST_HISTOGRAM:
            return too_many_bins(bins, LARGEST_HISTOGRAM)
        try:
            counts, edges = (_add_torch if torch_hist else _add_numpy)(magnitudes, bins, counts, edges)
        except (ValueError, IndexError) as error:
            name = "torch.histc raises RuntimeError" if torch_hist else "numpy.histogram raises ValueError"
            return failure(f"{name}: {error}")
    return counts, edges


def _bins_after(edges: Floats, top: float) -> int:
    width = float(edges[1]) - float(edges[0])
    return int(min(top / width, 2**62)) if width > 0 and 0 < top < math.inf else 0


def _add_torch(x: Floats, bins: int, counts: Any, edges: Any) -> tuple[npt.NDArray[np.int64], Floats]:
    top = x.max()
    if counts is None:
        return torchlike.histc(x, bins, 0.0, float(top)), torchlike.linspace(np.float32(0), top, bins + 1)
    bins = counts.size
    if top > edges[-1]:
        width = edges[1] - edges[0]
        if not (width > 0 and np.isfinite(top)):
            raise ValueError(f"range of [0, {top}] is not finite, or has no bin width")
        bins = math.ceil(top / width)
        edges = torchlike.arange(top + width, width)
    grown = torchlike.histc(x, bins, 0.0, float(edges[-1]))
    grown[: counts.size] += counts
    return grown, edges


def _add_numpy(x: Floats, bins: int, counts: Any, edges: Any) -> tuple[npt.NDArray[np.int64], Floats]:
    if counts is None:
        return np.histogram(x, bins)
    top = x.max()
    if top > edges[-1]:
        width = edges[1] - edges[0]
        edges = np.hstack((edges, np.arange(edges[-1] + width, top + width, width)))
    grown, edges = np.histogram(x, edges)
    grown[: counts.size] += counts
    return grown, edges


TOOL = "nvidia-modelopt"
VERSION = "nvidia-modelopt 0.47.0 with torch 2.13.0 on a CPU"
SEARCH = {
    "num_bits": 8,
    "unsigned": False,
    "num_bins": 2048,
    "start_bin": 128,
    "stride": 1,
    "torch_hist": True,
}
SHARE = {"num_bits": 8, "unsigned": False, "num_bins": 2048, "percentile": 99.99, "torch_hist": True}
SHARE_VARIANTS = tuple(
    {**SHARE, "percentile": share, "torch_hist": torch_hist, "unsigned": unsigned}
    for unsigned, torch_hist in ((False, True), (False, False), (True, True))
    for share in (99.9, 99.99, 99.999)
    if (share, torch_hist, unsigned) != (99.99, True, False)
)
SEARCH_VARIANTS = ({**SEARCH, "torch_hist": False}, {**SEARCH, "unsigned": True})
ENTROPY = (
    "Bin 0 is overwritten with bin 1, so the spike of zeros does not count; the last of equal minima wins; "
    "and where |x| stays away from 0 the empty windows' NaN is taken for the minimum and "
    "everything is clipped."
)
MSE = "Candidates are bin centres of |x|, from bin 128 of 2048, with one squared error a bin."
PERCENTILE = "The left edge of the bin of |x| where the share is reached."
EXACT = (
    "Exact against a torch build that uses fused multiply-add (any x86-64 processor since 2013); batches "
    "that grow the histogram may differ by one bit of an edge elsewhere."
)
NEAR_TIES = (
    "Exact in all cases seen; torch sums float32 in an order of its own, so that two candidates whose errors "
    "agree to seven digits may change places: then it is the neighbouring bin."
)

REFERENCES = (
    Reference(
        tool=TOOL,
        algorithm="entropy",
        version=VERSION,
        function=entropy,
        parameters=SEARCH,
        variants=SEARCH_VARIANTS,
        peculiar=ENTROPY,
        exact=True,
        fidelity=EXACT,
    ),
    Reference(
        tool=TOOL,
        algorithm="mse",
        version=VERSION,
        function=mse,
        parameters=SEARCH,
        variants=SEARCH_VARIANTS,
        peculiar="As shipped, the quantizer's arguments are shifted by one, every value becomes threshold + "
        "8, and the narrowest window nearly always wins.",
        exact=True,
        tolerance=1e-3,
        fidelity=NEAR_TIES,
    ),
    Reference(
        tool=TOOL,
        algorithm="mse_intended",
        version=VERSION + ", with the quantizer's arguments put in their places",
        function=mse_intended,
        parameters=SEARCH,
        variants=SEARCH_VARIANTS,
        peculiar=MSE,
        exact=True,
        tolerance=1e-3,
        fidelity=NEAR_TIES,
    ),
    Reference(
        tool=TOOL,
        algorithm="percentile",
        version=VERSION,
        function=percentile,
        parameters=SHARE,
        variants=SHARE_VARIANTS,
        peculiar=PERCENTILE,
        exact=True,
        fidelity=EXACT,
    ),
    Reference(
        tool=TOOL,
        algorithm="max",
        version=VERSION,
        function=largest,
        parameters={"num_bits": 8},
        peculiar="The largest magnitude.",
        exact=True,
        fidelity="Exact.",
    ),
    Reference(
        tool=TOOL,
        algorithm="mse_calibrator",
        version=VERSION,
        function=mse_calibrator,
        parameters={
            "num_bits": 8,
            "start_multiplier": 0.25,
            "stop_multiplier": 4.0,
            "step_size": 0.1,
            "narrow_range": True,
        },
        peculiar="Only 39 candidates, a quarter to four times the largest magnitude, most of them above it; "
        "a tail that needs more clipping than to a quarter is out of reach.",
        exact=True,
        tolerance=0.1,
        fidelity="Exact in all cases seen; a tie of two candidates to seven digits may go the other way.",
    ),
)
