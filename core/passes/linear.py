"""Nodes that multiply by a constant weight, all seen alike: groups of outputs by inputs by positions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[Any]

LINEAR = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearWeight:
    """A Conv, ConvTranspose, Gemm or MatMul whose right operand is constant.

    The channels of group g are the g-th part of all input (output) channels, in their order.
    """

    node: ir.Node
    weight: Float32
    groups: int
    in_channels: int
    out_channels: int
    in_axis: int  # channel axis of the node's input
    out_axis: int  # channel axis of its output
    transposed: bool  # Gemm with transB

    @property
    def name(self) -> str:
        """The node's name."""
        return str(self.node.name)

    @property
    def input(self) -> str:
        """The activation it reads."""
        return str(self.node.inputs[0].name)  # type: ignore[union-attr]  # `linear_weight` has seen it

    @property
    def output(self) -> str:
        """What it computes."""
        return str(self.node.outputs[0].name)

    @property
    def initializer(self) -> str:
        """Its weight's name."""
        return str(self.node.inputs[1].name)  # type: ignore[union-attr]

    @property
    def bias(self) -> ir.Value | None:
        """What it adds, constant or not."""
        return self.node.inputs[2] if len(self.node.inputs) > 2 else None

    def split(self, values: Array) -> Array:
        """Something of the weight's shape as (groups, outputs, inputs, kernel positions)."""
        if self.node.op_type in ("Gemm", "MatMul"):
            return (values if self.transposed else np.transpose(values))[None, :, :, None]
        first, second = values.shape[0] // self.groups, values.shape[1]
        if self.node.op_type == "Conv":
            return values.reshape(self.groups, first, second, -1)
        return values.reshape(self.groups, first, second, -1).swapaxes(1, 2)

    def joined(self, values: Array) -> Array:
        """The inverse of `split`."""
        if self.node.op_type in ("Gemm", "MatMul"):
            matrix: Array = values[0, :, :, 0]
            return matrix if self.transposed else np.transpose(matrix)
        if self.node.op_type == "ConvTranspose":
            values = values.swapaxes(1, 2)
        return values.reshape(self.weight.shape)


def linear_weight(node: ir.Node) -> LinearWeight | None:
    """The node's weight; None for other nodes, weights that are not constant, and batches of matrices."""
    if node.op_type not in LINEAR or node.domain not in ("", "ai.onnx"):
        return None
    given = node.inputs[1]
    if given is None or given.const_value is None or node.inputs[0] is None:
        return None
    weight = np.asarray(given.const_value.numpy(), np.float32)
    if node.op_type in ("Gemm", "MatMul"):
        if weight.ndim != 2 or node.attributes.get_int("transA", 0) == 1:
            return None
        transposed = node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1
        ins, outs = weight.shape[::-1] if transposed else weight.shape
        return LinearWeight(
            node=node,
            weight=weight,
            groups=1,
            in_channels=ins,
            out_channels=outs,
            in_axis=-1,
            out_axis=-1,
            transposed=transposed,
        )
    groups = node.attributes.get_int("group", 1)
    if weight.ndim < 3 or weight.shape[0] % groups:
        return None
    first, second = weight.shape[0], weight.shape[1] * groups
    ins, outs = (second, first) if node.op_type == "Conv" else (first, second)
    return LinearWeight(
        node=node,
        weight=weight,
        groups=groups,
        in_channels=ins,
        out_channels=outs,
        in_axis=1,
        out_axis=1,
        transposed=False,
    )
