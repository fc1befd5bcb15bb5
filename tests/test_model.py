"""Loading: the reference models, the graph that comes out, its layers, and its hash."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from quantscope.core.errors import ModelError
from quantscope.core.model import Model, load_model
from tests.graphs import (
    BOOL,
    FLOAT,
    HALF,
    INT64,
    assert_same_function,
    graph,
    model,
    node,
    randn,
    random_feeds,
    value,
)

# The reference models that open: opset afterwards, layers at least, words that a note must hold.
OPENS = {
    "ad_autoencoder_mlp": (13, 11, ""),
    "candy_style_opset7": (13, 40, "1 Affine, 7 Crop, 1 ImageScaler"),
    "dtln_model1": (13, 20, "from opset 11 to 13"),
    "magika_standard_v3_3": (15, 40, ""),
    "mnist_cntk_opset8_ir3": (13, 7, "from opset 8 to 13"),
    "mobilenet_v2_0.35_cifar10head_128": (13, 65, "52 BatchNormalization nodes folded"),
    "ppocrv4_det": (13, 120, "shifts and activations were folded"),
    "resnet8_cifar10": (13, 16, ""),
    "silero_vad_if": (16, 3, "Inside If 'If_0'"),
    "squeezenet11_fp16_opset7_ir3": (13, 40, "float32 instead of float16"),
    "squeezenet11_fp32_opset7_ir3": (13, 40, "from opset 7 to 13"),
    "superres_espcn_dynbatch": (15, 6, ""),
    "ultraface_rfb320_opset9": (13, 80, "35 BatchNormalization nodes folded"),
}
REFUSED = {
    "edge_espcn_qonnx_customdomain": "8 × onnx.brevitas.Quant",
    "edge_lfs_pointer": "git lfs pull",
    "edge_truncated": "truncated: it ends after 150,000 bytes",
    "mobilenet_v2_1.0_224_qdq_int8": "already quantized (172 DequantizeLinear",
}
SHAPES = {
    "ppocrv4_det": {"x": (1, 3, 64, 96)},
    "candy_style_opset7": {"inputImage": (1, 3, 720, 720)},
    "silero_vad_if": {"input": (1, 576), "state": (2, 1, 128)},
    "mobilenet_v2_0.35_cifar10head_128": {"input": (1, 3, 64, 96)},
}


def test_every_reference_model_is_known_here(shared: Path) -> None:
    found = {p.stem for p in (shared / "models").glob("*.onnx")}
    assert found == {*OPENS, *REFUSED}


@pytest.mark.parametrize("name", sorted(OPENS))
def test_reference_model_keeps_its_function(shared: Path, name: str) -> None:
    path = shared / "models" / f"{name}.onnx"
    loaded = load_model(path)
    opset, layers, words = OPENS[name]
    assert loaded.opset == opset
    assert len(loaded.layers) >= layers
    assert words in " ".join(loaded.notes)
    assert not any("Not " in note or "Stays" in note for note in loaded.notes)
    check_invariants(loaded)
    feeds = random_feeds(loaded, unknown=1)
    for input_name, shape in SHAPES.get(name, {}).items():
        feeds[input_name] = randn(*shape)
    if "sr" in feeds:
        feeds["sr"] = np.array(16000)
    if name.startswith("magika"):
        feeds["bytes"] = np.random.default_rng(0).integers(0, 256, feeds["bytes"].shape).astype(np.int32)
    # Half precision is compared at the precision of its own output type.
    tolerance = 2e-3 if "fp16" in name else 1e-5
    assert_same_function(onnx.load(path), loaded, feeds, tolerance=tolerance)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_reference_model_is_refused(shared: Path, name: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(shared / "models" / f"{name}.onnx")
    assert REFUSED[name] in str(caught.value)
    assert "\n" not in str(caught.value)


def check_invariants(loaded: Model) -> None:
    """What every opened model promises."""
    nodes = list(loaded.ir.graph.all_nodes())
    names = [n.name for n in nodes]
    assert all(names)
    assert len(set(names)) == len(names)
    layers = [layer.name for layer in loaded.layers]
    assert len(set(layers)) == len(layers)
    covered = [n for layer in loaded.layers for n in layer.nodes]
    assert len(set(covered)) == len(covered) <= len(nodes)
    for layer in loaded.layers:
        assert loaded.layer(layer.name) is layer
        assert loaded.layer_of(layer.output) is layer
        assert layer.output in loaded.tensors
        for tensor in layer.inner:
            assert loaded.layer_of(tensor) is layer
        assert layer.weight is None or layer.weight in loaded.ir.graph.initializers
        assert layer.bias is None or layer.bias in loaded.ir.graph.initializers
    for tensor, info in loaded.tensors.items():
        assert info.name == tensor
        assert info.dtype == np.float32
    assert all(v.type is not None for n in loaded.ir.graph for v in n.outputs if v.name)
    onnx.checker.check_model(loaded.proto())


def test_quantized_model_opens_for_looking(shared: Path) -> None:
    loaded = load_model(shared / "models" / "mobilenet_v2_1.0_224_qdq_int8.onnx", allow_quantized=True)
    assert loaded.quantized
    assert "looked at" in " ".join(loaded.notes)
    assert loaded.op_counts["QuantizeLinear"] == 66  # as in the file: nothing was fused or moved
    convs = [layer for layer in loaded.layers if layer.op == "Conv"]
    assert len(convs) == 53
    assert all(layer.weight is not None for layer in convs)  # found behind the DequantizeLinear


def test_interface_of_half_precision_is_kept() -> None:
    weights = {"w": randn(3, 4).astype(np.float16)}
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["y"])]
    proto = model(nodes, [value("x", ["n", 3], HALF)], [value("y", ["n", 4], HALF)], weights)
    loaded = load_model(proto.SerializeToString())
    assert [(i.name, i.dtype, i.shape) for i in loaded.inputs] == [("x", np.float16, ("n", 3))]
    assert [(o.name, o.dtype, o.shape) for o in loaded.outputs] == [("y", np.float16, ("n", 4))]
    source, matmul = loaded.layers
    assert (source.name, source.kind, source.ops) == ("x", "input", ("Input", "Cast"))
    assert source.output == "x_float32"
    assert loaded.layer_of("x") is source
    assert (matmul.ops, matmul.output) == (("MatMul", "Relu"), "y_float32")
    assert list(loaded.tensors) == ["x_float32", "a", "y_float32"]
    check_invariants(loaded)


def conv(x: str, w: str, y: str, *rest: str, **attributes: object) -> onnx.NodeProto:
    return node("Conv", [x, w, *rest], [y], pads=[1, 1, 1, 1], **attributes)


def test_layers_take_bias_and_activation_in() -> None:
    """Conv + Clip, Conv without bias, Add + Relu, MatMul + Add, and what must stay apart."""
    weights = {
        "w1": randn(4, 3, 3, 3), "w2": randn(4, 4, 3, 3), "lo": np.float32(0), "hi": np.float32(6),
        "m": randn(8, 5), "b": randn(5),
    }  # fmt: skip
    nodes = [
        conv("x", "w1", "c1"), node("Clip", ["c1", "lo", "hi"], ["r1"]),
        conv("r1", "w2", "c2"), node("Add", ["c2", "r1"], ["s"]), node("Relu", ["s"], ["r2"]),
        node("Sigmoid", ["r2"], ["g"]),
        node("MatMul", ["g", "m"], ["mm"]), node("Add", ["b", "mm"], ["y"]),
    ]  # fmt: skip
    loaded = load_model(model(nodes, [value("x", ["n", 3, 8, 8])], [value("y")], weights).SerializeToString())
    layers = {layer.name: layer for layer in loaded.layers}
    assert list(layers) == ["x", "Conv_0", "Conv_2", "Add_3", "Sigmoid_5", "MatMul_6"]
    first = layers["Conv_0"]
    assert (first.ops, first.inner, first.output) == (("Conv", "Clip"), ("c1",), "r1")
    assert (first.inputs, first.weight, first.bias, first.shape) == (("x",), "w1", None, ("n", 4, 8, 8))
    assert first.macs == 4 * 8 * 8 * 3 * 3 * 3  # one sample
    assert first.parameters == weights["w1"].size + 2
    assert layers["Conv_2"].ops == ("Conv",)  # an Add of two activations is a layer of its own
    assert layers["Add_3"].ops == ("Add", "Relu")
    assert layers["Add_3"].inputs == ("c2", "r1")
    product = layers["MatMul_6"]
    assert (product.ops, product.weight, product.bias) == (("MatMul", "Add"), "m", "b")
    assert product.inner == ("mm",)
    assert loaded.parameters == sum(np.size(w) for w in weights.values())
    assert loaded.macs == first.macs + 4 * 8 * 8 * 4 * 9 + 4 * 8 * 8 * 5


@pytest.mark.parametrize("reason", ["second reader", "graph output", "subgraph", "dynamic bound"])
def test_activation_stays_apart(reason: str) -> None:
    """An intermediate that somebody else sees is no inside of a layer."""
    nodes = [conv("x", "w", "c"), node("Clip", ["c", "", "hi"], ["r"])]
    inputs, outputs = [value("x", [1, 3, 8, 8])], [value("r")]
    weights = {"w": randn(4, 3, 3, 3), "hi": np.float32(6)}
    if reason == "second reader":
        nodes.append(node("Neg", ["c"], ["n"]))
        outputs.append(value("n"))
    elif reason == "graph output":
        outputs.append(value("c"))
    elif reason == "dynamic bound":
        inputs.append(value("hi", []))
        del weights["hi"]
    else:
        inputs.append(value("if", [], BOOL))
        branch = graph([node("Abs", ["c"], ["t"])], [], [value("t")])
        other = graph([node("Neg", ["x"], ["e"])], [], [value("e")])
        nodes.append(node("If", ["if"], ["z"], then_branch=branch, else_branch=other))
        outputs.append(value("z"))
    loaded = load_model(model(nodes, inputs, outputs, weights).SerializeToString())
    assert loaded.layer("Conv_0").ops == ("Conv",)
    assert loaded.layer("Clip_1").ops == ("Clip",)
    if reason == "subgraph":
        assert loaded.layer("If_2").inputs == ("if", "c", "x")


def test_names_are_unique_and_readable() -> None:
    nodes = [
        node("Relu", ["x"], ["a"], name="n"), node("Neg", ["a"], ["b"], name="n"),
        node("Abs", ["b"], ["c"], name="x"), node("Relu", ["c"], ["d"]),
        node("Exp", ["d"], ["y"], name="Relu_3"),
    ]  # fmt: skip
    loaded = load_model(model(nodes, [value("x", [2])], [value("y")]).SerializeToString())
    assert [layer.name for layer in loaded.layers] == ["x", "n", "n_2", "x_2", "Relu_3_2", "Relu_3"]
    check_invariants(loaded)


def test_folded_weights_keep_their_names() -> None:
    weights = {"conv.weight": randn(4, 3, 3, 3)} | {f"bn.{k}": np.abs(randn(4, seed=3)) for k in "sbmv"}
    nodes = [
        conv("x", "conv.weight", "c"),
        node("BatchNormalization", ["c", *(f"bn.{k}" for k in "sbmv")], ["y"]),
    ]
    proto = model(nodes, [value("x", [1, 3, 8, 8])], [value("y")], weights)
    loaded = load_model(proto.SerializeToString())
    layer = loaded.layer("Conv_0")
    assert (layer.weight, layer.bias) == ("conv.weight", "bn.b")
    assert "1 BatchNormalization node folded into the operators before them." in loaded.notes
    assert_same_function(proto, loaded)


def test_integer_inputs_are_no_layers() -> None:
    nodes = [node("Gather", ["table", "ids"], ["e"]), node("Relu", ["e"], ["y"])]
    inputs = [value("ids", ["n", "seq"], INT64)]
    loaded = load_model(model(nodes, inputs, [value("y")], {"table": randn(10, 4)}).SerializeToString())
    assert [i.dtype for i in loaded.inputs] == [np.int64]
    assert loaded.outputs[0].shape == ("n", "seq", 4)  # the file left it open
    assert [layer.name for layer in loaded.layers] == ["Gather_0", "Relu_1"]
    assert loaded.layer("Gather_0").weight == "table"
    assert loaded.layer("Gather_0").inputs == ("ids",)


def test_layer_norm_and_gelu_become_one_operator() -> None:
    """As older exporters write them; rounding their insides would cost accuracy for nothing."""
    weights = {"two": np.float32(2), "eps": np.float32(1e-5), "g": randn(16), "b": randn(16)}
    weights |= {"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}
    nodes = [
        node("ReduceMean", ["x"], ["mu"], axes=[-1]), node("Sub", ["x", "mu"], ["d"]),
        node("Pow", ["d", "two"], ["p"]), node("ReduceMean", ["p"], ["v"], axes=[-1]),
        node("Add", ["v", "eps"], ["ve"]), node("Sqrt", ["ve"], ["sd"]),
        node("Div", ["d", "sd"], ["n"]), node("Mul", ["n", "g"], ["ng"]), node("Add", ["ng", "b"], ["ln"]),
        node("Div", ["ln", "root"], ["e0"]), node("Erf", ["e0"], ["e1"]), node("Add", ["e1", "one"], ["e2"]),
        node("Mul", ["ln", "e2"], ["e3"]), node("Mul", ["e3", "half"], ["y"]),
    ]  # fmt: skip
    proto = model(nodes, [value("x", ["n", "seq", 16])], [value("y")], weights, opset=12)
    loaded = load_model(proto.SerializeToString())
    assert [layer.op for layer in loaded.layers] == ["Input", "LayerNormalization", "Gelu"]
    assert loaded.opset == 20
    assert_same_function(proto, loaded)


def test_hash_is_of_the_content_and_the_same_elsewhere(tmp_path: Path) -> None:
    weights = {"w1": randn(4, 3, 3, 3), "w2": randn(4, 4, 3, 3)}
    branch = graph([node("Mul", ["c2", "k1"], ["t"])], [], [value("t")], {"k1": randn(400), "k2": randn(300)})
    branch.node.append(node("Sub", ["t", "k1"], ["t2"]))
    del branch.output[:]
    branch.output.append(value("t2"))
    other = graph([node("Neg", ["c2"], ["e"])], [], [value("e")])
    nodes = [
        conv("x", "w1", "c1"), node("Flatten", ["c1"], ["f"]), node("Gemm", ["f", "m"], ["c2"]),
        node("If", ["if"], ["y"], then_branch=branch, else_branch=other),
    ]  # fmt: skip
    weights["m"] = randn(256, 400)
    inputs = [value("x", [1, 3, 8, 8]), value("if", [], BOOL)]
    proto = model(nodes, inputs, [value("y")], weights)
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    loaded = load_model(path)
    assert load_model(proto.SerializeToString()).hash == loaded.hash
    code = "import sys; from quantscope.core.model.model import load_model as read; m = read(sys.argv[1])"
    code += "; print(m.hash, m.source_hash)"
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        assert run.stdout.split() == [loaded.hash, loaded.source_hash]
    weights["m"][0, 0] += 1
    changed = load_model(model(nodes, inputs, [value("y")], weights).SerializeToString())
    assert changed.hash != loaded.hash
    renamed = model(nodes, inputs, [value("y")], weights)
    renamed.graph.node[0].name = "first"
    assert load_model(renamed.SerializeToString()).hash != changed.hash


def test_cleaning_twice_changes_nothing_more() -> None:
    weights = {"w": randn(4, 3, 3, 3), "b": randn(4)}
    nodes = [conv("x", "w", "c", "b"), node("Relu", ["c"], ["y"])]
    first = load_model(
        model(nodes, [value("x", [1, 3, 8, 8])], [value("y")], weights, opset=9).SerializeToString()
    )
    second = load_model(first.float_bytes())
    assert second.hash == first.hash
    assert [layer.name for layer in second.layers] == [layer.name for layer in first.layers]
    assert second.notes == ()


def test_opening_is_quick() -> None:
    """A network of MobileNet's size and depth, in processor time, which others leave alone."""
    weights: dict[str, np.ndarray] = {}
    nodes = []
    last = "x"
    for index in range(50):
        channels = (3, 64)[index > 0]
        weights[f"w{index}"] = randn(64, channels, 3, 3, seed=index)
        weights |= {f"{k}{index}": np.abs(randn(64, seed=index)) + 0.1 for k in "sbmv"}
        nodes.append(conv(last, f"w{index}", f"c{index}"))
        nodes.append(
            node("BatchNormalization", [f"c{index}", *(f"{k}{index}" for k in "sbmv")], [f"n{index}"])
        )
        nodes.append(node("Relu", [f"n{index}"], [f"r{index}"]))
        last = f"r{index}"
    data = model(nodes, [value("x", ["n", 3, 32, 32])], [value(last)], weights).SerializeToString()
    start = time.thread_time()
    loaded = load_model(data)
    assert time.thread_time() - start < 3
    assert [layer.ops for layer in loaded.layers[1:]] == [("Conv", "Relu")] * 50


def test_external_types_are_found() -> None:
    """ONNX knows nothing about Microsoft's operators; ONNX Runtime is asked for their types."""
    nodes = [node("BiasGelu", ["x", "b"], ["g"], domain="com.microsoft"), node("Relu", ["g"], ["y"])]
    proto = model(nodes, [value("x", [2, 4])], [value("y")], {"b": randn(4)}, domains={"com.microsoft": 1})
    loaded = load_model(proto.SerializeToString())
    assert list(loaded.tensors) == ["x", "g", "y"]
    assert loaded.tensors["g"].shape == (2, 4)
    assert "Operators outside the ONNX standard stay float: 1 BiasGelu." in loaded.notes


def test_weights_in_constant_nodes_are_weights() -> None:
    constant = node("Constant", [], ["w"], value=numpy_helper.from_array(randn(16, 8)))
    proto = model([constant, node("MatMul", ["x", "w"], ["y"])], [value("x", ["n", 16], FLOAT)], [value("y")])
    assert load_model(proto.SerializeToString()).layer("MatMul_0").weight == "w"
