"""Scales and zero points of a quantized file, whoever wrote it, by the layer of the float model."""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from quantscope.core.evaluate.correspondence import QdqView, encoding_of, match_tensors, plain_encoding
from quantscope.core.model import Layer, Model
from quantscope.core.quant import Encoding

_WEIGHT_OPERATORS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# Integer operators whose inputs begin with a value, its scale and zero point, and then the weight's three.
_INTEGER_OPERATORS = frozenset({"QLinearConv", "QLinearMatMul", "QGemm"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEncodings:
    """How a file quantizes one layer."""

    matched: bool  # something in the file stands for the layer's output
    type: str  # integer type of the output; "" where it stays float
    output: Encoding | None  # None where it stays float, and where scales are not plain constants
    weight: Encoding | None  # None where there is none, where it stays float, and where it was not found


def layer_encodings(model: Model, quantized: onnx.ModelProto) -> dict[str, LayerEncodings]:
    """What a quantized file does with each layer, by the layer's name.

    Outputs are matched by the names of tensors; weights are those of the operators that compute them.

    Args:
        model: The float model.
        quantized: A quantized version of it, with QuantizeLinear / DequantizeLinear pairs or of integer
            operators.
    """
    view = match_tensors(model, quantized)
    weights = _weights(quantized.graph, view)
    found = {}
    for layer in model.layers:
        counterpart = view.counterpart(layer.output)
        found[layer.name] = LayerEncodings(
            matched=counterpart is not None,
            type=counterpart.integer_type if counterpart is not None else "",
            output=counterpart.encoding if counterpart is not None else None,
            weight=_weight_of(layer, weights),
        )
    return found


def _weight_of(layer: Layer, weights: Mapping[str, Encoding]) -> Encoding | None:
    if layer.weight is None:
        return None
    names = (*layer.nodes, *layer.inner, layer.output)
    return next((weights[name] for name in names if name in weights), None)


def _weights(graph: onnx.GraphProto, view: QdqView) -> dict[str, Encoding]:
    """Encodings of weights, by the float tensors that their operators compute and by the names of these."""
    readers = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    float_names: dict[str, list[str]] = {}  # of what integer operators compute
    for name, counterpart in view.integers.items():
        float_names.setdefault(counterpart.tensor, []).append(name)
    found: dict[str, Encoding] = {}
    for node in graph.node:
        encoding = _weight(node, readers, view)
        if encoding is not None:
            out = node.output[0]
            names = (view.names.get(out, out), *float_names.get(out, ()), node.name)
            found |= dict.fromkeys(filter(None, names), encoding)
    return found


def _weight(node: onnx.NodeProto, readers: Mapping[str, onnx.NodeProto], view: QdqView) -> Encoding | None:
    if node.op_type in _INTEGER_OPERATORS and len(node.input) > 5:
        return plain_encoding(view.constants.get(node.input[4]), view.constants.get(node.input[5]))
    if node.op_type not in _WEIGHT_OPERATORS:
        return None
    for name in (*node.input[1:2], *node.input[:1]):  # a weight may come first in a MatMul
        reader = readers.get(name)
        if reader is not None and reader.input[0] in view.constants:
            return encoding_of(reader, view.constants)
    return None
