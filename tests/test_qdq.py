"""The quantized graph: fused like onnxruntime's own, and exact in scales, biases and clipping."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantscope.core.evaluate import size_breakdown
from quantscope.core.model import load_model
from quantscope.core.quant import INT8, UINT8, QuantSpec, Range, encoding_from_range, fake_quantize
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.quantize.qdq import _saturates_within
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Granularity
from quantscope.core.thresholds import Method
from tests.networks import NETWORKS, Net, feeds
from tests.quantizing import MINMAX, executed, initializer, network, quantized, run, sqnr, statistics_of
from tests.test_placement import onnxruntime_quantized


@pytest.mark.parametrize("name", NETWORKS)
def test_same_integer_kernels_as_onnxruntimes_own_quantizer(name: str, tmp_path: Path) -> None:
    model, samples = network(name), feeds(name)
    ours, _ = quantized(model, samples, MINMAX)
    theirs = onnxruntime_quantized(model, samples, tmp_path)
    mine, reference = executed(ours, tmp_path), executed(theirs, tmp_path)
    for counts in (
        mine,
        reference,
    ):  # parameters of LayerNormalization: float here, integers behind a DQ there
        del counts["DequantizeLinear"]
    assert mine == reference
    assert sum(n for op, n in mine.items() if op.startswith("QLinear") or op == "QGemm") > 5


@pytest.mark.parametrize("name", NETWORKS)
def test_as_close_to_float_as_onnxruntimes_minmax(name: str, tmp_path: Path) -> None:
    model, samples = network(name), feeds(name)
    floats = run(model.proto(), samples)
    ours, _ = quantized(model, samples, MINMAX)
    theirs = run(onnxruntime_quantized(model, samples, tmp_path), samples)
    assert sqnr(floats, run(ours, samples)) >= sqnr(floats, theirs) - 0.1


def test_activations_are_rounded_as_quantize_linear_rounds() -> None:
    model, samples = network("mobile_cnn"), feeds("mobile_cnn", 2)
    proto, encodings = quantized(model, samples)
    proto.graph.output.insert(0, onnx.ValueInfoProto(name="image_dq"))
    assert len(samples) == 2
    for sample, seen in zip(samples, run(proto, samples, plain=True), strict=True):
        np.testing.assert_array_equal(seen, fake_quantize(sample["image"], encodings.activations["image"]))


def test_quantizing_leaves_the_float_model_untouched() -> None:
    model, samples = network("shapes_cnn"), feeds("shapes_cnn", 2)
    before = model.float_bytes()
    quantized(model, samples)
    assert load_model(before).hash == load_model(model.float_bytes()).hash
    fresh = onnx.ModelProto()
    fresh.ParseFromString(before)
    np.testing.assert_array_equal(run(fresh, samples)[0], run(model.proto(), samples)[0])


@given(
    low=st.floats(-8, 0), width=st.floats(0.5, 12), bounds=st.tuples(st.floats(-4, 1), st.floats(2, 8)),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_a_clip_is_left_out_only_where_the_quantizer_does_the_same(
    low: float, width: float, bounds: tuple[float, float], seed: int
) -> None:
    n = Net()
    n.add("Clip", ["x", n.const("low", bounds[0]), n.const("high", bounds[1])], "y")
    node = next(iter(onnx_ir_graph(n.model({"x": ["N"]}, {"y": ["N"]}))))
    encoding = encoding_from_range(Range(low, low + width), QuantSpec(type=UINT8, symmetric=False))
    x = np.random.default_rng(seed).uniform(-20, 20, 2000).astype(np.float32)
    same = np.array_equal(
        fake_quantize(x, encoding),
        fake_quantize(np.clip(x, np.float32(bounds[0]), np.float32(bounds[1])), encoding),
    )
    if _saturates_within(node, encoding):
        assert same
    elif x.min() < bounds[0] - 0.1 and x.max() > bounds[1] + 0.1:
        step = float(encoding.scale)
        wider = encoding.high > bounds[1] + 2 * step or encoding.low < bounds[0] - 2 * step
        assert not (wider and same)


def onnx_ir_graph(model: onnx.ModelProto) -> object:
    import onnx_ir

    return onnx_ir.from_proto(model).graph


def test_a_clip_that_still_matters_stays() -> None:
    model, samples = network("mobile_cnn"), feeds("mobile_cnn")
    layer = model.layer_of("stem_relu6")
    assert layer is not None
    wide = MINMAX.with_layer(layer.name, method=Method.MANUAL, range=Range(0.0, 9.0))
    kept, _ = quantized(model, samples, wide)
    dropped, _ = quantized(model, samples, MINMAX)
    clips = [sum(n.op_type == "Clip" for n in m.graph.node) for m in (kept, dropped)]
    assert clips == [1, 0]


def test_bias_is_int32_at_the_product_of_the_scales() -> None:
    model, samples = network("residual_cnn"), feeds("residual_cnn")
    proto, encodings = quantized(model, samples)
    scale = initializer(proto, "b0.c1.b_quantized_scale")
    stored = initializer(proto, "b0.c1.b_quantized")
    expected = encodings.weights["b0.c1_Conv"].scale.astype(np.float64) * float(
        encodings.activations["pool"].scale
    )
    np.testing.assert_allclose(scale, expected, rtol=1e-6)
    assert stored.dtype == np.int32
    bias = next(onnx.numpy_helper.to_array(t) for t in model.proto().graph.initializer if t.name == "b0.c1.b")
    assert np.abs(stored * scale.astype(np.float64) - bias).max() <= scale.max() / 2 * 1.01


def single_gemm(weights: np.ndarray, bias: np.ndarray, **attributes: float) -> onnx.ModelProto:
    n = Net()
    n.add("Gemm", ["x", n.const("w", weights), n.const("b", bias)], "y", transB=1, **attributes)
    return n.model({"x": ["N", weights.shape[1]]}, {"y": ["N", weights.shape[0]]})


@pytest.mark.parametrize("granularity", Granularity)
def test_dead_channels_keep_their_bias(granularity: Granularity) -> None:
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((4, 8)).astype(np.float32)
    weights[1] = 0.0  # dead
    weights[2] *= 1e-12  # all but dead: its bias would overflow int32 at the product of the scales
    bias = np.array([0.5, 3.21, -7.5, 0.0], np.float32)
    model = load_model(single_gemm(weights, bias).SerializeToString())
    samples = [{"x": rng.standard_normal((1, 8)).astype(np.float32)} for _ in range(8)]
    proto, _ = quantized(model, samples, Recipe().with_default(weights=granularity))
    stored = initializer(proto, "b_quantized").astype(np.float64) * initializer(proto, "b_quantized_scale")
    step = (
        float(np.max(initializer(proto, "b_quantized_scale")))
        if granularity is Granularity.PER_TENSOR
        else 1e-5
    )
    np.testing.assert_allclose(stored[1:3], bias[1:3], atol=step)
    assert sqnr(run(model.proto(), samples), run(proto, samples)) > 25


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (1.0, 0.5), (2.0, 1.0), (0.25, 3.0)])
def test_gemm_factors(alpha: float, beta: float) -> None:
    rng = np.random.default_rng(4)
    weights, bias = rng.standard_normal((5, 8)).astype(np.float32), rng.standard_normal(5).astype(np.float32)
    model = load_model(single_gemm(weights, bias, alpha=alpha, beta=beta).SerializeToString())
    samples = [{"x": rng.standard_normal((1, 8)).astype(np.float32)} for _ in range(16)]
    proto, _ = quantized(model, samples)
    floats = run(model.proto(), samples)
    assert sqnr(floats, run(proto, samples)) > 28
    assert sqnr(floats, run(proto, samples, plain=True)) > 28


@pytest.mark.parametrize("shape", [(5,), (1, 5), (1,), ()])
def test_bias_shapes_that_broadcast(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    model = load_model(
        single_gemm(
            rng.standard_normal((5, 8)).astype(np.float32), rng.standard_normal(shape)
        ).SerializeToString()
    )
    samples = [{"x": rng.standard_normal((1, 8)).astype(np.float32)} for _ in range(16)]
    proto, _ = quantized(model, samples)
    assert any(
        t.name.endswith("_quantized") and t.data_type == onnx.TensorProto.INT32
        for t in proto.graph.initializer
    )
    assert sqnr(run(model.proto(), samples), run(proto, samples)) > 28


def test_one_weight_read_by_two_nodes_is_stored_for_each() -> None:
    n = Net()
    w, b = n.random("w", 6, 6), n.random("b", 6)
    x = n.add("Gemm", ["x", w, b], "h", transB=1)
    n.add("Gemm", [x, w, b], "y")  # not transposed: another channel axis
    model = load_model(n.model({"x": ["N", 6]}, {"y": ["N", 6]}).SerializeToString())
    samples = [{"x": np.random.default_rng(i).standard_normal((1, 6)).astype(np.float32)} for i in range(8)]
    proto, _ = quantized(model, samples)
    names = [t.name for t in proto.graph.initializer]
    assert len(names) == len(set(names))
    assert sum(t.data_type == onnx.TensorProto.INT32 and t.dims == [6] for t in proto.graph.initializer) >= 2
    assert sqnr(run(model.proto(), samples), run(proto, samples)) > 25


def test_names_that_are_taken_are_not_overwritten() -> None:
    n = Net()
    x = n.add("Mul", ["x", n.const("x_scale", [2.0, 3.0])], "x_q")
    n.add("Gemm", [x, n.random("x_zero_point", 2, 2)], "y")
    model = load_model(n.model({"x": ["N", 2]}, {"y": ["N", 2]}).SerializeToString())
    samples = [{"x": np.random.default_rng(i).standard_normal((1, 2)).astype(np.float32)} for i in range(8)]
    proto, _ = quantized(model, samples)
    assert sqnr(run(model.proto(), samples), run(proto, samples)) > 20


@pytest.mark.parametrize("name", NETWORKS)
def test_interface_stays(name: str) -> None:
    model = network(name)
    proto, _ = quantized(model, feeds(name, 2))
    original = model.proto()
    assert [i.name for i in proto.graph.input] == [i.name for i in original.graph.input]
    assert [(o.name, o.type) for o in proto.graph.output] == [(o.name, o.type) for o in original.graph.output]


def test_per_tensor_weights_have_one_scale_and_more_error() -> None:
    model, samples = network("mobile_cnn"), feeds("mobile_cnn")
    one, encodings = quantized(model, samples, Recipe().with_default(weights=Granularity.PER_TENSOR))
    many, _ = quantized(model, samples)
    assert all(e.scale.ndim == 0 and e.type == INT8 for e in encodings.weights.values())
    floats = run(model.proto(), samples)
    assert sqnr(floats, run(one, samples)) < sqnr(floats, run(many, samples))


def test_float16_interface_is_kept() -> None:
    n = Net()
    n.conv("image", "y", 3, 4)
    proto32 = n.model({"image": ["N", 3, 8, 8]}, {"y": ["N", 4, 8, 8]})
    for tensor in proto32.graph.initializer:
        tensor.CopyFrom(
            onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float16), tensor.name)
        )
    for info in (*proto32.graph.input, *proto32.graph.output):
        info.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    model = load_model(proto32.SerializeToString())
    rng = np.random.default_rng(0)
    half = [{"image": rng.standard_normal((1, 3, 8, 8)).astype(np.float16)} for _ in range(4)]
    statistics = statistics_of(model, half)
    proto = quantize_model(model, resolve(Recipe(), statistics, model))
    out = run(proto, half)
    assert out[0].dtype == np.float16
    assert sqnr(run(proto32, half), out) > 25


def test_edits_reuse_what_they_leave_alone() -> None:
    model, samples = network("residual_cnn"), feeds("residual_cnn")
    statistics = statistics_of(model, samples)
    first = resolve(MINMAX, statistics, model)
    layer = model.layer_of("b0.r1")
    assert layer is not None
    edited = MINMAX.with_layer(layer.name, method=Method.MANUAL, range=Range(0.0, 1.0))
    second = resolve(edited, statistics, model, previous=first)
    assert second.searches["image"] is first.searches["image"]
    assert second.searches["b0.r1"] is not first.searches["b0.r1"]
    fresh = resolve(edited, statistics, model)
    assert second.activations == fresh.activations
    assert second.weights == fresh.weights
    assert quantize_model(model, second).SerializeToString(deterministic=True) == quantize_model(
        model, fresh
    ).SerializeToString(deterministic=True)


def test_a_bias_that_does_not_fit_is_an_error_not_a_wrap() -> None:
    from quantscope.core.quantize.bias import quantize_bias

    with pytest.raises(OverflowError, match="int32"):
        quantize_bias(np.array([1.0], np.float32), np.array([1e-12], np.float32))
    model, samples = network("residual_cnn"), feeds("residual_cnn", 2)
    encodings = resolve(Recipe(), statistics_of(model, samples), model)
    tiny = replace(encodings.activations["pool"], scale=np.float32(1e-30) * np.ones((), np.float32))
    broken = replace(encodings, activations={**encodings.activations, "pool": tiny})
    with pytest.raises(OverflowError):
        quantize_model(model, broken)


def attention(length: int, seed: int = 0) -> onnx.ModelProto:
    """Attention over `length` positions whose largest weight stays far below 1."""
    n = Net(seed)
    n.add("MatMul", ["x", n.random("k", 8, length, scale=0.1)], "scores")
    n.add("Softmax", ["scores"], "weights", axis=-1)
    n.add("MatMul", ["weights", n.random("v", length, 4)], "y")
    return n.model({"x": ["N", 8]}, {"y": ["N", 4]})


@pytest.mark.parametrize("length", [3, 5, 9, 12, 24])
@pytest.mark.parametrize("by_hand", [False, True])
def test_probabilities_above_the_range_saturate(length: int, by_hand: bool) -> None:
    model = load_model(attention(length).SerializeToString())
    rng = np.random.default_rng(1)
    calm = [{"x": rng.standard_normal((4, 8)).astype(np.float32)} for _ in range(16)]
    wild = [{"x": 40 * s["x"]} for s in calm]  # probabilities up to 1, never seen in calibration
    recipe = MINMAX
    if by_hand:
        layer = model.layer_of("weights")
        assert layer is not None
        recipe = recipe.with_layer(layer.name, method=Method.MINMAX)
    proto, encodings = quantized(model, calm, recipe)
    assert (float(encodings.activations["weights"].high) < 0.9) == by_hand
    np.testing.assert_allclose(run(proto, wild), run(proto, wild, plain=True), atol=0.05)


def test_an_average_of_nearly_nothing_still_runs() -> None:
    n = Net()
    x = n.add(
        "InstanceNormalization",
        [n.conv("x", "c", 3, 4), n.const("g", np.ones(4)), n.const("z", np.zeros(4))],
        "i",
    )
    n.add("Flatten", [n.add("GlobalAveragePool", [x], "gap")], "y")
    model = load_model(n.model({"x": ["N", 3, 16, 16]}, {"y": ["N", 4]}).SerializeToString())
    samples = [
        {"x": np.random.default_rng(i).standard_normal((1, 3, 16, 16)).astype(np.float32)} for i in range(4)
    ]
    proto, _ = quantized(model, samples)
    assert all(np.isfinite(y).all() for y in run(proto, samples))


def annotated() -> onnx.ModelProto:
    """A network with all that a file may say beside its graph."""
    model = NETWORKS["residual_cnn"][0]()
    model.producer_name, model.producer_version, model.domain = "pytorch", "2.9", "ai.example"
    model.doc_string, model.graph.doc_string = "about the model", "about the graph"
    model.model_version = 7
    for key, value in (("names", "{0: 'cat', 1: 'dog'}"), ("stride", "32")):
        model.metadata_props.add(key=key, value=value)
    model.graph.input[0].doc_string = "RGB, 0 to 1"
    model.graph.value_info.append(
        onnx.helper.make_tensor_value_info("pool", onnx.TensorProto.FLOAT, ["N", 8, 8, 8])
    )
    return model


def test_a_file_says_what_its_source_said_beside_the_graph_and_no_more() -> None:
    source = annotated()
    model, samples = load_model(source.SerializeToString()), feeds("residual_cnn", 2)
    proto, _ = quantized(model, samples)
    assert [v.name for v in proto.graph.value_info] == ["pool"]
    assert {e.key: e.value for e in proto.metadata_props} == {
        "names": "{0: 'cat', 1: 'dog'}",
        "stride": "32",
    }
    assert (proto.doc_string, proto.graph.doc_string) == ("about the model", "about the graph")
    assert (proto.producer_name, proto.producer_version) == ("QuantScope", "")  # not another tool's version
    assert (proto.domain, proto.model_version) == ("ai.example", 7)
    assert [v.doc_string for v in proto.graph.input] == ["RGB, 0 to 1"]
    plain, _ = quantized(network("residual_cnn"), samples)
    assert not plain.graph.value_info
    assert not plain.metadata_props


@pytest.mark.parametrize("name", NETWORKS)
def test_files_are_no_larger_than_those_of_onnxruntime(name: str, tmp_path: Path) -> None:
    model, samples = network(name), feeds(name, 4)
    ours = size_breakdown(quantized(model, samples, MINMAX)[0])
    theirs = size_breakdown(onnxruntime_quantized(model, samples, tmp_path))
    assert ours.total < 0.75 * theirs.total  # of small networks, most bytes are names
    assert ours.names < 0.7 * theirs.names
    assert ours.scales <= theirs.scales
    assert ours.remarks < 50


def long_names() -> onnx.ModelProto:
    """Names as exporters write them: whole paths, which end alike."""
    n = Net()
    x = "StatefulPartitionedCall/model/image_of_the_camera"
    for block in range(8):
        path = f"StatefulPartitionedCall/model/backbone/features/block_{block:02}/branch"
        x = n.add("Relu", [n.conv(x, f"{path}/conv/Conv_output_0", 4, 4)], f"{path}/act/Relu_output_0")
    return n.model({"StatefulPartitionedCall/model/image_of_the_camera": ["N", 4, 8, 8]}, {x: ["N", 4, 8, 8]})


def test_long_names_are_not_repeated() -> None:
    source = long_names()
    model = load_model(source.SerializeToString())
    shape = {"StatefulPartitionedCall/model/image_of_the_camera": (1, 4, 8, 8)}
    rng = np.random.default_rng(0)
    samples = [{k: rng.standard_normal(s).astype(np.float32) for k, s in shape.items()} for _ in range(4)]
    proto, _ = quantized(model, samples)
    tensors = [o for node in proto.graph.node for o in node.output] + [
        t.name for t in proto.graph.initializer
    ]
    nodes = [node.name for node in proto.graph.node]
    assert len(set(tensors)) == len(tensors)
    assert len(set(nodes)) == len(nodes)
    known = {i.name for i in source.graph.input} | {o for node in source.graph.node for o in node.output}
    added = set(tensors) - known
    assert len(added) > 50
    assert max(map(len, added)) < 48
    assert size_breakdown(proto).names < 2.5 * size_breakdown(source).names
    assert sqnr(run(model.proto(), samples), run(proto, samples)) > 20
    assert proto == quantized(load_model(source.SerializeToString()), samples)[0]


def test_zero_points_of_activations_and_biases_are_stored_once() -> None:
    proto, encodings = quantized(network("mobile_cnn"), feeds("mobile_cnn", 2))
    stored = [t for t in proto.graph.initializer if t.data_type == onnx.TensorProto.UINT8]
    values = {int(e.zero_point) for e in encodings.activations.values()}
    assert len(stored) == len(values)
    weights = [t.name for t in proto.graph.initializer if t.name.endswith("w_zero_point")]
    assert len(weights) == len(encodings.weights)  # ONNX Runtime may change them
