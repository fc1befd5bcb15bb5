"""Keep a given share of the values: T is a quantile of |x|, or each end one of x."""

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram
from quantscope.core.methods import Method
from quantscope.core.quant import QuantSpec, Range
from quantscope.core.thresholds.distribution import magnitude_distribution, signed_distribution
from quantscope.core.thresholds.outcome import Search, flags_of, symmetric_range

FloatArray = npt.NDArray[np.float64]

_TAILS = np.geomspace(0.1, 1e-6, 101)  # shares clipped along the curve: 90 % to 99.9999 % kept


def search_percentile(histogram: Histogram, spec: QuantSpec, *, percentile: float = 99.99) -> Search:
    """The range that keeps `percentile` % of the values.

    Symmetric: T is that quantile of |x|. Asymmetric: half of the rest is cut at each end; where all
    values lie on one side of 0, all of it at the far end. Quantiles are interpolated within a bin.

    Raises:
        ValueError: `percentile` is not within (0, 100].
    """
    if not 0.0 < percentile <= 100.0:
        raise ValueError(f"a percentile lies above 0 and at most at 100, not at {percentile}")
    tails = np.append(_TAILS, 1.0 - percentile / 100.0)
    lows, highs = _ranges(histogram, spec, tails)
    chosen = Range(float(lows[-1]), float(highs[-1]))
    order = np.argsort(-tails, kind="stable")
    return Search(
        method=Method.PERCENTILE,
        range=chosen,
        lows=lows[order],
        highs=highs[order],
        loss=tails[order],
        loss_label="share clipped",
        reason=_reason(histogram, spec, percentile, chosen),
        flags=flags_of(histogram, spec),
    )


def _ranges(histogram: Histogram, spec: QuantSpec, tails: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Low and high ends that clip each share of `tails`."""
    h = histogram
    if h.count == 0:
        return np.zeros(tails.size), np.zeros(tails.size)
    if spec.symmetric:
        high = magnitude_distribution(h).quantile(1.0 - tails)
        return (-high if symmetric_range(1.0, h, spec).low < 0.0 else np.zeros(tails.size)), high
    distribution = signed_distribution(h)
    if h.min >= 0.0:
        return np.zeros(tails.size), distribution.quantile(1.0 - tails)
    if h.max <= 0.0:
        return -distribution.mirrored().quantile(1.0 - tails), np.zeros(tails.size)
    low = -distribution.mirrored().quantile(1.0 - tails / 2)
    high = distribution.quantile(1.0 - tails / 2)
    return np.minimum(low, 0.0), np.maximum(high, 0.0)


def _reason(histogram: Histogram, spec: QuantSpec, percentile: float, chosen: Range) -> str:
    if spec.symmetric:
        return f"{percentile:g} % of the magnitudes are at most {chosen.high:.6g}."
    if histogram.min < 0.0 < histogram.max:
        share = (100.0 - percentile) / 2
        return f"Leaves out {share:.3g} % of the values at each end."
    return f"Leaves out {100.0 - percentile:.3g} % of the values at the far end."
