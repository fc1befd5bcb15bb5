"""Least squares in turn: the integers for a scale, and the scale for these integers."""

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram
from quantscope.core.jit import compiled
from quantscope.core.quant import QuantSpec
from quantscope.core.thresholds.density import Part, side_sums
from quantscope.core.thresholds.outcome import widened
from quantscope.core.thresholds.splits import even_split

FloatArray = npt.NDArray[np.float64]

ROUNDS = 300
SETTLED = 1e-6  # relative change of the scale
FREE = -1  # instead of the levels above zero: the zero point is to be found
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


def grid_levels(histogram: Histogram, spec: QuantSpec) -> tuple[int, int, float]:
    """Levels below and above zero (all of them and FREE if that is to be found), and what they span."""
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
    return steps, FREE, ends.high - ends.low


def range_ends(
    table: FloatArray, spec: QuantSpec, width: float, *, one_sided: bool
) -> tuple[FloatArray, FloatArray]:
    """Low and high ends of the range of each row."""
    steps, up = table[:, STEP] * width, table[:, ABOVE]
    if spec.symmetric:
        highs = up * steps
        return (np.zeros_like(highs) if one_sided else -highs), highs
    return (up - (spec.qmax - spec.qmin)) * steps, up * steps
