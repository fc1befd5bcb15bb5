"""Alternate between integers and scale, each the least squares answer to the other (ALGORITHMS §3, `admm`).

    q = clip(round(x / s) + z) - z        s = sum(q x) / sum(q^2)

as in MNN's offline quantizer ("ADMM", after Leng et al., "Extremely Low Bit Neural Network: Squeeze the
Last Bit Out with ADMM", AAAI 2018), until s changes by less than 1e-6 of itself, or for 300 rounds. No
round makes the squared error larger, but it stops at whatever local minimum is near: so it starts from
several scales, MNN's max|x| / (2.5 qmax) among them, and the best end is kept. For asymmetric ranges each
round also takes the best zero point for its scale, so that both ends move.
"""

import numpy as np
import numpy.typing as npt

from core.histogram import Histogram
from core.jit import compiled
from core.quant import QuantSpec, Range
from core.thresholds.density import Part, density_of, side_sums
from core.thresholds.search import Method, Search, flags_of, full_range, single, widened
from core.thresholds.splits import even_split

FloatArray = npt.NDArray[np.float64]

STARTS = 0.4 * 10.0 ** (np.arange(2, -6, -1) / 5)  # shares of the full range: 1, 0.63, 0.4 (MNN's), … 0.04
ROUNDS = 300
SETTLED = 1e-6  # relative change of the scale
_FREE = -1
STEP, ABOVE, LOSS, START = range(4)  # columns of a table of rounds


@compiled
def alternate(
    negative: Part, positive: Part, starts: FloatArray, below: int, above: int, rounds: int
) -> FloatArray:
    """Rows of step, levels above zero, squared error (in bins) and number of the start, for every round.

    `above` is -1 where the zero point is free; `below` then counts the levels on both sides.
    """
    out = np.empty((starts.size * rounds, 4))
    energy, row = negative[3] + positive[3], 0
    for number in range(starts.size):
        step = starts[number]
        for _ in range(rounds):
            up = above if above >= 0 else even_split(negative, positive, step, below)
            down = below if above >= 0 else below - up
            a = side_sums(negative[0], negative[1], negative[2], negative[3], step, down)
            b = side_sums(positive[0], positive[1], positive[2], positive[3], step, up)
            error, square = a[0] + b[0], a[1] + b[1]
            out[row, 0], out[row, 1], out[row, 2], out[row, 3] = step, up, error, number
            row += 1
            if square <= 0.0:
                break
            # sum(q x) and sum(q^2), from |x - s q|^2 = |x|^2 - 2 s sum(q x) + s^2 sum(q^2).
            fitted = step * (energy + square - error) / (2.0 * square)
            if abs(fitted - step) <= SETTLED * step:
                break
            step = fitted
    return out[:row]


def search_admm(histogram: Histogram, spec: QuantSpec) -> Search:
    """The best local minimum of alternating least squares, over scale and, if it is free, zero point."""
    full, flags = full_range(histogram, spec), flags_of(histogram, spec)
    if full.abs_max == 0.0 or "near_zero" in flags:
        reason = "There is nothing to choose: the values are all (nearly) zero."
        return single(Method.ADMM, full, 0.0, "MSE", reason, flags)
    density = density_of(histogram)
    below, above, span = _grid(histogram, spec)
    starts = STARTS * span / (density.width * (below if above == _FREE else max(above, below * (above == 0))))
    table = alternate(density.negative.parts, density.positive.parts, starts, below, above, ROUNDS)
    lows, highs = _ends(table, below, spec, density.width, one_sided=below == 0)
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


def _grid(histogram: Histogram, spec: QuantSpec) -> tuple[int, int, float]:
    """Levels below and above zero (all of them and _FREE if that is to be found), and what they span."""
    ends, steps = widened(histogram), spec.qmax - spec.qmin
    if spec.symmetric:
        if spec.type.signed:
            return -spec.qmin, spec.qmax, histogram.abs_max
        if histogram.min >= 0.0:
            return 0, spec.qmax, histogram.abs_max
        middle = 1 << (spec.type.bits - 1)
        return middle, spec.qmax - middle, histogram.abs_max
    if ends.low == 0.0:
        return 0, steps, ends.high
    if ends.high == 0.0:
        return steps, 0, -ends.low
    return steps, _FREE, ends.high - ends.low


def _ends(
    table: FloatArray, below: int, spec: QuantSpec, width: float, *, one_sided: bool
) -> tuple[FloatArray, FloatArray]:
    """Low and high ends of the range of each row."""
    steps, up = table[:, STEP] * width, table[:, ABOVE]
    if spec.symmetric:
        highs = up * steps
        return (np.zeros_like(highs) if one_sided else -highs), highs
    return (up - (spec.qmax - spec.qmin)) * steps, up * steps


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
