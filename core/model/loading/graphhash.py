"""A content hash of a graph that is the same in every process: names, structure, attributes and weights."""

import hashlib
from typing import Protocol

import numpy as np
import onnx_ir as ir


class _Digest(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...


def graph_hash(model: ir.Model) -> str:
    """sha256 in hexadecimal; documentation, metadata and inferred shapes do not count."""
    digest = hashlib.sha256()
    _text(digest, *(f"{domain}={version}" for domain, version in sorted(model.opset_imports.items())))
    _graph(digest, model.graph)
    return digest.hexdigest()


def _text(digest: _Digest, *parts: str) -> None:
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)


def _graph(digest: _Digest, graph: ir.Graph) -> None:
    for kind, values in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        _text(digest, kind, str(len(values)))
        for value in values:
            _text(digest, str(value.name), str(value.type), str(value.shape))
    for name in sorted(graph.initializers):
        tensor = graph.initializers[name].const_value
        _text(digest, "initializer", name)
        if tensor is not None:
            _tensor(digest, tensor)
    for node in graph:
        _text(digest, "node", str(node.name), node.domain, node.op_type)
        _text(digest, *(str(v.name) if v is not None else "" for v in node.inputs), "->")
        _text(digest, *(str(v.name) for v in node.outputs))
        for key in sorted(node.attributes):
            _attribute(digest, node.attributes[key])


def _attribute(digest: _Digest, attribute: ir.Attr) -> None:
    _text(digest, "attribute", attribute.name, attribute.type.name)
    if attribute.is_ref():
        _text(digest, str(attribute.ref_attr_name))
    elif attribute.type == ir.AttributeType.GRAPH:
        _graph(digest, attribute.as_graph())
    elif attribute.type == ir.AttributeType.GRAPHS:
        for graph in attribute.as_graphs():
            _graph(digest, graph)
    elif attribute.type == ir.AttributeType.TENSOR:
        _tensor(digest, attribute.as_tensor())
    elif attribute.type == ir.AttributeType.TENSORS:
        for tensor in attribute.as_tensors():
            _tensor(digest, tensor)
    else:
        _text(digest, repr(attribute.value))


def _tensor(digest: _Digest, tensor: ir.TensorProtocol) -> None:
    _text(digest, tensor.dtype.name, str(tuple(tensor.shape.numpy())))
    if tensor.dtype == ir.DataType.STRING:
        digest.update(repr(tensor.numpy().tolist()).encode())
        return
    array = np.ascontiguousarray(tensor.numpy())
    digest.update(array.reshape(-1).view(np.uint8).data)
