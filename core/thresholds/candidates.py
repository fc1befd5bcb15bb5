"""Which candidates the MSE and cosine searches try, and how they close in on the best one."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

LOSS, LOW, HIGH = range(3)  # columns of a table of candidates

_LINEAR = 256
_PER_OCTAVE, _OCTAVES = 8, 12
_WIDEST = 1.05  # a little wider than the data can be better: rounding borders move
_MINIMA, _NEW = 4, 128  # in a round: places looked at, and new candidates in all


def candidate_factors() -> FloatArray:
    """Shares of the full range, 2**-12 to 1.05: evenly spaced and, for heavy tails, geometric too."""
    linear = np.linspace(_WIDEST / _LINEAR, _WIDEST, _LINEAR)
    geometric = 2.0 ** -np.arange(0, _OCTAVES, 1 / _PER_OCTAVE)
    return np.unique(np.concatenate([linear, geometric]))


def minimize(table_of: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Try candidates from narrow to wide, then more around the best ones.

    The loss is jagged (rounding borders pass over the data), so the surroundings of the few lowest
    local minima are searched, twice, each time on a finer grid.

    Args:
        table_of: makes the (n, 3) table of LOSS, LOW, HIGH for n factors.

    Returns:
        The table of all candidates tried, by ascending factor.
    """
    factors = candidate_factors()
    table = table_of(factors)
    for _ in range(2):
        minima = _best_minima(table[:, LOSS])
        more = np.concatenate([_between(factors, i, _NEW // minima.size) for i in minima])
        factors, keep = np.unique(np.concatenate([factors, more]), return_index=True)
        table = np.concatenate([table, table_of(more)])[keep]
    return table


def _best_minima(losses: FloatArray) -> npt.NDArray[np.intp]:
    """Indices of the lowest local minima."""
    padded = np.concatenate([[np.inf], losses, [np.inf]])
    minima = np.flatnonzero((losses <= padded[:-2]) & (losses <= padded[2:]))
    return minima[np.argsort(losses[minima], kind="stable")[:_MINIMA]]


def _between(points: FloatArray, i: int, count: int) -> FloatArray:
    """New points on both sides of point i, up to its neighbours."""
    low, high = points[max(i - 1, 0)], points[min(i + 1, points.size - 1)]
    return np.linspace(low, high, count + 2)[1:-1]
