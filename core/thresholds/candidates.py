"""Which candidates the MSE and cosine searches try, and how they close in on the best one."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

LOSS, LOW, HIGH = range(3)  # columns of a table of candidates

_LINEAR = 192  # evenly spaced candidates
_PER_OCTAVE, _OCTAVES = 8, 12  # geometric ones
_WIDEST = 1.05  # of the full range: a little wider than the data can be better, since rounding borders move
_NEARLY_BEST = 1.02  # times the least loss: the neighbourhood in which dips are narrower than the first grid
_FILL = 256  # candidates added in that neighbourhood
_MINIMA = 4  # lowest dips that are looked at more closely
_ZOOM = 32  # candidates in each of them


def candidate_factors() -> FloatArray:
    """Shares of the full range, 2**-12 to 1.05: evenly spaced and, for heavy tails, geometric too."""
    linear = np.linspace(_WIDEST / _LINEAR, _WIDEST, _LINEAR)
    geometric = 2.0 ** -np.arange(0, _OCTAVES, 1 / _PER_OCTAVE)
    return np.unique(np.concatenate([linear, geometric]))


def minimize(table_of: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Try candidates from narrow to wide, then more around the best ones.

    Rounding borders that pass over the data make the loss jagged, by some 0.3 % for 200,000 values. So
    after the first grid, all of the neighbourhood of the best candidate is filled, and then the
    surroundings of its lowest dips, once more.

    Args:
        table_of: makes the (n, 3) table of LOSS, LOW, HIGH for n factors.

    Returns:
        The table of all candidates tried, by ascending factor.
    """
    factors = candidate_factors()
    table = table_of(factors)
    for refine in (_neighbourhood, _dips):
        more = refine(factors, table[:, LOSS])
        factors, keep = np.unique(np.concatenate([factors, more]), return_index=True)
        table = np.concatenate([table, table_of(more)])[keep]
    return table


def _neighbourhood(factors: FloatArray, losses: FloatArray) -> FloatArray:
    """New factors between those that are nearly the best, and on to their neighbours."""
    near = losses <= losses.min() * _NEARLY_BEST
    gaps = np.flatnonzero(near[1:] | near[:-1])
    part = np.arange(1, max(_FILL // gaps.size, 1) + 1) / (max(_FILL // gaps.size, 1) + 1)
    low, high = factors[gaps, None], factors[gaps + 1, None]
    return np.asarray(low + (high - low) * part, np.float64).reshape(-1)


def _dips(factors: FloatArray, losses: FloatArray) -> FloatArray:
    """New factors on both sides of the lowest local minima, up to their neighbours."""
    padded = np.concatenate([[np.inf], losses, [np.inf]])
    minima = np.flatnonzero((losses <= padded[:-2]) & (losses <= padded[2:]))
    lowest = minima[np.argsort(losses[minima], kind="stable")[:_MINIMA]]
    low, high = factors[np.maximum(lowest - 1, 0)], factors[np.minimum(lowest + 1, factors.size - 1)]
    return np.linspace(low, high, _ZOOM + 2)[1:-1].reshape(-1)
