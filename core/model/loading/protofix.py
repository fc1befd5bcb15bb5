"""Mend what onnx_ir cannot hold: sparse weights, maps, and the long name of the standard domain."""

import math

import numpy as np
import onnx

from quantscope.core.errors import ModelError


def mend(proto: onnx.ModelProto, shown: str) -> list[str]:
    """Change `proto` in place; sentences about what the user should know.

    Raises:
        ModelError: an input is a map, or a sparse weight is malformed.
    """
    _short_domain(proto)
    try:
        _densify(proto.graph)
    except (ValueError, IndexError, TypeError) as error:
        raise ModelError(f"'{shown}' has a malformed sparse weight ({error}). Export it again.") from error
    return _drop_maps(proto.graph, shown)


def _short_domain(proto: onnx.ModelProto) -> None:
    """`ai.onnx` and the empty string are the same domain."""
    long = [entry for entry in proto.opset_import if entry.domain == "ai.onnx"]
    for entry in long:
        entry.domain = ""
    if not long:
        return
    graphs = [proto.graph]
    while graphs:
        for node in graphs.pop().node:
            if node.domain == "ai.onnx":
                node.domain = ""
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    graphs.append(attribute.g)
                graphs.extend(attribute.graphs)


def _densify(graph: onnx.GraphProto) -> None:
    """Sparse initializers become ordinary ones."""
    for sparse in graph.sparse_initializer:
        values = onnx.numpy_helper.to_array(sparse.values)
        places = onnx.numpy_helper.to_array(sparse.indices)
        dims = tuple(sparse.dims)
        if math.prod(dims) * values.itemsize > 1 << 31:
            raise ValueError(f"{sparse.values.name} of shape {dims} is too large to be made dense")
        dense = np.zeros(dims, values.dtype)
        if places.ndim == 1:
            dense.reshape(-1)[places] = values
        else:
            dense[tuple(places.T)] = values
        graph.initializer.append(onnx.numpy_helper.from_array(dense, sparse.values.name))
    del graph.sparse_initializer[:]


def _drop_maps(graph: onnx.GraphProto, shown: str) -> list[str]:
    """Leave out outputs that are maps (scikit-learn's ZipMap); the tensors they were made of come instead."""
    for value in graph.input:
        if _is_map(value.type):
            raise ModelError(
                f"'{shown}' takes a map as input '{value.name}'. Export it with tensor inputs only."
            )
    maps = [value.name for value in graph.output if _is_map(value.type)]
    if not maps:
        return []
    producers = {output: node for node in graph.node for output in node.output}
    kept = [value for value in graph.output if value.name not in maps]
    notes: list[str] = []
    for name in maps:
        node = producers.get(name)
        while node is not None and node.op_type == "Identity":
            node = producers.get(node.input[0])
        if node is None or node.op_type != "ZipMap":
            raise ModelError(f"'{shown}' gives a map as output '{name}'. Export it with tensor outputs only.")
        tensor = node.input[0]
        if tensor not in {value.name for value in kept}:
            kept.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
        notes.append(
            f"Output '{name}', a map of class names, gives way to the tensor '{tensor}' it is made of."
        )
    del graph.output[:]
    graph.output.extend(kept)
    _prune(graph, {value.name for value in kept})
    return notes


def _is_map(kind: onnx.TypeProto) -> bool:
    while kind.HasField("sequence_type") or kind.HasField("optional_type"):
        kind = (
            kind.sequence_type.elem_type if kind.HasField("sequence_type") else kind.optional_type.elem_type
        )
    return bool(kind.HasField("map_type"))


def _prune(graph: onnx.GraphProto, needed: set[str]) -> None:
    """Remove the ZipMap and Identity nodes whose outputs nobody reads any more."""
    read = needed | {
        name for node in graph.node for name in node.input if node.op_type not in ("ZipMap", "Identity")
    }
    kept = [n for n in graph.node if n.op_type not in ("ZipMap", "Identity") or set(n.output) & read]
    del graph.node[:]
    graph.node.extend(kept)
