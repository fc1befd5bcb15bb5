"""Linear, power-of-two and logarithmic grids on the same values: for comparison only.

    LOG2: x' = sign(x) 2^clip(round(log2(|x| / m)), -(2^(b-1) - 1), 0) m,  m = max|x|, 0 stays 0

(D. Miyashita et al., "Convolutional Neural Networks using Logarithmic Data Representation", 2016). One bit
is the sign; unsigned types for values without negative ones use it for the exponent. Every quantizer is
seen as a codebook: its values, and the borders between them.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram
from quantscope.core.quant import Encoding, QuantSpec, Range, ScaleRule, encoding_from_range
from quantscope.core.thresholds.density import Part, density_of
from quantscope.core.thresholds.error import encoding_errors, sqnr_db_of
from quantscope.core.thresholds.manual import search_manual
from quantscope.core.thresholds.octav import beyond
from quantscope.core.thresholds.outcome import symmetric_range
from quantscope.core.thresholds.power_of_two import with_ruled_scale

FloatArray = npt.NDArray[np.float64]

_MOST_EXPONENTS = 1022  # 2^-1022 is the smallest normal float64


class Grid(StrEnum):
    """Where the values lie that a quantizer can express."""

    LINEAR = "linear"
    POWER_OF_TWO = "power_of_two"  # linear, with a scale of 2^k
    LOG2 = "log2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Codebook:
    """What a quantizer makes of x: `values[i]` for borders[i - 1] <= x < borders[i]; both ascend."""

    values: FloatArray  # (n,)
    borders: FloatArray  # (n - 1,)

    def __call__(self, x: npt.ArrayLike) -> FloatArray:
        """Quantized values of `x`, any shape; zero stays zero."""
        given = np.asarray(x, np.float64)
        out = self.values[np.searchsorted(self.borders, given, side="right")]
        return np.asarray(np.where(given == 0.0, 0.0, out), np.float64)

    def staircase(self, low: float, high: float) -> tuple[FloatArray, FloatArray]:
        """Corners of the step function over [low, high], two to a step: x and x', both (points,)."""
        inside = self.borders[(self.borders > low) & (self.borders < high)]
        steps = self.values[np.searchsorted(self.borders, np.append(low, inside), side="right")]
        x = np.repeat(np.concatenate([[low], inside, [high]]), 2)[1:-1]
        return x, np.repeat(steps, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class GridError:
    """What a grid costs on a tensor."""

    grid: Grid
    codebook: Codebook
    mse: float
    sqnr_db: float
    detail: str  # scale, or which magnitudes there are, for people


def linear_codebook(encoding: Encoding) -> Codebook:
    """The codebook of a scale and zero point."""
    q = np.arange(encoding.qmin, encoding.qmax + 1, dtype=np.float64) - float(encoding.zero_point)
    scale = float(encoding.scale)
    return Codebook(values=q * scale, borders=(q[:-1] + 0.5) * scale)


def log2_codebook(peak: float, bits: int, *, signed: bool = True) -> Codebook:
    """Powers of two below `peak`, on both sides of zero if `signed`.

    Args:
        peak: the largest magnitude, m.
        bits: 2 to 16, sign included; exponents beyond float64's are left out.
        signed: whether a bit is spent on the sign.
    """
    lowest = min((1 << (bits - 1 if signed else bits)) - 1, _MOST_EXPONENTS)
    exponents = np.arange(-lowest, 1, dtype=np.float64)
    values, borders = peak * 2.0**exponents, peak * 2.0 ** (exponents[1:] - 0.5)
    if not signed:
        return Codebook(values=values, borders=borders)
    return Codebook(
        values=np.concatenate([-values[::-1], values]),
        borders=np.concatenate([-borders[::-1], [0.0], borders]),
    )


def codebook_mse(histogram: Histogram, codebook: Codebook) -> float:
    """Mean squared error of a codebook, exact for values spread evenly within bins; zeros cost nothing."""
    if histogram.count == 0:
        return 0.0
    density = density_of(histogram)
    positive = _side_error(density.positive.parts, codebook, density.width)
    mirrored = Codebook(values=-codebook.values[::-1], borders=-codebook.borders[::-1])
    negative = _side_error(density.negative.parts, mirrored, density.width)
    return (positive + negative) * density.width**2 / histogram.count


def _side_error(part: Part, codebook: Codebook, width: float) -> float:
    """Summed squared error of the values above zero, in bins squared."""
    extent = part[1]
    if extent <= 0.0:
        return 0.0
    borders, values = codebook.borders / width, codebook.values / width
    first = int(np.searchsorted(borders, 0.0, side="right"))
    inner = borders[first:][borders[first:] < extent]
    values = values[first : first + inner.size + 1]
    ends = np.append(0.0, inner)
    tails = np.array([beyond(part, float(t)) for t in ends])
    # From the mass beyond t and its sums of (x - t) and (x - t)^2 follows that of (x - v)^2 around any v.
    around = tails[:, 2] + 2.0 * (ends - values) * tails[:, 1] + (ends - values) ** 2 * tails[:, 0]
    rights, below = ends[1:], values[:-1]
    excess = tails[1:, 2] + 2.0 * (rights - below) * tails[1:, 1] + (rights - below) ** 2 * tails[1:, 0]
    return max(float(around.sum() - excess.sum()), 0.0)


def compare_grids(histogram: Histogram, spec: QuantSpec, range_: Range) -> tuple[GridError, ...]:
    """Linear and power-of-two grids over `range_`, and LOG2 up to the largest magnitude, with equal bits."""
    free = replace(spec, scale_rule=ScaleRule.FREE)
    linear = encoding_from_range(range_, free)
    ruled = replace(spec, scale_rule=ScaleRule.POWER_OF_TWO_MSE)
    found = with_ruled_scale(search_manual(histogram, free, range_), histogram, ruled)
    rounded = encoding_from_range(found.range, ruled)
    out = []
    for grid, encoding in ((Grid.LINEAR, linear), (Grid.POWER_OF_TWO, rounded)):
        error = encoding_errors(histogram, encoding)
        detail = f"scale {float(encoding.scale):.4g}, zero point {int(encoding.zero_point)}"
        book = linear_codebook(encoding)
        out.append(GridError(grid=grid, codebook=book, mse=error.mse, sqnr_db=error.sqnr_db, detail=detail))
    return (*out, _log2_error(histogram, spec))


def _log2_error(histogram: Histogram, spec: QuantSpec) -> GridError:
    peak = histogram.abs_max or 1.0
    signed = spec.type.signed or symmetric_range(1.0, histogram, spec).low < 0.0
    book = log2_codebook(peak, spec.type.bits, signed=signed)
    mse = codebook_mse(histogram, book)
    density = density_of(histogram)
    energy = density.energy * density.width**2 / max(histogram.count, 1)
    halvings = np.unique(np.abs(book.values)).size - 1
    return GridError(
        grid=Grid.LOG2,
        codebook=book,
        mse=mse,
        sqnr_db=float(sqnr_db_of(energy, np.asarray(mse))),
        detail=f"magnitudes {peak:.4g}, {peak / 2:.4g}, {peak / 4:.4g} and so on, {halvings} times halved",
    )
