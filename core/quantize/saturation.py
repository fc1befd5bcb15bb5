"""Which products an x86 kernel without VNNI adds in 16 bits, and weight scales for which their sums fit.

Such kernels multiply unsigned activations a by signed weights b, and add two neighbouring products in one
16-bit integer that saturates: a0·b0 + a1·b1, cut off at ±2¹⁵. Activations reach 255, so a pair of weights is
safe when 255·|b0 + b1| stays below 2¹⁵, that is, when |b0 + b1| <= 128 (of opposite signs, every pair is).

The pairs are positions 2i and 2i + 1 of the order in which a kernel reads the weights of one output: along
the inner dimension for Gemm and MatMul; along the kernel's positions for Conv, with the channel fastest.
Depthwise convolutions have a kernel of their own, which adds in 32 bits; ConvTranspose has no integer kernel;
a constant left operand is stored unsigned, and kernels of two unsigned operands add in 32 bits as well.
`core.runtime.machine` probes this where the processor saturates.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from quantscope.core.jit import compiled
from quantscope.core.quant import Encoding, ScaleRule, raised_scale
from quantscope.core.runtime import machine
from quantscope.core.thresholds import channel_rows, squared_error

REACH, TRIALS = 0.2, 32  # how far above the least safe scale others are tried, and how many
LIMIT = 128  # of |b0 + b1|: 255 · 128 = 32640 fits 16 bits, 255 · 129 does not

Float32 = npt.NDArray[np.float32]
Values = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]


def reading_order(values: Values, node: ir.Node, operand: int) -> Values | None:
    """Something of a weight's shape in the order its kernel reads the weight: (outputs, weights an output).

    Args:
        values: The weight, or anything that goes with it.
        node: The Conv, Gemm or MatMul.
        operand: Which input of the node the weight is.

    Returns:
        None where the kernel does not add in 16 bits, or there is no integer kernel.
    """
    if operand != 1 or node.op_type not in ("Conv", "Gemm", "MatMul"):
        return None
    if values.ndim < 2:  # MatMul with a vector
        return values.reshape(1, -1)
    if node.op_type == "Conv":
        groups = int(node.attributes.get_int("group", 1))
        depthwise = groups > 1 and values.shape[:2] == (groups, 1)
        return None if depthwise else np.moveaxis(values, 1, -1).reshape(len(values), -1)
    if node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1:
        return values
    return values.swapaxes(-1, -2).reshape(-1, values.shape[-2])


def neighbours(rows: Values) -> Values:
    """What is added first, of something in reading order: (outputs, pairs, 2), without a last single one."""
    even = rows.shape[1] // 2 * 2
    return rows[:, :even].reshape(len(rows), -1, 2)


def partners(shape: tuple[int, ...], node: ir.Node, operand: int) -> Indices | None:
    """For each weight the flat index of its neighbour, -1 where it has none: (size,); or None, as above."""
    size = int(np.prod(shape))
    rows = reading_order(np.arange(size, dtype=np.int64).reshape(shape), node, operand)
    if rows is None:
        return None
    found = np.full(size, -1, np.int64)
    pairs = neighbours(rows).reshape(-1, 2)
    found[pairs[:, 0]], found[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Weights whose products a kernel adds in 16 bits."""

    values: Float32  # (n, 2)
    scales: Indices  # (n,): the number of the scale that both have, in rising order


def pairs_of(
    weight: Float32, node: ir.Node, operand: int, axis: int | None, *, known_order: bool | None = None
) -> Pairs | None:
    """The pairs of a weight that may saturate.

    Where the kernel's order is not known, any two weights of one output may meet; then the two largest of the
    same sign stand for all.

    Args:
        weight: As stored.
        node: That multiplies by it.
        operand: Which input of the node it is.
        axis: Channel axis of its scales, which is that of the outputs; None = one scale.
        known_order: Whether `reading_order` is true of the kernel; None = as `core.runtime.machine` finds.

    Returns:
        None where nothing can saturate.
    """
    if machine.pairs_are_neighbours() if known_order is None else known_order:
        rows = reading_order(weight, node, operand)
        if rows is None:
            return None
        pairs = neighbours(rows)
    else:
        rows = channel_rows(weight, axis)
        if rows.shape[1] < 2:
            return None
        sides = np.stack([np.maximum(rows, 0), np.maximum(-rows, 0)], axis=1)
        pairs = np.partition(sides, -2, axis=-1)[..., -2:]
    scales = np.zeros(len(rows), np.int64) if axis is None else np.arange(len(rows), dtype=np.int64)
    meeting = np.signbit(pairs[..., 0]) == np.signbit(pairs[..., 1])
    return Pairs(values=pairs[meeting], scales=np.repeat(scales, meeting.sum(axis=1)))


def least_safe(encoding: Encoding, pairs: Pairs | None, rule: ScaleRule = ScaleRule.FREE) -> Encoding:
    """A weight's encoding with each scale raised just until every pair of rounded weights fits.

    A larger scale makes no integer larger, so that the least one is found by bisection, to the last bit of
    float32.

    Args:
        encoding: Of the weight, with zero point 0.
        pairs: Of the weight.
        rule: Scales allowed.
    """
    if pairs is None:
        return encoding
    starts = np.searchsorted(pairs.scales, np.arange(encoding.scale.size + 1)).astype(np.int64)
    scale = np.array(encoding.scale.reshape(-1), np.float32)
    _raise(scale, np.abs(pairs.values), starts, max(-encoding.qmin, encoding.qmax))
    return replace(encoding, scale=raised_scale(scale.reshape(encoding.scale.shape), rule))


def best_safe(
    encoding: Encoding, weight: Float32, pairs: Pairs | None, rule: ScaleRule = ScaleRule.FREE
) -> Encoding:
    """As `least_safe`, but scales that had to be raised are the best of those a little above the least ones.

    Such a scale has no range to fit any more, and where a channel has few weights, some scales happen to lie
    closer to all of them than others.

    Args:
        encoding: Of the weight, with zero point 0.
        weight: As stored.
        pairs: Of the weight.
        rule: Scales allowed.
    """
    least = least_safe(encoding, pairs, rule)
    raised = np.atleast_1d(least.scale > encoding.scale)
    if rule is not ScaleRule.FREE or not raised.any():
        return least
    rows = channel_rows(weight, encoding.axis)[raised]
    start = np.atleast_1d(least.scale)[raised]
    tried = start * np.linspace(1.0, 1.0 + REACH, TRIALS, dtype=np.float32)[:, None]
    zero = np.zeros(len(rows), np.float32)
    ends = float(encoding.qmin), float(encoding.qmax)
    errors = np.array([squared_error(rows, scale, zero, *ends) for scale in tried])
    scale = np.atleast_1d(least.scale).copy()
    scale[raised] = tried[errors.argmin(axis=0), np.arange(len(rows))]
    return replace(least, scale=scale.reshape(least.scale.shape))


@compiled
def _raise(scale: Float32, pairs: Float32, starts: Indices, largest_integer: int) -> None:
    """Raise each scale, in place, until its pairs of magnitudes fit."""
    most = np.float32(largest_integer)
    for number in range(scale.size):
        low = scale[number]
        waiting = np.empty(starts[number + 1] - starts[number], np.int64)  # pairs that do not fit at `low`
        count = 0
        high = np.float32(0.0)
        for i in range(starts[number], starts[number + 1]):
            if _summed(pairs[i], low, most) > LIMIT:
                waiting[count] = i
                count += 1
                # Two roundings add one at most.
                high = max(
                    high, pairs[i, 0] / np.float32(LIMIT - 1.5) + pairs[i, 1] / np.float32(LIMIT - 1.5)
                )
        if not count:
            continue
        while True:
            middle = np.float32(low + (high - low) * np.float32(0.5))
            if middle <= low or middle >= high:
                break
            kept = 0
            for j in range(count):
                if _summed(pairs[waiting[j]], middle, most) > LIMIT:
                    waiting[kept] = waiting[j]
                    kept += 1
            if kept:
                low, count = middle, kept
            else:
                high = middle
        scale[number] = high


@compiled
def _summed(pair: Float32, scale: np.float32, most: np.float32) -> np.float32:
    """The sum of the integers of two magnitudes."""
    first = min(np.rint(np.float32(pair[0] / scale)), most)
    second = min(np.rint(np.float32(pair[1] / scale)), most)
    return np.float32(first + second)


def worst_sum(integers: npt.NDArray[np.integer], node: ir.Node, operand: int) -> int:
    """The largest |b0 + b1| of a stored weight's pairs; 0 where its kernel does not saturate.

    Pairs are those that `pairs_of` finds for the node and its operand.
    """
    axis = {"Conv": 0, "MatMul": integers.ndim - 1}.get(
        node.op_type, 1 - node.attributes.get_int("transB", 0)
    )
    found = pairs_of(integers.astype(np.float32), node, operand, axis)
    return 0 if found is None else int(np.abs(found.values.sum(axis=-1)).max(initial=0))
