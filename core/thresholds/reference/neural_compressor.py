"""onnx-neural-compressor's calibrators: onnxruntime's, with SciPy's entropy and no symmetric percentile.

Histogram, merging, windows and smoothing are onnxruntime's of 2024. The divergence is SciPy's: the terms are
computed in float64 and rounded to float32, so that near ties may fall differently. Percentiles cut half of
the rest at each end of signed values. Min/max leaves infinities out.
"""

import numpy as np

from quantscope.core.thresholds.reference.onnxruntime import (
    ENTROPY_BINS,
    PERCENTILE_BINS,
    bins_after,
    collect,
)
from quantscope.core.thresholds.reference.result import (
    Data,
    Reference,
    ReferenceThreshold,
    batches_of,
    failure,
    too_many_bins,
)
from quantscope.core.thresholds.reference.windows import window_divergences


@np.errstate(all="ignore")
def entropy(data: Data, *, num_bins: int = 128, num_quantized_bins: int = 128) -> ReferenceThreshold:
    """`EntropyCalibrator`.

    Args:
        data: one array, or batches in order.
        num_bins: bins over [-max|x|, max|x|].
        num_quantized_bins: levels a window is merged into.
    """
    parts = batches_of(data)
    if any(np.isnan(part).any() for part in parts):
        return failure("numpy.histogram raises ValueError: supplied range of [nan, nan] is not finite")
    if not all(part.size for part in parts):
        return failure("there are no values: the collector asserts")
    if (bins := bins_after(parts, num_bins)) > ENTROPY_BINS:
        return too_many_bins(bins, ENTROPY_BINS)
    try:
        counts, edges, low, high = collect(parts, num_bins)
    except (ValueError, IndexError) as error:
        return failure(f"numpy.histogram raises {type(error).__name__}: {error}")
    middle, half = counts.size // 2, num_quantized_bins // 2
    if middle < half:
        return failure("fewer bins than levels: the tool raises ValueError")
    divergences = window_divergences(counts, num_quantized_bins, scipy=True)
    if divergences is None:
        return failure("smooth_distribution asserts: over 10000 empty bins for each occupied one")
    best = half + int(np.argmin(divergences))
    left, right = edges[middle - best], edges[min(middle + best + 1, counts.size)]
    return ReferenceThreshold(low=float(max(left, low)), high=float(min(right, high)))


@np.errstate(all="ignore")
def percentile(data: Data, *, num_bins: int = 2048, percentile: float = 99.999) -> ReferenceThreshold:
    """`PercentileCalibrator`.

    Args:
        data: one array, or batches in order.
        num_bins: bins over [-max|x|, max|x|].
        percentile: share kept, in percent; half of the rest is cut at each end.
    """
    parts = batches_of(data)
    if any(np.isnan(part).any() for part in parts):
        return failure("numpy.histogram raises ValueError: supplied range of [nan, nan] is not finite")
    if not all(part.size for part in parts):
        return failure("there are no values: the collector asserts")
    if (bins := bins_after(parts, num_bins)) > PERCENTILE_BINS:
        return too_many_bins(bins, PERCENTILE_BINS)
    try:
        counts, edges, low, high = collect(parts, num_bins)
    except (ValueError, IndexError) as error:
        return failure(f"numpy.histogram raises {type(error).__name__}: {error}")
    share = np.cumsum(counts / max(counts.sum(), 1))
    cut = (100.0 - percentile) / 200.0
    right = edges[min(int(np.searchsorted(share, 1.0 - cut)), counts.size)]
    left = edges[int(np.searchsorted(share, cut))]
    return ReferenceThreshold(low=float(max(left, low)), high=float(min(right, high)))


@np.errstate(all="ignore")
def minmax(data: Data) -> ReferenceThreshold:
    """`MinMaxCalibrator`."""
    parts = [part[~np.isinf(part)] for part in batches_of(data)]
    if not parts or not all(part.size for part in parts):
        return failure("numpy.min of no values raises ValueError")
    low, high = np.minimum.reduce([p.min() for p in parts]), np.maximum.reduce([p.max() for p in parts])
    if np.isnan(low):
        return failure("the range is NaN")
    return ReferenceThreshold(low=float(low), high=float(high))


TOOL = "onnx-neural-compressor"
VERSION = "onnx/neural-compressor @adc4f1a with NumPy 2.4.6"

REFERENCES = (
    Reference(
        tool=TOOL,
        algorithm="entropy",
        version=VERSION,
        function=entropy,
        parameters={"num_bins": 128, "num_quantized_bins": 128},
        variants=({"num_bins": 2048, "num_quantized_bins": 128},),
        peculiar="onnxruntime's windows with SciPy's divergence; 128 bins leave only the full range.",
        exact=True,
        fidelity="Exact with NumPy 2.",
    ),
    Reference(
        tool=TOOL,
        algorithm="percentile",
        version=VERSION,
        function=percentile,
        parameters={"num_bins": 2048, "percentile": 99.999},
        variants=({"num_bins": 2048, "percentile": 99.99},),
        peculiar="The left edges of the bins of signed values where half of the rest is reached.",
        exact=True,
        fidelity="Exact with NumPy 2.",
    ),
    Reference(
        tool=TOOL,
        algorithm="minmax",
        version=VERSION,
        function=minmax,
        parameters={},
        peculiar="The extremes, without infinities.",
        exact=True,
        fidelity="Exact.",
    ),
)
