"""Alternate between integers and scale, each the least squares answer to the other.

    q = clip(round(x / s) + z) - z        s = sum(q x) / sum(q^2)

as in MNN's offline quantizer ("ADMM", after Leng et al., "Extremely Low Bit Neural Network: Squeeze the
Last Bit Out with ADMM", AAAI 2018), until s changes by less than 1e-6 of itself, or for 300 rounds. No
round makes the squared error larger, but it stops at whatever local minimum is near: so it starts from
several scales, MNN's max|x| / (2.5 qmax) among them, and the best end is kept. For asymmetric ranges each
round also takes the best zero point for its scale, so that both ends move.
"""

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram
from quantscope.core.methods import Method
from quantscope.core.quant import QuantSpec, Range
from quantscope.core.thresholds.alternate import (
    FREE,
    LOSS,
    ROUNDS,
    START,
    alternate,
    grid_levels,
    range_ends,
)
from quantscope.core.thresholds.density import density_of
from quantscope.core.thresholds.outcome import Search, flags_of, full_range, single

FloatArray = npt.NDArray[np.float64]

STARTS = 0.4 * 10.0 ** (np.arange(2, -6, -1) / 5)  # shares of the full range: 1, 0.63, 0.4 (MNN's), … 0.04


def search_admm(histogram: Histogram, spec: QuantSpec) -> Search:
    """The best local minimum of alternating least squares, over scale and, if it is free, zero point."""
    full, flags = full_range(histogram, spec), flags_of(histogram, spec)
    if full.abs_max == 0.0 or "near_zero" in flags:
        reason = "There is nothing to choose: the values are all (nearly) zero."
        return single(Method.ADMM, full, 0.0, "MSE", reason, flags)
    density = density_of(histogram)
    below, above, span = grid_levels(histogram, spec)
    starts = STARTS * span / (density.width * (below if above == FREE else max(above, below * (above == 0))))
    table = alternate(density.negative.parts, density.positive.parts, starts, below, above, ROUNDS)
    lows, highs = range_ends(table, spec, density.width, one_sided=below == 0)
    best = int(np.argmin(table[:, LOSS]))
    order = np.argsort(highs - lows, kind="stable")
    ended = np.flatnonzero(np.diff(table[:, START], append=-1.0))
    return Search(
        method=Method.ADMM,
        range=Range(float(lows[best]), float(highs[best])),
        lows=lows[order],
        highs=highs[order],
        loss=table[order, LOSS] * (density.width**2 / histogram.count),
        loss_label="MSE",
        reason=_reason(table, best, ended),
        flags=flags,
    )


def _reason(table: FloatArray, best: int, ended: npt.NDArray[np.int64]) -> str:
    start = int(table[best, START])
    rounds = int(np.count_nonzero(table[:, START] == start))
    end = "agree" if rounds < ROUNDS else "all but agree"
    least, worst = float(table[best, LOSS]), float(table[ended, LOSS].max())
    differ = worst > 1.005 * least > 0.0
    spread = f"; the worst start ends at {worst / least:.3g} times its MSE" if differ else ""
    return (
        f"Integers and scale {end} after {rounds} rounds from {100 * STARTS[start]:.3g} % of the full range, "
        f"the best of {len(STARTS)} starts{spread}."
    )
