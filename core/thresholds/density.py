"""What quantization costs, from a histogram: integrals over a piecewise-uniform density.

The values of a tensor are seen as two one-sided densities of magnitudes, positive and negative, in
units of a bin. Inside a bin the mass is spread evenly; exact zeros and the values equal to the extremes
are kept as atoms. With S(t) the mass above t and H(t) = integral of (x - t) over the mass above t,
a quantizer with step s and n steps on this side, whose rounding borders are b_i = (i + 1/2) s, i < n, has

    sum (x - x')**2 = sum x**2 - 2 s * sum_i H(b_i)            sum x'**2 = 2 s * sum_i b_i S(b_i)

because x' climbs by s at each border. So a candidate costs one table look-up a level, not a pass over
the data. Steps finer than a bin use the limit s -> 0 of the same sums: every value inside costs s**2 / 12.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram
from quantscope.core.jit import compiled
from quantscope.core.quant import Encoding

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Part = tuple[FloatArray, float, FloatArray, float]  # a `Side` as compiled code takes it

# Columns of a side's table; row j is bin [j, j + 1), cut at the side's extreme. The right border of the bin
# is where the sums start, so nothing here holds mass of the bin itself except DENSITY.
DENSITY, ABOVE, FIRST, SECOND = range(4)  # mass a unit; mass, first and second moment beyond the right border
ERROR, ENERGY, OUTSIDE, CLIPPING = range(4)  # columns of the sums that `side_sums` returns
NEARLY = 1.0 + 1e-6  # float32 scales miss the range they were made for by 6e-8: nothing is clipped by that


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Magnitudes on one side of zero, in bins; `atoms` (2, 2) are [value, count] of the extremes."""

    table: FloatArray  # (bins, 4)
    extent: float  # largest magnitude
    atoms: FloatArray
    energy: float  # sum of x**2, atoms included

    @property
    def parts(self) -> Part:
        """The fields in order."""
        return self.table, self.extent, self.atoms, self.energy


@dataclass(frozen=True, slots=True, kw_only=True)
class Density:
    """Both sides of a histogram, ready for integration; lengths are in bins of `width`."""

    negative: Side
    positive: Side
    width: float
    count: int

    @property
    def energy(self) -> float:
        """Sum of x**2 in bins squared."""
        return self.negative.energy + self.positive.energy


@compiled
def fill_table(counts: FloatArray, extent: float) -> FloatArray:
    """The table of one side from its counts, bin 0 first."""
    n = counts.size
    table = np.zeros((n + 1, 4))
    mass, first, second = 0.0, 0.0, 0.0
    for j in range(n - 1, -1, -1):
        length = min(1.0, extent - j)
        table[j, 1], table[j, 2], table[j, 3] = mass, first, second
        c = counts[j]
        if c > 0.0 and length > 0.0:
            table[j, 0] = c / length
            second += length * (2.0 * first + length * (mass + c / 3.0))
            first += length * (mass + c / 2.0)
            mass += c
        else:
            second += length * (2.0 * first + length * mass)
            first += length * mass
    return table


def density_of(histogram: Histogram) -> Density:
    """The two sides of a histogram."""
    return Density(
        negative=_side(histogram, sign=-1),
        positive=_side(histogram, sign=1),
        width=histogram.width,
        count=histogram.count,
    )


def _side(histogram: Histogram, *, sign: int) -> Side:
    """Magnitudes of the positive or negative values, without the atoms in the table."""
    h = histogram
    low, high = (h.min, h.max) if sign > 0 else (-h.max, -h.min)
    at_low, at_high = (h.at_min, h.at_max) if sign > 0 else (h.at_max, h.at_min)
    if high <= 0.0:
        return Side(table=np.zeros((1, 4)), extent=0.0, atoms=np.zeros((2, 2)), energy=0.0)
    split = max(0, min(h.counts.size, -h.first))  # negative bins before it
    counts = np.zeros(h.first + h.counts.size if sign > 0 else -h.first)
    if sign > 0:
        counts[max(h.first, 0) :] = h.counts[split:]
    else:
        counts[:split] = h.counts[:split]
        counts = counts[::-1].copy()
    extent = float(np.ldexp(high, -h.exponent))
    counts[-1] -= at_high
    atoms = np.array([[extent, at_high], [0.0, 0.0]])
    if 0.0 < low < high:
        nearest = float(np.ldexp(low, -h.exponent))
        counts[int(nearest) if sign > 0 else math.ceil(nearest) - 1] -= at_low
        atoms[1] = nearest, at_low
    table = fill_table(counts, extent)
    length = min(1.0, extent)
    mass, first, second = table[0, ABOVE], table[0, FIRST], table[0, SECOND]
    inside = table[0, DENSITY] * length
    energy = second + length * (2.0 * first + length * (mass + inside / 3.0))
    energy += float((atoms[:, 0] ** 2 * atoms[:, 1]).sum())
    return Side(table=table, extent=extent, atoms=atoms, energy=float(energy))


@compiled
def side_sums(
    table: FloatArray, extent: float, atoms: FloatArray, energy: float, step: float, levels: int
) -> tuple[float, float, float, float]:
    """(ERROR, ENERGY, OUTSIDE, CLIPPING) of one side, lengths in bins.

    Sums of the squared error, of x'**2, of the values beyond the last level, and of their squared error.
    """
    limit = step * levels
    last = table.shape[0] - 2  # index of the bin that holds the extreme
    outside, clipping, beyond = 0.0, 0.0, 0.0
    if limit * NEARLY < extent:
        j = min(int(limit), last)
        x = min(j + 1.0, extent) - limit
        outside = table[j, 1] + table[j, 0] * x
        beyond = table[j, 2] + x * (table[j, 1] + 0.5 * table[j, 0] * x)
        clipping = table[j, 3] + x * (2.0 * table[j, 2] + x * (table[j, 1] + table[j, 0] * x / 3.0))
    body = energy - atoms[0, 0] ** 2 * atoms[0, 1] - atoms[1, 0] ** 2 * atoms[1, 1]
    if step >= 1.0:
        heights, moments = 0.0, 0.0
        borders = min(levels, int(math.ceil(extent / step - 0.5)))  # noqa: RUF046  # a float to Numba
        before_last = min(borders, max(int(math.ceil(last / step - 0.5)), 0))  # noqa: RUF046
        for i in range(before_last):
            b = (i + 0.5) * step
            k = np.uint32(np.int32(b))  # unsigned: an index that cannot be negative needs no check
            x = (k + 1.0) - b
            d, m = table[k, 0], table[k, 1]
            heights += table[k, 2] + x * (m + 0.5 * d * x)
            moments += b * (m + d * x)
        for i in range(before_last, borders):
            b = (i + 0.5) * step
            x = extent - b
            d, m = table[last, 0], table[last, 1]
            heights += table[last, 2] + x * (m + 0.5 * d * x)
            moments += b * (m + d * x)
        error, square = body - 2.0 * step * heights, 2.0 * step * moments
    else:
        fine = step * step / 12.0 * (table[0, 1] + table[0, 0] * min(1.0, extent) - outside)
        # What is clipped counts as limit**2 = x**2 - (x - limit)**2 - 2 limit (x - limit).
        error, square = clipping + fine, body - clipping - 2.0 * limit * beyond + fine
    for a in range(2):
        value, count = atoms[a, 0], atoms[a, 1]
        if count > 0.0:
            level = min(np.rint(value / step), np.float64(levels)) * step
            error += count * (value - level) ** 2
            square += count * level * level
            if value > limit * NEARLY:
                outside += count
                clipping += count * (value - limit) ** 2
    return max(error, 0.0), square, outside, clipping


@compiled
def sweep_sides(
    negative: Part,
    positive: Part,
    steps: FloatArray,
    below: IntArray,
    above: IntArray,
) -> FloatArray:
    """`side_sums` of both sides, added, for each candidate: (candidates, 4)."""
    out = np.empty((steps.size, 4))
    for i in range(steps.size):
        a = side_sums(negative[0], negative[1], negative[2], negative[3], steps[i], below[i])
        b = side_sums(positive[0], positive[1], positive[2], positive[3], steps[i], above[i])
        out[i, 0], out[i, 1] = a[0] + b[0], a[1] + b[1]
        out[i, 2], out[i, 3] = a[2] + b[2], a[3] + b[3]
    return out


def sweep(density: Density, encoding: Encoding) -> FloatArray:
    """Sums over all values for each scale and zero point of a batch of candidates.

    Args:
        density: the tensor's values.
        encoding: scale and zero point of shape () or (candidates,).

    Returns:
        (candidates, 4): squared error, squared quantized values, number of values outside the range and
        their squared error; lengths in bins.
    """
    zero = np.atleast_1d(encoding.zero_point).astype(np.int64)
    steps = np.atleast_1d(encoding.scale).astype(np.float64) / density.width
    return sweep_sides(
        density.negative.parts, density.positive.parts, steps, zero - encoding.qmin, encoding.qmax - zero
    )
