"""PPQ's observers: KL without the smallest values, MSE by a model of the rounding error, percentile, isotone.

Symmetric scales are 2R / (qmax - qmin): with -128..127 the largest value is 127.5 steps, so it is clipped.

KL: a histogram of |x| with 4096 bins whose first 0.2 % (8) are emptied and the next one set to a single
count, so that zeros and small values have no say. Only 32 window widths are tried. Q is normalised by itself,
logs are to base 10, and empty bins count as 1e-30. The scale is the window's end over 128 whatever the
integer range is, and asymmetric types are refused.

MSE: no value is ever quantized. The error inside a bin is how many bins it is away from the next level, for
at most 9 level distances (symmetric) or 9 with every eighth bin as the start (asymmetric); a symmetric range
puts all 256 levels on one side, as if the step were half of what the scale becomes.

Percentile sorts the values, takes one of them (no interpolation), and averages over batches. Isotone looks at
the two largest values of each row and takes the scale that keeps them apart in the most rows.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.jit import compiled
from quantscope.core.thresholds.reference import torchlike
from quantscope.core.thresholds.reference.result import (
    Data,
    Floats,
    Reference,
    ReferenceThreshold,
    batches_of,
    failure,
)

MIN_SCALE = 1e-8
KL_GROUPS = 128


@dataclass(frozen=True, slots=True)
class _Config:
    low: int
    high: int
    asymmetric: bool = False
    power_of_two: bool = False


CONFIGS = {
    "sym_s8": _Config(-128, 127),
    "sym_s8_127": _Config(-127, 127),
    "sym_s8_pot": _Config(-128, 127, power_of_two=True),
    "asym_u8": _Config(0, 255, asymmetric=True),
}


@np.errstate(all="ignore")
def kl(data: Data, *, config: str = "sym_s8", hist_bins: int = 4096) -> ReferenceThreshold:
    """`TorchHistObserver`.

    Args:
        data: one array, or batches (the order has no effect: the range is found in a pass of its own).
        config: a key of `CONFIGS`.
        hist_bins: bins over [0, max|x|].
    """
    chosen = CONFIGS[config]
    if chosen.asymmetric:
        return failure("PermissionError: the KL observer is not for asymmetric types")
    parts = batches_of(data)
    low, high, reason = _range(parts)
    if reason:
        return failure(reason)
    width = max(abs(high), abs(low)) / hist_bins
    counts = _counts([np.abs(part) for part in parts], hist_bins, 0.0, width * hist_bins).astype(np.float32)
    ignored = int(hist_bins * 0.002)
    counts[:ignored] = 0
    counts[ignored] = 1
    best = 0.0
    window = KL_GROUPS
    for bins in range(KL_GROUPS, hist_bins + KL_GROUPS - 1, KL_GROUPS):
        divergence = _divergence(counts, bins)
        if bins == KL_GROUPS or divergence < best:
            best, window = divergence, bins
    scale = max((window / hist_bins) * width * (hist_bins / KL_GROUPS), MIN_SCALE)
    if chosen.power_of_two:
        scale = 2.0 ** _half_up(math.log2(scale))
    return _encoding(scale, 0, chosen)


@np.errstate(all="ignore")
def mse(data: Data, *, config: str = "sym_s8", hist_bins: int = 2048) -> ReferenceThreshold:
    """`TorchMSEObserver`.

    Args:
        data: one array, or batches.
        config: a key of `CONFIGS`.
        hist_bins: bins over [0, max|x|], or over [min, max] if asymmetric.
    """
    chosen = CONFIGS[config]
    parts = batches_of(data)
    low, high, reason = _range(parts)
    if reason:
        return failure(reason)
    levels = chosen.high - chosen.low + 1
    widest = hist_bins // levels + 1
    starts, steps = [0], [widest]
    if chosen.asymmetric:
        width = (high - low) / hist_bins
        counts = _counts(parts, hist_bins, low, high)
        for start in range(0, hist_bins, 8):
            if start * width + low > 0:
                break
            fitting = [step for step in range(1, widest) if start + levels * step <= hist_bins + levels]
            starts += [start] * len(fitting)
            steps += fitting
    else:
        width = max(abs(high), abs(low)) / hist_bins
        counts = _counts([np.abs(part) for part in parts], hist_bins, 0.0, width * hist_bins)
        starts += [0] * (widest - 1)
        steps += range(1, widest)
    losses = _losses(counts, np.array(starts), np.array(steps), levels)
    best = int(np.argmin(losses))
    end = starts[best] + levels * steps[best]
    if chosen.asymmetric:
        return _from_range(starts[best] * width + low, end * width + low, chosen)
    return _from_range(-(end * width), end * width, chosen)


@np.errstate(all="ignore")
def percentile(data: Data, *, config: str = "sym_s8", percentile: float = 0.9999) -> ReferenceThreshold:
    """`TorchPercentileObserver`.

    Args:
        data: one array, or batches, whose percentiles are averaged.
        config: a key of `CONFIGS`.
        percentile: share of values below the upper end, and above the lower one.
    """
    parts = batches_of(data)
    _, _, reason = _range(parts)
    if reason:
        return failure(reason)
    lows = np.empty(len(parts), dtype=np.float32)
    highs = np.empty(len(parts), dtype=np.float32)
    for k, part in enumerate(parts):
        first = max(0, int(part.size * (1 - percentile)))
        last = min(int(part.size * percentile), part.size - 1)
        ordered = np.partition(part, (first, last))
        lows[k], highs[k] = ordered[first], ordered[last]
    return _from_range(float(lows.mean()), float(highs.mean()), CONFIGS[config])


@np.errstate(all="ignore")
def minmax(data: Data, *, config: str = "sym_s8") -> ReferenceThreshold:
    """`TorchMinMaxObserver`."""
    low, high, reason = _range(batches_of(data))
    return failure(reason) if reason else _from_range(low, high, CONFIGS[config])


@np.errstate(all="ignore")
def isotone(data: Data, *, config: str = "sym_s8", axis: int = -1, shape: str = "") -> ReferenceThreshold:
    """`TorchIsotoneObserver`, for scores of which only the order at the top matters.

    Args:
        data: scores; one array with its shape, or batches of it.
        config: a key of `CONFIGS`.
        axis: of the classes.
        shape: "2000x100" to give flat data a shape.
    """
    chosen = CONFIGS[config]
    tops = []
    for part in data if isinstance(data, list | tuple) and data and not np.isscalar(data[0]) else [data]:
        x = np.asarray(part, dtype=np.float32)
        x = x.reshape([int(n) for n in shape.split("x")]) if shape else np.atleast_1d(x)
        if x.size == 0 or x.shape[axis] < 2:
            return failure("torch.topk raises RuntimeError: fewer than two classes")
        rows = np.swapaxes(x, axis, -1).reshape(-1, x.shape[axis])
        tops.append(np.sort(np.partition(rows, -2, axis=1)[:, -2:], axis=1)[:, ::-1])
    first, second = np.concatenate(tops).T
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return failure("a row's largest values are NaN or infinite, and so is the scale")
    fallback = float(first[-1])
    if not chosen.asymmetric:
        first, second = np.abs(first), np.abs(second)
        fallback = float(first[-1])
    scale = _most_covered(first, second, chosen.high - 0.51)
    return _from_range(0.0, fallback, chosen) if scale is None else _encoding(scale, 0, chosen)


def _most_covered(first: Floats, second: Floats, room: float) -> float | None:
    """The first scale that suits the most rows: from where the second fits to where the two fall together.

    The quotient is float64, as PPQ has it with the NumPy 1 of its time; NumPy 2 makes it float32.
    """
    starts = np.maximum(second.astype(np.float64) / room, 0.0)
    ends = 2.0 * (first - np.maximum(second, np.float32(0))).astype(np.float64)
    keep = (ends > starts) & (first > 0)
    if not keep.any():
        return None
    scales = np.concatenate((starts[keep], ends[keep]))
    opens = np.repeat((1, 0), keep.sum())
    order = np.lexsort((opens, scales))  # an end comes before a start at the same scale
    covered = np.cumsum(2 * opens[order] - 1)
    return float(scales[order][int(np.argmax(covered))])


def _range(parts: list[Floats]) -> tuple[float, float, str]:
    if not all(part.size for part in parts):
        return 0.0, 0.0, "AssertionError: an empty tensor is observed"
    if not all(np.isfinite(part).all() for part in parts):
        return 0.0, 0.0, "the range is NaN or infinite, and so is the scale"
    return float(min(part.min() for part in parts)), float(max(part.max() for part in parts)), ""


def _counts(parts: list[Floats], bins: int, low: float, high: float) -> npt.NDArray[np.int64]:
    total = np.zeros(bins, dtype=np.int64)
    for part in parts:
        total += torchlike.histc(part, bins, float(np.float32(low)), float(np.float32(high)))
    return total


def _divergence(counts: Floats, bins: int) -> float:
    """KL in base 10 of the first `bins` bins against their 128 group means."""
    p = counts[:bins].copy()
    p[-1] += counts[bins:].sum()
    p = p / counts.sum()
    q = counts[:bins].reshape(KL_GROUPS, bins // KL_GROUPS)
    occupied = q > 0
    share = q.sum(axis=1) / np.maximum(occupied.sum(axis=1), 1).astype(np.float32)
    spread = (share[:, None] * occupied).ravel()
    spread = spread / torchlike.torch_sum(spread)
    p64, q64 = p.astype(np.float64), spread.astype(np.float64)
    return float(np.dot(p64, np.log10(p64 + 1e-30) - np.log10(q64 + 1e-30)))


@compiled
def _losses(counts: Any, starts: Any, steps: Any, levels: Any) -> Any:
    """Mean squared distance of each candidate, in bins, summed bin by bin in float64."""
    total = counts.sum()
    result = np.empty(starts.size)
    for number in range(starts.size):
        start = starts[number]
        step = steps[number]
        end = start + levels * step
        loss = 0.0
        for k in range(counts.size):
            if k < start:
                error = start - k - 1 + 0.5
            elif k > end:
                error = k - end + 0.5
            else:
                left = (k - start) % step
                right = step - left - 1
                error = left + 0.25 if left == right else min(left, right) + 0.5
            loss += (counts[k] * error * error) / total
        result[number] = loss
    return result


def _from_range(low: float, high: float, config: _Config) -> ReferenceThreshold:
    """`minmax_to_scale_offset`: zero included, the scale at least 1e-8."""
    low, high = min(low, 0.0), max(high, 0.0)
    steps = config.high - config.low
    if config.asymmetric:
        scale = max((high - low) / steps, MIN_SCALE)
        return _encoding(scale, round(-low / scale), config)
    scale = max(2 * max(abs(high), abs(low)) / steps, MIN_SCALE)
    if config.power_of_two:
        scale = 2.0 ** math.ceil(math.log2(scale))
    return _encoding(scale, 0, config)


def _encoding(scale: float, zero_point: int, config: _Config) -> ReferenceThreshold:
    """The float32 scale, and the values of the lowest and the highest integer."""
    rounded = float(np.float32(scale))
    ends: dict[str, Any] = {
        "low": rounded * (config.low - zero_point),
        "high": rounded * (config.high - zero_point),
    }
    return ReferenceThreshold(scale=rounded, zero_point=zero_point, **ends)


def _half_up(value: float) -> int:
    return math.floor(value + 0.5)


TOOL = "ppq"
VERSION = "ppq 0.6.6 with torch 2.13.0 on a CPU"
CONFIG_NAMES = ("sym_s8_127", "sym_s8_pot", "asym_u8")

REFERENCES = (
    Reference(
        tool=TOOL,
        algorithm="kl",
        version=VERSION,
        function=kl,
        parameters={"config": "sym_s8", "hist_bins": 4096},
        variants=(
            {"config": "sym_s8_127", "hist_bins": 4096},
            {"config": "sym_s8_pot", "hist_bins": 4096},
            {"config": "sym_s8", "hist_bins": 2048},
        ),
        peculiar="The smallest 0.2 % of the bins are emptied, only 32 window widths are tried, and the scale "
        "is the window over 128, not 127.",
        exact=True,
        fidelity="Exact: Q is normalised by a float32 sum in torch's own order.",
    ),
    Reference(
        tool=TOOL,
        algorithm="mse",
        version=VERSION,
        function=mse,
        parameters={"config": "sym_s8", "hist_bins": 2048},
        variants=(
            {"config": "sym_s8_127", "hist_bins": 2048},
            {"config": "asym_u8", "hist_bins": 2048},
        ),
        peculiar="At most 9 candidate steps of whole bins; the error is the distance to a level in bins, and "
        "a symmetric range is rated as if all 256 levels were on one side.",
        exact=True,
        fidelity="Exact.",
    ),
    Reference(
        tool=TOOL,
        algorithm="percentile",
        version=VERSION,
        function=percentile,
        parameters={"config": "sym_s8", "percentile": 0.9999},
        variants=(
            {"config": "sym_s8", "percentile": 0.999},
            {"config": "asym_u8", "percentile": 0.9999},
            {"config": "asym_u8", "percentile": 0.999},
        ),
        peculiar="One sorted value at each end, averaged over batches; the symmetric scale is the larger one "
        "over 127.5.",
        exact=True,
        fidelity="Exact.",
    ),
    Reference(
        tool=TOOL,
        algorithm="minmax",
        version=VERSION,
        function=minmax,
        parameters={"config": "sym_s8"},
        variants=tuple({"config": name} for name in CONFIG_NAMES[1:]),
        peculiar="The symmetric scale is the largest magnitude over 127.5, so the largest value is clipped.",
        exact=True,
        fidelity="Exact.",
    ),
    Reference(
        tool=TOOL,
        algorithm="isotone",
        version=VERSION,
        function=isotone,
        parameters={"config": "sym_s8", "axis": -1},
        peculiar="Looks only at the two largest scores of each row and keeps them apart in as many rows as "
        "possible; made for the scores of a classifier, meaningless elsewhere.",
        exact=True,
        fidelity="Exact with the NumPy 1 that PPQ is installed with; NumPy 2 may change the last bit.",
    ),
)
