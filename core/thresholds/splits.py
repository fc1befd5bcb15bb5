"""For a step size, the zero point with the least loss: both ends of an asymmetric range at once.

With the sums of `density` taken border by border, the loss of every number of steps on the positive
side comes from one pass, and so does that of the negative side; the best zero point is the best of their
sums. The search over both ends is thereby exact and one-dimensional, where moving one end after the
other can stop at a local minimum.
"""

import numpy as np
import numpy.typing as npt

from core.jit import compiled
from core.thresholds.density import Density

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@compiled
def side_prefix(
    table: FloatArray,
    extent: float,
    atoms: FloatArray,
    energy: float,
    step: float,
    error: FloatArray,
    square: FloatArray,
) -> None:
    """Squared error and squared quantized values of one side for 0, 1, … error.size - 1 steps."""
    last, levels = table.shape[0] - 2, error.size - 1
    body = energy - atoms[0, 0] ** 2 * atoms[0, 1] - atoms[1, 0] ** 2 * atoms[1, 1]
    fine = step < 1.0  # the two cases of `side_sums`
    whole = table[0, 1] + table[0, 0] * min(1.0, extent)
    e, v = body, 0.0
    for n in range(levels + 1):
        t = n * step if fine else (n - 0.5) * step
        if 0.0 <= t < extent:
            j = min(int(t), last)
            x = min(j + 1.0, extent) - t
            d, m = table[j, 0], table[j, 1]
            mass, height = m + d * x, table[j, 2] + x * (m + 0.5 * d * x)
            if fine:
                clipping = table[j, 3] + x * (2.0 * table[j, 2] + x * (m + d * x / 3.0))
                inside = step * step / 12.0 * (whole - mass)
                e = clipping + inside
                v = body - clipping - 2.0 * t * height + inside
            else:
                e -= 2.0 * step * height
                v += 2.0 * step * t * mass
        elif fine and t >= extent:
            e = step * step / 12.0 * whole
            v = body + e
        error[n], square[n] = e, v
    for a in range(2):
        value, count = atoms[a, 0], atoms[a, 1]
        if count > 0.0:
            level = np.rint(value / step)
            for n in range(levels + 1):
                q = min(level, np.float64(n)) * step
                error[n] += count * (value - q) ** 2
                square[n] += count * q * q


@compiled
def split_steps(
    negative: tuple[FloatArray, float, FloatArray, float],
    positive: tuple[FloatArray, float, FloatArray, float],
    steps: FloatArray,
    levels: int,
    by_cosine: bool,
) -> tuple[FloatArray, IntArray]:
    """For each step the number of positive steps, 0 to `levels`, with the least loss: loss, number."""
    error_n, square_n = np.empty(levels + 1), np.empty(levels + 1)
    error_p, square_p = np.empty(levels + 1), np.empty(levels + 1)
    losses, above = np.empty(steps.size), np.empty(steps.size, np.int64)
    length = np.sqrt(negative[3] + positive[3])
    for i in range(steps.size):
        side_prefix(negative[0], negative[1], negative[2], negative[3], steps[i], error_n, square_n)
        side_prefix(positive[0], positive[1], positive[2], positive[3], steps[i], error_p, square_p)
        best, where = np.inf, 0
        for n in range(levels + 1):
            loss = error_p[n] + error_n[levels - n]
            if by_cosine:
                quantized = np.sqrt(square_p[n] + square_n[levels - n])
                if quantized > 0.0:
                    loss = max(loss - (length - quantized) ** 2, 0.0) / (2.0 * length * quantized)
                else:
                    loss = 1.0
            if loss < best:
                best, where = loss, n
        losses[i], above[i] = best, where
    return losses, above


def best_splits(
    density: Density, steps: FloatArray, levels: int, *, by_cosine: bool
) -> tuple[FloatArray, IntArray]:
    """The best zero point for each step.

    Args:
        density: the tensor's values, some on each side of 0.
        steps: (candidates,), in bins.
        levels: steps of the whole range, qmax - qmin.
        by_cosine: minimize 1 - cosine instead of the squared error.

    Returns:
        losses (candidates,): 1 - cosine, or the summed squared error in bins squared; and how many of
        the `levels` steps lie above 0.
    """
    return split_steps(density.negative.parts, density.positive.parts, steps, levels, by_cosine)
