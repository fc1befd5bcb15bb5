"""What the bytes of a model file are: weights, biases, scales, other constants, nodes, names, remarks."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import onnx

from quantscope.core.model.loading import all_graphs, read_model_file

# Operators whose constant operands are weights, and at which places. An operator of onnxruntime's QOperator
# format has scales and zero points between them.
_WEIGHTS: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul", "FusedConv", "FusedGemm"), (0, 1)),
    **dict.fromkeys(("ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul", "MatMulNBits"), (0, 1)),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (1, 2)),
    **dict.fromkeys(("Gather", "EmbedLayerNormalization"), (0,)),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QGemm"), (0, 3)),
}
_BIASES: Mapping[str, int] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "FusedConv", "FusedGemm"), 2),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), 3),
    "QLinearConv": 8,
    "QGemm": 6,
}
_SCALES: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), (1, 2)),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QGemm": (1, 2, 4, 5, 7, 8),
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), (1, 2, 4, 5, 6, 7)),
    **dict.fromkeys(("QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax"), (1, 2, 3, 4)),
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearReduceMean"), (1, 2, 3, 4)),
    **dict.fromkeys(("ConvInteger", "MatMulInteger"), (2, 3)),
    "MatMulNBits": (2, 3),
}
_PASSED_ON = frozenset({"DequantizeLinear", "Identity", "Max", "Reshape", "Transpose", "Cast"})
_ROLES = ("scales", "biases", "weights", "constants")  # where a constant has several, the first one counts


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeBreakdown:
    """Bytes of a model file by what they hold; together the size of the file, external data included."""

    weights: int  # of convolutions, products, embeddings, recurrent layers; as floats or as integers
    biases: int  # what these add
    scales: int  # scales and zero points
    constants: int  # all other stored values: shapes, limits, parameters of normalizations, tables
    names: int  # of nodes and tensors, wherever they are written
    remarks: int  # types and shapes of inner tensors (value_info), documentation, metadata
    graph: int  # operators, attributes, inputs, outputs, and how all of this is written down

    @property
    def total(self) -> int:
        """Bytes of the file and its external data."""
        return sum(self.as_dict().values())

    def as_dict(self) -> dict[str, int]:
        """Bytes by the names of the fields, in their order."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def size_breakdown(model: bytes | str | Path | onnx.ModelProto) -> SizeBreakdown:
    """What the bytes of a model are.

    A stored tensor counts with its numbers, type and shape; its name counts among the names. A constant that
    several nodes read in different roles counts once.

    Args:
        model: The content of a file, its path, or a model in memory as it would be written.

    Raises:
        ModelError: It is missing, or no readable ONNX model.
    """
    if isinstance(model, onnx.ModelProto):
        proto, inside = model, model.ByteSize()
        outside = sum(_external_bytes(t) for g in all_graphs(proto) for t in g.initializer)
    else:
        file = read_model_file(model)
        proto = file.proto
        inside = len(model) if isinstance(model, bytes) else Path(model).stat().st_size
        outside = file.size_bytes - inside
    found: dict[str, int] = defaultdict(int)
    for graph in all_graphs(proto):
        _count_constants(graph, found)
        found["names"] += _name_bytes(graph)
        found["remarks"] += sum(_length(v.ByteSize()) for v in graph.value_info) + _remark_bytes(graph)
    for message in (proto, *proto.functions):
        found["remarks"] += len(message.doc_string.encode())
    found["remarks"] += sum(_length(entry.ByteSize()) for entry in proto.metadata_props)
    found["remarks"] += sum(map(len, (proto.producer_name, proto.producer_version, proto.domain)))
    found["graph"] = inside + outside - sum(found.values())
    return SizeBreakdown(**{field.name: found[field.name] for field in fields(SizeBreakdown)})


def _count_constants(graph: onnx.GraphProto, found: dict[str, int]) -> None:
    """Add the bytes of stored tensors, and of tensors in attributes, to the role that they have."""
    roles = _roles(graph)
    for tensor in graph.initializer:
        bytes_ = tensor.ByteSize() - _text(tensor.name) - _text(tensor.doc_string) + _external_bytes(tensor)
        wanted = roles.get(tensor.name, set())
        found[next((role for role in _ROLES if role in wanted), "constants")] += bytes_
    for node in graph.node:
        for tensor in _attribute_tensors(node):
            wanted = roles.get(node.output[0], set()) if node.op_type == "Constant" else set()
            found[next((role for role in _ROLES if role in wanted), "constants")] += (
                tensor.ByteSize() - _text(tensor.name) - _text(tensor.doc_string)
            )


def _roles(graph: onnx.GraphProto) -> dict[str, set[str]]:
    """What the tensors of a graph are used as, backwards through what passes constants on."""
    roles: dict[str, set[str]] = defaultdict(set)
    for node in reversed(graph.node):
        places = {
            **dict.fromkeys(_WEIGHTS.get(node.op_type, ()), "weights"),
            **dict.fromkeys(_SCALES.get(node.op_type, ()), "scales"),
            **({_BIASES[node.op_type]: "biases"} if node.op_type in _BIASES else {}),
        }
        for index, name in enumerate(node.input):
            if index in places:
                roles[name].add(places[index])
            elif index == 0 and node.op_type in _PASSED_ON:
                roles[name] |= {role for output in node.output for role in roles.get(output, ())}
    return roles


def _attribute_tensors(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors


def _name_bytes(graph: onnx.GraphProto) -> int:
    """Bytes of all names in a graph, those of nodes and operands included."""
    names = [
        graph.name,
        *(t.name for t in graph.initializer),
        *(v.name for v in (*graph.input, *graph.output)),
    ]
    for node in graph.node:
        names += (node.name, *node.input, *node.output)
        names += (tensor.name for tensor in _attribute_tensors(node))
    return sum(map(_text, names))


def _remark_bytes(graph: onnx.GraphProto) -> int:
    """Bytes of documentation and metadata of a graph, its nodes and tensors."""
    described = (graph, *graph.node, *graph.initializer, *graph.input, *graph.output)
    texts = sum(_text(message.doc_string) for message in described)
    entries = (entry for message in described for entry in message.metadata_props)
    return texts + sum(_length(entry.ByteSize()) for entry in entries)


def _text(text: str) -> int:
    """Bytes of a text as a field of a message; none where it is empty."""
    return _length(len(text.encode())) if text else 0


def _length(content: int) -> int:
    """Bytes of a field of that many bytes: tag, length and content."""
    return 1 + max(1, (content.bit_length() + 6) // 7) + content


def _external_bytes(tensor: onnx.TensorProto) -> int:
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return 0
    return next((int(entry.value) for entry in tensor.external_data if entry.key == "length"), 0)
