"""Layers as the user sees them: a main operator, the bias and activation fused into it, and its tensors."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from quantscope.core.model.compound import STANDARD_DOMAINS as STANDARD_DOMAINS
from quantscope.core.model.compound import Compound, compound_at

Dim = int | str | None

# Operators whose kernels take a Relu or Clip behind them into the same integer step.
_ABSORB_ACTIVATION = frozenset(
    {"Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "BatchNormalization", "InstanceNormalization"}
)
_ABSORB_BIAS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})  # of an already quantized model
_WEIGHT_INPUTS = {"Conv": (1,), "ConvTranspose": (1,), "Gemm": (1, 0), "MatMul": (1, 0), "Gather": (0,)}
_BIAS_INPUTS = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """Name, element type and shape of a tensor; a dimension is an int, a symbol's name, or None (unknown)."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[Dim, ...] | None  # None when not even the rank is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One row of the layer table: a float graph input, a main node with what is fused into it, or a compound.

    A compound (see `compound.py`) is called after its last node, and its operator is the function's name.
    """

    name: str  # of the main node, or of the graph input
    kind: str  # "input" or "compute"
    op: str  # main node's operator, "Input" for inputs
    ops: tuple[str, ...]  # operators of all its nodes
    nodes: tuple[str, ...]  # node names, in order
    inputs: tuple[str, ...]  # activation tensors it reads
    compound: bool = False  # a function spelled out in several nodes, see `core.model.compound`
    output: str  # the tensor that later layers read; the first one where there are several
    outputs: tuple[str, ...] = ()  # all its float outputs (Split, LSTM); `output` first
    inner: tuple[str, ...] = ()  # float tensors between its nodes
    weight: str | None = None  # constant operand of the main node (Conv, ConvTranspose, Gemm, MatMul, Gather)
    bias: str | None = None  # constant bias: operand of the main node, or of the Add behind it
    shape: tuple[Dim, ...] | None = None  # of the output
    parameters: int = 0  # elements in its constant operands
    macs: int | None = (
        None  # multiply-accumulates for one sample; None where shapes are unknown or none occur
    )


def build_layers(graph: ir.Graph) -> tuple[Layer, ...]:
    """Group the nodes of the main graph into layers; inputs first, then topological order."""
    taken: set[ir.Node] = set()
    position = {node: i for i, node in enumerate(graph)}
    layers: list[Layer] = []
    for value in graph.inputs:
        layer = _input_layer(value, taken) if is_float(value) else None
        if layer is not None:
            layers.append(layer)
    for node in graph:
        if node.op_type in _CONVERSIONS or node in taken:
            continue
        compound = compound_at(node, position, taken)
        if compound is not None:
            layers.append(_compound_layer(compound, taken))
        elif any(_is_float32(v) for v in node.outputs):
            layers.append(_compute_layer(node, taken))
    return tuple(layers)


def _is_float32(value: ir.Value) -> bool:
    return (
        bool(value.name) and isinstance(value.type, ir.TensorType) and value.type.dtype == ir.DataType.FLOAT
    )


def is_float(value: ir.Value | None) -> bool:
    """Whether it is a tensor of a floating-point type."""
    return value is not None and isinstance(value.type, ir.TensorType) and value.type.dtype in _FLOATS


_FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16})


def shape_of(value: ir.Value) -> tuple[Dim, ...] | None:
    """Its dimensions as ints, the file's names, or None; None alone where not even the rank is known."""
    if value.shape is None:
        return None
    return tuple(d if isinstance(d, int) else _dim_name(d.value) for d in value.shape)


def _dim_name(name: str | None) -> str | None:
    """A symbol; None for those that exporters and shape inference make up."""
    return None if name is None or _NO_NAME.fullmatch(name) else name


_NO_NAME = re.compile(r"|None|\?|-1|unk__\d+")


def _input_layer(value: ir.Value, taken: set[ir.Node]) -> Layer | None:
    """An input; of another type than float32, the result of the Cast that reads it is what gets quantized."""
    output, nodes, ops = value, [], ["Input"]
    if not _is_float32(value):
        cast = only_consumer(value)
        if cast is None or cast.op_type != "Cast" or not _is_float32(cast.outputs[0]):
            return None
        taken.add(cast)
        output, nodes, ops = cast.outputs[0], [str(cast.name)], ["Input", "Cast"]
    return Layer(
        name=str(value.name),
        kind="input",
        op="Input",
        ops=tuple(ops),
        nodes=tuple(nodes),
        inputs=(),
        output=str(output.name),
        outputs=(str(output.name),),
        shape=shape_of(output),
    )


def _compute_layer(main: ir.Node, taken: set[ir.Node]) -> Layer:
    nodes = [main]
    bias = _bias(main)
    if main.domain in STANDARD_DOMAINS:
        add = only_consumer(main.outputs[0]) if main.op_type in _ABSORB_BIAS and bias is None else None
        if add is not None and add.op_type == "Add":
            constant = next((v for v in add.inputs if v is not None and v.const_value is not None), None)
            if constant is not None and _is_per_channel(constant, main):
                nodes.append(add)
                bias = constant
        if main.op_type in _ABSORB_ACTIVATION:
            activation = only_consumer(nodes[-1].outputs[0])
            if activation is not None and _is_fused_activation(activation):
                nodes.append(activation)
    taken.update(nodes)
    own = {v for n in nodes for v in n.outputs}
    inputs = [v for n in nodes for v in n.inputs if v is not None and _constant(v) is None and v not in own]
    inputs.extend(_captured(main))
    constants = {v for n in nodes for v in n.inputs if v is not None and v.const_value is not None}
    weight = _weight(main)
    outputs = [v for v in nodes[-1].outputs if _is_float32(v)]
    return Layer(
        name=str(main.name),
        kind="compute",
        op=main.op_type,
        ops=tuple(n.op_type for n in nodes),
        nodes=tuple(str(n.name) for n in nodes),
        inputs=tuple(dict.fromkeys(str(v.name) for v in inputs)),
        output=str(outputs[0].name),
        outputs=tuple(str(v.name) for v in outputs),
        inner=tuple(str(v.name) for n in nodes[:-1] for v in n.outputs if v.name),
        weight=str(weight.name) if weight is not None else None,
        bias=str(bias.name) if bias is not None else None,
        shape=shape_of(outputs[0]),
        parameters=sum(_elements(v) for v in constants if is_float(v)),
        macs=_macs(main, weight),
    )


def _compound_layer(compound: Compound, taken: set[ir.Node]) -> Layer:
    nodes, output = compound.nodes, compound.nodes[-1].outputs[0]
    taken.update(nodes)
    constants = {v for n in nodes for v in n.inputs if v is not None and v.const_value is not None}
    return Layer(
        name=str(nodes[-1].name),
        kind="compute",
        op=compound.name,
        ops=tuple(n.op_type for n in nodes),
        nodes=tuple(str(n.name) for n in nodes),
        inputs=(str(compound.input.name),),
        compound=True,
        output=str(output.name),
        outputs=(str(output.name),),
        inner=tuple(str(n.outputs[0].name) for n in nodes[:-1]),
        shape=shape_of(output),
        parameters=sum(_elements(v) for v in constants if is_float(v)),
    )


def only_consumer(value: ir.Value) -> ir.Node | None:
    """The one node that reads a tensor once, in the same graph, where nothing else sees the tensor."""
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return None
    node = uses[0].node
    return node if node.domain in STANDARD_DOMAINS and node.graph is value.graph else None


def _is_fused_activation(node: ir.Node) -> bool:
    if node.op_type == "Relu":
        return True
    return node.op_type == "Clip" and all(v is None or v.const_value is not None for v in node.inputs[1:])


def _is_per_channel(constant: ir.Value, main: ir.Node) -> bool:
    """Whether an added constant is a bias: one value a channel (the last axis for MatMul, 1 for Conv)."""
    shape = constant.shape
    if shape is None or any(not isinstance(d, int) for d in shape):
        return False
    wide = [i for i, d in enumerate(shape) if d != 1]
    if len(wide) > 1:
        return False
    rank = len(main.outputs[0].shape) if main.outputs[0].shape is not None else None
    if not wide:
        return True
    if main.op_type in ("Conv", "ConvTranspose"):
        return rank is not None and wide[0] + rank - len(shape) == 1
    return wide[0] == len(shape) - 1


def _weight(node: ir.Node) -> ir.Value | None:
    if node.domain not in STANDARD_DOMAINS:
        return None
    operands = (node.inputs[k] for k in _WEIGHT_INPUTS.get(node.op_type, ()) if k < len(node.inputs))
    return next((w for w in map(_constant, operands) if w is not None), None)


def _bias(node: ir.Node) -> ir.Value | None:
    index = _BIAS_INPUTS.get(node.op_type)
    if index is None or node.domain not in STANDARD_DOMAINS or index >= len(node.inputs):
        return None
    return _constant(node.inputs[index])


def _constant(value: ir.Value | None) -> ir.Value | None:
    """The initializer behind a value, also where an already quantized model stores it as integers."""
    if value is None or value.const_value is not None:
        return value
    producer = value.producer()
    if producer is not None and producer.op_type == "DequantizeLinear":
        source = producer.inputs[0]
        return source if source is not None and source.const_value is not None else None
    return None


def _captured(node: ir.Node) -> Iterable[ir.Value]:
    """Outer tensors that the node's subgraphs read."""
    for graph in subgraphs(node):
        for inner in graph.all_nodes():
            for value in inner.inputs:
                if value is not None and value.const_value is None and value.graph is node.graph:
                    yield value


def subgraphs(node: ir.Node) -> list[ir.Graph]:
    """The graphs that the node holds directly: branches of an If, the body of a Loop or Scan."""
    graphs: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.GRAPH:
            graphs.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            graphs.extend(attribute.as_graphs())
    return graphs


def _elements(value: ir.Value) -> int:
    tensor = value.const_value
    return int(np.prod(tensor.shape.numpy(), dtype=np.int64)) if tensor is not None else 0


def _macs(node: ir.Node, weight: ir.Value | None) -> int | None:
    """Multiply-accumulates for one sample; a leading dynamic dimension counts as 1."""
    if node.domain not in STANDARD_DOMAINS or not node.outputs:
        return None
    if node.op_type in ("Conv", "ConvTranspose"):
        if weight is None:
            return None
        kernel = weight.const_value.shape.numpy() if weight.const_value is not None else ()
        source = node.inputs[0] if node.op_type == "ConvTranspose" else node.outputs[0]
        positions = _positions(source)
        if positions is None or len(kernel) < 2:
            return None
        # Each output element of a Conv (each input element of a ConvTranspose) meets kernel[1:] weights.
        return positions * int(np.prod(kernel[1:], dtype=np.int64))
    if node.op_type in ("Gemm", "MatMul"):
        left, positions = node.inputs[0], _positions(node.outputs[0])
        shape = shape_of(left) if left is not None else None
        if positions is None or not shape:
            return None
        transposed = node.op_type == "Gemm" and node.attributes.get_int("transA", 0) == 1
        inner = shape[0] if transposed else shape[-1]
        return positions * inner if isinstance(inner, int) else None
    return None


def _positions(value: ir.Value | None) -> int | None:
    shape = shape_of(value) if value is not None else None
    if not shape:
        return None
    dims = [1 if not isinstance(shape[0], int) else shape[0], *shape[1:]]
    total = 1
    for dim in dims:
        if not isinstance(dim, int):
            return None
        total *= dim
    return total


def float_tensors(graph: ir.Graph) -> Mapping[str, TensorInfo]:
    """Every float32 activation of the main graph, in topological order."""
    values = [v for v in graph.inputs if not v.is_initializer()]
    values.extend(v for node in graph for v in node.outputs)
    return {str(v.name): tensor_info(v) for v in values if _is_float32(v)}


def tensor_info(value: ir.Value) -> TensorInfo:
    """`TensorInfo` of a graph value; `object` for strings, sequences and maps."""
    dtype = np.dtype(object)
    if isinstance(value.type, ir.TensorType) and value.dtype not in (
        None,
        ir.DataType.STRING,
        ir.DataType.UNDEFINED,
    ):
        dtype = np.dtype(value.dtype.numpy())
    return TensorInfo(name=str(value.name), dtype=dtype, shape=shape_of(value))
