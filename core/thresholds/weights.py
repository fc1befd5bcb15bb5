"""Ranges of constant weights: per tensor or per channel, by MinMax, percentile or least squared error."""

from dataclasses import replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from quantscope.core.jit import compiled
from quantscope.core.quant import Encoding, QuantSpec, QuantType, ScaleRule, encoding_from_ranges

Float32 = npt.NDArray[np.float32]
CANDIDATES = 80  # clipping factors tried for least squared error
LOWEST = 0.2  # of the largest magnitude: outliers in small kernels make deep clipping pay at low bit widths


class WeightMethod(StrEnum):
    """How the range of a weight (or of each of its channels) is chosen."""

    MINMAX = "minmax"
    MSE = "mse"
    PERCENTILE = "percentile"


def weight_encoding(
    weight: Float32, spec: QuantSpec, method: WeightMethod = WeightMethod.MINMAX, *, percentile: float = 99.99
) -> Encoding:
    """Scale and zero point of a weight, one per channel along `spec.axis`.

    Args:
        weight: Any shape, float32.
        spec: Symmetric or not; `axis` None for one scale; a rule for scales holds for each channel.
        method: MinMax, the percentile of magnitudes kept, or least mean squared error.
        percentile: Share of magnitudes kept, in percent.
    """
    if spec.symmetric and not spec.type.signed:
        signed = replace(spec, type=QuantType(spec.type.bits, True), narrow_range=True)
        return _unsigned(weight_encoding(weight, signed, method, percentile=percentile))
    rows = channel_rows(weight, spec.axis)
    low, high = rows.min(axis=1), rows.max(axis=1)
    if method is WeightMethod.PERCENTILE:
        kept = np.percentile(np.abs(rows), percentile, axis=1)
        low, high = np.maximum(low, -kept), np.minimum(high, kept)
    elif method is WeightMethod.MSE:
        factor = _least_squares_factor(rows, low, high, spec)
        low, high = low * factor, high * factor
    if spec.scale_rule is ScaleRule.POWER_OF_TWO_MSE:
        found = _power_of_two(rows, low, high, spec)
        if spec.axis is None:
            found = replace(found, scale=found.scale[0], zero_point=found.zero_point[0])
        return found
    if spec.axis is None:
        low, high = low[0], high[0]
    return encoding_from_ranges(low.astype(np.float64), high.astype(np.float64), spec)


def _power_of_two(rows: Float32, low: Float32, high: Float32, spec: QuantSpec) -> Encoding:
    """For each row the next larger power of two, or half of it where that gives less squared error."""
    larger = encoding_from_ranges(low, high, replace(spec, scale_rule=ScaleRule.POWER_OF_TWO_UP))
    zero = larger.zero_point
    if not spec.symmetric:  # clip on both sides alike
        middle = (spec.qmin + spec.qmax) / 2
        zero = np.clip(np.rint(middle + 2 * (zero - middle)), spec.qmin, spec.qmax).astype(np.int32)
    smaller = replace(larger, scale=larger.scale / np.float32(2), zero_point=zero)
    errors = [
        squared_error(rows, e.scale, e.zero_point.astype(np.float32), float(e.qmin), float(e.qmax))
        for e in (larger, smaller)
    ]
    better = (errors[1] < errors[0]) & (smaller.scale >= np.finfo(np.float32).tiny)
    return replace(
        larger,
        scale=np.where(better, smaller.scale, larger.scale),
        zero_point=np.where(better, smaller.zero_point, larger.zero_point),
    )


def _unsigned(encoding: Encoding) -> Encoding:
    """The same steps in an unsigned type; integer kernels want the middle zero point in every channel."""
    middle = 1 << (encoding.type.bits - 1)
    return replace(
        encoding,
        zero_point=encoding.zero_point + np.int32(middle),
        type=QuantType(encoding.type.bits, False),
        qmin=encoding.qmin + middle,
        qmax=encoding.qmax + middle,
    )


def channel_rows(weight: Float32, axis: int | None) -> Float32:
    """The weight as (channels, values a channel); one row where `axis` is None."""
    if axis is None:
        return np.ascontiguousarray(weight.reshape(1, -1), np.float32)
    moved = np.moveaxis(weight, axis, 0)
    return np.ascontiguousarray(moved.reshape(moved.shape[0], -1), np.float32)


def _least_squares_factor(rows: Float32, low: Float32, high: Float32, spec: QuantSpec) -> Float32:
    """For each row the factor in [LOWEST, 1] on its range that gives the least squared error."""
    factors = np.linspace(1.0, LOWEST, CANDIDATES)
    loss = np.empty((factors.size, rows.shape[0]))
    for i, factor in enumerate(factors):
        encoding = encoding_from_ranges(low * factor, high * factor, spec)
        zero = encoding.zero_point.astype(np.float32)
        loss[i] = squared_error(rows, encoding.scale, zero, float(encoding.qmin), float(encoding.qmax))
    return np.asarray(factors[loss.argmin(axis=0)], np.float32)


@compiled
def squared_error(
    rows: Float32, scale: Float32, zero: Float32, qmin: float, qmax: float
) -> npt.NDArray[np.float64]:
    """Squared error of each row, rounded with a scale and zero point of its own."""
    out = np.zeros(rows.shape[0])
    for r in range(rows.shape[0]):
        inverse = np.float32(1.0) / scale[r]
        total = 0.0
        for value in rows[r]:
            q = min(max(np.rint(value * inverse) + zero[r], qmin), qmax)
            delta = float(value) - (q - zero[r]) * float(scale[r])
            total += delta * delta
        out[r] = total
    return out
