"""Nodes that multiply by a constant weight: how its elements belong to input and output channels."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Float32 = npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]

LINEAR = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A Conv, ConvTranspose, Gemm or MatMul whose right operand is constant."""

    node: ir.Node
    weight: Float32
    inputs: Index  # input channel of each weight element, broadcastable to the weight
    outputs: Index  # output channel of each weight element, likewise
    in_channels: int
    out_channels: int
    in_axis: int  # channel axis of the node's input
    out_axis: int  # channel axis of its output

    @property
    def name(self) -> str:
        """The node's name."""
        return str(self.node.name)

    def in_max(self, magnitudes: Float32) -> Float32:
        """Largest of the weight-shaped `magnitudes` for each input channel."""
        return _largest(magnitudes, self.inputs, self.in_channels)

    def out_max(self, magnitudes: Float32) -> Float32:
        """Largest of the weight-shaped `magnitudes` for each output channel."""
        return _largest(magnitudes, self.outputs, self.out_channels)


def linear(node: ir.Node) -> Linear | None:
    """The node seen so; None for other nodes, weights that are not constant, and batches of matrices."""
    if node.op_type not in LINEAR or node.domain not in ("", "ai.onnx"):
        return None
    given = node.inputs[1]
    if given is None or given.const_value is None or node.inputs[0] is None:
        return None
    weight = np.asarray(given.const_value.numpy(), np.float32)
    if node.op_type in ("Conv", "ConvTranspose"):
        return _convolution(node, weight)
    if weight.ndim != 2 or node.attributes.get_int("transA", 0) == 1:
        return None
    transposed = node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1
    out_axis = 0 if transposed else 1
    rows, columns = np.arange(weight.shape[0])[:, None], np.arange(weight.shape[1])[None, :]
    return Linear(
        node=node,
        weight=weight,
        inputs=columns if transposed else rows,
        outputs=rows if transposed else columns,
        in_channels=weight.shape[1 - out_axis],
        out_channels=weight.shape[out_axis],
        in_axis=-1,
        out_axis=-1,
    )


def _convolution(node: ir.Node, weight: Float32) -> Linear | None:
    groups = node.attributes.get_int("group", 1)
    first, second = weight.shape[:2]
    if weight.ndim < 3 or first % groups:
        return None
    # Conv: (out, in / groups, ...); ConvTranspose: (in, out / groups, ...).
    whole = np.arange(first)
    other = (whole // (first // groups))[:, None] * second + np.arange(second)[None, :]
    tail = (1,) * (weight.ndim - 2)
    along_first, along_second = whole.reshape(first, 1, *tail), other.reshape(first, second, *tail)
    forward = node.op_type == "Conv"
    return Linear(
        node=node,
        weight=weight,
        inputs=along_second if forward else along_first,
        outputs=along_first if forward else along_second,
        in_channels=second * groups if forward else first,
        out_channels=first if forward else second * groups,
        in_axis=1,
        out_axis=1,
    )


def _largest(magnitudes: Float32, index: Index, channels: int) -> Float32:
    # Reduce the axes along which the index does not change before scattering.
    axes = tuple(a for a in range(magnitudes.ndim) if index.shape[a] == 1)
    reduced = magnitudes.max(axis=axes, keepdims=True) if axes else magnitudes
    out = np.zeros(channels, np.float32)
    np.maximum.at(out, index.reshape(-1), reduced.reshape(-1))
    return out
