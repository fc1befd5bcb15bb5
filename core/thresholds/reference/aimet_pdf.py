"""AIMET's statistics: a running density on 512 buckets of three times the first batch's range."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.jit import compiled
from quantscope.core.thresholds.reference.result import Data, ReferenceThreshold, batches_of, failure

BUCKETS = 512
MIN_RANGE = 0.01


@dataclass(frozen=True, slots=True)
class Density:
    """Left edges and shares of the buckets, (512,) float64 each; the edges are float32 numbers."""

    left: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]

    @property
    def start(self) -> np.float32:
        """The first edge."""
        return np.float32(self.left[0])

    @property
    def step(self) -> np.float32:
        """The bucket width as the tool measures it."""
        return np.float32(self.left[1] - self.left[0])


def collect(data: Data) -> Density | ReferenceThreshold:
    """The density over all batches, each with the same weight, or what the tool makes of such data.

    Values go to the *nearest* edge (halves away from zero), so buckets are centred on their "left" edges;
    values of later batches beyond three times the first range are lost.
    """
    parts = batches_of(data)
    if not parts or not all(part.size for part in parts):
        return failure("there are no values")
    if not all(np.isfinite(part).all() for part in parts):
        return failure("NaN or infinity is cast to a bucket index: undefined behaviour")
    left: Any = None
    share = np.zeros(BUCKETS)
    rounds = 0
    for part in parts:
        if left is None:
            low, high = part.min(), part.max()
            if low == 0 and high == 0:
                continue
            left = _edges(low, high)
        counts = np.zeros(BUCKETS, dtype=np.int64)
        step = np.float32(left[1] - left[0])
        if not (step > 0 and np.isfinite(step)):
            return failure("the bucket width is 0 or infinite in float32: undefined behaviour")
        offset = np.float32(left[0]) / step
        _count(part, step, offset, counts)
        share = (share * rounds + counts / part.size) / (rounds + 1)
        rounds += 1
    if left is None:
        return failure("all values are 0, and the tool has no histogram: a scale of 0, or 2 / 255 by version")
    return Density(left, share)


def _edges(low: np.float32, high: np.float32) -> npt.NDArray[np.float64]:
    if low == high:
        high = max(high, low + np.float32(0.01))
    three = np.float32(3)
    center = (high + low) / np.float32(2)
    low = center - three * (center - low)
    high = center + three * (high - center)
    step = (np.float64(high) - np.float64(low)) / BUCKETS
    return low + np.arange(BUCKETS) * step


@compiled
def _count(x: Any, step: Any, offset: Any, counts: Any) -> Any:
    half = np.float32(0.5)
    for value in x:
        at = value / step - offset
        if at > -half and at < np.float32(counts.size):
            whole = int(at)
            if at - np.float32(whole) >= half:
                whole += 1
            if whole < counts.size:
                counts[whole] += 1


def observed_range(density: Density) -> tuple[np.float32, np.float32]:
    """Left edges of the outer occupied buckets, with zero, and at least 0.01 apart."""
    occupied = np.flatnonzero(density.share > 0)
    low = np.float32(density.left[occupied[0]])
    high = np.float32(density.left[occupied[-1] or BUCKETS - 1])
    low, high = min(low, np.float32(0)), max(high, np.float32(0))
    return low, max(high, low + np.float32(MIN_RANGE))


def encode(
    low: float, high: float, *, bitwidth: int, symmetric: bool, strict: bool, unsigned: bool
) -> tuple[float, float]:
    """Scale and offset of `getComputedEncodings`."""
    steps = 2**bitwidth - 1 - int(symmetric and strict)
    if symmetric and (low < 0 or not unsigned):
        return max(abs(high), abs(low)) / (steps // 2), -float(-(-steps // 2))
    scale = (high - low) / steps
    if low < 0 < high:
        return scale, -float(min(steps, max(0, _round_away(-low / scale))))
    return scale, float(_round_away(low / scale)) if scale > 0 else 0.0


def encoding(
    low: float, high: float, *, bitwidth: int, symmetric: bool, strict: bool, unsigned: bool
) -> ReferenceThreshold:
    """The result for a range."""
    scale, offset = encode(
        low, high, bitwidth=bitwidth, symmetric=symmetric, strict=strict, unsigned=unsigned
    )
    if not (np.isfinite(scale) and scale > 0):
        return failure(f"the scale is {scale}")
    steps = 2**bitwidth - 1 - int(symmetric and strict)
    mirrored = symmetric and (low < 0 or not unsigned)
    top = scale * (steps // 2) if mirrored else high - low + scale * offset
    return ReferenceThreshold(low=scale * offset, high=top, scale=scale, zero_point=-int(offset))


def _round_away(value: float) -> int:
    whole = int(abs(value))
    whole += abs(value) - whole >= 0.5
    return whole if value >= 0 else -whole
