"""Extremes averaged over the samples, so that none of them decides alone.

    low <- low + c (min of the sample - low),  high likewise,  c = 0.01, beginning with the first sample

as in PyTorch's MovingAverageMinMaxObserver. The result depends on the order of the samples: the last few
hundred decide, the last one with weight c.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import BySample, Histogram
from quantscope.core.methods import Method
from quantscope.core.quant import QuantSpec, Range, encoding_from_ranges
from quantscope.core.thresholds.density import density_of
from quantscope.core.thresholds.error import errors_of
from quantscope.core.thresholds.minmax import search_minmax
from quantscope.core.thresholds.outcome import Search, flags_of, symmetric_range

FloatArray = npt.NDArray[np.float64]

RATE = 0.01
_POINTS = 128  # of the way to the result that are shown


def search_moving_average(
    histogram: Histogram, spec: QuantSpec, by_sample: BySample | None, *, rate: float = RATE
) -> Search:
    """The moving average of minimum and maximum; symmetric types take the larger magnitude of the two.

    Without extremes by sample (a constant, statistics of an earlier version) it is MinMax, and says so.
    """
    seen = np.zeros((0, 2)) if by_sample is None else by_sample.extremes
    seen = seen[np.isfinite(seen).all(axis=1)]
    if len(seen) == 0:
        whole = search_minmax(histogram, spec)
        values = f"from {histogram.min:.6g} to {histogram.max:.6g}"
        reason = f"No extremes of single samples are known: keeps every value, {values}."
        return replace(whole, method=Method.MOVING_AVERAGE, reason=reason)
    ends = running_averages(seen, rate)
    ends = ends[np.unique(np.linspace(0, len(ends) - 1, _POINTS).astype(np.int64))]
    lows, highs = np.minimum(ends[:, 0], 0.0), np.maximum(ends[:, 1], 0.0)
    if spec.symmetric:
        highs = np.maximum(-lows, highs)
        lows = symmetric_range(1.0, histogram, spec).low * highs
    errors = errors_of(density_of(histogram), encoding_from_ranges(lows, highs, spec))
    order = np.argsort(highs - lows, kind="stable")
    return Search(
        method=Method.MOVING_AVERAGE,
        range=Range(float(lows[-1]) + 0.0, float(highs[-1])),
        lows=lows[order],
        highs=highs[order],
        loss=errors.mse[order],
        loss_label="MSE",
        reason=f"Moving average of the extremes of {len(seen)} samples (c = {rate:g}); their order matters.",
        flags=flags_of(histogram, spec),
    )


def running_averages(extremes: FloatArray, rate: float) -> FloatArray:
    """The average after each sample; (samples, 2) for (samples, 2)."""
    out = np.empty_like(extremes)
    average = extremes[0]
    for i, ends in enumerate(extremes):
        average = average + rate * (ends - average)
        out[i] = average
    return out
