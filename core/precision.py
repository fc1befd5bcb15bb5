"""Compute a float16, bfloat16 or float64 model in float32, with its inputs and outputs as they were."""

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

_FLOAT = int(ir.DataType.FLOAT)
# Attributes that hold an element type, by operator.
_TYPE_ATTRIBUTES = ("to", "dtype", "output_datatype", "stash_type", "softmax_precision")


def widen(model: ir.Model) -> str | None:
    """Turn reduced-precision tensors into float32 in place; a note says what was done, None if nothing.

    float16 and bfloat16 are always widened (values are exact in float32). float64 is narrowed only when
    most weights have that type, since small float64 islands usually compute shapes.
    """
    types = _types_to_change(model)
    if not types:
        return None
    count = sum(1 for graph in _graphs(model) for v in graph.initializers.values() if v.dtype in types)
    _borders(model, types)
    for graph in _graphs(model):
        for value in graph.initializers.values():
            if value.dtype in types and value.const_value is not None:
                value.const_value = _cast(value.const_value)
    protected = _border_values(model)
    for graph in _graphs(model):
        for value in _values(graph):
            if value not in protected:
                _retype(value, types)
    for graph in _graphs(model):
        for node in graph:
            _retype_attributes(node, types)
    names = " and ".join(sorted(t.name.lower() for t in types))
    return f"Computed in float32: {count} {names} weights were converted; inputs and outputs keep their type."


def _graphs(model: ir.Model) -> Iterator[ir.Graph]:
    yield from (g for g in model.graphs())


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs


def _types_to_change(model: ir.Model) -> set[ir.DataType]:
    sizes: dict[ir.DataType, int] = {}
    present: set[ir.DataType] = set()
    for graph in _graphs(model):
        for value in _values(graph):
            if value.dtype is not None:
                present.add(value.dtype)
        for value in graph.initializers.values():
            if value.const_value is not None:
                sizes[value.const_value.dtype] = (
                    sizes.get(value.const_value.dtype, 0) + value.const_value.nbytes
                )
        for node in graph:
            for tensor in _tensors(node):
                present.add(tensor.dtype)
                sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.nbytes
            if node.op_type == "Cast" and "to" in node.attributes:
                present.add(ir.DataType(node.attributes["to"].as_int()))
    present.update(sizes)
    types = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16} & present
    floats = {t: n for t, n in sizes.items() if t in (ir.DataType.FLOAT, ir.DataType.DOUBLE, *types)}
    double = floats.get(ir.DataType.DOUBLE, 0)
    if double > 1024 and double > sum(floats.values()) / 2:
        types.add(ir.DataType.DOUBLE)
    return types


def _tensors(node: ir.Node) -> Iterator[ir.TensorProtocol]:
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.TENSOR:
            yield attribute.as_tensor()
        elif attribute.type == ir.AttributeType.TENSORS:
            yield from attribute.as_tensors()


def _cast(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """A float32 copy, made when it is first read so that large weights are not all held twice."""

    def evaluate() -> ir.TensorProtocol:
        with np.errstate(over="ignore"):
            return ir.Tensor(np.asarray(tensor.numpy(), np.float32), name=tensor.name)

    return ir.LazyTensor(
        evaluate, dtype=ir.DataType.FLOAT, shape=ir.Shape(tensor.shape.numpy()), name=tensor.name
    )


def _retype(value: ir.Value, types: set[ir.DataType]) -> None:
    if value.type is not None and value.dtype in types:
        value.dtype = ir.DataType.FLOAT


def _retype_attributes(node: ir.Node, types: set[ir.DataType]) -> None:
    if node.metadata_props.pop("quantscope.border", None):
        return
    for name, attribute in list(node.attributes.items()):
        if attribute.is_ref():
            continue
        if (
            attribute.type == ir.AttributeType.INT
            and name in _TYPE_ATTRIBUTES
            and attribute.as_int() in types
        ):
            node.attributes[name] = ir.AttrInt64(name, _FLOAT)
        elif attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype in types:
            node.attributes[name] = ir.AttrTensor(name, _cast(attribute.as_tensor()))


def _borders(model: ir.Model, types: set[ir.DataType]) -> None:
    """Insert Casts, so that inputs and outputs of the main graph keep their type."""
    graph = model.graph
    taken = {v.name for g in _graphs(model) for v in _values(g)}
    for value in graph.inputs:
        if value.dtype in types and not value.is_initializer() and value.uses():
            cast = _cast_node(value, ir.DataType.FLOAT, _fresh(f"{value.name}_float32", taken))
            value.replace_all_uses_with(cast.outputs[0])
            cast.replace_input_with(0, value)
            first = next(iter(graph))
            graph.insert_before(first, cast)
    for index, value in enumerate(list(graph.outputs)):
        if value.dtype not in types or value.producer() is None:
            continue
        name, kind = str(value.name), value.dtype
        value.name = _fresh(f"{name}_float32", taken)
        cast = _cast_node(value, kind, name)
        graph.append(cast)
        graph.outputs[index] = cast.outputs[0]


def _cast_node(value: ir.Value, kind: ir.DataType, output: str) -> ir.Node:
    result = ir.Value(name=output, type=ir.TensorType(kind), shape=value.shape)
    return ir.Node(
        "",
        "Cast",
        [value],
        [ir.AttrInt64("to", int(kind))],
        outputs=[result],
        name=f"Cast_{output}",
        metadata_props={"quantscope.border": "1"},
    )


def _border_values(model: ir.Model) -> set[ir.Value]:
    kept = set(model.graph.inputs)
    kept.update(v for v in model.graph.outputs)
    return kept


def _fresh(name: str, taken: set[str | None]) -> str:
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    taken.add(candidate)
    return candidate
