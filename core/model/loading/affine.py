"""Fold constant scales and shifts into the weights beside them, as BatchNormalization is folded.

Exporters spell out a learnt scale and shift, or the normalization of an input, as Mul, Add, Sub and Div by
constants. Left alone, each of them would be rounded once more; folded, nothing is left of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from quantscope.core.model.compound import keeps_shape
from quantscope.core.model.layers import STANDARD_DOMAINS, only_consumer
from quantscope.core.model.loading.editing import Editor, set_constant
from quantscope.core.model.loading.linear import FoldableLinear, along, float_constant, foldable_linear

Float64 = npt.NDArray[np.float64]

_FACTORS = 1e3  # a shift is divided by the scales before it only where these differ by no more than that
_LEAST = 1e-30  # far above float32's denormal numbers, which have few digits
_ONE, _ZERO = np.array(1.0), np.array(0.0)
# Operators whose results are quantized as a rule, so that what is behind them may be rounded with them.
_QUANTIZED = frozenset(
    {
        "Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "LeakyRelu", "Sigmoid",
        "Softmax", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize", "BatchNormalization",
        "InstanceNormalization", "LayerNormalization", "Pad", "Split",
    }
)  # fmt: skip
_MOVING = frozenset(
    {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "Identity"}
)


def fold_affine(model: ir.Model) -> int:
    """Fold constant Mul, Add, Sub, Div, Neg and BatchNormalization of the main graph, in place.

    Behind a Conv, ConvTranspose, Gemm or MatMul of constant weights, a scale or shift that is one number or
    one a channel goes into weights and bias. Before one it does as well where that is exact: a scale always,
    a shift unless the operator pads with zeros. Of a longer chain, one Mul and one Add remain; a division
    by a number between integer kernels becomes the multiplication it is, a subtraction the addition. Outputs
    stay the same within rounding, as the arithmetic here is float64.

    What normalizes an input of the network, or another tensor that would not be quantized itself, stays
    before the weights: its values have ranges of their own, far from 0 perhaps. Only a scale by one number
    goes on from there.

    Returns:
        How many nodes went into others.
    """
    graph = model.graph
    before = len(graph)
    editor = _Folder(graph)
    for node in list(graph):
        if node.graph is graph and not _continues(node):
            chain = _chain(node)
            if chain:
                editor.settle(chain)
    for name in [n for n, v in graph.initializers.items() if not v.uses() and not v.is_graph_output()]:
        del graph.initializers[name]
    return before - len(graph)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ScaleShift:
    """What a node does to its one variable operand x: scale · x + shift, both broadcast against x."""

    node: ir.Node
    x: ir.Value
    scale: Float64
    shift: Float64


def _scale_shift(node: ir.Node | None) -> _ScaleShift | None:
    """The node as a scale and a shift of float32 values, where it is one and leaves the shape as it is."""
    if node is None or node.domain not in STANDARD_DOMAINS or not node.inputs:
        return None
    if node.outputs[0].dtype != ir.DataType.FLOAT:
        return None
    if node.op_type == "BatchNormalization":
        return _normalization(node)
    if node.op_type == "Neg" and (x := node.inputs[0]) is not None:
        return _ScaleShift(node=node, x=x, scale=-_ONE, shift=_ZERO)
    if node.op_type not in ("Mul", "Add", "Sub", "Div") or len(node.inputs) != 2:
        return None
    x, c, from_constant = node.inputs[0], float_constant(node.inputs[1]), False
    if c is None:
        x, c, from_constant = node.inputs[1], float_constant(node.inputs[0]), True
    if c is None or x is None or x.const_value is not None or not keeps_shape(c.shape, x):
        return None
    if node.op_type == "Mul":
        return _ScaleShift(node=node, x=x, scale=c, shift=_ZERO)
    if node.op_type == "Add":
        return _ScaleShift(node=node, x=x, scale=_ONE, shift=c)
    if node.op_type == "Sub":
        return _ScaleShift(
            node=node, x=x, scale=-_ONE if from_constant else _ONE, shift=c if from_constant else -c
        )
    if from_constant or not c.all():
        return None
    return _ScaleShift(node=node, x=x, scale=1.0 / c, shift=_ZERO)


def _normalization(node: ir.Node) -> _ScaleShift | None:
    x = node.inputs[0]
    parts = [float_constant(v) for v in node.inputs[1:5]]
    rank = _rank(x)
    if x is None or rank is None or rank < 2 or len(parts) < 4 or any(p is None for p in parts):
        return None
    if node.attributes.get_int("training_mode", 0) or any(v.uses() for v in node.outputs[1:]):
        return None
    gamma, beta, mean, variance = (p for p in parts if p is not None)
    squared = variance + node.attributes.get_float("epsilon", 1e-5)
    if not (squared > 0).all():
        return None
    scale = gamma / np.sqrt(squared)
    along = (-1, *[1] * (rank - 2))
    return _ScaleShift(node=node, x=x, scale=scale.reshape(along), shift=(beta - mean * scale).reshape(along))


def _rank(value: ir.Value | None) -> int | None:
    return None if value is None or value.shape is None else len(value.shape)


def _continues(node: ir.Node) -> bool:
    """Whether a chain that began earlier goes through this node."""
    step = _scale_shift(node)
    if step is None or step.x.producer() is None:
        return False
    return only_consumer(step.x) is node and _scale_shift(step.x.producer()) is not None


def _chain(node: ir.Node) -> list[_ScaleShift]:
    """The longest run of scales and shifts that begins here."""
    chain: list[_ScaleShift] = []
    after: ir.Node | None = node
    while (step := _scale_shift(after)) is not None:
        chain.append(step)
        after = only_consumer(step.node.outputs[0])
    return chain


def _is_normalized(value: ir.Value) -> bool:
    """Whether it may be what a spelled-out normalization gives: a product or quotient of two activations.

    The scale behind it, one value a channel, stays: nothing is rounded before it, and smoothing uses it to
    move outliers of channels into weights.
    """
    maker = value.producer()
    if maker is None or maker.op_type not in ("Mul", "Div"):
        return False
    return all(v is not None and v.const_value is None for v in maker.inputs)


def _composed(steps: Sequence[_ScaleShift]) -> tuple[Float64, Float64]:
    """Scale and shift of the steps one after the other."""
    scale, shift = _ONE, _ZERO
    for step in steps:
        scale, shift = np.asarray(scale * step.scale), np.asarray(shift * step.scale + step.shift)
    return scale, shift


class _Folder(Editor):
    """Puts chains into the nodes at their ends."""

    def settle(self, chain: list[_ScaleShift]) -> None:
        """Put a chain into the nodes at its ends; write what remains in as few nodes as possible."""
        x, y = chain[0].x, chain[-1].node.outputs[0]
        scale, shift = _composed(chain)
        quantized = _is_quantized(x)
        if not quantized and (scale.size > 1 or shift.any()):
            return
        first, rest = self._into_maker(x, chain)
        left = self._into_readers(y, rest) if rest and y.uses() and not y.is_graph_output() else None
        if left is not None:
            self._write(chain, *left, name=self.free(f"{y.name}.folded"))
        elif first:
            self._write(chain, *_composed(rest), name=str(y.name))
        elif quantized and all(user.op_type in _QUANTIZED for user in y.consumers()):
            self._plain(chain, scale, shift)

    def _into_maker(self, x: ir.Value, chain: list[_ScaleShift]) -> tuple[bool, list[_ScaleShift]]:
        """Fold the longest possible beginning of a chain into the node that makes x; what is left."""
        maker = foldable_linear(x.producer())
        if maker is None or only_consumer(x) is None:
            return False, chain
        axis, channels = maker.channel_axis, maker.out_channels
        for count in range(len(chain), 0, -1):
            scale, shift = _composed(chain[:count])
            if not _can_be_written(*_composed(chain[count:])):
                continue
            by, plus = along(scale, _rank(x), axis, channels), along(shift, _rank(x), axis, channels)
            if by is None:
                continue
            if maker.node.op_type == "MatMul":  # which has no bias
                if (scale == 1).all() or not self._set(maker, maker.outputs_scaled(by), None):
                    continue
                x.name = self.free(f"{x.name}.folded")
                rest = replace(chain[count - 1], x=x, scale=_ONE, shift=shift)
                return True, [*([rest] if shift.any() else []), *chain[count:]]
            if plus is not None and self._set(maker, maker.outputs_scaled(by), self._bias(maker, by, plus)):
                x.name = chain[count - 1].node.outputs[0].name
                return True, chain[count:]
        return False, chain

    def _into_readers(self, y: ir.Value, chain: list[_ScaleShift]) -> tuple[Float64, Float64] | None:
        """Fold the longest possible end of a chain into all readers of y; scale and shift that are left."""
        readers = [foldable_linear(use.node) for use in y.uses()]
        fits = [r for r in readers if r is not None and r.node.inputs[1 - r.operand] is y]
        if len(fits) < len(readers) or any(r.node.inputs.count(y) > 1 for r in fits):
            return None
        normalized = _is_normalized(chain[0].x)
        for start in range(len(chain)):
            scale, shift = _composed(chain[start:])
            scales = [along(scale, _rank(y), r.channel_axis, r.in_channels) for r in fits]
            shifts = [along(shift, _rank(y), r.channel_axis, r.in_channels) for r in fits]
            if any(s is None for s in scales) or (normalized and scale.size > 1):
                continue
            exact = not shift.any() or (
                all(s is not None for s in shifts) and all(r.takes_shift() for r in fits)
            )
            left = _composed(chain[:start])
            if not exact:
                size = np.abs(scale)
                if (scale == 1).all() or not size.min() > 0 or size.max() > _FACTORS * size.min():
                    continue
                left = left[0], np.asarray(left[1] + shift / scale)  # a·x + b = a·(x + b/a)
            if not _can_be_written(*left):
                continue
            if self._take(fits, scales, shifts if exact and shift.any() else [_ZERO] * len(fits)):
                return left
        return None

    def _take(
        self,
        readers: list[FoldableLinear],
        scales: Sequence[Float64 | None],
        shifts: Sequence[Float64 | None],
    ) -> bool:
        changes = []
        for reader, scale, shift in zip(readers, scales, shifts, strict=True):
            assert scale is not None
            assert shift is not None
            bias = None
            if shift.any():
                bias = self._bias(reader, _ONE, reader.response(shift))
            changes.append((reader, reader.inputs_scaled(scale), bias))
        if not all(_holds(weight) and (bias is None or _holds(bias)) for _, weight, bias in changes):
            return False
        for reader, weight, bias in changes:
            self._set(reader, weight, bias)
        return True

    @staticmethod
    def _bias(linear: FoldableLinear, scale: Float64, shift: Float64) -> Float64 | None:
        """The bias times `scale` plus `shift`, with Gemm's factor of it; None where there is still none."""
        if linear.bias is None and not shift.any():
            return None
        beta = linear.node.attributes.get_float("beta", 1.0) if linear.node.op_type == "Gemm" else 1.0
        bias = np.asarray((_ZERO if linear.bias is None else linear.bias * beta) * scale + shift)
        return np.broadcast_to(bias, (*bias.shape[:-1], linear.out_channels))

    def _set(self, linear: FoldableLinear, weight: Float64, bias: Float64 | None) -> bool:
        """Store weight and bias; False, with nothing changed, where float32 cannot hold them."""
        if not _holds(weight) or (bias is not None and not _holds(bias)):
            return False
        node = linear.node
        self._replace(node, linear.operand, weight)
        if bias is not None:
            node.resize_inputs(3)
            self._replace(node, 2, bias)
            if node.op_type == "Gemm":
                node.attributes["beta"] = ir.AttrFloat32("beta", 1.0)
        return True

    def _replace(self, node: ir.Node, index: int, array: Float64) -> None:
        """Give one operand of one node another value; other readers of the old one keep it."""
        old = node.inputs[index]
        if old is not None and len(old.uses()) == 1 and not old.is_graph_output():
            set_constant(old, array)
            return
        name = str(old.name) if old is not None else f"{node.name}.bias"
        node.replace_input_with(index, self.constant(name, array))

    def _plain(self, chain: list[_ScaleShift], scale: Float64, shift: Float64) -> None:
        """A chain that could not be folded: one Mul and one Add where that is shorter, else step by step.

        Division by a number becomes the multiplication that integer kernels have; division by one number a
        channel stays, since channels of different size are better not rounded together.
        """
        if not _can_be_written(scale, shift):
            return
        if int((scale != 1).any()) + int((shift != 0).any()) < len(chain):
            self._write(chain, scale, shift, str(chain[-1].node.outputs[0].name))
            return
        for step in chain:
            if step.node.op_type in ("Div", "Sub") and step.scale.size * step.shift.size == 1:
                self._write([step], step.scale, step.shift, str(step.node.outputs[0].name))

    def _write(self, chain: list[_ScaleShift], scale: Float64, shift: Float64, name: str) -> None:
        """Write a Mul and an Add, where they do anything, in place of a chain; `name` is of its result."""
        x, old = chain[0].x, chain[-1].node
        y = old.outputs[0]
        parts = [(op, c) for op, c in (("Mul", scale), ("Add", shift)) if (c != (op == "Mul")).any()]
        if not parts and not self._may_be_called(x, y):
            return
        nodes, value = [], x
        for (op, constant), step in zip(parts, chain[len(chain) - len(parts) :], strict=True):
            kind, done = ("scale", "scaled") if op == "Mul" else ("shift", "shifted")
            operand = self.constant(f"{step.node.name}.{kind}", constant)
            node, result = self.node(op, [value, operand], y, f"{step.node.name}.{done}")
            node.name = step.node.name
            nodes.append(node)
            value = result
        self.graph.insert_after(old, nodes)
        # x may be called y where it has y's values now, and nobody else knows it by its own name.
        own = len(x.uses()) == 1 and not x.is_graph_input() and not x.is_graph_output()
        renamed = bool(nodes) or (name == y.name and (own or y.is_graph_output()))
        self.redirect(y, value)
        self.graph.remove([step.node for step in chain], safe=True)
        if renamed:
            value.name = name

    @staticmethod
    def _may_be_called(x: ir.Value, y: ir.Value) -> bool:
        """Whether x can stand for y: an output of the graph needs its name, and x may have one to keep."""
        return not y.is_graph_output() or not (x.is_graph_input() or x.is_graph_output())


def _holds(array: Float64) -> bool:
    """Whether float32 can hold all values, and the largest ones at full precision."""
    largest = float(np.abs(array).max(initial=0.0))
    return largest == 0.0 or _LEAST <= largest <= float(np.finfo(np.float32).max)


def _can_be_written(scale: Float64, shift: Float64) -> bool:
    return _holds(scale) and _holds(shift)


def _is_quantized(x: ir.Value) -> bool:
    """Whether a tensor is quantized as a rule; not an input of the network, nor what float operators make."""
    maker = x.producer()
    while maker is not None and maker.op_type in _MOVING and maker.inputs and maker.inputs[0] is not None:
        maker = maker.inputs[0].producer()
    return maker is not None and maker.op_type in _QUANTIZED and maker.domain in STANDARD_DOMAINS
