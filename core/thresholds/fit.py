"""Fit Gauss and Laplace densities to a histogram, and say how well they fit.

Exact zeros are left out: a spike that any quantizer keeps, and no part of a smooth density. Tensors on one
side of zero, such as what a ReLU leaves, are fitted twice: around their mean, and as the half of a
density around zero. The fit with the least distance of the distribution functions (Kolmogorov-Smirnov) is
the better one.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram
from quantscope.core.jit import compiled

FloatArray = npt.NDArray[np.float64]

_POINTS = 257  # at which distribution functions are compared


class Family(StrEnum):
    """A density that is known up to its centre and its spread."""

    GAUSS = "Gauss"
    LAPLACE = "Laplace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A density fitted to the non-zero values of a tensor."""

    family: Family
    center: float
    spread: float  # standard deviation (Gauss), or mean distance from the centre (Laplace); > 0
    side: int  # 1 or -1: only that half of it, around 0; 0: all of it
    distance: float  # largest difference of the distribution functions, 0 to 1

    @property
    def label(self) -> str:
        """Its name, for people."""
        return f"{'half ' if self.side else ''}{self.family}"

    def density(self, x: FloatArray) -> FloatArray:
        """Probability density at `x`; integrates to 1."""
        with np.errstate(over="ignore"):
            z = np.abs(x - self.center) / self.spread
            if self.family is Family.GAUSS:
                values = np.exp(-0.5 * z * z) / (self.spread * math.sqrt(2.0 * math.pi))
            else:
                values = np.exp(-z) / (2.0 * self.spread)
        kept = np.sign(x) == self.side if self.side else np.ones(x.shape, bool)
        return np.asarray(np.where(kept, values * (2.0 if self.side else 1.0), 0.0), np.float64)

    def cumulative(self, x: FloatArray) -> FloatArray:
        """Share of values below `x`."""
        with np.errstate(over="ignore"):  # far from a density that is all but a point
            below = cumulative_at((x - self.center) / self.spread, self.family is Family.LAPLACE)
        if self.side > 0:
            below = np.maximum(2.0 * below - 1.0, 0.0)
        elif self.side < 0:
            below = np.minimum(2.0 * below, 1.0)
        return below


@compiled
def cumulative_at(z: FloatArray, laplace: bool) -> FloatArray:
    """Distribution function of the standard Gauss (or Laplace) density."""
    out = np.empty(z.size)
    for i in range(z.size):
        if not laplace:
            out[i] = 0.5 * math.erfc(-z[i] / math.sqrt(2.0))
        elif z[i] < 0.0:
            out[i] = 0.5 * math.exp(z[i])
        else:
            out[i] = 1.0 - 0.5 * math.exp(-z[i])
    return out


def fits(histogram: Histogram) -> tuple[Fit, ...]:
    """All fits to the non-zero values, the best one first; none if there are no such values."""
    h = histogram
    if h.counts.size == 0:
        return ()
    edges = np.clip(h.edges, h.min, h.max)
    points = _quantile_edges(h.counts)
    below = np.concatenate([[0.0], np.cumsum(h.counts)])[points] / h.counts.sum()
    centers = [(0.0, 1 if h.min >= 0.0 else -1)] if h.min >= 0.0 or h.max <= 0.0 else []
    found = []
    for center, side in [(_mean(edges, h.counts), 0), *centers]:
        for family in Family:
            spread = max(_spread(edges, h.counts, center, family), float(np.finfo(np.float64).tiny))
            fit = Fit(family=family, center=center, spread=spread, side=side, distance=0.0)
            gap = float(np.abs(fit.cumulative(edges[points]) - below).max())
            found.append(Fit(family=family, center=center, spread=spread, side=side, distance=gap))
    return tuple(sorted(found, key=lambda fit: fit.distance))


def _quantile_edges(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Indices of bin borders at evenly spaced shares of the values."""
    ranks = np.cumsum(counts)
    return np.unique(np.searchsorted(ranks, np.linspace(0.0, float(ranks[-1]), _POINTS))) + 1


def _mean(edges: FloatArray, counts: npt.NDArray[np.int64]) -> float:
    middles = edges[:-1] + (edges[1:] - edges[:-1]) / 2.0
    return float(np.average(middles, weights=counts))


def _spread(edges: FloatArray, counts: npt.NDArray[np.int64], center: float, family: Family) -> float:
    """Standard deviation or mean distance from the centre, values spread evenly in each bin."""
    left, right = edges[:-1] - center, edges[1:] - center
    if family is Family.GAUSS:
        unit = max(float(np.abs(edges - center).max()), float(np.finfo(np.float64).tiny))  # no overflow
        left, right = left / unit, right / unit
        squares = (left * left + left * right + right * right) / 3.0
        return unit * math.sqrt(float(np.average(squares, weights=counts)))
    return float(np.average(np.abs(left + (right - left) / 2.0), weights=counts))
