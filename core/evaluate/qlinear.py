"""Operators that take and give integers (onnxruntime's QOperator format): the scales of their outputs."""

import re
from collections.abc import Collection, Iterable, Mapping

import onnx

# Where the output's scale stands among an operator's inputs; its zero point comes next.
# https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md, and the ONNX operators.
_SCALE = {
    "QLinearConv": 6,
    "QLinearMatMul": 6,
    "QLinearAdd": 6,
    "QLinearMul": 6,
    "QGemm": 7,
    "QLinearWhere": 7,
    "QLinearConcat": 0,
    "QLinearAveragePool": 3,
    "QLinearGlobalAveragePool": 3,
    "QLinearLeakyRelu": 3,
    "QLinearSigmoid": 3,
    "QLinearSoftmax": 3,
    "QLinearReduceMean": 3,
}
# Operators that give out values of their first input, and so in its scale.
_MOVES = frozenset(
    {
        *("MaxPool", "NhwcMaxPool", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity"),
        *("Slice", "Split", "Gather", "Resize", "DepthToSpace", "SpaceToDepth", "Expand", "Tile", "Pad"),
    }
)
# Where the constant operand of an operator stands; its scale and zero point come next.
_WEIGHT = {"QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3}
_SUFFIX = re.compile(r"_?quantized$")  # what onnxruntime's quantizer adds to a float tensor's name


def has_integer_operators(nodes: Iterable[onnx.NodeProto]) -> bool:
    """Whether any node takes and gives integers with scales of their own."""
    return any(node.op_type in _SCALE for node in nodes)


def output_scales_at(op: str) -> int | None:
    """Where the scale of an integer operator's output stands among its inputs; None for other operators."""
    return _SCALE.get(op)


def weight_at(op: str) -> int | None:
    """Where the second operand of an integer operator stands; None for other operators."""
    return _WEIGHT.get(op)


def output_scales(nodes: Iterable[onnx.NodeProto]) -> dict[str, tuple[str, str]]:
    """The names of scale and zero point of each integer tensor that an integer operator computes.

    Args:
        nodes: Of a graph, in an order in which they can be run.
    """
    known: dict[str, tuple[str, str]] = {}  # of all integer tensors
    computed: dict[str, tuple[str, str]] = {}
    for node in nodes:
        if node.op_type == "QuantizeLinear":
            found = _scale_and_zero(node.input, 1)
            if found is not None:
                known[node.output[0]] = found
            continue
        found = None
        if node.op_type in _SCALE:
            found = _scale_and_zero(node.input, _SCALE[node.op_type])
        elif node.op_type in _MOVES and node.input:
            found = known.get(node.input[0])
        if found is not None:
            new = dict.fromkeys(filter(None, node.output), found)
            known |= new
            computed |= new
    return computed


def float_name(tensor: str, known: Collection[str], dequantized: Mapping[str, list[str]]) -> str:
    """The float tensor that an integer one stands for, by its name or its dequantized copy's; "" if none.

    Args:
        tensor: Integer tensor.
        known: Tensors of the float model.
        dequantized: What DequantizeLinear makes of each integer tensor.
    """
    names = (*dequantized.get(tensor, ()), tensor, _SUFFIX.sub("", tensor))
    return next((name for name in names if name in known), "")


def _scale_and_zero(inputs: Iterable[str], at: int) -> tuple[str, str] | None:
    """Scale and zero point among a node's inputs; None if there is no scale."""
    given = [*inputs, "", ""]
    return (given[at], given[at + 1]) if at + 1 < len(given) and given[at] else None
