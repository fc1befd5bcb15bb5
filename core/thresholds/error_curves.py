"""Every error against the threshold, on one common grid, for one chart."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram
from quantscope.core.quant import QuantSpec, Range, ScaleRule, encoding_from_ranges
from quantscope.core.thresholds.density import density_of
from quantscope.core.thresholds.error import errors_of
from quantscope.core.thresholds.kl import BINS, kl_levels, magnitude_bins, signed_bins, window_divergences
from quantscope.core.thresholds.outcome import full_range, symmetric_range, widened
from quantscope.core.thresholds.power_of_two import ruled_encodings

FloatArray = npt.NDArray[np.float64]
SideName = Literal["high", "low", "both"]

_HALVINGS = 32  # between two candidates, to find where a scale jumps


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Errors of each candidate range [lows[i], highs[i]]; all arrays are (n,), thresholds ascend.

    `thresholds` are magnitudes of the end that moves: T for symmetric types; for asymmetric ones the high
    end ("high"), the magnitude of the low end ("low"), or of the larger end while both shrink alike
    ("both"). `kl` is NaN where a window would have fewer bins than levels, or clip most of the values.
    Under a rule for scales, [kept_lows[i], kept_highs[i]] is what the candidate becomes, and what it costs.
    """

    thresholds: FloatArray
    lows: FloatArray
    highs: FloatArray
    kept_lows: FloatArray
    kept_highs: FloatArray
    mse: FloatArray
    clipping_mse: FloatArray
    rounding_mse: FloatArray
    cosine: FloatArray
    sqnr_db: FloatArray
    kl: FloatArray  # nats
    clipped_share: FloatArray


def curves(
    histogram: Histogram,
    spec: QuantSpec,
    *,
    n: int = 384,
    side: SideName = "both",
    fixed: Range | None = None,
) -> Curves:
    """All metrics on a common grid of thresholds.

    Args:
        histogram: the tensor.
        spec: its type; symmetric types always move both ends.
        n: number of thresholds, evenly spaced in two parts: the lower eighth of the range gets a quarter.
            Both sides of every jump are added where a rule for scales makes some.
        side: which end moves (asymmetric types only); one without values moves as far as the other would.
        fixed: the range whose other end stays; min and max if not given.
    """
    full = full_range(histogram, spec)
    lows, highs, thresholds = _grid(histogram, spec, n, side, fixed or full)
    if spec.scale_rule is not ScaleRule.FREE:
        lows, highs, thresholds = _with_jumps(lows, highs, thresholds, spec)
    encoding = ruled_encodings(lows, highs, histogram, spec)
    kept_lows, kept_highs = lows, highs
    if spec.scale_rule is not ScaleRule.FREE:
        kept_lows, kept_highs = encoding.low, encoding.high
        if spec.symmetric:
            kept_lows = np.where(lows < 0.0, -kept_highs, 0.0)
    errors = errors_of(density_of(histogram), encoding)
    return Curves(
        thresholds=thresholds,
        lows=lows,
        highs=highs,
        kept_lows=kept_lows,
        kept_highs=kept_highs,
        mse=errors.mse,
        clipping_mse=errors.clipping_mse,
        rounding_mse=errors.rounding_mse,
        cosine=errors.cosine,
        sqnr_db=errors.sqnr_db,
        kl=_kl(histogram, spec, kept_lows, kept_highs),
        clipped_share=errors.clipped_share,
    )


def _grid(
    histogram: Histogram, spec: QuantSpec, n: int, side: SideName, fixed: Range
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Lows, highs and thresholds of the candidates."""
    quarter = n // 4
    near, far = np.linspace(0.0, 0.125, quarter + 1)[1:], np.linspace(0.125, 1.0, n - quarter + 1)[1:]
    share = np.concatenate([near, far])
    if spec.symmetric:
        top = histogram.abs_max * share
        return symmetric_range(1.0, histogram, spec).low * top, top, top
    ends = widened(histogram)
    if side == "high":
        top = (ends.high or ends.abs_max) * share
        return np.full(n, min(fixed.low, 0.0)), top, top
    if side == "low":
        top = (-ends.low or ends.abs_max) * share
        return -top, np.full(n, max(fixed.high, 0.0)), top
    return ends.low * share, ends.high * share, ends.abs_max * share


def _with_jumps(
    lows: FloatArray, highs: FloatArray, thresholds: FloatArray, spec: QuantSpec
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The candidates, and between two with different scales those on both sides of the jump."""
    mse = spec.scale_rule is ScaleRule.POWER_OF_TWO_MSE  # whose pair of scales changes where the larger does
    ruled = replace(spec, scale_rule=ScaleRule.POWER_OF_TWO_UP) if mse else spec
    scales = encoding_from_ranges(lows, highs, ruled).scale
    at = np.flatnonzero(np.diff(scales) > 0.0)
    if at.size == 0:
        return lows, highs, thresholds

    def between(values: FloatArray, share: FloatArray) -> FloatArray:
        return np.asarray(values[at] + share * (values[at + 1] - values[at]), np.float64)

    under, over = np.zeros(at.size), np.ones(at.size)
    for _ in range(_HALVINGS):
        middle = (under + over) / 2.0
        same = encoding_from_ranges(between(lows, middle), between(highs, middle), ruled).scale == scales[at]
        under, over = np.where(same, middle, under), np.where(same, over, middle)
    places = np.repeat(at + 1, 2)

    def added(values: FloatArray) -> FloatArray:
        both = np.stack([between(values, under), between(values, over)], axis=1)
        return np.asarray(np.insert(values, places, both.ravel()), np.float64)

    return added(lows), added(highs), added(thresholds)


@dataclass(frozen=True, slots=True, kw_only=True)
class DivergenceBins:
    """Bins of a histogram whose windows KL compares with what quantizing leaves of them."""

    counts: FloatArray  # (BINS,)
    ends: Range  # of all bins: [0, max|x|], or [min, max] widened to hold 0
    levels: int  # groups that a window is merged into, a power of two
    by_magnitude: bool  # windows begin at 0


def divergence_bins(histogram: Histogram, spec: QuantSpec) -> DivergenceBins | None:
    """The bins for KL; None for types with as many levels as bins, and where all values are zero."""
    levels = kl_levels(histogram, spec)
    if levels >= BINS or histogram.abs_max == 0.0:
        return None
    if spec.symmetric:
        counts, ends = magnitude_bins(histogram), Range(0.0, histogram.abs_max)
    else:
        counts, ends = signed_bins(histogram), widened(histogram)
    return DivergenceBins(counts=counts, ends=ends, levels=levels, by_magnitude=spec.symmetric)


def divergence_of(bins: DivergenceBins | None, kept: Range) -> float:
    """KL in nats of the window nearest to a range; NaN where it has too few bins or clips most values."""
    if bins is None:
        return math.nan
    return float(_windows(bins, np.array([kept.low]), np.array([kept.high]))[0])


def _kl(histogram: Histogram, spec: QuantSpec, lows: FloatArray, highs: FloatArray) -> FloatArray:
    """KL at the windows of bins nearest to the candidates."""
    bins = divergence_bins(histogram, spec)
    return np.full(lows.size, np.nan) if bins is None else _windows(bins, lows, highs)


def _windows(bins: DivergenceBins, lows: FloatArray, highs: FloatArray) -> FloatArray:
    """KL of the windows nearest to ranges, NaN for those not considered."""
    lows = np.zeros(lows.size) if bins.by_magnitude else lows
    per_unit = BINS / (bins.ends.high - bins.ends.low)
    starts = np.clip(np.rint((lows - bins.ends.low) * per_unit), 0, BINS - 1).astype(np.int64)
    stops = np.clip(np.rint((highs - bins.ends.low) * per_unit), 1, BINS).astype(np.int64)
    loss = window_divergences(bins.counts, starts, stops, bins.levels.bit_length() - 1)
    return np.where(np.isfinite(loss), loss, np.nan)
