"""Sony's Model Compression Toolkit: iterative threshold searches on the left edges of 2048 bins.

A histogram over [min, max] of signed values stands for the data, each bin by its left edge. Symmetric: 20
rounds of 30 thresholds between 0.7 and 1.2 times the last winner (the bounds close in slowly), the best of
all is kept; the step is T/128 and the range [-T, T - T/128], or T/256 from 0 for data without negative bins.
Power of two: 20 halvings from twice the next power of two. Uniform: 30 rounds of 12 x 12 factors between 0.7
and 1.2 for the two ends. Batches are merged by interpolating cumulated counts. Errors are MSE or MAE; the
toolkit's KL, which returns 0 for a range within one bin and so prefers tiny thresholds, and its searches on
raw weights are not reproduced.
"""

import math
from typing import Any

import numpy as np

from quantscope.core.jit import compiled
from quantscope.core.thresholds.reference.pairwise import pairwise_sum
from quantscope.core.thresholds.reference.result import (
    Data,
    Reference,
    ReferenceThreshold,
    batches_of,
    failure,
)

MIN_THRESHOLD = 2.0**-16
ROUNDS = {"symmetric": 20, "uniform": 30}


@np.errstate(all="ignore")
def histogram_search(
    data: Data,
    *,
    quantizer: str = "symmetric",
    error_method: str = "MSE",
    n_bits: int = 8,
    n_bins: int = 2048,
    signed: bool | None = None,
) -> ReferenceThreshold:
    """`symmetric_selection_histogram`, `power_of_two_...` and `uniform_...` on the collected histogram.

    Args:
        data: one array, or batches in order.
        quantizer: "symmetric", "power_of_two" or "uniform".
        error_method: "MSE", "MAE" or "NOCLIPPING".
        n_bits: of the type.
        n_bins: bins of each batch and of the merged histogram.
        signed: whether the type is; None: if an occupied bin is negative. Not for "uniform".
    """
    if error_method not in ("MSE", "MAE", "NOCLIPPING"):
        return failure(f"the error method {error_method} is not reproduced")
    parts = batches_of(data)
    if not parts or not all(part.size for part in parts):
        return failure("there are no values")
    if not all(np.isfinite(part).all() for part in parts):
        return failure("numpy.histogram raises ValueError: the range is not finite")
    try:
        counts, bins = _collect(parts, n_bins)
    except (ValueError, IndexError) as error:
        return failure(f"numpy.histogram raises {type(error).__name__}: {error}")
    if not (counts > 0).any():
        return failure("no bin is occupied: numpy.max of no values raises ValueError")
    if quantizer == "uniform":
        return _uniform(counts, bins, n_bits, error_method)
    if signed is None:
        signed = bool((bins[:-1][counts > 0] < 0).any())
    select = _power_of_two if quantizer == "power_of_two" else _symmetric
    threshold = float(select(counts, bins, n_bits, signed, error_method))
    if not (math.isfinite(threshold) and threshold > 0):
        return failure(f"the threshold is {threshold}")
    scale = threshold / 2 ** (n_bits - int(signed))
    low = -threshold if signed else 0.0
    return ReferenceThreshold(low=low, high=threshold - scale, threshold=threshold, scale=scale, zero_point=0)


def _collect(parts: Any, n_bins: int) -> tuple[Any, Any]:
    """Counts (float64, interpolated) and edges over the widest range."""
    histograms = [np.histogram(part, n_bins) for part in parts]
    stack = np.vstack([edges for _, edges in histograms])
    bins = np.linspace(stack.min(), stack.max(), n_bins + 1)
    total = np.zeros(n_bins)
    for counts, edges in histograms:
        cumulated = np.hstack([0, np.cumsum(counts)])
        total += np.diff(np.interp(bins, edges, cumulated))
    return total, bins


def _largest(counts: Any, bins: Any) -> Any:
    return np.max(np.abs(bins)[1:][counts > 0])


def _power_of_two(counts: Any, bins: Any, n_bits: int, signed: bool, method: str) -> Any:
    if method == "NOCLIPPING":
        return _next_power(_largest(counts, bins))
    thresholds = 2 * _next_power(np.max(np.abs(bins))) / np.power(2, np.linspace(0, 19, 20))
    low, high = _ends(thresholds, n_bits, signed)
    losses = _losses(bins.astype(np.float64), counts, low, high, n_bits, method == "MAE")
    return max(thresholds[int(np.argmin(losses))], MIN_THRESHOLD)


def _next_power(value: Any) -> Any:
    return np.power(2.0, np.ceil(np.log2(np.maximum(value, MIN_THRESHOLD))))


def _symmetric(counts: Any, bins: Any, n_bits: int, signed: bool, method: str) -> Any:
    current = max(MIN_THRESHOLD, _largest(counts, bins))
    if method == "NOCLIPPING":
        return current
    x = bins.astype(np.float64)
    best = current
    # The first loss is computed in the type of the bins, as the first threshold is one of them.
    least = float(_loss(bins, counts, *_ends(current, n_bits, signed), n_bits, method))
    bounds = np.array([0.7, 1.2])
    for done in range(ROUNDS["symmetric"]):
        candidates = np.linspace(current * bounds[0], current * bounds[1], 30, dtype=float)
        losses = _losses(x, counts, *_ends(candidates, n_bits, signed), n_bits, method == "MAE")
        current = candidates[int(np.argmin(losses))]
        gain = least - losses.min()
        if gain > 0:
            best, least = current, losses.min()
        if 0 < gain < 1e-11:
            break
        if done % 4 == 0:
            bounds *= (1.02, 0.98)
            bounds = np.array([min(bounds[0], 0.97), max(bounds[1], 1.03)])
    return max(MIN_THRESHOLD, best)


def _uniform(counts: Any, bins: Any, n_bits: int, method: str) -> ReferenceThreshold:
    current = np.array([np.min(bins[:-1][counts > 0]), np.max(bins[1:][counts > 0])])
    best = current
    if method != "NOCLIPPING":
        x = bins.astype(np.float64)
        least = float(_loss(bins, counts, current[0], current[1], n_bits, method))
        factors = np.linspace(0.7, 1.2, 12)
        scalers = np.stack(np.meshgrid(factors, factors, indexing="ij"), axis=-1).reshape(-1, 2)
        for _ in range(ROUNDS["uniform"]):
            candidates = current * scalers
            ends = np.ascontiguousarray(candidates.T)
            losses = _losses(x, counts, ends[0], ends[1], n_bits, method == "MAE")
            current = candidates[int(np.argmin(losses))]
            gain = least - losses.min()
            if gain > 0:
                best, least = current, losses.min()
            if 0 < gain < 1e-11:
                break
    return ReferenceThreshold(low=float(best[0]), high=float(best[1]))


def _ends(threshold: Any, n_bits: int, signed: bool) -> tuple[Any, Any]:
    """Lowest and highest level."""
    return -threshold * int(signed), threshold - threshold / 2 ** (n_bits - int(signed))


def _loss(bins: Any, counts: Any, low: Any, high: Any, n_bits: int, method: str) -> Any:
    """Mean error of the left edges, in the type of the bins and ends."""
    steps = 2**n_bits - 1
    scale = (high - low) / steps
    bottom = scale * np.round(low / scale)
    top = high - low + bottom
    if low > 0 or high < 0:
        bottom, top = (low * 0, high) if low > 0 else (low, high * 0)
    delta = (top - bottom) / steps
    error = (delta * np.round((np.clip(bins, bottom, top) - bottom) / delta) + bottom - bins)[:-1]
    weighted = (np.power(error, 2.0) if method == "MSE" else np.abs(error)) * counts
    return np.sum(weighted) / np.sum(counts)


@compiled
def _losses(x: Any, counts: Any, lows: Any, highs: Any, n_bits: Any, absolute: Any) -> Any:
    """`_loss` of many ranges in float64."""
    steps = 2**n_bits - 1
    total = pairwise_sum(counts)
    result = np.empty(lows.size)
    terms = np.empty(counts.size)
    for number in range(lows.size):
        low = lows[number]
        high = highs[number]
        scale = (high - low) / steps
        bottom = scale * np.rint(low / scale)
        top = high - low + bottom
        if low > 0:
            bottom = 0.0
            top = high
        elif high < 0:
            bottom = low
            top = 0.0
        delta = (top - bottom) / steps
        for k in range(counts.size):
            clipped = min(max(x[k], bottom), top)
            error = delta * np.rint((clipped - bottom) / delta) + bottom - x[k]
            terms[k] = (abs(error) if absolute else error * error) * counts[k]
        result[number] = pairwise_sum(terms) / total
    return result


REFERENCES = (
    Reference(
        tool="mct",
        algorithm="histogram_search",
        version="model-compression-toolkit 2.6.1 with NumPy 2.4.6",
        function=histogram_search,
        parameters={"quantizer": "symmetric", "error_method": "MSE", "n_bits": 8, "n_bins": 2048},
        variants=tuple(
            {"quantizer": quantizer, "error_method": method, "n_bits": 8, "n_bins": 2048}
            for quantizer in ("symmetric", "power_of_two", "uniform")
            for method in ("MSE", "MAE")
            if (quantizer, method) != ("symmetric", "MSE")
        ),
        peculiar="Each bin counts with its left edge, and the search follows the last winner in rounds, so "
        "that it ends in a local minimum nearby.",
        exact=True,
        fidelity="Exact.",
    ),
)
