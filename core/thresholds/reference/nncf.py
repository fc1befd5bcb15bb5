"""NNCF's range estimators and the FakeQuantize range made of them (NumPy backend).

Each sample gives a minimum and a maximum (of |x| for symmetric types), or quantiles of 1e-4, and they are
aggregated over samples: widest, mean, median, or mean without the outer ones. HISTOGRAM is PyTorch's observer
search on float64 bins. Then the range is made: symmetric levels reach from -high * 128/127 (0 if the minimum
is not negative) to high, at least 8e-5. With quantiles or the histogram a symmetric range still uses the
maximum alone, so data that are only negative collapse to 8e-5. An asymmetric range that is narrower than 8e-4
is widened by that at both ends, holds zero, and one end is moved outwards until zero falls on a level.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from quantscope.core.thresholds.reference.result import (
    Data,
    Floats,
    Reference,
    ReferenceThreshold,
    batches_of,
    failure,
)
from quantscope.core.thresholds.reference.torch_ao import search

BINS = 2048
UPSAMPLE = 16
ESTIMATORS = (
    "MINMAX",
    "MEAN_MINMAX",
    "MEDIAN_MINMAX",
    "MEAN_NO_OUTLIERS_MINMAX",
    "MEAN_QUANTILE",
    "HISTOGRAM",
)
OUTLIERS = 1e-4


@np.errstate(all="ignore")
def range_estimator(
    data: Data, *, mode: str = "symmetric", num_bits: int = 8, range_estimator: str = "MINMAX"
) -> ReferenceThreshold:
    """The FakeQuantize range of an activation.

    Args:
        data: one array, or one array a sample.
        mode: "symmetric" or "asymmetric".
        num_bits: of the type.
        range_estimator: one of `ESTIMATORS`.
    """
    parts = batches_of(data)
    if not parts or not all(part.size for part in parts):
        return failure("there are no values")
    if not all(np.isfinite(part).all() for part in parts):
        return failure("the statistics are NaN or infinite, and so is the range")
    symmetric = mode == "symmetric"
    try:
        low, high = _statistics(parts, range_estimator, symmetric)
    except (ValueError, IndexError) as error:
        return failure(f"numpy.histogram raises {type(error).__name__}: {error}")
    if symmetric:
        high = max(max(high * np.float32(0.01), np.float32(8e-5)), high)
        levels = 2**num_bits
        low = -high * np.float32(levels / (levels - 2)) if low < 0 else np.float32(0)
    else:
        low, high = _asymmetric(low, high, 2**num_bits - 1)
    if not (np.isfinite(low) and np.isfinite(high) and high > low):
        return failure(f"the range is ({low}, {high})")
    scale = (float(high) - float(low)) / (2**num_bits - 1)
    return ReferenceThreshold(
        low=float(low), high=float(high), scale=scale, zero_point=round(-float(low) / scale)
    )


def _statistics(parts: list[Floats], estimator: str, symmetric: bool) -> tuple[Any, Any]:
    """Aggregated minimum and maximum, float32."""
    if estimator == "HISTOGRAM":
        low, high = _histogram_range(parts)
        return np.float32(low), np.float32(high)
    if estimator == "MEAN_QUANTILE":
        ends = np.array([_quantiles(part) for part in parts])
        return tuple(np.mean(ends, axis=0).astype(np.float32))
    lows = np.array([part.min() for part in parts])
    highs = np.array([np.abs(part).max() if symmetric else part.max() for part in parts])
    if estimator == "MINMAX":
        return lows.min(), highs.max()
    aggregates: dict[str, Callable[[Any], Any]] = {"MEAN_MINMAX": np.mean, "MEDIAN_MINMAX": np.median}
    aggregate = aggregates.get(estimator, _mean_inside)
    return aggregate(lows), aggregate(highs)


def _quantiles(x: Floats) -> Any:
    return np.quantile(x.astype(np.float64), [OUTLIERS, 1 - OUTLIERS])


def _mean_inside(values: Any) -> Any:
    """The mean of the values that lie within the outer quantiles of them."""
    low, high = np.quantile(values, [OUTLIERS, 1 - OUTLIERS])
    inside = ~((values < low) | (high < values))
    return np.mean(values[inside]) if inside.any() else np.float32(0)


def _histogram_range(parts: list[Floats]) -> tuple[float, float]:
    counts: Any = None
    low = high = 0.0
    for x in parts:
        part_low, part_high = float(x.min()), float(x.max())
        if counts is None:
            low, high = part_low, part_high
            counts = np.histogram(x, BINS, range=(low, high))[0].astype(np.float64)
            continue
        new_low, new_high = min(low, part_low), max(high, part_high)
        update = np.histogram(x, BINS, range=(new_low, new_high))[0]
        if (low, high) != (new_low, new_high):
            if low == high:
                one = np.histogram(np.array([low], dtype=np.float32), BINS, range=(new_low, new_high))[0]
                counts = one * counts.sum()
            else:
                counts = _resampled(counts, low, high, new_low, new_high)
        counts, low, high = counts + update, new_low, new_high
    width = (high - low) / BINS
    start, end = search(counts, np.cumsum(counts), float(counts.sum()), width, False)
    return low + width * start, low + width * (end + 1)


def _resampled(counts: Any, low: float, high: float, new_low: float, new_high: float) -> Any:
    fine = np.repeat(counts, UPSAMPLE) / UPSAMPLE
    size = (high - low) / (BINS * UPSAMPLE)
    middles = np.linspace(low, high, BINS * UPSAMPLE + 1)[:-1] + 0.5 * size
    borders = np.linspace(new_low, new_high, BINS + 1)
    index = np.clip(np.searchsorted(borders, middles, side="right") - 1, 0, BINS - 1)
    return np.bincount(index, weights=fine, minlength=BINS)


def _asymmetric(low: Any, high: Any, steps: int) -> tuple[Any, Any]:
    """The range with zero on a level: the end that has to move less is moved outwards."""
    if not high - low > np.float32(8e-4):
        low, high = low - np.float32(8e-4), high + np.float32(8e-4)
    low, high = min(low, np.float32(0)), max(high, np.float32(0))
    top = np.float32(steps)
    level = np.rint(-low * (top / (high - low)))
    moved_low = level / (level - top) * high if level < top else low
    moved_high = (level - top) / level * low if level > 0 else high
    return (moved_low, high) if high - moved_low > moved_high - low else (low, moved_high)


REFERENCES = (
    Reference(
        tool="nncf",
        algorithm="range_estimator",
        version="nncf 3.4.0, NumPy backend with NumPy 2.4.6",
        function=range_estimator,
        parameters={"mode": "symmetric", "num_bits": 8, "range_estimator": "MINMAX"},
        variants=tuple(
            {"mode": mode, "num_bits": 8, "range_estimator": estimator}
            for estimator in ("MINMAX", "MEAN_QUANTILE", "HISTOGRAM")  # one array: the others are MINMAX
            for mode in ("symmetric", "asymmetric")
            if (mode, estimator) != ("symmetric", "MINMAX")
        ),
        peculiar="The lowest symmetric level is -128/127 of the highest, an asymmetric range is moved "
        "outwards until zero is on a level, and tiny ranges are widened.",
        exact=True,
        fidelity="Exact.",
    ),
)
