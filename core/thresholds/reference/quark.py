"""AMD Quark's power-of-two calibration for ONNX (`PowOfTwoCollector`): the best of five scales.

The range is made symmetric and divided by 254 (int8 within ±127) or 255 (uint8 with zero point 128); the
power of two nearest to that scale in the logarithm, its double and its next three halves are tried, and the
least squared error wins. So a symmetric range of a ReLU output still spends half of its integers on negative
values. Mode "All" rates the centres of 2048 bins, or the values themselves with 0 bins; "MostCommon" takes
the scale that most samples choose; "Percentile" throws the largest magnitudes away first. Quark's
`torch_mse`, which tries the last three bin centres only, and its `torch_percentile` are not reproduced.
"""

import math
from typing import Any

import numpy as np

from quantscope.core.thresholds.reference.result import (
    Data,
    Floats,
    Reference,
    ReferenceThreshold,
    batches_of,
    failure,
    too_many_bins,
)

CANDIDATES = 5
LARGEST_HISTOGRAM = 1 << 22
LARGEST = np.float32(np.finfo(np.float32).max / 2)


@np.errstate(all="ignore")
def onnx_minmse_pof2(
    data: Data,
    *,
    activation_type: str = "QInt8",
    minmse_mode: str = "All",
    num_bins: int = 2048,
    percentile: float = 99.999,
    symmetric: bool = True,
) -> ReferenceThreshold:
    """`PowOfTwoCollector` with the MinMSE method.

    Args:
        data: one array, or one array a sample.
        activation_type: "QInt8" or "QUInt8".
        minmse_mode: "All", "MostCommon" or "Percentile".
        num_bins: of the histogram of mode "All"; 0 rates the values themselves.
        percentile: share of magnitudes that mode "Percentile" keeps, in percent.
        symmetric: only symmetric ranges are reproduced.
    """
    parts = [np.nan_to_num(part, nan=0.0) for part in batches_of(data)]
    if not symmetric or not parts or not all(part.size for part in parts):
        return failure("there are no values, or the range is not symmetric")
    low, high = (-127, 127) if activation_type == "QInt8" else (0, 255)
    if minmse_mode == "MostCommon":
        scales = [_best_of_values([part], low, high) for part in parts]
        found, counts = np.unique([scale for scale, _ in scales], return_counts=True)
        scale = float(found[int(np.argmax(counts))])
        zero_point = next(zero_point for one, zero_point in scales if one == scale)
    elif minmse_mode == "Percentile":
        x = np.concatenate(parts)
        limit = np.percentile(np.abs(x), percentile)
        scale, zero_point = _best_of_values([x[(x >= -limit) & (x <= limit)]], low, high)
    elif num_bins:
        histogram = _collect(parts, num_bins)
        if isinstance(histogram, ReferenceThreshold):
            return histogram
        scale, zero_point = _best_of_bins(*histogram, parts, low, high)
    else:
        scale, zero_point = _best_of_values(parts, low, high)
    return ReferenceThreshold(
        low=scale * (low - zero_point), high=scale * (high - zero_point), scale=scale, zero_point=zero_point
    )


def _start(parts: list[Floats], low: int, high: int) -> tuple[int, int]:
    """Exponent of the nearest power of two, as its negative, and the zero point."""
    top = min(max(np.abs(part).max() for part in parts), LARGEST)
    scale = np.float64(top + top) / (high - low)
    if scale < np.finfo(np.float32).tiny:
        scale, zero_point = np.float64(1.0), 0
    else:
        zero_point = int(np.round(low + np.float64(top) / scale))
    single = min(max(float(np.float32(scale)), 2.0**-127), 2.0**127)
    position = int(np.rint(-np.log2(single)))
    return position, 128 if (low, zero_point) in ((0, 127), (0, 128)) else zero_point


def _candidates(position: int) -> list[np.float32]:
    return [np.float32(2.0 ** -(position + k - 1)) for k in range(CANDIDATES)]


def _best_of_values(parts: list[Floats], low: int, high: int) -> tuple[float, int]:
    """Least float32 sum of squared errors, added up over samples."""
    position, zero_point = _start(parts, low, high)
    offset = np.float32(zero_point)
    scales = _candidates(position)
    losses = np.zeros(CANDIDATES, dtype=np.float32)
    for x in parts:
        for k, scale in enumerate(scales):
            level = np.clip((x / scale).round() + offset, low, high)
            losses[k] += np.sum(((level - offset) * scale - x) ** 2)
    return float(scales[int(np.argmin(losses))]), zero_point


def _best_of_bins(counts: Any, edges: Any, parts: list[Floats], low: int, high: int) -> tuple[float, int]:
    """Least squared error of the bin centres, in float64."""
    position, zero_point = _start(parts, low, high)
    centers = ((edges[:-1] + edges[1:]) / 2).astype(np.float32)
    best, least = math.nan, math.inf
    for scale in _candidates(position):
        level = np.clip(np.round(centers / scale) + zero_point, low, high).astype(np.float64)
        value = (level - zero_point) * float(scale)
        loss = float(np.sum(counts * (centers.astype(np.float64) - value) ** 2))
        if loss < least:
            best, least = float(scale), loss
    return best, zero_point


def _collect(parts: list[Floats], bins: int) -> tuple[Any, Any] | ReferenceThreshold:
    """Counts and float64 edges; whole bins are added at the ends for later batches."""
    counts: Any = None
    edges: Any = None
    for part in parts:
        x = part.astype(np.float64)
        if counts is None:
            try:
                counts, edges = np.histogram(x, bins)
            except (ValueError, IndexError) as error:
                return failure(f"numpy.histogram raises {type(error).__name__}: {error}")
            continue
        width = float(edges[1] - edges[0])
        left = max(0, math.ceil((edges[0] - x.min()) / width))
        right = max(0, math.ceil((x.max() - edges[-1]) / width))
        if (size := counts.size + left + right) > LARGEST_HISTOGRAM:
            return too_many_bins(size, LARGEST_HISTOGRAM)
        if left or right:
            edges = np.linspace(edges[0] - left * width, edges[-1] + right * width, size + 1)
            counts = np.concatenate((np.zeros(left, np.int64), counts, np.zeros(right, np.int64)))
        counts = counts + np.histogram(x, edges)[0]
    return counts.astype(np.float64), edges


PLAIN = {
    "activation_type": "QInt8",
    "minmse_mode": "All",
    "num_bins": 2048,
    "percentile": 99.999,
    "symmetric": True,
}

REFERENCES = (
    Reference(
        tool="amd-quark",
        algorithm="onnx_minmse_pof2",
        version="amd-quark 0.13 with NumPy 2.4.6",
        function=onnx_minmse_pof2,
        parameters=PLAIN,
        variants=(
            {**PLAIN, "num_bins": 0},
            {**PLAIN, "activation_type": "QUInt8"},
            {**PLAIN, "minmse_mode": "Percentile"},
        ),
        peculiar="The best of five power-of-two scales around the full symmetric range.",
        exact=True,
        fidelity="Exact.",
    ),
)
