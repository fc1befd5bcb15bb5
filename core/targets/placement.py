"""Where quantizers go: which tensors of a model get scales of their own, which share, and which stay float.

The placement equals what onnxruntime's `quantize_static` would choose on the same graph, so that ONNX
Runtime fuses the result into the same integer kernels, with these differences: the scale and bias of
normalizations stay float (they are no part of an integer kernel), a constant padding value stays as it
is, float consumers of a float tensor read it unrounded, and what a Relu or Clip of another layer reads keeps
its quantizer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from quantscope.core.memo import Recent
from quantscope.core.model import Model
from quantscope.core.model.loading import number_of
from quantscope.core.targets.table import Role, Target, target

PLACEMENTS = 8  # kept of a model: those of the recipe that is edited, and of what is tried beside it
REMOVABLE = frozenset({"Relu", "Clip"})  # a quantizer behind them can do their work


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightPlacement:
    """The constant operand of a Conv, Gemm or MatMul, and the bias added in its accumulator."""

    node: str
    layer: str
    initializer: str
    operand: int  # input index of the node
    axis: int | None  # output-channel axis; None where the op allows one scale only
    groups: int  # ConvTranspose repeats the channels of its weight for each group
    input: str  # the other operand; its scale times the weight's is the bias's
    bias: str | None  # constant bias, of as many values as output channels (or fewer, broadcast)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Every quantizer of a model for one target; no numbers yet."""

    target: Target
    tensors: Mapping[str, str]  # activation → the layer that owns it
    sources: Mapping[
        str, str
    ]  # activation that shares parameters → activation or constant it takes them from
    constants: Mapping[str, str]  # constant quantized like an activation → layer that reads it
    weights: Mapping[str, WeightPlacement]  # node name → its weight
    nodes: frozenset[str]  # nodes that compute on dequantized inputs
    # Activation → what the last step before its quantizer adds, where the zero point can do that instead.
    shifts: Mapping[str, float] = field(default_factory=dict)

    def own(self) -> tuple[str, ...]:
        """Activations with parameters of their own, in topological order."""
        return tuple(t for t in self.tensors if t not in self.sources)


def activation_tensors(model: Model, target_name: str = "onnxruntime-cpu") -> tuple[str, ...]:
    """Names of the activations that need statistics: those that any recipe gives parameters of their own."""
    return find_placement(model, target(target_name)).own()


def find_placement(
    model: Model, target_: Target, float_layers: Iterable[str] = (), float_tensors: Iterable[str] = ()
) -> Placement:
    """Decide, in one pass over the nodes, what is quantized; the last few answers are remembered.

    Args:
        model: The float model.
        target_: Gives each operator its role.
        float_layers: Names of layers that stay float; an input named here is never quantized.
        float_tensors: Names of activations that are never quantized; nodes that touch them stay float.
    """
    layers, tensors = frozenset(float_layers), frozenset(float_tensors)
    kept: Recent[Placement] = model.memo.get("placements", lambda: Recent(PLACEMENTS))
    # A placement holds its target, so that no other can get the same id while it is kept.
    return kept.get_or_make((id(target_), layers, tensors), lambda: _find(model, target_, layers, tensors))


def _find(
    model: Model, target_: Target, float_layers: frozenset[str], float_tensors: frozenset[str]
) -> Placement:
    inputs = {v.name for v in model.ir.graph.inputs}
    kept = {*float_tensors, *(name for name in float_layers if name in inputs)}
    marking = _Marking(model, target_, float_layers, frozenset(kept))
    for node in model.ir.graph:
        marking.visit(node)
    return Placement(
        target=target_,
        tensors=marking.tensors,
        sources=marking.sources,
        constants=marking.constants,
        weights=marking.weights,
        nodes=frozenset(marking.nodes),
        shifts=marking.zero_point_shifts(),
    )


def shared_roots(model: Model, target_: Target) -> Mapping[str, str]:
    """`Placement.sources` where nothing is left in float; found once a model and target."""
    return model.memo.get(("shared roots", target_.name), lambda: find_placement(model, target_).sources)


@dataclass(slots=True)
class _Marking:
    """State of the pass: what has been marked so far."""

    model: Model
    target: Target
    float_layers: frozenset[str]
    float_tensors: frozenset[str]
    tensors: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    weights: dict[str, WeightPlacement] = field(default_factory=dict)
    nodes: set[str] = field(default_factory=set)
    inside: set[str] = field(default_factory=set)  # between a quantized node and its fused activation
    layer_of_node: dict[str, str] = field(init=False)
    spelled_out: set[str] = field(default_factory=set)  # nodes of compounds that compute in float
    ends: list[ir.Node] = field(default_factory=list)  # their last nodes

    def __post_init__(self) -> None:
        compounds = [layer for layer in self.model.layers if layer.compound]
        nodes = {str(node.name): node for node in self.model.ir.graph} if compounds else {}
        for layer in compounds:
            own = [nodes[name] for name in layer.nodes]
            if in_float := self._in_float(own):
                self.spelled_out |= in_float
                self.ends.append(own[-1])
        self.layer_of_node = {node: layer.name for layer in self.model.layers for node in layer.nodes}

    def _in_float(self, nodes: Sequence[ir.Node]) -> set[str]:
        """Nodes of a spelled-out function that compute in float, without quantizers between them.

        Those of a function that takes few integer kernels and nothing else do not: rounding between the steps
        of a HardSwish or SiLU loses nothing measurable beside its output's own rounding, and two integer
        kernels take a quarter to half of the time of conversions and float kernels (ONNX Runtime). A scale or
        shift at the end goes together with the step before it.
        """
        tail = 0
        while tail < len(nodes) and _is_affine(nodes[len(nodes) - 1 - tail]):
            tail += 1
        core = nodes[: len(nodes) - tail]
        roles = [self.target.roles.get(node.op_type) for node in core]
        kernels = sum(role is not Role.ACTIVATION for role in roles)
        if None in roles or kernels > self.target.function_kernels:
            return {str(node.name) for node in nodes}
        return {str(node.name) for node in nodes[len(core) - 1 :]} if tail else set()

    def zero_point_shifts(self) -> dict[str, float]:
        """Quantized tensors that are an integer kernel's result plus a number, for integer readers alone."""
        found = {}
        for node in self.ends:
            value = node.outputs[0]
            if node.op_type != "Add" or value.name not in self.tensors:
                continue
            product, constant = node.inputs
            if number_of(constant) is None:
                product, constant = constant, product
            number = number_of(constant)
            maker = None if product is None else product.producer()
            if number is None or product is None or maker is None or maker.name not in self.spelled_out:
                continue
            kernel = self.target.roles.get(maker.op_type) is Role.OWN and len(product.uses()) == 1
            inside = all(self.is_quantized(v) for v in maker.inputs)
            readers = {str(user.name) for user in value.consumers()}
            if kernel and inside and readers <= self.nodes and not value.is_graph_output():
                found[str(value.name)] = number
        return found

    def visit(self, node: ir.Node) -> None:
        layer = self.layer_of_node.get(node.name or "")
        role = self.target.roles.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if role is None or layer is None or layer in self.float_layers or node.name in self.spelled_out:
            return
        if any(v is not None and v.name in self.float_tensors for v in (*node.inputs, *node.outputs)):
            return
        if VISITS[role](self, node, layer):
            self.nodes.add(str(node.name))

    def mark(self, value: ir.Value | None, reader: str) -> None:
        """Give a float tensor parameters of its own, unless it has some."""
        if value is None or not _is_float(value):
            return
        name = str(value.name)
        if value.const_value is not None:
            self.constants.setdefault(name, reader)
        elif name not in self.tensors:
            self.tensors[name] = self._owner(value, reader)

    def mark_output(self, node: ir.Node, value: ir.Value, layer: str) -> None:
        """Mark an output, unless the next thing that happens to it is this layer's Relu or Clip."""
        users = value.consumers()
        if len(value.uses()) == 1 and not value.is_graph_output() and node.op_type not in REMOVABLE:
            user = users[0]
            if user.op_type in REMOVABLE and self.layer_of_node.get(user.name or "") == layer:
                self.inside.add(str(value.name))
                return
        self.mark(value, layer)

    def share(self, node: ir.Node, layer: str) -> None:
        """Let the outputs keep the parameters of the first input."""
        assert node.inputs[0] is not None
        given = str(node.inputs[0].name)
        root = self.sources.get(given, given)
        for value in node.outputs:
            if _is_float(value):
                self.tensors[str(value.name)] = layer
                self.sources[str(value.name)] = root

    def is_quantized(self, value: ir.Value | None) -> bool:
        return value is not None and (value.name in self.tensors or value.name in self.constants)

    def _owner(self, value: ir.Value, reader: str) -> str:
        if value.is_graph_input():
            return str(value.name)
        layer = self.model.layer_of(str(value.name))
        return layer.name if layer is not None else reader


# Each visit marks the tensors of one node, and says whether the node computes on quantized ones.


def _linear(marking: _Marking, node: ir.Node, layer: str) -> bool:
    x, w = node.inputs[0], node.inputs[1]
    if x is None or w is None or not (_is_float(x) and _is_float(w)):
        return False
    if any(v.const_value is not None and v.const_value.size == 0 for v in (x, w)):
        return False  # nothing to quantize
    for operand, value, other in ((0, x, w), (1, w, x)):
        if value.const_value is None:
            marking.mark(value, layer)
        else:
            marking.weights[str(node.name)] = _weight(node, layer, operand, value, other)
    marking.mark_output(node, node.outputs[0], layer)
    return True


def _weight(node: ir.Node, layer: str, operand: int, value: ir.Value, other: ir.Value) -> WeightPlacement:
    rank = len(value.shape) if value.shape is not None else 0
    axis: int | None = None
    groups = 1
    if operand == 1 and node.op_type == "Conv":
        axis = 0
    elif operand == 1 and node.op_type == "ConvTranspose":
        axis, groups = 1, node.attributes.get_int("group", 1)
    elif operand == 1 and node.op_type == "Gemm":
        axis = 0 if node.attributes.get_int("transB", 0) else 1
    elif operand == 1 and rank == 2:  # MatMul: integer kernels take column scales for matrices only
        axis = 1
    bias = node.inputs[2] if operand == 1 and len(node.inputs) > 2 else None
    return WeightPlacement(
        node=str(node.name),
        layer=layer,
        initializer=str(value.name),
        operand=operand,
        axis=axis,
        groups=groups,
        input=str(other.name),
        bias=str(bias.name) if bias is not None and bias.const_value is not None else None,
    )


def _own(marking: _Marking, node: ir.Node, layer: str) -> bool:
    if not any(v is not None and _is_float(v) for v in node.inputs):
        return False
    for value in node.inputs:
        marking.mark(value, layer)
    for value in node.outputs:
        marking.mark_output(node, value, layer)
    return True


def _norm(marking: _Marking, node: ir.Node, layer: str) -> bool:
    marking.mark(node.inputs[0], layer)
    marking.mark_output(node, node.outputs[0], layer)
    return True


def _activation(marking: _Marking, node: ir.Node, layer: str) -> bool:
    value = node.inputs[0]
    if value is None or not (value.name in marking.inside or marking.is_quantized(value)):
        return False
    marking.mark(node.outputs[0], layer)
    return True


def _share(marking: _Marking, node: ir.Node, layer: str) -> bool:
    if not marking.is_quantized(node.inputs[0]):
        return False
    marking.share(node, layer)
    return True


def _split(marking: _Marking, node: ir.Node, layer: str) -> bool:
    marking.mark(node.inputs[0], layer)
    return _share(marking, node, layer)


def _gather(marking: _Marking, node: ir.Node, layer: str) -> bool:
    table = node.inputs[0]
    if table is not None and table.const_value is not None:
        marking.mark(table, layer)
    return _share(marking, node, layer)


def _pad(marking: _Marking, node: ir.Node, layer: str) -> bool:
    data = node.inputs[0]
    if data is None or not _is_float(data):
        return False
    marking.mark(data, layer)
    value = node.inputs[2] if len(node.inputs) > 2 else None
    constant = node.attributes.get_string("mode", "constant") == "constant"
    is_zero = value is None or (value.const_value is not None and not value.const_value.numpy().any())
    if constant and not is_zero:
        marking.mark(node.outputs[0], layer)
        return True
    return _share(marking, node, layer)


def _select(marking: _Marking, node: ir.Node, layer: str) -> bool:
    if not (marking.is_quantized(node.inputs[1]) and marking.is_quantized(node.inputs[2])):
        return False
    marking.mark(node.outputs[0], layer)
    return True


def _is_affine(node: ir.Node) -> bool:
    """Whether it is a Mul or Add with a constant."""
    return node.op_type in ("Mul", "Add") and any(
        v is not None and v.const_value is not None for v in node.inputs
    )


def _is_float(value: ir.Value) -> bool:
    return bool(value.dtype == ir.DataType.FLOAT)


VISITS = {
    Role.LINEAR: _linear,
    Role.OWN: _own,
    Role.NORM: _norm,
    Role.ACTIVATION: _activation,
    Role.SHARE: _share,
    Role.SPLIT: _split,
    Role.GATHER: _gather,
    Role.PAD: _pad,
    Role.SELECT: _select,
}


def not_finite(model: Model, placement: Placement) -> dict[str, str]:
    """Weights that hold NaN or infinite values, and biases and constants that hold NaN, with the reason.

    An infinite constant, as masks are, is left to its layer's output, which a range set by hand may cut.
    """
    weights = {w.initializer for w in placement.weights.values()}
    others = placement.constants.keys() | {w.bias for w in placement.weights.values()}
    found = model.memo.get("not finite", lambda: _not_finite(model))
    broken = sorted(n for n in found if n in weights or (found[n] and n in others))
    return dict.fromkeys(broken, "it holds NaN or infinite values, which integers cannot express")


def _not_finite(model: Model) -> dict[str, bool]:
    """Float initializers with a value that is not finite, and whether one is NaN."""
    found = {}
    for name, value in model.ir.graph.initializers.items():
        if value.dtype == ir.DataType.FLOAT and value.const_value is not None:
            array = value.const_value.numpy()
            if not np.isfinite(array).all():
                found[name] = bool(np.isnan(array).any())
    return found
