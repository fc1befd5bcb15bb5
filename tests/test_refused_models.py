"""Graphs that are refused: each with its reason in one line, and without noise on the terminal."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from quantscope.core.errors import ModelError
from quantscope.core.model import load_model
from tests.graphs import BOOL, Build, graph, model, node, value


def custom(domain: str = "acme", *, nested: bool = False) -> onnx.ModelProto:
    nodes = [node("Foo", ["x"], ["t"], domain=domain), node("Foo", ["t"], ["u"], domain=domain)]
    if nested:
        then = graph(nodes, [], [value("u")])
        other = graph([node("Relu", ["x"], ["e"])], [], [value("e")])
        nodes = [node("If", ["c"], ["u"], then_branch=then, else_branch=other)]
    inputs = [value("x", [2]), value("c", [], BOOL)]
    return model(nodes, inputs, [value("u", [2])], domains={domain: 1} if domain else None)


def quantized(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    weights = {"s": np.float32(0.1), "z": np.uint8(128), "w": np.uint8([[3], [4]]), "i": np.uint8([[1, 2]])}
    return model([*nodes], [value("x", [1, 2])], [helper.make_empty_tensor_value_info("y")], weights)


def in_training_mode(op: str, inputs: int, outputs: int = 1, **attributes: object) -> onnx.ModelProto:
    weights = {f"w{k}": np.ones(3, np.float32) for k in range(inputs)}
    if op == "Dropout":
        weights = {"w0": np.float32(0.5), "w1": np.bool_(True)}
    nodes = [node(op, ["x", *weights], [f"y{k}" for k in range(outputs)], **attributes)]
    return model(nodes, [value("x", [2, 3])], [value("y0")], weights, opset=15)


def plain(*nodes: onnx.NodeProto, opset: int = 13, **weights: np.ndarray) -> onnx.ModelProto:
    return model([*nodes], [value("x", [1])], [value("y")], weights, opset=opset)


dequantize = node("DequantizeLinear", ["w", "s", "z"], ["d"])
integer = node("MatMulInteger", ["i", "w"], ["y"])
REFUSED: dict[str, tuple[Build, str]] = {
    "custom": (custom, r"custom operators .* 2 × acme\.Foo"),
    "custom in a branch": (lambda: custom(nested=True), r"2 × acme\.Foo"),
    "extensions": (lambda: custom("ai.onnx.contrib"), "onnxruntime-extensions"),
    "aten": (lambda: custom("org.pytorch.aten"), "PyTorch operators without an ONNX form"),
    "unknown standard": (lambda: custom(""), r"2 × ai\.onnx\.Foo"),
    "weights only": (lambda: quantized(dequantize, node("MatMul", ["x", "d"], ["y"])), "1 DequantizeLinear"),
    "integers": (lambda: quantized(integer), "already quantized .1 MatMulInteger"),
    "batch norm": (lambda: in_training_mode("BatchNormalization", 4, 3, training_mode=1), "training mode"),
    "dropout": (lambda: in_training_mode("Dropout", 2), r"training mode.*eval\(\)"),
    "gradient": (
        lambda: model(
            [node("ReluGrad", ["x", "x"], ["y"], domain="com.microsoft")],
            [value("x", [1])],
            [value("y")],
            domains={"com.microsoft": 1},
        ),
        "ReluGrad",
    ),
    "future opset": (
        lambda: plain(node("Relu", ["x"], ["y"]), opset=99),
        "uses opset 99, which ONNX Runtime",
    ),
    "types": (lambda: plain(node("Add", ["x", "k"], ["y"]), k=np.array([1])), "bound to different types"),
    "cycle": (lambda: plain(node("Add", ["x", "y"], ["a"]), node("Relu", ["a"], ["y"])), "cycle"),
    "dangling": (lambda: plain(node("Add", ["x", "b"], ["y"])), "'b' is not a graph input"),
    "twice": (lambda: plain(node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])), "'y' is redeclared"),
    "no kernel": (
        lambda: model([node("Sigmoid", ["x"], ["y"])], [value("x", [1], TensorProto.INT8)], [value("y")]),
        "ONNX Runtime cannot load",
    ),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    build, words = REFUSED[name]
    with pytest.raises(ModelError) as caught:
        load_model(build().SerializeToString(), name="odd")
    message = str(caught.value)
    assert re.search(words, message), message
    assert "odd" in message
    assert "\n" not in message
    assert len(message) < 500
    for noise in ("[ONNXRuntimeError]", "onnxruntime_src", ".cc:"):
        assert noise not in message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "op", ["QLinearConv", "QGemm", "DynamicQuantizeLinear", "MatMulNBits", "ConvInteger"]
)
def test_quantized_operators_are_known_by_name(op: str) -> None:
    domain = "com.microsoft" if op in ("QGemm", "MatMulNBits") else ""
    proto = model([node(op, ["x"], ["y"], domain=domain)], [value("x", [1])], [value("y")])
    with pytest.raises(ModelError, match=f"already quantized .1 {op}"):
        load_model(proto.SerializeToString())


def test_float_operators_are_not_taken_for_quantized_ones() -> None:
    proto = model(
        [node("QuickGelu", ["x"], ["y"], domain="com.microsoft")],
        [value("x", [2])],
        [value("y")],
        domains={"com.microsoft": 1},
    )
    assert not load_model(proto.SerializeToString()).quantized
