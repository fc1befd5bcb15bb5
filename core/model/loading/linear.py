"""The constant operands of linear operators, and what a scale or shift of their channels makes of them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from quantscope.core.model.layers import STANDARD_DOMAINS

Float64 = npt.NDArray[np.float64]

LINEAR = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
WITH_BIAS = LINEAR - {"MatMul"}
_COPIED = 1 << 16  # elements; larger weights that several nodes read are not copied for one of them


def float_constant(value: ir.Value | None) -> Float64 | None:
    """The contents of a float32 initializer, in float64, if all are finite."""
    if value is None or value.const_value is None or value.dtype != ir.DataType.FLOAT:
        return None
    array: Float64 = value.const_value.numpy().astype(np.float64)
    return array if np.isfinite(array).all() else None


def along(constant: Float64, rank: int | None, axis: int, channels: int) -> Float64 | None:
    """One number, or one for each of the channels along `axis`; None where it differs along another axis."""
    if constant.size == 1:
        return constant.reshape(())
    wide = [i for i, size in enumerate(constant.shape) if size != 1]
    if len(wide) != 1 or constant.size != channels:
        return None
    from_the_end = wide[0] - constant.ndim
    if axis >= 0:
        if rank is None:
            return None
        axis -= rank
    return constant.reshape(-1) if from_the_end == axis else None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldableLinear:
    """The constant operands of a linear node, in float64."""

    node: ir.Node
    operand: int  # input index of the weight
    weight: Float64
    bias: Float64 | None
    out_axis: int | None  # of the weight; None where only one number can be folded
    in_axis: int | None
    groups: int = 1

    @property
    def channel_axis(self) -> int:
        """Of the tensors that it reads and writes."""
        return -1 if self.node.op_type in ("Gemm", "MatMul") else 1

    @property
    def out_channels(self) -> int:
        """Of what it writes; 0 where only one number can be folded."""
        if self.out_axis is None:
            return 0
        return int(self.weight.shape[self.out_axis]) * (
            self.groups if self.node.op_type == "ConvTranspose" else 1
        )

    @property
    def in_channels(self) -> int:
        """Of what it reads; 0 where only one number can be folded."""
        if self.in_axis is None:
            return 0
        return int(self.weight.shape[self.in_axis]) * (self.groups if self.node.op_type == "Conv" else 1)

    def outputs_scaled(self, scale: Float64) -> Float64:
        """The weight with each output channel multiplied."""
        return self._scaled(scale, self.out_axis, split_axis=0 if self._is("ConvTranspose") else None)

    def inputs_scaled(self, scale: Float64) -> Float64:
        """The weight with what each input channel meets multiplied."""
        return self._scaled(scale, self.in_axis, split_axis=0 if self._is("Conv") else None)

    def response(self, shift: Float64) -> Float64:
        """What a constant input adds to each output channel, one value a channel; not for ConvTranspose."""
        weight = np.moveaxis(self.weight, (self.out_axis or 0, self.in_axis or 0), (0, 1))
        weight = weight.reshape(self.groups, weight.shape[0] // self.groups, weight.shape[1], -1).sum(3)
        each = np.broadcast_to(shift, (self.in_channels,)).reshape(self.groups, -1)
        alpha = self.node.attributes.get_float("alpha", 1.0) if self._is("Gemm") else 1.0
        return np.asarray(alpha * np.einsum("goc,gc->go", weight, each).reshape(-1))

    def takes_shift(self) -> bool:
        """Whether a constant added to its input is a constant added to its output, and it has a bias."""
        attributes = self.node.attributes
        if self._is("Gemm"):
            return True
        if not self._is("Conv"):
            return False
        if attributes.get_string("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
            return all(k == 1 for k in self.weight.shape[2:])
        return not any(attributes.get_ints("pads", ()))

    def _is(self, op: str) -> bool:
        return self.node.op_type == op

    def _scaled(self, scale: Float64, axis: int | None, split_axis: int | None) -> Float64:
        if scale.ndim == 0:
            return self.weight * scale
        assert axis is not None
        along = [1] * self.weight.ndim
        if split_axis is None or self.groups == 1:
            along[axis] = -1
            return self.weight * scale.reshape(along)
        # The other axis lists the groups one after the other.
        split = self.weight.reshape(self.groups, -1, *self.weight.shape[1:])
        along[axis] = -1
        factor = scale.reshape(self.groups, *along)
        return np.asarray((split * factor).reshape(self.weight.shape))


def foldable_linear(node: ir.Node | None) -> FoldableLinear | None:
    """The node with its weights, where these and the bias are constants that may change."""
    if node is None or node.domain not in STANDARD_DOMAINS or node.op_type not in LINEAR:
        return None
    operand = 0 if node.op_type == "MatMul" and float_constant(node.inputs[0]) is not None else 1
    weight, given = node.inputs[operand], node.inputs[2] if len(node.inputs) > 2 else None
    values, bias = float_constant(weight), float_constant(given)
    if weight is None or values is None or (given is not None and bias is None):
        return None
    if len(weight.uses()) > 1 and values.size > _COPIED:
        return None
    if node.inputs[1 - operand] is None or node.outputs[0].dtype != ir.DataType.FLOAT:
        return None
    groups = 1
    axes: tuple[int | None, int | None] = (None, None)
    if node.op_type in ("Conv", "ConvTranspose"):
        axes = (0, 1) if node.op_type == "Conv" else (1, 0)
        groups = node.attributes.get_int("group", 1)
    elif node.op_type == "Gemm":
        if node.attributes.get_int("transA", 0):
            return None
        axes = (0, 1) if node.attributes.get_int("transB", 0) else (1, 0)
    elif operand == 1 and values.ndim == 2:
        axes = (1, 0)
    return FoldableLinear(
        node=node,
        operand=operand,
        weight=values,
        bias=bias,
        out_axis=axes[0],
        in_axis=axes[1],
        groups=groups,
    )
