"""Errors between a float tensor and its quantized counterpart, from sums that add up exactly in any order."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.jit import compiled
from quantscope.core.quant import UINT8, Encoding, dequantize

Flat = npt.NDArray[Any]  # one-dimensional
Sums = tuple[float, float, float, float, float]

_LANES = 64  # independent partial sums: the loop is vectorised, and adds in the same order on every machine


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorError:
    """How far a quantized tensor is from the float one, by the figures of `core.metrics`; None = unknown.

    Every figure is None where the quantized tensor holds NaN or infinities that the float one lacks, and
    where there was nothing to compare: neither is ever reported as perfect.
    """

    cosine: float | None
    sqnr_db: float | None  # inf where nothing differs, -inf where only the float tensor is all zero
    mse: float | None
    nmse: float | None
    max_abs_error: float | None
    count: int  # elements compared
    non_finite: int  # elements that are NaN or infinite on one side only (or differently so)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorSums:
    """What one pair of arrays contributes."""

    ff: float = 0.0  # sum of f²
    qq: float = 0.0  # sum of q²
    fq: float = 0.0  # sum of f·q
    dd: float = 0.0  # sum of (f - q)²
    max_abs: float = 0.0
    count: int = 0
    non_finite: int = 0


def error_sums(f: npt.NDArray[Any], q: npt.NDArray[Any], encoding: Encoding | None = None) -> ErrorSums:
    """Sums in float64 over one pair of arrays of the same shape.

    Args:
        f: The float tensor.
        q: Its counterpart: float values, or integers that `encoding` turns into values on the fly.
        encoding: Scale and zero point of integer `q`.

    Elements where both are the same infinity, or both NaN, are left out.

    Raises:
        ValueError: The shapes differ.
    """
    if f.shape != q.shape:
        raise ValueError(f"shapes differ: {f.shape} and {q.shape}")
    scale, zero = np.float32(1.0), np.int32(0)
    if encoding is not None:
        if encoding.scale.ndim and encoding.scale.size > 1:
            q = dequantize(q, encoding)
        else:
            scale, zero = np.float32(encoding.scale.item()), np.int32(encoding.zero_point.item())
    left, right = _flat(f), _flat(q)
    sums = _pair_sums(left, right, scale, zero) if right.dtype.kind in "iu" else _float_sums(left, right)
    if all(map(math.isfinite, sums)):
        return _as_sums(sums, left.size, 0)
    values = (right.astype(np.int32) - zero).astype(np.float32) * scale if right.dtype.kind in "iu" else right
    return _masked_sums(left, values)


def flat_pair(f: npt.NDArray[Any], q: npt.NDArray[Any]) -> tuple[Flat, Flat]:
    """Both arrays in one contiguous dimension, as compiled loops take them."""
    return _flat(f), _flat(q)


def _flat(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """One contiguous dimension; float16 and bfloat16 widened."""
    flat = np.ascontiguousarray(x).reshape(-1)
    as_is = flat.dtype.kind in "iu" or flat.dtype in (np.float32, np.float64)
    # Numba would compile its loops a second time for arrays that cannot be written to.
    return flat.astype(flat.dtype if as_is else np.float32, copy=not (as_is and flat.flags.writeable))


def _masked_sums(f: npt.NDArray[Any], q: npt.NDArray[Any]) -> ErrorSums:
    """The slow way, for arrays that hold NaN or infinities."""
    both = np.isfinite(f) & np.isfinite(q)
    alike = ~both & ((f == q) | (np.isnan(f) & np.isnan(q)))
    bad = int(f.size - np.count_nonzero(both) - np.count_nonzero(alike))
    return _as_sums(_float_sums(f[both], q[both]), int(np.count_nonzero(both)), bad)


def _as_sums(sums: Sums, count: int, non_finite: int) -> ErrorSums:
    ff, qq, fq, dd, peak = map(float, sums)
    return ErrorSums(ff=ff, qq=qq, fq=fq, dd=dd, max_abs=peak, count=count, non_finite=non_finite)


def warm_up() -> None:
    """Compile the loops for the usual types (or fetch them from disk), which the first call would do."""
    f = np.zeros(1, np.float32)
    encoding = Encoding(np.ones((), np.float32), np.zeros((), np.int32), UINT8, None, 0, 255)
    error_sums(f, np.zeros(1, np.uint8), encoding)
    error_sums(f, f)


# A loop for integers and one for floats; both are compiled for each pair of types they meet.


@compiled
def _pair_sums(f: Flat, q: Flat, scale: np.float32, zero: np.int32) -> Sums:
    ff, qq = np.zeros(_LANES), np.zeros(_LANES)
    fq, dd = np.zeros(_LANES), np.zeros(_LANES)
    peak = np.zeros(_LANES)
    whole = f.size - f.size % _LANES
    for start in range(0, whole, _LANES):
        f_part, q_part = f[start : start + _LANES], q[start : start + _LANES]
        for lane in range(_LANES):
            x = np.float64(f_part[lane])
            y = np.float64(np.float32(np.int32(q_part[lane]) - zero) * scale)
            e = x - y
            ff[lane] += x * x
            qq[lane] += y * y
            fq[lane] += x * y
            dd[lane] += e * e
            peak[lane] = max(peak[lane], abs(e))
    for i in range(whole, f.size):
        lane = i - whole
        x = np.float64(f[i])
        y = np.float64(np.float32(np.int32(q[i]) - zero) * scale)
        e = x - y
        ff[lane] += x * x
        qq[lane] += y * y
        fq[lane] += x * y
        dd[lane] += e * e
        peak[lane] = max(peak[lane], abs(e))
    return ff.sum(), qq.sum(), fq.sum(), dd.sum(), peak.max()


@compiled
def _float_sums(f: Flat, q: Flat) -> Sums:
    ff, qq = np.zeros(_LANES), np.zeros(_LANES)
    fq, dd = np.zeros(_LANES), np.zeros(_LANES)
    peak = np.zeros(_LANES)
    whole = f.size - f.size % _LANES
    for start in range(0, whole, _LANES):
        f_part, q_part = f[start : start + _LANES], q[start : start + _LANES]
        for lane in range(_LANES):
            x, y = np.float64(f_part[lane]), np.float64(q_part[lane])
            e = x - y
            ff[lane] += x * x
            qq[lane] += y * y
            fq[lane] += x * y
            dd[lane] += e * e
            peak[lane] = max(peak[lane], abs(e))
    for i in range(whole, f.size):
        lane = i - whole
        x, y = np.float64(f[i]), np.float64(q[i])
        e = x - y
        ff[lane] += x * x
        qq[lane] += y * y
        fq[lane] += x * y
        dd[lane] += e * e
        peak[lane] = max(peak[lane], abs(e))
    return ff.sum(), qq.sum(), fq.sum(), dd.sum(), peak.max()


@dataclass(slots=True)
class ExactSum:
    """A sum of floats, kept without any rounding; `value` rounds it once (Shewchuk, 1997)."""

    partials: list[float] = field(default_factory=list)  # do not overlap; their sum is the exact total

    def add(self, x: float) -> None:
        """Add a finite float."""
        kept = []
        for y in self.partials:
            high = x + y
            low = (y - (high - x)) if abs(x) >= abs(y) else (x - (high - y))
            if low:
                kept.append(low)
            x = high
        self.partials = [*kept, x]

    @property
    def value(self) -> float:
        """The correctly rounded total."""
        return math.fsum(self.partials)


@dataclass(slots=True)
class ErrorTotal:
    """Adds up `ErrorSums`; the result does not depend on the order."""

    ff: ExactSum = field(default_factory=ExactSum)
    qq: ExactSum = field(default_factory=ExactSum)
    fq: ExactSum = field(default_factory=ExactSum)
    dd: ExactSum = field(default_factory=ExactSum)
    max_abs: float = 0.0
    count: int = 0
    non_finite: int = 0
    comparable: bool = True  # False once a pair could not be compared

    def add(self, part: ErrorSums | None) -> None:
        """Add one pair's sums; None marks a pair that cannot be compared (its shapes differ)."""
        if part is None:
            self.comparable = False
            return
        self.ff.add(part.ff)
        self.qq.add(part.qq)
        self.fq.add(part.fq)
        self.dd.add(part.dd)
        self.max_abs = max(self.max_abs, part.max_abs)
        self.count += part.count
        self.non_finite += part.non_finite

    def error(self) -> TensorError:
        """The figures of all pairs together."""
        if self.non_finite or not self.count:
            return TensorError(
                cosine=None,
                sqnr_db=None,
                mse=None,
                nmse=None,
                max_abs_error=None,
                count=self.count,
                non_finite=self.non_finite,
            )
        ff, qq, fq, dd = self.ff.value, self.qq.value, self.fq.value, self.dd.value
        return TensorError(
            cosine=_cosine(ff, qq, fq),
            sqnr_db=_sqnr_db(ff, dd),
            mse=dd / self.count,
            nmse=dd / ff if ff else (0.0 if not dd else math.inf),
            max_abs_error=self.max_abs,
            count=self.count,
            non_finite=0,
        )


def total_error(parts: Iterable[ErrorSums]) -> TensorError:
    """The figures of several pairs together; the same for any order of `parts`."""
    total = ErrorTotal()
    for part in parts:
        total.add(part)
    return total.error()


def tensor_error(f: npt.NDArray[Any], q: npt.NDArray[Any], encoding: Encoding | None = None) -> TensorError:
    """`error_sums` of one pair, as figures."""
    return total_error([error_sums(f, q, encoding)])


def _cosine(ff: float, qq: float, fq: float) -> float:
    if not ff or not qq:
        return float(ff == qq)
    return max(-1.0, min(1.0, fq / (math.sqrt(ff) * math.sqrt(qq))))


def _sqnr_db(ff: float, dd: float) -> float:
    if not dd:
        return math.inf
    return 10.0 * math.log10(ff / dd) if ff / dd else -math.inf
