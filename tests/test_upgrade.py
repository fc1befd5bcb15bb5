"""Old operators in new form compute the same: onnxruntime runs both, at the old opset and at the new one."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from quantscope.core.model import load_model
from quantscope.core.model.loading.upgrade import MIN_OPSET
from tests.graphs import (
    BOOL,
    FLOAT,
    INT64,
    Feeds,
    assert_same_function,
    graph,
    model,
    node,
    randn,
    session,
    value,
)

X = (2, 3, 4, 6)


class Case:
    """One operator at an old opset: its inputs after the first (weights, or feeds for dynamic ones)."""

    def __init__(
        self, op: str, opset: int, *weights: Any, shape: tuple[int, ...] = X, outs: int = 1, **attrs: Any
    ):
        self.op, self.opset, self.attributes, self.shape, self.outs = op, opset, attrs, shape, outs
        self.weights = {f"w{k}": np.asarray(w) for k, w in enumerate(weights)}

    def __str__(self) -> str:
        return f"{self.op}-{self.opset}-{'-'.join(f'{k}{v}' for k, v in self.attributes.items())}".replace(
            " ", ""
        )

    def proto(self, *, dynamic: bool = False, extra: tuple[onnx.NodeProto, ...] = ()) -> onnx.ModelProto:
        """The model; `dynamic` leaves sizes (not the rank) open."""
        names = [f"y{k}" for k in range(self.outs)]
        shape: list[int | str] = [f"d{k}" for k in range(len(self.shape))] if dynamic else list(self.shape)
        nodes = [node(self.op, ["x", *self.weights], names, **self.attributes), *extra]
        outputs = [helper.make_empty_tensor_value_info(n) for n in names]
        outputs += [value("e")] if extra else []
        return model(nodes, [value("x", shape)], outputs, self.weights, opset=self.opset)

    def feeds(self) -> Feeds:
        return {"x": randn(*self.shape) * 2}


AXES = np.array([1, 2])
BATCH_NORM = [np.abs(randn(3, seed=k)) + 0.5 for k in range(4)]
UP, DOWN, MIXED = np.float32([1, 1, 2, 3]), np.float32([1, 1, 0.5, 0.5]), np.float32([1, 1, 2, 0.5])
TO_13 = [
    Case("Clip", 7, min=-0.5, max=1.5),
    Case("Clip", 7, max=1.0),
    Case("Clip", 7),
    Case("Clip", 6, min=0.25),
    Case("Pad", 7, pads=[0, 0, 1, 2, 0, 0, 0, 1], value=1.5),
    Case("Pad", 10, pads=[0, 0, 1, 2, 0, 0, 0, 1], mode="reflect"),
    Case("Slice", 7, axes=[1, 3], starts=[1, -4], ends=[3, 9999]),
    Case("Slice", 9, starts=[0, 1], ends=[1, 2]),
    Case("Slice", 10, np.array([1]), np.array([4]), np.array([3]), np.array([2])),
    Case("Squeeze", 7, shape=(1, 3, 1, 2), axes=[0]),
    Case("Squeeze", 11, shape=(1, 3, 1, 2), axes=[-2]),
    Case("Squeeze", 7, shape=(1, 3, 1, 2)),
    Case("Unsqueeze", 7, axes=[0, 3]),
    Case("Unsqueeze", 11, axes=[-1]),
    Case("Split", 7, outs=2, axis=1, split=[1, 2]),
    Case("Split", 7, outs=3, axis=1),
    Case("Softmax", 7, axis=1),
    Case("Softmax", 7, axis=2),
    Case("Softmax", 7, axis=3),
    Case("Softmax", 11, axis=-1),
    Case("Softmax", 11, axis=-2),
    Case("Softmax", 7),
    Case("Softmax", 7, shape=(2, 5, 1, 1)),
    Case("LogSoftmax", 7, axis=2),
    Case("Hardmax", 7, axis=2),
    Case("ReduceSum", 7, axes=[1, 3]),
    Case("ReduceSum", 11, axes=[-1], keepdims=0),
    Case("ReduceSum", 7),
    Case("ReduceMax", 7, axes=[2]),
    Case("TopK", 7, outs=2, k=2, axis=1),
    Case("TopK", 10, np.array([2]), outs=2),
    Case("Dropout", 7, ratio=0.3),
    Case("BatchNormalization", 7, *BATCH_NORM, epsilon=1e-3),
    Case("BatchNormalization", 8, *BATCH_NORM, spatial=1),
    Case("Upsample", 7, scales=[1.0, 1.0, 2.0, 3.0]),
    Case("Upsample", 7, scales=[1.0, 1.0, 2.0, 2.0], mode="linear"),
    Case("Upsample", 9, UP),
    Case("Upsample", 9, np.float32([1, 1, 1.5, 2.5]), mode="linear"),
    Case("Resize", 10, UP),
    Case("Resize", 10, DOWN),
    Case("Resize", 10, UP, mode="linear"),
    Case("Resize", 10, MIXED, mode="linear"),
    Case("Scatter", 9, np.array([[[[1, 0]]]]), np.float32([[[[7, 8]]]]), axis=3),
    Case("Flatten", 7, axis=2),
    Case("Cast", 7, to=INT64),
    Case("ArgMax", 7, axis=2),
    Case("LRN", 7, size=3),
    Case("MaxPool", 8, outs=2, kernel_shape=[2, 2]),
    Case("AveragePool", 7, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    Case("PRelu", 7, np.float32([[[0.1]], [[0.2]], [[0.3]]])),
    Case("InstanceNormalization", 7, BATCH_NORM[0], BATCH_NORM[1]),
    Case("DepthToSpace", 7, shape=(1, 8, 2, 3), blocksize=2),
    Case("Expand", 8, np.array([2, 1, 1, 4, 6])),
]
TO_20 = [
    *(Case(f"Reduce{n}", 13, axes=[1, 3]) for n in ("Max", "Mean", "Min", "Prod", "L1", "L2", "SumSquare")),
    Case("ReduceMean", 17),
    Case("ReduceLogSumExp", 13, axes=[-1], keepdims=0),
    Case("Split", 13, outs=3, axis=1),
    Case("Split", 13, np.array([1, 2]), outs=2, axis=1),
    Case("Split", 11, outs=2, axis=2),
    Case("GridSample", 16, randn(2, 3, 3, 2) * 0.4, mode="bilinear"),
    Case("GridSample", 16, randn(2, 3, 3, 2) * 0.4, mode="bicubic"),
    Case("RoiAlign", 13, np.float32([[0, 0, 3, 3]]), np.array([1]), output_height=2, output_width=2),
    Case("Resize", 13, np.float32([]), UP, mode="linear"),
    Case("Resize", 13, np.float32([]), UP, mode="cubic", coordinate_transformation_mode="align_corners"),
    Case("Pad", 13, np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(2)),
    Case("AveragePool", 11, kernel_shape=[2, 2], strides=[2, 2], pads=[0, 1, 0, 1]),
    Case("MaxPool", 12, kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1),
    Case("BatchNormalization", 13, *BATCH_NORM),
    Case("Reshape", 13, np.array([0, -1, 6])),
    Case("ScatterElements", 13, np.array([[[[1, 0]]]]), np.float32([[[[7, 8]]]]), axis=3),
    Case("Cast", 13, to=INT64),
    Case("Clip", 9, min=-1.0, max=1.0),
    Case("Softmax", 9, axis=1),
    Case("Upsample", 9, UP, mode="linear"),
    Case("TopK", 9, outs=2, k=3),
    Case("Squeeze", 9, shape=(1, 3, 4), axes=[0]),
    Case("LSTM", 13, randn(1, 16, 6), randn(1, 16, 4), shape=(4, 3, 6), outs=3, hidden_size=4),
    Case("GRU", 13, randn(1, 12, 6), randn(1, 12, 4), shape=(4, 3, 6), outs=2, hidden_size=4),
]


@pytest.mark.parametrize("case", TO_13, ids=str)
def test_to_13(case: Case) -> None:
    proto = case.proto()
    loaded = load_model(proto.SerializeToString())
    assert loaded.notes[0] == f"Upgraded from opset {case.opset} to 13."
    assert loaded.opset == 13
    assert [o.name for o in loaded.outputs] == [f"y{k}" for k in range(case.outs)]
    assert_same_function(proto, loaded, case.feeds(), tolerance=1e-6)


@pytest.mark.parametrize("case", TO_13, ids=str)
def test_to_13_with_sizes_unknown(case: Case) -> None:
    proto = case.proto(dynamic=True)
    loaded = load_model(proto.SerializeToString())
    assert loaded.opset == 13
    assert_same_function(proto, loaded, case.feeds(), tolerance=1e-6)


@pytest.mark.parametrize("case", TO_20, ids=str)
def test_to_20(case: Case) -> None:
    """An Erf anywhere raises the whole model, since it may be part of a Gelu."""
    proto = case.proto(extra=(node("Erf", ["x"], ["e"]),))
    loaded = load_model(proto.SerializeToString())
    assert loaded.opset == 20
    assert_same_function(proto, loaded, case.feeds(), tolerance=1e-6)


@pytest.mark.parametrize("case", TO_13, ids=str)
def test_inside_a_branch(case: Case) -> None:
    """Subgraphs are upgraded too, with what they read from outside."""
    names = [f"y{k}" for k in range(case.outs)]
    outputs = [helper.make_empty_tensor_value_info(n) for n in names]
    nodes = [node(case.op, ["x", *case.weights], names, **case.attributes)]
    branch = graph(nodes, [], outputs, case.weights)
    zs = [f"z{k}" for k in range(case.outs)]
    proto = model(
        [node("If", ["c"], zs, then_branch=branch, else_branch=branch)],
        [value("x", case.shape), value("c", [], BOOL)],
        [helper.make_empty_tensor_value_info(z) for z in zs],
        opset=case.opset,
    )
    loaded = load_model(proto.SerializeToString())
    assert loaded.opset == 13
    assert_same_function(proto, loaded, {**case.feeds(), "c": np.array(True)}, tolerance=1e-6)


def test_unknown_rank() -> None:
    """Where not even the rank is known, Softmax is rebuilt from the shape at run time."""
    proto = model([node("Softmax", ["x"], ["y"], axis=1)], [value("x")], [value("y")], opset=9)
    loaded = load_model(proto.SerializeToString())
    assert_same_function(proto, loaded, {"x": randn(2, 3, 4)}, tolerance=1e-6)


def test_scales_that_are_computed() -> None:
    nodes = [
        node("Shape", ["like"], ["s"]), node("Cast", ["s"], ["f"], to=FLOAT),
        node("Div", ["f", "four"], ["scales"]), node("Upsample", ["x", "scales"], ["y"], mode="nearest"),
    ]  # fmt: skip
    inputs = [value("x", [1, 1, 2, 2]), value("like", ["a", "b", "c", "d"])]
    proto = model(nodes, inputs, [value("y")], {"four": np.float32([1, 1, 4, 4])}, opset=9)
    loaded = load_model(proto.SerializeToString())
    assert loaded.opset == 13
    assert_same_function(proto, loaded, {"x": randn(1, 1, 2, 2), "like": randn(1, 1, 8, 12)})


REMOVED = [
    Case("ImageScaler", 7, scale=0.5, bias=[1.0, 2.0, 3.0]),
    Case("Crop", 7, border=[1, 0, 2, 1]),
    Case("Crop", 7, border=[0, 0, 0, 0]),
    Case("Crop", 7, border=[1, 1, 0, 0], scale=[2, 3]),
    Case("Crop", 9, border=[1, 1, 1, 0]),
    Case("Affine", 7, alpha=1.5, beta=-0.25),
    Case("ScaledTanh", 7, alpha=1.5, beta=0.5),
    Case("ParametricSoftplus", 7, alpha=1.5, beta=0.5),
]


@pytest.mark.parametrize("case", REMOVED, ids=str)
def test_removed_operators(case: Case) -> None:
    """onnxruntime still runs them; they come back as operators that can be quantized."""
    proto = case.proto()
    loaded = load_model(proto.SerializeToString())
    assert f"1 {case.op}" in loaded.notes[0]
    assert loaded.opset == 13
    assert all(onnx.defs.has(op) for op in loaded.op_counts)
    assert_same_function(proto, loaded, case.feeds(), tolerance=1e-6)


def test_what_cannot_be_upgraded_stays_and_says_so() -> None:
    weights = {f"k{i}": np.ones((3, 4, 6), np.float32) for i in range(4)}
    nodes = [node("BatchNormalization", ["x", *weights], ["y"], spatial=0)]
    proto = model(nodes, [value("x", X)], [value("y")], weights, opset=7)
    loaded = load_model(proto.SerializeToString())
    assert loaded.opset == 7
    assert "Stays at opset 7" in loaded.notes[0]
    assert_same_function(proto, loaded)


def test_names_survive() -> None:
    nodes = [
        node("Clip", ["x"], ["a"], name="limit", min=0.0),
        node("Squeeze", ["a"], ["y"], name="drop", axes=[0]),
    ]
    loaded = load_model(model(nodes, [value("x", [1, 4])], [value("y")], opset=9).SerializeToString())
    assert [(layer.name, layer.output) for layer in loaded.layers] == [
        ("x", "x"),
        ("limit", "a"),
        ("drop", "y"),
    ]


def test_newer_models_are_left_alone() -> None:
    for opset in range(MIN_OPSET, onnx.defs.onnx_opset_version() + 1):
        proto = model(
            [node("Relu", ["x"], ["y"])], [value("x", [2])], [value("y", [2])], opset=opset, ir_version=10
        )
        loaded = load_model(proto.SerializeToString())
        try:
            session(proto)
        except Exception:  # newer than this onnxruntime
            assert loaded.opset < opset
            assert f"instead of {opset}" in loaded.notes[0]
        else:
            assert (loaded.opset, loaded.notes) == (opset, ())


def test_functions_of_several_opsets_are_brought_together() -> None:
    body = [
        node("Sigmoid", ["a"], ["s"]),
        node("Mul", ["a", "s"], ["m"]),
        node("ReduceMean", ["m"], ["b"], axes=[1]),
    ]
    function = helper.make_function("my", "Act", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    nodes = [node("Squeeze", ["x"], ["s"], axes=[0]), node("Act", ["s"], ["y"], domain="my")]
    proto = model(
        nodes, [value("x", [1, 3, 4])], [value("y")], opset=11, domains={"my": 1}, functions=[function]
    )
    loaded = load_model(proto.SerializeToString())
    assert loaded.opset == 17
    assert set(loaded.op_counts) == {"Squeeze", "Sigmoid", "Mul", "ReduceMean"}
    x = randn(1, 3, 4)
    swish = x[0] / (1 + np.exp(-x[0]))
    (got,) = session(loaded.float_bytes()).run(None, {"x": x})
    np.testing.assert_allclose(got, swish.mean(axis=1, keepdims=True), rtol=1e-5)
