"""Uniform quantization: integer types, ranges, encodings, and the rounding that ONNX defines."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.integer]
Number = TypeVar("Number", bound=np.number)


@dataclass(frozen=True, slots=True)
class QuantType:
    """An integer type of 2 to 16 bits."""

    bits: int
    signed: bool

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 16:
            raise ValueError(f"quantized types have 2 to 16 bits, not {self.bits}")

    @property
    def name(self) -> str:
        """The field's short name, e.g. `int8` or `uint16`."""
        return f"{'int' if self.signed else 'uint'}{self.bits}"

    @property
    def qmin(self) -> int:
        """Smallest integer of the type."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def qmax(self) -> int:
        """Largest integer of the type."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def dtype(self) -> np.dtype[np.signedinteger] | np.dtype[np.unsignedinteger]:
        """The NumPy type that stores it (8 bits hold anything up to 8)."""
        width = 8 if self.bits <= 8 else 16
        return np.dtype(f"{'int' if self.signed else 'uint'}{width}")

    def __str__(self) -> str:
        return self.name


INT4, UINT4 = QuantType(4, True), QuantType(4, False)
INT8, UINT8 = QuantType(8, True), QuantType(8, False)
INT16, UINT16 = QuantType(16, True), QuantType(16, False)
TYPES = {t.name: t for bits in range(2, 17) for t in (QuantType(bits, True), QuantType(bits, False))}


class ScaleRule(StrEnum):
    """Which scales are allowed: any, or powers of two, for chips that shift instead of multiplying."""

    FREE = "free"
    POWER_OF_TWO_UP = "power_of_two_up"  # the next larger one: nothing more is clipped
    POWER_OF_TWO_NEAREST = "power_of_two_nearest"  # of the logarithms
    POWER_OF_TWO_MSE = "power_of_two_mse"  # up or down, as it costs the data less; without data the nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantSpec:
    """How a tensor is quantized, without its scale: type, symmetry, and the channel axis if it has one."""

    type: QuantType
    symmetric: bool
    narrow_range: bool = False  # signed only: drop qmin, so that the range is the same on both sides
    axis: int | None = None  # channel axis; None = one scale for the whole tensor
    scale_rule: ScaleRule = ScaleRule.FREE

    @property
    def qmin(self) -> int:
        """Smallest integer used."""
        return self.type.qmin + int(self.narrow_range and self.type.signed)

    @property
    def qmax(self) -> int:
        """Largest integer used."""
        return self.type.qmax

    @property
    def levels(self) -> int:
        """Steps on the positive side of a symmetric range, or over the whole of an asymmetric one."""
        return self.qmax if self.symmetric and self.type.signed else self.qmax - self.qmin


@dataclass(frozen=True, slots=True)
class Range:
    """Real values [low, high] that a quantizer keeps; what lies outside is clipped."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"a range needs finite low <= high, not [{self.low}, {self.high}]")

    @property
    def abs_max(self) -> float:
        """The larger magnitude of the two ends."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """Scale and zero point of a tensor: scalars, or one a channel along `axis`.

    x' = (q - zero_point) * scale,  q = clip(round_half_even(x / scale) + zero_point, qmin, qmax)
    """

    scale: npt.NDArray[np.float32]  # () or (channels,), > 0
    zero_point: npt.NDArray[np.int32]  # same shape
    type: QuantType
    axis: int | None = None
    qmin: int = 0  # integers in use; narrower than the type's for narrow_range
    qmax: int = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Encoding):
            return NotImplemented
        same = (self.type, self.axis, self.qmin, self.qmax) == (
            other.type,
            other.axis,
            other.qmin,
            other.qmax,
        )
        return (
            same
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    @property
    def low(self) -> npt.NDArray[np.float64]:
        """Smallest real value it can express."""
        return (self.qmin - self.zero_point.astype(np.float64)) * self.scale.astype(np.float64)

    @property
    def high(self) -> npt.NDArray[np.float64]:
        """Largest real value it can express."""
        return (self.qmax - self.zero_point.astype(np.float64)) * self.scale.astype(np.float64)


def encoding_from_ranges(low: FloatArray, high: FloatArray, spec: QuantSpec) -> Encoding:
    """Scale and zero point for real ranges: x' = (clip(round(x / scale) + zero_point) - zero_point) scale.

    `low`, `high`: scalars or (channels,); always widened to hold 0. Symmetric signed types get
    scale = max|.| / qmax with zero point 0; symmetric unsigned ones [0, T] with zero point 0 where
    nothing is negative, and otherwise [-T, T] around the middle zero point; asymmetric ones spread
    (high - low) over all steps. A range of width 0 gets scale 1. Where the rule for scales makes an
    asymmetric range narrower, both ends give way alike; where it makes one wider, neither does.
    """
    lo = np.minimum(np.asarray(low, np.float64), 0.0)
    hi = np.maximum(np.asarray(high, np.float64), 0.0)
    qmin, qmax = spec.qmin, spec.qmax
    if spec.symmetric:
        peak = np.maximum(-lo, hi)
        if spec.type.signed:
            scale, zero = peak / qmax, np.zeros(peak.shape, np.int32)
        else:
            middle = 1 << (spec.type.bits - 1)
            one_sided = lo >= 0.0
            scale = np.where(one_sided, peak / qmax, peak / (qmax - middle))
            zero = np.where(one_sided, 0, middle).astype(np.int32)
        scale32 = ruled_scale(_usable_scale(scale), spec.scale_rule)
    else:
        step = (hi - lo) / (qmax - qmin)
        scale32 = ruled_scale(_usable_scale(step), spec.scale_rule)
        # The float64 step decides the zero point, so that a tie does not hang on float32 rounding.
        exact = np.where(step < np.finfo(np.float32).tiny, 1.0, step)
        if spec.scale_rule is ScaleRule.FREE:
            at = np.rint(qmin - lo / exact)
        else:
            exact = scale32.astype(np.float64)
            spare = (qmax - qmin) - (hi - lo) / exact  # in steps
            at = qmin - lo / exact + np.minimum(spare, 0.0) / 2.0
            at = np.where(spare >= 1.0, np.ceil(at), np.rint(at))
        zero = np.clip(at, qmin, qmax).astype(np.int32)
    return Encoding(scale32, np.asarray(zero, np.int32), spec.type, spec.axis, qmin, qmax)


def encoding_from_range(range_: Range, spec: QuantSpec) -> Encoding:
    """`encoding_from_ranges` for one tensor-wide range."""
    return encoding_from_ranges(np.asarray(range_.low), np.asarray(range_.high), spec)


def kept_range(encoding: Encoding, spec: QuantSpec) -> Range:
    """The range that `encoding_from_range` turns into this tensor-wide encoding, if its scale is allowed."""
    scale, zero = float(encoding.scale), int(encoding.zero_point)
    if not spec.symmetric:
        return Range((spec.qmin - zero) * scale, (spec.qmax - zero) * scale)
    peak = (spec.qmax - zero) * scale
    one_sided = not spec.type.signed and zero == 0
    return Range(0.0 if one_sided else -peak, peak)


def ruled_scale(scale: FloatArray, rule: ScaleRule) -> npt.NDArray[np.float32]:
    """Positive scales as the rule allows them; `POWER_OF_TWO_MSE` has no data here, and takes the nearest."""
    scale = np.asarray(scale, np.float32)
    if rule is ScaleRule.FREE:
        return scale
    fraction, power = np.frexp(scale.astype(np.float64))  # scale = fraction * 2**power, 0.5 <= fraction < 1
    least = 0.5 if rule is ScaleRule.POWER_OF_TWO_UP else np.sqrt(0.5)
    exponent = power - (fraction <= least)
    limits = np.finfo(np.float32)
    return np.asarray(np.ldexp(1.0, np.clip(exponent, limits.minexp, limits.maxexp - 1)), np.float32)


def raised_scale(scale: FloatArray, rule: ScaleRule) -> npt.NDArray[np.float32]:
    """Positive scales as the rule allows them, none smaller than given."""
    return ruled_scale(scale, rule if rule is ScaleRule.FREE else ScaleRule.POWER_OF_TWO_UP)


_FAR_FROM_INFINITE = float(np.finfo(np.float32).max) / 2**17  # times all steps of 16 bits


def with_finite_ends(encoding: Encoding, rule: ScaleRule) -> Encoding:
    """The encoding, its scale a little smaller where an outermost integer would be infinite in float32.

    Ranges of masks with float32's lowest value have such ends.

    Args:
        encoding: Of a range.
        rule: That its scale obeys, and shall obey still.
    """
    if float(encoding.scale.max(initial=0.0)) < _FAR_FROM_INFINITE:
        return encoding
    zero = encoding.zero_point
    steps = np.maximum(encoding.qmax - zero, zero - encoding.qmin).astype(np.float32)
    most = np.finfo(np.float32).max / np.maximum(steps, 1)
    with np.errstate(over="ignore"):
        most = np.where(np.isinf(most * steps), np.nextafter(most, np.float32(0)), most)
    if rule is not ScaleRule.FREE:
        most = np.ldexp(np.float32(0.5), np.frexp(most)[1])  # the power of two below
    return replace(encoding, scale=np.asarray(np.minimum(encoding.scale, most), np.float32))


def _usable_scale(scale: FloatArray) -> npt.NDArray[np.float32]:
    """float32 scales; one that is 0, denormal or infinite in float32 becomes 1 (or the largest float)."""
    limits = np.finfo(np.float32)
    capped = np.minimum(np.asarray(scale, np.float64), float(limits.max))
    return np.asarray(np.where(capped < float(limits.tiny), 1.0, capped), np.float32)


def _along(values: npt.NDArray[Number], axis: int | None, ndim: int) -> npt.NDArray[Number]:
    """Reshape per-channel values so that they broadcast along `axis` of an `ndim`-dimensional tensor."""
    if axis is None or values.ndim == 0:
        return values
    shape = [1] * ndim
    shape[axis] = -1
    return values.reshape(shape)


def quantize(x: FloatArray, encoding: Encoding) -> IntArray:
    """Integers of `x` in float32 arithmetic, rounding half to even, as ONNX QuantizeLinear does."""
    x = np.asarray(x, np.float32)
    scale = _along(encoding.scale, encoding.axis, x.ndim)
    zero = _along(encoding.zero_point, encoding.axis, x.ndim)
    with np.errstate(over="ignore"):  # x / scale may reach inf, which the clip takes care of
        q = np.rint(x / scale) + zero
    clipped: IntArray = np.clip(q, encoding.qmin, encoding.qmax).astype(encoding.type.dtype)
    return clipped


def dequantize(q: IntArray, encoding: Encoding) -> npt.NDArray[np.float32]:
    """Real values of integers, as ONNX DequantizeLinear does; float32."""
    zero = _along(encoding.zero_point, encoding.axis, q.ndim)
    scale = _along(encoding.scale, encoding.axis, q.ndim)
    out = (q.astype(np.int32) - zero).astype(np.float32) * scale
    return np.asarray(out, np.float32)


def fake_quantize(x: FloatArray, encoding: Encoding) -> npt.NDArray[np.float32]:
    """`dequantize(quantize(x))`: what the network sees after quantization."""
    return dequantize(quantize(x, encoding), encoding)
