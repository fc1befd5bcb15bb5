"""Compute a float16, bfloat16 or float64 model in float32, with its inputs and outputs as they were."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

_HALF = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
_TYPE_ATTRIBUTES = (
    "to",
    "dtype",
    "output_datatype",
    "softmax_precision",
)  # attributes that hold an element type


def widen(model: ir.Model) -> list[str]:
    """Turn tensors of other floating-point types into float32, in place; sentences say what was done.

    float16 and bfloat16 always (every value of theirs is one of float32); float64 only when most of the
    weights have that type, since small islands of it usually compute shapes.
    """
    types = _types_to_change(model)
    if not types:
        return []
    weights = 0
    borders = _add_borders(model, types)
    ends = {*model.graph.inputs, *model.graph.outputs}
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None and value.const_value.dtype in types:
                value.const_value = _as_float32(value.const_value)
                weights += 1
        for value in _all_values(graph):
            if value not in ends:
                _retype(value, types)
        for node in graph:
            if node not in borders:
                _retype_attributes(node, types)
    names = " and ".join(sorted(_type_name(kind) for kind in types))
    what = f"Computed in float32 instead of {names}"
    return [f"{what} ({weights} weights converted); inputs and outputs keep their type."]


def _type_name(kind: ir.DataType) -> str:
    return "float64" if kind == ir.DataType.DOUBLE else kind.name.lower()


def _all_values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs


def _types_to_change(model: ir.Model) -> set[ir.DataType]:
    sizes: Counter[ir.DataType] = Counter()  # bytes of constants
    present: set[ir.DataType | None] = set()
    for graph in model.graphs():
        present.update(_element_type(value) for value in _all_values(graph))
        for value in graph.initializers.values():
            if value.const_value is not None:
                sizes[value.const_value.dtype] += value.const_value.nbytes
        for node in graph:
            for tensor in _attribute_tensors(node):
                sizes[tensor.dtype] += tensor.nbytes
            present.update(kind for kind in _HALF if kind in _named_types(node))
    present.update(sizes)
    types = {kind for kind in _HALF if kind in present}
    floats = sum(n for kind, n in sizes.items() if kind.is_floating_point())
    if sizes[ir.DataType.DOUBLE] > max(1024, floats / 2):
        types.add(ir.DataType.DOUBLE)
    return types


def _element_type(value: ir.Value) -> ir.DataType | None:
    return value.type.dtype if value.type is not None else None


def _named_types(node: ir.Node) -> set[int]:
    """Element types that the node's attributes name."""
    found = (node.attributes.get(name) for name in _TYPE_ATTRIBUTES)
    return {a.as_int() for a in found if a is not None and a.type == ir.AttributeType.INT and not a.is_ref()}


def _attribute_tensors(node: ir.Node) -> Iterator[ir.TensorProtocol]:
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.TENSOR:
            yield attribute.as_tensor()
        elif attribute.type == ir.AttributeType.TENSORS:
            yield from attribute.as_tensors()


def _as_float32(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """A float32 copy, made when it is first read, so that large weights are not all held twice."""

    def evaluate() -> ir.TensorProtocol:
        with np.errstate(over="ignore"):
            return ir.Tensor(np.asarray(tensor.numpy(), np.float32), name=tensor.name)

    shape = ir.Shape(tensor.shape.numpy())
    return ir.LazyTensor(evaluate, dtype=ir.DataType.FLOAT, shape=shape, name=tensor.name)


def _retype(value: ir.Value, types: set[ir.DataType]) -> None:
    if value.type is not None and value.type.dtype in types:
        value.type.dtype = ir.DataType.FLOAT  # of the elements, for sequences too


def _retype_attributes(node: ir.Node, types: set[ir.DataType]) -> None:
    for name, attribute in list(node.attributes.items()):
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.INT:
            if name in _TYPE_ATTRIBUTES and attribute.as_int() in types:
                node.attributes[name] = ir.AttrInt64(name, int(ir.DataType.FLOAT))
        elif attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype in types:
            node.attributes[name] = ir.AttrTensor(name, _as_float32(attribute.as_tensor()))


def _add_borders(model: ir.Model, types: set[ir.DataType]) -> set[ir.Node]:
    """Insert Casts, so that inputs and outputs of the main graph keep their type; returns these."""
    graph = model.graph
    taken = {v.name for g in model.graphs() for v in _all_values(g)}
    borders: set[ir.Node] = set()
    for value in graph.inputs:
        if _is_tensor(value, types) and value.uses():
            cast = _cast(value, ir.DataType.FLOAT, _fresh(f"{value.name}_float32", taken))
            value.replace_all_uses_with(cast.outputs[0])
            cast.replace_input_with(0, value)
            graph.insert_before(graph[0], cast)
            borders.add(cast)
    for index, value in enumerate(list(graph.outputs)):
        if not _is_tensor(value, types) or value.is_graph_input():
            continue
        name, kind = str(value.name), value.dtype
        assert kind is not None
        value.name = _fresh(f"{name}_float32", taken)
        cast = _cast(value, kind, name)
        graph.append(cast)
        graph.outputs[index] = cast.outputs[0]
        borders.add(cast)
    return borders


def _is_tensor(value: ir.Value, types: set[ir.DataType]) -> bool:
    return isinstance(value.type, ir.TensorType) and value.type.dtype in types


def _cast(value: ir.Value, kind: ir.DataType, output: str) -> ir.Node:
    result = ir.Value(name=output, type=ir.TensorType(kind), shape=value.shape)
    return ir.Node(
        "", "Cast", [value], [ir.AttrInt64("to", int(kind))], outputs=[result], name=f"Cast_{output}"
    )


def _fresh(name: str, taken: set[str | None]) -> str:
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    taken.add(candidate)
    return candidate
