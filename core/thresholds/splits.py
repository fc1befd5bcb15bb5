"""For a step size, the zero point with the least loss: both ends of an asymmetric range at once.

With the sums of `density` taken border by border, the loss of every number of steps on the positive
side comes from one pass, and so does that of the negative side; the best zero point is the best of their
sums. The search over both ends is thereby exact and one-dimensional, where moving one end after the
other can stop at a local minimum.
"""

import numpy as np
import numpy.typing as npt

from core.jit import compiled
from core.thresholds.density import Density, side_sums

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@compiled
def side_prefix(table, extent, atoms, energy, step, error, square):  # type: ignore[no-untyped-def]
    """Squared error and squared quantized values of one side for 0, 1, … error.size - 1 steps."""
    last = table.shape[0] - 2
    levels = error.size - 1
    if step < 1.0 or extent == 0.0:
        for n in range(levels + 1):
            error[n], square[n], _, _ = side_sums(table, extent, atoms, energy, step, n)
        return
    e, v = energy - atoms[0, 0] ** 2 * atoms[0, 1] - atoms[1, 0] ** 2 * atoms[1, 1], 0.0
    error[0], square[0] = e, v
    for n in range(1, levels + 1):
        b = (n - 0.5) * step
        if b < extent:
            j = min(int(b), last)
            x = min(j + 1.0, extent) - b
            d, m = table[j, 0], table[j, 1]
            e -= 2.0 * step * (table[j, 2] + x * (m + 0.5 * d * x))
            v += 2.0 * step * b * (m + d * x)
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
def split_steps(  # type: ignore[no-untyped-def]
    neg_table, neg_extent, neg_atoms, neg_energy, pos_table, pos_extent, pos_atoms, pos_energy,
    steps, levels, fewest, most, by_cosine,
):  # fmt: skip
    """For each step the best number of positive steps in [fewest, most]: its loss, and the number."""
    error_n, square_n = np.empty(levels + 1), np.empty(levels + 1)
    error_p, square_p = np.empty(levels + 1), np.empty(levels + 1)
    losses, above = np.empty(steps.size), np.empty(steps.size, np.int64)
    length = np.sqrt(neg_energy + pos_energy)
    for i in range(steps.size):
        side_prefix(neg_table, neg_extent, neg_atoms, neg_energy, steps[i], error_n, square_n)
        side_prefix(pos_table, pos_extent, pos_atoms, pos_energy, steps[i], error_p, square_p)
        best, where = np.inf, most
        for n in range(most, fewest - 1, -1):
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
        density: the tensor's values.
        steps: (candidates,), in bins.
        levels: steps of the whole range, qmax - qmin.
        by_cosine: minimize 1 - cosine instead of the squared error.

    Returns:
        losses (candidates,): 1 - cosine, or the summed squared error in bins squared; and how many of
        the `levels` steps lie above 0. They all do where nothing is negative, and none where nothing
        is positive.
    """
    n, p = density.negative, density.positive
    fewest = levels if n.extent == 0.0 else 0
    most = 0 if p.extent == 0.0 and n.extent > 0.0 else levels
    losses, above = split_steps(
        n.table, n.extent, n.atoms, n.energy, p.table, p.extent, p.atoms, p.energy,
        steps, levels, fewest, most, by_cosine,
    )  # fmt: skip
    return losses, above
