"""Graphs off the beaten path that open: control flow, odd types, other precisions; and random damage."""

from __future__ import annotations

import random

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantscope.core.errors import ModelError
from quantscope.core.model import Model, load_model
from tests.graphs import (
    BOOL,
    FLOAT,
    HALF,
    INT64,
    Build,
    assert_same_function,
    graph,
    model,
    node,
    randn,
    session,
    value,
)

DOUBLE, BFLOAT16, STRING = TensorProto.DOUBLE, TensorProto.BFLOAT16, TensorProto.STRING


def half(*shape: int) -> np.ndarray:
    return randn(*shape).astype(np.float16)


def constant(name: str, array: np.ndarray) -> onnx.NodeProto:
    return node("Constant", [], [name], value=numpy_helper.from_array(array))


# Control flow


def branches(kind: int = FLOAT) -> onnx.ModelProto:
    scale = np.asarray(2, helper.tensor_dtype_to_np_dtype(kind))
    then = graph([node("Relu", ["x"], ["t"])], [], [value("t", None, kind)])
    other = graph([constant("k", scale), node("Mul", ["x", "k"], ["e"])], [], [value("e", None, kind)])
    nodes = [node("If", ["c"], ["z"], then_branch=then, else_branch=other), node("Neg", ["z"], ["y"])]
    outputs = [value("y", [2, 3], kind), value("z", [2, 3], kind)]
    return model(nodes, [value("x", [2, 3], kind), value("c", [], BOOL)], outputs)


def loop() -> onnx.ModelProto:
    body = graph(
        [
            node("MatMul", ["h", "W"], ["m"]),
            node("Clip", ["m"], ["h2"], min=-1.0),
            node("Identity", ["h2"], ["o"]),
        ],
        [value("i", [], INT64), value("c", [], BOOL), value("h", [1, 4])],
        [value("c", [], BOOL), value("h2", [1, 4]), value("o", [1, 4])],
    )
    weights = {"n": np.int64(3), "on": np.bool_(True), "W": randn(4, 4)}
    nodes = [node("Loop", ["n", "on", "x"], ["y", "all"], body=body)]
    return model(nodes, [value("x", [1, 4])], [value("y", [1, 4]), value("all")], weights, opset=9)


def scan() -> onnx.ModelProto:
    body = graph(
        [node("Add", ["s", "i"], ["s2"]), node("Relu", ["s2"], ["o"])],
        [value("s", [4]), value("i", [4])],
        [value("s2", [4]), value("o", [4])],
    )
    nodes = [node("Scan", ["s0", "x"], ["last", "y"], body=body, num_scan_inputs=1)]
    return model(nodes, [value("x", [5, 4])], [value("last", [4]), value("y")], {"s0": randn(4)}, opset=11)


def lstm() -> onnx.ModelProto:
    weights = {
        "W": randn(1, 32, 4),
        "R": randn(1, 32, 8),
        "B": randn(1, 64),
        "ax": np.array([1]),
        "m": randn(8, 3),
    }
    nodes = [
        node("LSTM", ["x", "W", "R", "B"], ["Y", "Yh", "Yc"], hidden_size=8),
        node("Squeeze", ["Y", "ax"], ["s"]), node("MatMul", ["s", "m"], ["y"]),
    ]  # fmt: skip
    return model(nodes, [value("x", ["seq", "n", 4])], [value("y"), value("Yc")], weights)


# Structure


def unsorted() -> onnx.ModelProto:
    return model(
        [node("Relu", ["a"], ["y"]), node("Neg", ["x"], ["a"])], [value("x", [2])], [value("y", [2])]
    )


def initializers_as_inputs() -> onnx.ModelProto:
    proto = model([node("Gemm", ["x", "w"], ["y"])], [value("x", [1, 4])], [value("y")], {"w": randn(4, 3)})
    proto.ir_version = 3
    proto.graph.input.insert(0, value("w", [4, 3]))
    return proto


def output_is_weight() -> onnx.ModelProto:
    return model(
        [node("Relu", ["x"], ["y"])], [value("x", [2])], [value("y", [2]), value("w", [2])], {"w": randn(2)}
    )


def output_is_input() -> onnx.ModelProto:
    return model([node("Relu", ["x"], ["y"])], [value("x", [2])], [value("y", [2]), value("x", [2])])


def all_constant() -> onnx.ModelProto:
    return model([node("Relu", ["w"], ["y"])], [value("x", [2])], [value("y", [2])], {"w": randn(2)})


def unused_input() -> onnx.ModelProto:
    return model([node("Relu", ["x"], ["y"])], [value("x", [2]), value("u", [3])], [value("y", [2])])


def unknown_rank() -> onnx.ModelProto:
    return model([node("Relu", ["x"], ["y"])], [value("x")], [value("y")])


def long_domain() -> onnx.ModelProto:
    proto = model([node("Relu", ["x"], ["y"], domain="ai.onnx")], [value("x", [2])], [value("y", [2])])
    proto.opset_import[0].domain = "ai.onnx"
    return proto


def sparse() -> onnx.ModelProto:
    proto = model([node("MatMul", ["x", "W"], ["y"])], [value("x", [1, 4])], [value("y")])
    values = numpy_helper.from_array(np.float32([1, 2, 3]), "W")
    places = numpy_helper.from_array(np.array([0, 4, 11]), "W_places")
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4, 3]))
    return proto


def function_with_attribute() -> onnx.ModelProto:
    body = [node("Constant", [], ["k"]), node("Mul", ["a", "k"], ["b"])]
    body[0].attribute.add(name="value_float", ref_attr_name="alpha", type=onnx.AttributeProto.FLOAT)
    function = helper.make_function(
        "my", "Scaled", ["a"], ["b"], body, [helper.make_opsetid("", 13)], ["alpha"]
    )
    nodes = [node("Scaled", ["x"], ["y"], domain="my", alpha=0.3)]
    return model(nodes, [value("x", [2])], [value("y")], domains={"my": 1}, functions=[function])


# Types


def sequence() -> onnx.ModelProto:
    nodes = [node("SequenceConstruct", ["x", "x"], ["s"]), node("ConcatFromSequence", ["s"], ["c"], axis=0)]
    return model([*nodes, node("Relu", ["c"], ["y"])], [value("x", [2, 3])], [value("y")])


def strings() -> onnx.ModelProto:
    nodes = [
        node("Equal", ["t", "k"], ["e"]),
        node("Cast", ["e"], ["f"], to=FLOAT),
        node("Mul", ["f", "x"], ["y"]),
    ]
    inputs = [value("t", [2], STRING), value("x", [2])]
    return model(nodes, inputs, [value("y", [2])], {"k": np.array(["a"], object)}, opset=19)


def integers() -> onnx.ModelProto:
    return model([node("Add", ["x", "x"], ["y"])], [value("x", [2], INT64)], [value("y", [2], INT64)])


def half_and_whole() -> onnx.ModelProto:
    nodes = [
        node("Cast", ["x"], ["a"], to=HALF), node("MatMul", ["a", "w"], ["b"]),
        node("Cast", ["b"], ["y"], to=FLOAT),
    ]  # fmt: skip
    return model(nodes, [value("x", [2, 4])], [value("y")], {"w": half(4, 3)})


def half_everywhere() -> onnx.ModelProto:
    """Outputs that are read again, weights as outputs, types in attributes, integers in between."""
    nodes = [
        node("Relu", ["x"], ["y"]), node("Cast", ["y"], ["q"], to=INT64), node("Cast", ["q"], ["r"], to=HALF),
        node("Add", ["r", "w"], ["z"]), node("Shape", ["x"], ["s"]),
        node("ConstantOfShape", ["s"], ["c"], value=numpy_helper.from_array(np.float16([0.5]))),
        node("Mul", ["z", "c"], ["v"]),
    ]  # fmt: skip
    outputs = [value(name, [2], HALF) for name in "yzvw"]
    return model(nodes, [value("x", [2], HALF), value("unused", [1], HALF)], outputs, {"w": half(2)})


def double_island() -> onnx.ModelProto:
    nodes = [
        node("Cast", ["x"], ["a"], to=DOUBLE), node("Exp", ["a"], ["b"]),
        node("Cast", ["b"], ["c"], to=FLOAT), node("MatMul", ["c", "w"], ["y"]),
    ]  # fmt: skip
    return model(nodes, [value("x", [2, 4])], [value("y")], {"w": randn(4, 3)})


def doubles() -> onnx.ModelProto:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["y"])]
    weights = {"w": randn(40, 30).astype(np.float64)}
    return model(nodes, [value("x", [2, 40], DOUBLE)], [value("y", [2, 30], DOUBLE)], weights)


def regressor() -> onnx.ModelProto:
    nodes = [
        node("LinearRegressor", ["x"], ["y"], domain="ai.onnx.ml", coefficients=[1.0, 2.0], intercepts=[0.1])
    ]
    return model(nodes, [value("x", ["n", 2])], [value("y", ["n", 1])], domains={"ai.onnx.ml": 1})


OPENS: dict[
    str, tuple[Build, tuple[str, ...], str]
] = {  # name → model, layers' operators, words in the notes
    "branches": (branches, ("Input", "If", "Neg"), "Inside If 'If_0', 2 nodes stay float."),
    "half branches": (lambda: branches(HALF), ("Input", "If", "Neg"), "instead of float16"),
    "loop": (loop, ("Input", "Loop"), "Inside Loop"),
    "scan": (scan, ("Input", "Scan"), "Inside Scan"),
    "lstm": (lstm, ("Input", "LSTM", "Squeeze", "MatMul"), ""),
    "unsorted": (unsorted, ("Input", "Neg", "Relu"), ""),
    "output is weight": (output_is_weight, ("Input", "Relu"), ""),
    "output is input": (output_is_input, ("Input", "Relu"), ""),
    "all constant": (all_constant, ("Input",), "nothing can be quantized"),
    "unused input": (unused_input, ("Input", "Input", "Relu"), ""),
    "unknown rank": (unknown_rank, ("Input", "Relu"), ""),
    "long domain": (long_domain, ("Input", "Relu"), ""),
    "sparse": (sparse, ("Input", "MatMul"), ""),
    "function": (function_with_attribute, ("Input", "Mul"), ""),
    "sequence": (sequence, ("Input", "ConcatFromSequence", "Relu"), ""),
    "integers": (integers, (), "nothing can be quantized"),
    "half and whole": (half_and_whole, ("Input", "MatMul"), "1 weights converted"),
    "half everywhere": (half_everywhere, ("Input", "Relu", "Cast", "Add", "Mul"), "inputs and outputs keep"),
    "double island": (double_island, ("Input", "Cast", "MatMul"), "float64 and therefore never quantized: 2"),
    "doubles": (doubles, ("Input", "MatMul"), "instead of float64"),
    "regressor": (regressor, ("Input", "LinearRegressor"), "outside the ONNX standard"),
}


@pytest.mark.parametrize("name", sorted(OPENS))
def test_opens_and_computes_the_same(name: str) -> None:
    build, ops, words = OPENS[name]
    proto = build()
    loaded = load_model(proto.SerializeToString())
    assert not any(note.startswith("Not ") for note in loaded.notes)
    assert words in " ".join(loaded.notes)
    shown = [layer.op for layer in loaded.layers if layer.op != "Cast" or "Cast" in ops]
    assert tuple(shown) == ops
    assert_same_function(proto, loaded, tolerance=2e-3 if "half" in name else 1e-6)


def test_initializers_listed_as_inputs_are_weights() -> None:
    proto = initializers_as_inputs()
    loaded = load_model(proto.SerializeToString())
    assert [i.name for i in loaded.inputs] == ["x"]
    assert [i.name for i in loaded.proto().graph.input] == ["x"]
    assert loaded.layer("Gemm_0").weight == "w"
    x = randn(1, 4)
    expected = session(proto).run(None, {"x": x})[0]
    np.testing.assert_allclose(session(loaded.float_bytes()).run(None, {"x": x})[0], expected, rtol=1e-6)


def test_bfloat16_is_computed_in_float32() -> None:
    """onnxruntime's CPU build cannot even run the original."""
    weight = randn(4, 3).astype(ml_dtypes.bfloat16)
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    proto = model(nodes, [value("x", [2, 4], BFLOAT16)], [value("y", [2, 3], BFLOAT16)])
    proto.graph.initializer.append(helper.make_tensor("w", BFLOAT16, [4, 3], weight.tobytes(), raw=True))
    loaded = load_model(proto.SerializeToString())
    assert "instead of bfloat16" in loaded.notes[0]
    (matmul,) = [layer for layer in loaded.layers if layer.op == "MatMul"]
    (kept,) = loaded.ir.graph.initializers.values()
    assert kept.const_value is not None
    np.testing.assert_array_equal(kept.const_value.numpy(), weight.astype(np.float32))
    assert matmul.inputs == ("x_float32",)


def test_strings_pass_through() -> None:
    proto = strings()
    loaded = load_model(proto.SerializeToString())
    assert "Input 't' is no numeric tensor" in " ".join(loaded.notes)
    assert loaded.inputs[0].dtype == np.dtype(object)
    feeds = {"t": np.array(["a", "b"], object), "x": randn(2)}
    assert_same_function(proto, loaded, feeds)


def test_sequence_outputs_pass_through() -> None:
    nodes = [node("SequenceConstruct", ["x", "x"], ["s"]), node("Relu", ["x"], ["y"])]
    outputs = [value("y", [2]), helper.make_tensor_sequence_value_info("s", FLOAT, None)]
    loaded = load_model(model(nodes, [value("x", [2])], outputs).SerializeToString())
    assert "Output 's' is no numeric tensor" in " ".join(loaded.notes)
    assert len(session(loaded.float_bytes()).run(None, {"x": randn(2)})[1]) == 2


def test_map_outputs_give_way_to_their_tensor() -> None:
    """As scikit-learn's converter writes classifiers."""
    attributes = {"coefficients": [1.0, 2.0, 3.0, 1.0], "intercepts": [0.1, 0.2], "classlabels_ints": [0, 1]}
    nodes = [
        node("LinearClassifier", ["x"], ["l", "p"], domain="ai.onnx.ml", **attributes),
        node("ZipMap", ["p"], ["z"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]),
    ]
    kind = helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, None))
    outputs = [value("l", ["n"], INT64), helper.make_value_info("z", helper.make_sequence_type_proto(kind))]
    proto = model(nodes, [value("x", ["n", 2])], outputs, domains={"ai.onnx.ml": 1})
    loaded = load_model(proto.SerializeToString())
    assert [o.name for o in loaded.outputs] == ["l", "p"]
    assert "Output 'z', a map" in loaded.notes[0]
    x = randn(3, 2)
    labels, maps = session(proto).run(None, {"x": x})
    got = session(loaded.float_bytes()).run(None, {"x": x})
    np.testing.assert_array_equal(got[0], labels)
    np.testing.assert_allclose(got[1], [[m[0], m[1]] for m in maps])


def test_many_subgraphs_take_one_note() -> None:
    nodes = []
    for k in range(5):
        then = graph([node("Relu", ["x"], [f"t{k}"])], [], [value(f"t{k}")])
        other = graph(
            [node("Neg", ["x"], [f"e{k}"]), node("Abs", [f"e{k}"], [f"f{k}"])], [], [value(f"f{k}")]
        )
        nodes.append(node("If", ["c"], [f"y{k}"], then_branch=then, else_branch=other))
    outputs = [value(f"y{k}") for k in range(5)]
    loaded = load_model(model(nodes, [value("x", [2]), value("c", [], BOOL)], outputs).SerializeToString())
    assert loaded.notes == (
        "Inside 5 If nodes, 15 nodes stay float.",
        "No other operator computes in float, so nothing can be quantized.",
    )


# Damage


def seeds() -> list[bytes]:
    builds = (branches, loop, lstm, sparse, function_with_attribute, half_everywhere, sequence, double_island)
    return [build().SerializeToString() for build in builds]


@pytest.mark.parametrize("seed", range(4))
def test_random_damage_gives_a_model_or_a_refusal(seed: int, capfd: pytest.CaptureFixture[str]) -> None:
    """Never another exception, a crash, or noise on the terminal; damage that opens is consistent."""
    rng = random.Random(seed)
    intact = seeds()
    opened, messages = 0, []
    for _ in range(150):
        data = bytearray(rng.choice(intact))
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        else:
            for _ in range(rng.choice((1, 1, 2, 4, 8))):
                data[rng.randrange(len(data))] = rng.choice((0, 127, 255, rng.randrange(256)))
        try:
            loaded = load_model(bytes(data))
        except ModelError as error:
            messages.append(str(error))
        else:
            opened += 1
            assert isinstance(loaded, Model)
            assert all(layer.output in loaded.tensors for layer in loaded.layers)
            assert loaded.float_bytes()
    assert opened > 10
    assert len(messages) > 10
    assert not any("\n" in message for message in messages)
    assert capfd.readouterr() == ("", "")
