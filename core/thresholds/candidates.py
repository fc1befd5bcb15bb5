"""Which candidates the MSE and cosine searches try, and how they close in on the best one."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_LINEAR = 384
_PER_OCTAVE = 24
_OCTAVES = 12
_WIDEST = 1.05  # a little wider than the data can be better: rounding borders move
_MINIMA, _ZOOM = 4, 33


def candidate_factors() -> FloatArray:
    """Shares of the full range, from 2**-12 to 1.05: evenly spaced and, for heavy tails, geometric."""
    linear = np.linspace(_WIDEST / _LINEAR, _WIDEST, _LINEAR)
    geometric = 2.0 ** -np.arange(0, _OCTAVES, 1 / _PER_OCTAVE)
    return np.unique(np.concatenate([linear, geometric]))


def minimize(loss: Callable[[FloatArray], FloatArray], factors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """All candidates tried, sorted, and their losses.

    The loss is jagged (rounding borders pass over the data), so the surroundings of the few best local
    minima are all searched, twice, each time on a finer grid.
    """
    tried, losses = factors, loss(factors)
    for _ in range(2):
        more = np.concatenate([_between(tried, i) for i in _best_minima(losses)])
        tried, losses = np.concatenate([tried, more]), np.concatenate([losses, loss(more)])
        tried, keep = np.unique(tried, return_index=True)
        losses = losses[keep]
    return tried, losses


def _best_minima(losses: FloatArray) -> npt.NDArray[np.intp]:
    """Indices of the lowest local minima."""
    padded = np.concatenate([[np.inf], losses, [np.inf]])
    minima = np.flatnonzero((losses <= padded[:-2]) & (losses <= padded[2:]))
    return minima[np.argsort(losses[minima], kind="stable")[:_MINIMA]]


def _between(points: FloatArray, i: int) -> FloatArray:
    """New points on both sides of point i, up to its neighbours."""
    low, high = points[max(i - 1, 0)], points[min(i + 1, points.size - 1)]
    return np.linspace(low, high, 2 * _ZOOM + 1)[1:-1]
