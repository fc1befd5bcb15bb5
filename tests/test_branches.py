"""Constants that branches have in common are in the file once, and the model computes what it did."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import quantscope as qs
from tests.sessions import session

SIDE = 24  # of the square weights, which are large enough to be shared


def _branch(name: str, weight: np.ndarray, *, answers: str) -> onnx.GraphProto:
    """x @ weight, with a weight of the branch's own; `answers` is the name of what it gives back."""
    nodes = [helper.make_node("MatMul", ["x", "w"], [answers], name=f"{name}_matmul")]
    result = helper.make_tensor_value_info(answers, TensorProto.FLOAT, ["N", SIDE])
    return helper.make_graph(nodes, name, [], [result], [numpy_helper.from_array(weight, "w")])


def _model(first: np.ndarray, second: np.ndarray) -> onnx.ModelProto:
    then, other = _branch("then", first, answers="a"), _branch("other", second, answers="b")
    nodes = [
        helper.make_node("Relu", ["x0"], ["x"], name="relu"),
        helper.make_node("ReduceSum", ["x0"], ["sum"], name="sum", keepdims=0),
        helper.make_node("Greater", ["sum", "limit"], ["condition"], name="greater"),
        helper.make_node("If", ["condition"], ["chosen"], name="if", then_branch=then, else_branch=other),
        helper.make_node("MatMul", ["chosen", "last"], ["y"], name="last_matmul"),
    ]
    shape = ["N", SIDE]
    graph = helper.make_graph(
        nodes,
        "branches",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(np.float32(0), "limit"),
            numpy_helper.from_array(np.eye(SIDE, dtype=np.float32)[::-1].copy(), "last"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _constants_of_branches(model: onnx.ModelProto) -> int:
    node = next(node for node in model.graph.node if node.op_type == "If")
    return sum(len(attribute.g.initializer) for attribute in node.attribute)


@pytest.mark.parametrize("equal", [True, False])
def test_equal_weights_of_branches_are_stored_once(equal: bool) -> None:
    random = np.random.default_rng(3)
    first = random.normal(size=(SIDE, SIDE)).astype(np.float32)
    second = first if equal else random.normal(size=(SIDE, SIDE)).astype(np.float32)
    model = qs.load(_model(first, second).SerializeToString())
    positive = np.abs(random.normal(size=(16, SIDE))).astype(np.float32)
    quantized = qs.quantize(model, {"x0": np.concatenate([positive, -positive])})
    proto = onnx.load_from_string(quantized.to_bytes())
    onnx.checker.check_model(proto, full_check=True)
    assert _constants_of_branches(proto) == (0 if equal else 2)
    names = [tensor.name for tensor in proto.graph.initializer]
    assert len(names) == len(set(names))
    running = session(proto)
    for sign in (1, -1):  # each branch
        x = sign * positive
        weight = first if sign > 0 else second
        expected = np.maximum(x, 0) @ weight[:, ::-1]
        (found,) = running.run(None, {"x0": x})
        assert np.abs(found - expected).max() <= 0.02 * max(1.0, np.abs(expected).max())
