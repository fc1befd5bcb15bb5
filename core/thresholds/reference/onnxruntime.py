"""onnxruntime's calibration: entropy on a signed histogram, percentiles read at bin edges, plain min/max.

The entropy search slides a window that is symmetric about zero over a histogram of *signed* values in
[-max|x|, max|x|], so a tensor without negative values has half of its bins for nothing, and both ends of the
range move together (`symmetric` has no effect). The right end of the window is one bin further out than the
left. Merged levels are whole numbers: the mass of a group divided by its occupied bins is cut to an integer,
and the bins left over when the window is no multiple of the number of levels give their mass to the last
group but receive none. Empty bins of both distributions then get 1e-4 counts, which the occupied ones pay
for, and the divergence is a float32 sum. With the default of 128 bins for 128 levels there is exactly one
candidate, so the default entropy method is min/max; other settings change everything.

The percentile is the left edge of the bin in which the cumulative share is reached. With `symmetric`, the
histogram of |x| starts at min|x|, and the range is cut back to the data, so it is one-sided for ReLU outputs.
`moving_average` is an average over samples without weights, not a moving one.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.thresholds.reference.result import (
    Data,
    Floats,
    Reference,
    ReferenceThreshold,
    batches_of,
    failure,
    too_many_bins,
)
from quantscope.core.thresholds.reference.windows import window_divergences

ENTROPY_BINS = 1 << 15  # beyond that the tool would search for hours
PERCENTILE_BINS = 1 << 22


@np.errstate(all="ignore")
def entropy(
    data: Data,
    *,
    num_bins: int = 128,
    num_quantized_bins: int = 128,
    symmetric: bool = False,
    signed: bool = False,
) -> ReferenceThreshold:
    """`HistogramCollector` with method "entropy"; `symmetric` has no effect, as in the tool.

    Args:
        data: one array, or batches in the order of `collect_data` calls.
        num_bins: bins over [-max|x|, max|x|]; more after a batch with larger values.
        num_quantized_bins: levels the window is merged into.
        symmetric: accepted and ignored.
        signed: scale of an int8 activation instead of a uint8 one.
    """
    parts = batches_of(data)
    if not any(part.size for part in parts):
        return failure("there are no values")
    if (bins := bins_after(parts, num_bins)) > ENTROPY_BINS:
        return too_many_bins(bins, ENTROPY_BINS)
    try:
        counts, edges, low, high = collect(parts, num_bins)
    except (ValueError, IndexError) as error:
        return failure(f"numpy.histogram raises {type(error).__name__}: {error}")
    levels = num_quantized_bins
    middle, half = counts.size // 2, levels // 2
    if middle < half:
        return failure(f"{counts.size} bins are fewer than {levels} levels: the tool raises ValueError")
    divergences = window_divergences(counts, levels)
    if divergences is None:
        return failure("smooth_distribution asserts: over 10000 empty bins for each occupied one")
    best = half + int(np.argmin(divergences))
    left, right = edges[middle - best], edges[min(middle + best + 1, counts.size)]
    return _result(max(left, low), min(right, high), signed)


@np.errstate(all="ignore")
def percentile(
    data: Data,
    *,
    num_bins: int = 2048,
    percentile: float = 99.999,
    symmetric: bool = True,
    signed: bool = False,
) -> ReferenceThreshold:
    """`HistogramCollector` with method "percentile".

    Args:
        data: one array, or batches in the order of `collect_data` calls.
        num_bins: bins, over the range of |x| if symmetric, else over [-max|x|, max|x|].
        percentile: share kept, in percent.
        symmetric: one percentile of |x| instead of half of the rest at each end.
        signed: scale of an int8 activation instead of a uint8 one.
    """
    parts = batches_of(data)
    if not any(part.size for part in parts):
        return failure("there are no values")
    if (bins := bins_after(parts, num_bins)) > PERCENTILE_BINS:
        return too_many_bins(bins, PERCENTILE_BINS)
    try:
        counts, edges, low, high = (_collect_absolute if symmetric else collect)(parts, num_bins)
    except (ValueError, IndexError) as error:
        return failure(f"numpy.histogram raises {type(error).__name__}: {error}")
    share = np.cumsum(counts / counts.sum())
    if symmetric:
        right = edges[np.searchsorted(share, percentile / 100.0)]
        left = -right
    else:
        cut = (100.0 - percentile) / 200.0
        right = edges[np.searchsorted(share, 1.0 - cut)]
        left = edges[np.searchsorted(share, cut)]
    return _result(max(left, low), min(right, high), signed)


@np.errstate(all="ignore")
def minmax(
    data: Data, *, symmetric: bool = False, moving_average: bool = False, signed: bool = False
) -> ReferenceThreshold:
    """`MinMaxCalibrater`, where `moving_average` is the mean over the batches of one `collect_data` call.

    Args:
        data: one array, or batches.
        symmetric: the larger end on both sides.
        moving_average: average the batches' extremes instead of taking the widest.
        signed: scale of an int8 activation instead of a uint8 one.
    """
    parts = [part for part in batches_of(data) if part.size]
    if not parts:
        return failure("there are no values")
    lows = np.array([part.min() for part in parts])
    highs = np.array([part.max() for part in parts])
    keep = ~np.isnan(lows)
    if not keep.any():
        return failure("every batch holds NaN, and the range is NaN")
    low, high = lows[keep].min(), highs[keep].max()
    if moving_average:
        low, high = np.mean(lows[keep]), np.mean(highs[keep])
    if symmetric:
        high = max(abs(low), abs(high))
        low = -high
    return _result(low, high, signed)


def bins_after(parts: list[Floats], bins: int) -> int:
    """About how many bins the growing histogram will have."""
    tops = [float(np.fmax.reduce(np.abs(x))) for x in parts if x.size]
    tops = [top for top in tops if 0 < top < np.inf]
    return int(min(bins * max(tops) / tops[0], 2**62)) if tops else bins


def _extremes(x: Floats) -> tuple[Any, Any]:
    """`nanmin` and `nanmax`, 0 for no values."""
    if not x.size:
        return np.float32(0), np.float32(0)
    low, high = np.fmin.reduce(x), np.fmax.reduce(x)
    return low, high


def collect(parts: list[Floats], bins: int) -> tuple[npt.NDArray[np.int64], Floats, Any, Any]:
    """Counts, edges, min, max of signed values; the range grows by whole bins on both sides."""
    counts: Any = None
    for x in parts:
        low, high = _extremes(x)
        threshold = max(abs(low), abs(high))
        if counts is None:
            counts, edges = np.histogram(x, bins, range=(-threshold, threshold))
            reach, minimum, maximum = threshold, low, high
            continue
        minimum, maximum = min(minimum, low), max(maximum, high)
        if threshold <= reach:
            counts = counts + np.histogram(x, counts.size, range=(-reach, reach))[0]
            continue
        if reach == 0:
            grown, edges = np.histogram(x, counts.size, range=(-threshold, threshold))
            counts, reach = grown + counts, threshold
            continue
        stride = 2 * reach / counts.size
        more = int((threshold - reach) // stride + 1)
        reach = more * stride + reach
        grown, edges = np.histogram(x, counts.size + 2 * more, range=(-reach, reach))
        grown[more : more + counts.size] += counts
        counts = grown
    return counts, edges, minimum, maximum


def _collect_absolute(parts: list[Floats], bins: int) -> tuple[npt.NDArray[np.int64], Floats, Any, Any]:
    """Counts and edges of |x|, min and max of x; further bins are appended behind the last edge."""
    counts: Any = None
    for x in parts:
        low, high = _extremes(x)
        absolute = np.abs(x)
        if counts is None:
            counts, edges = np.histogram(absolute, bins)
            minimum, maximum = low, high
            continue
        minimum, maximum = min(minimum, low), max(maximum, high)
        top = np.fmax.reduce(absolute) if absolute.size else np.float32(np.nan)
        if top > edges[-1]:
            width = edges[1] - edges[0]
            edges = np.hstack((edges, np.arange(edges[-1] + width, top + width, width)))
        grown, edges = np.histogram(absolute, bins=edges)
        grown[: counts.size] += counts
        counts, edges = grown, edges.astype(np.float32)
    return counts, edges, minimum, maximum


def _result(low: Any, high: Any, signed: bool) -> ReferenceThreshold:
    """Range and the scale of `compute_scale_zp` (uint8, or int8 symmetric within ±127)."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return failure(f"the range is ({low}, {high}), and so is not finite")
    inner = min(float(low), 0.0)
    outer = max(float(high), 0.0)
    scale = 2 * max(-inner, outer) / 254 if signed else (outer - inner) / 255
    if scale < np.finfo(np.float32).tiny:
        scale, zero_point = 1.0, 0
    else:
        zero_point = 0 if signed else int(np.round(-np.float32(inner) / np.float64(scale)))
    return ReferenceThreshold(
        low=float(low), high=float(high), scale=float(np.float32(scale)), zero_point=zero_point
    )


TOOL = "onnxruntime"
VERSION = "onnxruntime 1.31.1 with NumPy 2.4.6"
EXACT = (
    "Exact with NumPy 2, whose own histogram and logarithm are used; NumPy 1 rounds bin edges differently."
)

REFERENCES = (
    Reference(
        tool=TOOL,
        algorithm="entropy",
        version=VERSION,
        function=entropy,
        parameters={"num_bins": 128, "num_quantized_bins": 128, "symmetric": False},
        variants=(
            {"num_bins": 2048, "num_quantized_bins": 128, "symmetric": False},
            {"num_bins": 2048, "num_quantized_bins": 128, "symmetric": True},
            {"num_bins": 8001, "num_quantized_bins": 255, "symmetric": False},
        ),
        peculiar="One window about zero on signed bins moves both ends at once, levels are whole numbers, "
        "and the default of 128 bins for 128 levels leaves only the full range.",
        exact=True,
        fidelity=EXACT,
    ),
    Reference(
        tool=TOOL,
        algorithm="percentile",
        version=VERSION,
        function=percentile,
        parameters={"num_bins": 2048, "percentile": 99.999, "symmetric": True},
        variants=tuple(
            {"num_bins": 2048, "percentile": share, "symmetric": both}
            for share in (99.9, 99.99, 99.999)
            for both in (True, False)
            if (share, both) != (99.999, True)
        ),
        peculiar="The left edge of the bin where the share is reached; symmetric bins start at min|x| and "
        "the range is cut back to the data.",
        exact=True,
        fidelity=EXACT,
    ),
    Reference(
        tool=TOOL,
        algorithm="minmax",
        version=VERSION,
        function=minmax,
        parameters={"symmetric": False, "moving_average": False},
        variants=({"symmetric": True, "moving_average": False},),
        peculiar="The extremes; its moving average is the plain mean of the samples' extremes.",
        exact=True,
        fidelity="Exact.",
    ),
)
