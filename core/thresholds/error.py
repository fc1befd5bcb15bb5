"""The error that a range would cause, read off the histogram."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram
from quantscope.core.quant import Encoding, QuantSpec, Range, encoding_from_range
from quantscope.core.thresholds.density import CLIPPING, ENERGY, ERROR, OUTSIDE, Density, density_of, sweep

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeError:
    """What quantizing a tensor x to x' costs; mse == clipping_mse + rounding_mse.

    mse = mean((x - x')²),  sqnr_db = 10 log10(sum x² / sum (x - x')²),  cosine = sum(x x') / (|x| |x'|)
    """

    mse: float
    clipping_mse: float  # from values outside [encoding.low, encoding.high]
    rounding_mse: float  # from values inside
    sqnr_db: float  # inf where nothing is lost
    cosine: float
    clipped_share: float  # of all finite values, 0 to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """The fields of `RangeError` for a batch of candidates, each (candidates,)."""

    mse: FloatArray
    clipping_mse: FloatArray
    rounding_mse: FloatArray
    sqnr_db: FloatArray
    cosine: FloatArray
    clipped_share: FloatArray


def errors_of(density: Density, encoding: Encoding) -> Errors:
    """Errors of each scale and zero point in `encoding`, () or (candidates,)."""
    sums = sweep(density, encoding)
    count = max(density.count, 1)
    area = density.width * density.width
    mse = sums[:, ERROR] / count * area
    clipping = np.minimum(sums[:, CLIPPING] / count * area, mse)
    return Errors(
        mse=mse,
        clipping_mse=clipping,
        rounding_mse=mse - clipping,
        sqnr_db=sqnr_db_of(density.energy, sums[:, ERROR]),
        cosine=1.0 - cosine_loss(density.energy, sums),
        clipped_share=sums[:, OUTSIDE] / count,
    )


def cosine_loss(energy: float, sums: FloatArray) -> FloatArray:
    """1 - cosine from the sums of `sweep`, without the cancellation of computing the cosine first.

    |x - x'|**2 - (|x| - |x'|)**2 = 2 |x| |x'| (1 - cos). Both zero: 0; one zero: 1.
    """
    length, quantized = math.sqrt(energy), np.sqrt(np.maximum(sums[..., ENERGY], 0.0))
    product = 2.0 * length * quantized
    excess = np.maximum(sums[..., ERROR] - (length - quantized) ** 2, 0.0)
    loss = np.divide(excess, product, out=np.ones_like(quantized), where=product > 0.0)
    return np.asarray(np.where((length == 0.0) & (quantized == 0.0), 0.0, loss), np.float64)


def sqnr_db_of(energy: float, error: FloatArray) -> FloatArray:
    """10 log10(energy / error); inf where the error is 0, -inf where only the energy is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 10.0 * np.log10(energy / np.asarray(error, np.float64))
    return np.asarray(np.where(np.asarray(error) == 0.0, np.inf, ratio), np.float64)


def errors_at(histogram: Histogram, range_: Range, spec: QuantSpec) -> RangeError:
    """What it costs to quantize a tensor with the encoding that `range_` gives under `spec`.

    Exact when values are spread evenly within each bin; zeros and the extremes are exact in any case.
    """
    return encoding_errors(histogram, encoding_from_range(range_, spec))


def encoding_errors(histogram: Histogram, encoding: Encoding) -> RangeError:
    """`errors_at` for a given scale and zero point (one of each)."""
    e = errors_of(density_of(histogram), encoding)
    return RangeError(
        mse=float(e.mse[0]),
        clipping_mse=float(e.clipping_mse[0]),
        rounding_mse=float(e.rounding_mse[0]),
        sqnr_db=float(e.sqnr_db[0]),
        cosine=float(e.cosine[0]),
        clipped_share=float(e.clipped_share[0]),
    )
