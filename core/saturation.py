"""Which products an x86 kernel without VNNI adds in 16 bits, and weight scales for which their sums fit.

Such kernels multiply unsigned activations a by signed weights b, and add two neighbouring products in one
16-bit integer that saturates: a0·b0 + a1·b1, cut off at ±2¹⁵. Activations reach 255, so a pair of weights is
safe when 255·|b0 + b1| stays below 2¹⁵, that is, when |b0 + b1| <= 128 (of opposite signs, every pair is).

The pairs are positions 2i and 2i + 1 of the order in which a kernel reads the weights of one output: along
the inner dimension for Gemm and MatMul; along the kernel's positions for Conv, with the channel fastest.
Depthwise convolutions have a kernel of their own, which adds in 32 bits; ConvTranspose and a constant left
operand have no integer kernel at all. `core.machine` probes this where the processor saturates.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from core import machine
from core.jit import compiled
from core.quant import Encoding, ScaleRule, raised_scale

LIMIT = 128  # of |b0 + b1|: 255 · 128 = 32640 fits 16 bits, 255 · 129 does not

Float32 = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


def reading_order(node: ir.Node, shape: tuple[int, ...], operand: int) -> Indices | None:
    """Flat indices of a weight in the order its kernel reads them: (outputs, weights an output).

    Args:
        node: The Conv, Gemm or MatMul.
        shape: Of its weight.
        operand: Which input of the node the weight is.

    Returns:
        None where the kernel does not add in 16 bits, or there is no integer kernel.
    """
    indices = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    if operand != 1 or node.op_type not in ("Conv", "Gemm", "MatMul") or len(shape) < 2:
        return None
    if node.op_type == "Conv":
        if depthwise(node, shape):
            return None
        return np.moveaxis(indices, 1, -1).reshape(shape[0], -1)
    if node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1:
        return indices
    return np.ascontiguousarray(indices.swapaxes(-1, -2)).reshape(-1, shape[-2])


def depthwise(node: ir.Node, shape: tuple[int, ...]) -> bool:
    """Whether a Conv has as many groups as outputs, each of one input channel."""
    groups = int(node.attributes.get_int("group", 1))
    return groups > 1 and shape[0] == groups and shape[1] == 1


def neighbours(order: Indices) -> Indices:
    """The pairs that are added first: (outputs, pairs, 2) flat indices; a last single weight is left out."""
    even = order.shape[1] // 2 * 2
    return order[:, :even].reshape(len(order), -1, 2)


def partners(order: Indices, size: int) -> Indices:
    """For each weight the flat index of its neighbour, (size,); -1 where it has none."""
    found = np.full(size, -1, np.int64)
    pairs = neighbours(order).reshape(-1, 2)
    found[pairs[:, 0]], found[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Weights whose products a kernel adds in 16 bits."""

    values: Float32  # (n, 2)
    scales: Indices  # (n,): the number of the scale that both have


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
        axis: Channel axis of its scales; None = one scale.
        known_order: Whether `reading_order` is true of the kernel; None = as `core.machine` finds.

    Returns:
        None where nothing can saturate.
    """
    shape = weight.shape
    channel = np.zeros(shape, np.int64)
    if axis is not None:
        counted = np.arange(shape[axis], dtype=np.int64)
        others = [other for other in range(weight.ndim) if other != axis]
        channel = np.broadcast_to(np.expand_dims(counted, others), shape)
    flat, scale = weight.reshape(-1), channel.reshape(-1)
    if machine.pairs_are_neighbours() if known_order is None else known_order:
        order = reading_order(node, shape, operand)
        if order is None or order.shape[1] < 2:
            return None
        indices = neighbours(order).reshape(-1, 2)
        indices = indices[flat[indices[:, 0]] * flat[indices[:, 1]] > 0.0]
        return Pairs(values=flat[indices], scales=scale[indices[:, 0]])
    found: list[Float32] = []
    numbers: list[int] = []
    for number in range(1 if axis is None else shape[axis]):
        own = flat[scale == number]
        if own.size >= 2:
            found += [np.partition(side, -2)[-2:] for side in (np.maximum(own, 0), np.maximum(-own, 0))]
            numbers += [number, number]
    return Pairs(values=np.array(found, np.float32), scales=np.array(numbers, np.int64)) if found else None


def fitted(encoding: Encoding, pairs: Pairs | None, rule: ScaleRule = ScaleRule.FREE) -> Encoding:
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
    order = np.argsort(pairs.scales, kind="stable")
    starts = np.searchsorted(pairs.scales[order], np.arange(encoding.scale.size + 1)).astype(np.int64)
    scale = np.array(encoding.scale.reshape(-1), np.float32)
    _raise(scale, np.abs(pairs.values[order]), starts, max(-encoding.qmin, encoding.qmax))
    return replace(encoding, scale=raised_scale(scale.reshape(encoding.scale.shape), rule))


@compiled
def _raise(scale: Float32, pairs: Float32, starts: Indices, largest_integer: int) -> None:
    """Raise each scale, in place, until its pairs of magnitudes fit."""
    most = np.float32(largest_integer)
    for number in range(scale.size):
        low = scale[number]
        waiting = np.empty(starts[number + 1] - starts[number], np.int64)  # pairs that do not fit at `low`
        count = 0
        largest = np.float32(0.0)
        for i in range(starts[number], starts[number + 1]):
            if _summed(pairs[i], low, most) > LIMIT:
                waiting[count] = i
                count += 1
                largest = max(largest, pairs[i, 0] + pairs[i, 1])
        if not count:
            continue
        high = np.float32(largest / np.float32(LIMIT - 1.5))  # two roundings add one at most
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
    """The largest |b0 + b1| of a stored weight's pairs; 0 where its kernel does not saturate."""
    order = reading_order(node, integers.shape, operand)
    if order is None:
        return 0
    pairs = integers.reshape(-1)[neighbours(order)].astype(np.int32)
    return int(np.abs(pairs.sum(axis=-1)).max(initial=0))
