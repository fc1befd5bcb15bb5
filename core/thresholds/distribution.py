"""Cumulative distributions of a histogram: quantiles, and counts in other bins."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How many values lie at or below each point, linear in between; an atom is a pair of equal points."""

    values: FloatArray  # (points,), ascending
    cumulative: FloatArray  # (points,), from 0 to the number of values

    def quantile(self, share: FloatArray) -> FloatArray:
        """Smallest value with at least this share of the mass at or below it; (n,) for (n,)."""
        x, c = self.values, self.cumulative
        rank = share * (c[-1] * (1.0 - 1e-15))  # forgive the last bit of a share such as 1 - 0.1
        right = np.clip(np.searchsorted(c, rank), 1, c.size - 1)
        rise = c[right] - c[right - 1]
        part = np.divide(rank - c[right - 1], rise, out=np.ones(rank.size), where=rise > 0.0)
        return np.asarray(x[right - 1] + np.clip(part, 0.0, 1.0) * (x[right] - x[right - 1]), np.float64)

    def mirrored(self) -> "Distribution":
        """That of the negated values."""
        return Distribution(values=-self.values[::-1], cumulative=self.cumulative[-1] - self.cumulative[::-1])

    def rebin(self, edges: FloatArray) -> FloatArray:
        """Counts between ascending edges that span all values; an atom on an edge goes to its right."""
        x, c = self.values, self.cumulative
        right = np.clip(np.searchsorted(x, edges, side="left"), 1, x.size - 1)
        run = x[right] - x[right - 1]
        part = np.divide(edges - x[right - 1], run, out=np.zeros(edges.size), where=run > 0.0)
        at = c[right - 1] + np.clip(part, 0.0, 1.0) * (c[right] - c[right - 1])
        at[0], at[-1] = 0.0, c[-1]
        return np.asarray(np.maximum(np.diff(at), 0.0), np.float64)


def signed_distribution(h: Histogram) -> Distribution:
    """The distribution of the values; needs at least one."""
    return _with_atoms(h, _body(h), h.first, h.min, h.max, _atoms(h))


def magnitude_distribution(h: Histogram) -> Distribution:
    """The distribution of |x|; needs at least one value."""
    if h.min >= 0.0:
        return signed_distribution(h)
    body, split = _body(h), max(0, min(h.counts.size, -h.first))
    above = max(h.first + body.size, 0)
    folded = np.zeros(max(above, -h.first))
    folded[-h.first - split : -h.first] = body[:split][::-1]
    folded[above - (body.size - split) : above] += body[split:]
    atoms = [(abs(value), count) for value, count in _atoms(h)]
    return _with_atoms(h, folded, 0, 0.0 if h.max >= 0.0 else -h.max, h.abs_max, atoms)


def _atoms(h: Histogram) -> list[tuple[float, int]]:
    """Values known exactly, and how many there are of each."""
    ends = [(h.min, h.at_min), (h.max, h.at_max)] if h.min < h.max else [(h.min, h.count)]
    return [*ends, (0.0, h.zeros)] if h.min < 0.0 < h.max else ends


def _body(h: Histogram) -> FloatArray:
    """Counts without the atoms."""
    body = h.counts.astype(np.float64)
    if h.max != 0.0:
        body[-1] -= h.at_max
    if h.min not in (0.0, h.max):
        body[0] -= h.at_min
    return body


def _with_atoms(
    h: Histogram, body: FloatArray, first: int, low: float, high: float, atoms: list[tuple[float, int]]
) -> Distribution:
    """The distribution of bins from `first` on, cut to [low, high], and of atoms."""
    borders = np.arange(first, first + body.size + 1, dtype=np.float64)
    edges = np.clip(np.ldexp(borders, h.exponent), low, high)
    cumulative = np.concatenate([[0.0], np.cumsum(body)])
    at = np.array([value for value, _ in atoms])
    below = np.interp(at, edges, cumulative)
    values = np.concatenate([edges, at, at])
    steps = np.concatenate([np.zeros(edges.size + at.size), [count for _, count in atoms]])
    order = np.argsort(values, kind="stable")  # at an atom: border, its lower point, its upper point
    smooth = np.concatenate([cumulative, below, below])
    return Distribution(values=values[order], cumulative=smooth[order] + np.cumsum(steps[order]))
