"""Errors layer by layer, against plain NumPy and ONNX Runtime runs of the same thing."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType

from quantscope.core.evaluate import (
    LayerError,
    TensorError,
    compare,
    layer_errors,
    match_tensors,
    read_quantized,
    tensor_error,
)
from quantscope.core.evaluate.correspondence import encoding_of, expose
from quantscope.core.evaluate.isolated import isolated_model
from quantscope.core.evaluate.layers import probes
from quantscope.core.model import Model, load_model
from quantscope.core.quant import Encoding, dequantize, fake_quantize
from tests.evaluating import Sample, case, list_samples, run_plainly, static_quantized
from tests.networks import NETWORKS, Net
from tests.sessions import session as open_session

ALL = list(NETWORKS)


def errors_of(name: str, **options: bool) -> tuple[LayerError, ...]:
    model, quantized, items = case(name)
    return layer_errors(model, read_quantized(quantized), list_samples(items), **options)


def close(a: TensorError | None, b: TensorError | None, rel: float = 1e-3) -> bool:
    """Equal up to the rounding of float kernels."""
    assert a is not None
    assert b is not None
    assert a.count == b.count
    return a.mse == pytest.approx(b.mse, rel=rel, abs=1e-12)


def exposed(model: onnx.ModelProto, names: list[str], items: tuple[Sample, ...]) -> list[np.ndarray]:
    """Tensors of all samples, by adding value infos the ordinary way."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    already = {v.name for v in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in already)
    runs = run_plainly(copy, items, names)
    return [np.concatenate([run[i].ravel() for run in runs]) for i in range(len(names))]


# ---- matching tensors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_every_quantize_node_finds_its_float_tensor(name: str) -> None:
    model, quantized, _ = case(name)
    seen = match_tensors(model, quantized)
    rounded = [n for n in quantized.graph.node if n.op_type == "QuantizeLinear"]
    assert len(seen.quantizers) == len(rounded)
    outputs = {layer.output for layer in model.layers}
    assert outputs & set(seen.quantizers)


def renamed(model: onnx.ModelProto, names: dict[str, str]) -> onnx.ModelProto:
    """A copy in which tensors have other names."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        for own in (node.input, node.output):
            for i, name in enumerate(own):
                own[i] = names.get(name, name)
    return copy


def test_a_removed_relu_may_leave_either_name() -> None:
    """Without the Relu, a tool may call the tensor before the quantizer by the name of its input."""
    model, quantized, items = case("residual_cnn")
    assert "Relu" not in {n.op_type for n in quantized.graph.node}
    other = renamed(quantized, {f"{x}": x.replace("r1", "c1") for x in ("b0.r1", "b1.r1")})
    seen = match_tensors(model, other)
    found = seen.counterpart("b0.r1")
    assert found is not None
    assert found.quantized
    assert seen.counterpart("b0.c1") is None
    assert layer_errors(model, read_quantized(other), list_samples(items)) == errors_of("residual_cnn")


def test_renamed_graph_outputs_are_found() -> None:
    model, quantized, _ = case("residual_cnn")
    assert any(n.input[0] == "logits_QuantizeLinear_Input" for n in quantized.graph.node)
    assert "logits" in match_tensors(model, quantized).quantizers


def test_an_output_whose_name_stayed_with_the_dequantized_tensor() -> None:
    model, quantized, items = case("residual_cnn")
    other = renamed(quantized, {"logits_QuantizeLinear_Input": "inner7"})
    samples = list_samples(items)
    assert layer_errors(model, read_quantized(other), samples) == errors_of("residual_cnn")


@pytest.mark.parametrize("kind", [QuantType.QInt8, QuantType.QUInt16, QuantType.QInt16], ids=str)
def test_other_integer_types(kind: QuantType) -> None:
    model, _, items = case("residual_cnn")
    quantized = static_quantized(model, items, activation_type=kind)
    errors = layer_errors(model, read_quantized(quantized), list_samples(items))
    names = {QuantType.QInt8: "int8", QuantType.QUInt16: "uint16", QuantType.QInt16: "int16"}
    assert {e.type for e in errors} == {names[kind]}
    assert all(e.cumulative is not None and e.cumulative.cosine > 0.99 for e in errors)


def test_encodings_come_from_the_file() -> None:
    _, quantized, _ = case("residual_cnn")
    constants = {t.name: t for t in quantized.graph.initializer}
    node = next(n for n in quantized.graph.node if n.op_type == "QuantizeLinear")
    found = encoding_of(node, constants)
    assert found is not None
    assert found.scale == numpy_helper.to_array(constants[node.input[1]])
    assert found.zero_point == numpy_helper.to_array(constants[node.input[2]])
    x = np.linspace(-10, 10, 1001, dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", *node.input[1:]], ["q"])],
        "q",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1001])],
        [helper.make_tensor_value_info("q", TensorProto.UINT8, [1001])],
        [constants[n] for n in node.input[1:]],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (q,) = open_session(proto).run(None, {"x": x})
    assert np.array_equal(dequantize(q, found), fake_quantize(x, found))


def test_missing_zero_point_means_uint8_zero() -> None:
    scale = numpy_helper.from_array(np.array([0.5], np.float32), "s")
    node = helper.make_node("QuantizeLinear", ["x", "s"], ["q"])
    found = encoding_of(node, {"s": scale})
    assert found is not None
    assert (found.type.name, int(found.zero_point), found.scale.shape) == ("uint8", 0, ())
    typed = helper.make_node("QuantizeLinear", ["x", "s"], ["q"], output_dtype=TensorProto.INT16)
    found = encoding_of(typed, {"s": scale})
    assert found is not None
    assert found.type.name == "int16"
    assert encoding_of(helper.make_node("QuantizeLinear", ["x", "computed"], ["q"]), {}) is None


def test_expose_appends_outputs_and_nothing_else() -> None:
    _, quantized, _ = case("residual_cnn")
    data = quantized.SerializeToString()
    changed = onnx.ModelProto.FromString(
        expose(data, {"a": TensorProto.UINT8, "b": TensorProto.FLOAT}, ["b"])
    )
    assert [v.name for v in changed.graph.output] == ["logits", "a"]
    del changed.graph.output[-1]
    assert changed == quantized
    assert expose(data, {"b": TensorProto.FLOAT}, ["b"]) is data


# ---- cumulative ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_cumulative_errors_are_those_of_the_integer_run(name: str) -> None:
    model, quantized, items = case(name)
    seen = match_tensors(model, quantized)
    errors = errors_of(name, local=False)
    assert any(error.cumulative is not None for error in errors)
    for error in errors:
        probe = next(p for p in probes(model, seen) if p.layer.name == error.layer)
        assert error.tensor == probe.layer.output
        if probe.counterpart is None:
            assert error.cumulative is None
            continue
        (q,) = exposed(quantized, [probe.counterpart.tensor], items)
        if error.tensor in {i.name for i in model.inputs}:
            f = np.concatenate([item[error.tensor].ravel() for item in items])
        else:
            (f,) = exposed(model.proto(), [error.tensor], items)
        assert close(error.cumulative, tensor_error(f, q, probe.counterpart.encoding))


def test_exposing_integers_leaves_the_outputs_alone() -> None:
    for name in ALL:
        model, quantized, items = case(name)
        counterparts = [
            p.counterpart for p in probes(model, match_tensors(model, quantized)) if p.counterpart
        ]
        types = {c.tensor: c.elem_type for c in counterparts}
        assert types
        outputs = [v.name for v in quantized.graph.output]
        data = expose(quantized.SerializeToString(), types, outputs)
        plain, more = run_plainly(quantized, items, outputs), run_plainly(data, items, outputs)
        assert plain
        assert all(np.array_equal(a[0], b[0]) for a, b in zip(plain, more, strict=True)), name


def test_layers_that_stay_float_are_compared_as_they_are() -> None:
    model, _, items = case("residual_cnn")
    left = [n.name for n in model.proto().graph.node if n.op_type == "Gemm"]
    quantized = static_quantized(model, items, nodes_to_exclude=left)
    *_, last = layer_errors(model, read_quantized(quantized), list_samples(items))
    assert (last.tensor, last.type) == ("logits", "")
    assert last.local is None
    f, q = run_plainly(model.proto(), items), run_plainly(quantized, items)
    expected = tensor_error(np.concatenate([r[0] for r in f]), np.concatenate([r[0] for r in q]))
    assert close(last.cumulative, expected)


def test_few_layers_at_a_time_give_the_same() -> None:
    model, quantized, items = case("shapes_cnn")
    seen: list[str] = []
    few = layer_errors(
        model,
        read_quantized(quantized),
        list_samples(items),
        max_bytes=200_000,
        progress=lambda p: seen.append(p.label),
    )
    assert len(set(seen)) > 2
    for a, b in zip(few, errors_of("shapes_cnn"), strict=True):
        assert (a.layer, a.tensor, a.type) == (b.layer, b.tensor, b.type)
        assert (a.cumulative is None) == (b.cumulative is None)
        if a.cumulative is not None:
            assert close(a.cumulative, b.cumulative)
        assert (a.local is None) == (b.local is None)
        if a.local is not None:
            assert close(a.local, b.local)


# ---- local ---------------------------------------------------------------------------------------------


def two_layers() -> tuple[Model, onnx.ModelProto, tuple[Sample, ...]]:
    net = Net(3)
    x = net.add("Gemm", ["x", net.random("w1", 16, 24), net.random("b1", 24, scale=0.5)], "h")
    x = net.add("Relu", [x], "a")
    net.add("MatMul", [x, net.random("w2", 24, 5)], "y")
    model = load_model(net.model({"x": ["N", 16]}, {"y": ["N", 5]}).SerializeToString())
    rng = np.random.default_rng(0)
    items = tuple({"x": rng.standard_normal((3, 16)).astype(np.float32)} for _ in range(5))
    return model, static_quantized(model, items), items


def weight(quantized: onnx.ModelProto, name: str) -> np.ndarray:
    """A weight as the quantized model uses it."""
    constants = {t.name: t for t in quantized.graph.initializer}
    node = next(
        n
        for n in quantized.graph.node
        if n.op_type == "DequantizeLinear" and n.input[0].startswith(f"{name}_quantized")
    )
    q = numpy_helper.to_array(constants[node.input[0]])
    scale = numpy_helper.to_array(constants[node.input[1]])
    if q.dtype == np.int32:
        return (q * scale.astype(np.float64)).astype(np.float32)
    found = encoding_of(node, constants)
    assert found is not None
    return dequantize(q, found)


def test_local_errors_by_hand() -> None:
    model, quantized, items = two_layers()
    by_tensor = {e.tensor: e for e in layer_errors(model, read_quantized(quantized), list_samples(items))}
    seen = match_tensors(model, quantized)

    def rounding(tensor: str) -> Encoding:
        found = seen.counterpart(tensor)
        assert found is not None
        assert found.encoding is not None
        return found.encoding

    x = np.concatenate([item["x"] for item in items])
    stored = {t.name: numpy_helper.to_array(t) for t in model.proto().graph.initializer}
    a = np.maximum(x @ stored["w1"] + stored["b1"], 0)
    y = a @ stored["w2"]
    alone_a = fake_quantize(
        np.maximum(x @ weight(quantized, "w1") + weight(quantized, "b1"), 0), rounding("a")
    )
    alone_y = fake_quantize(a @ weight(quantized, "w2"), rounding("y"))
    assert close(by_tensor["x"].local, tensor_error(x, fake_quantize(x, rounding("x"))))
    # A value within float round-off of a tie may fall to either side, so the bound is not that of the bits.
    assert close(by_tensor["a"].local, tensor_error(a, alone_a), rel=0.05)
    assert close(by_tensor["y"].local, tensor_error(y, alone_y), rel=0.05)
    assert by_tensor["x"].cumulative == by_tensor["x"].local


@pytest.mark.parametrize("name", ALL)
def test_every_quantized_layer_has_a_local_error(name: str) -> None:
    model, _, _ = case(name)
    errors = errors_of(name)
    assert [e.layer for e in errors] == [layer.name for layer in model.layers]
    for e in errors:
        if e.type:
            assert e.local is not None, e
            assert e.local.sqnr_db is not None
            assert e.local.sqnr_db > 20
    together = sum(e.cumulative.mse for e in errors if e.cumulative and e.cumulative.mse is not None)
    alone = sum(e.local.mse for e in errors if e.local and e.local.mse is not None)
    assert alone < together  # errors accumulate


def negated(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """A copy in which a stored tensor has the opposite sign."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    stored = next(t for t in copy.graph.initializer if t.name == name)
    stored.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(stored), name))
    return copy


def test_broken_weights_show_in_their_layer_alone() -> None:
    model, quantized, items = case("residual_cnn")
    broken = negated(quantized, "b0.c2.w_quantized")
    before = errors_of("residual_cnn")
    after = layer_errors(model, read_quantized(broken), list_samples(items))
    changed = [a.layer for a, b in zip(after, before, strict=True) if a.local != b.local]
    assert changed == ["b0.c2_Conv"]
    spoilt = [a.layer for a, b in zip(after, before, strict=True) if a.cumulative != b.cumulative]
    assert spoilt[0] == "b0.c2_Conv"
    assert len(spoilt) > 3  # and what follows


def test_layers_quantized_between_their_own_nodes() -> None:
    """A tool may round between Conv and Relu; the layer is still taken alone as a whole."""
    model, _, items = case("residual_cnn")
    options = {"ActivationSymmetric": True, "QuantizeBias": True}
    quantized = static_quantized(model, items, activation_type=QuantType.QInt8, extra_options=options)
    kinds = [n.op_type for n in quantized.graph.node]
    assert "Relu" in kinds
    assert kinds.count("QuantizeLinear") > len(model.layers)
    before = layer_errors(model, read_quantized(quantized), list_samples(items))
    assert all(e.local is not None and e.local.sqnr_db is not None and e.local.sqnr_db > 25 for e in before)
    broken = negated(quantized, "b0.c1.w_quantized")  # in front of the inner rounding
    after = layer_errors(model, read_quantized(broken), list_samples(items))
    assert [a.layer for a, b in zip(after, before, strict=True) if a.local != b.local] == ["b0.c1_Conv"]


def test_isolated_model_holds_only_what_it_needs() -> None:
    model, quantized, _ = case("residual_cnn")
    seen = match_tensors(model, quantized)
    first = next(p for p in probes(model, seen) if p.layer.kind == "compute")
    assert first.counterpart is not None
    alone = isolated_model(model, quantized, seen, {first.layer.name: first.counterpart})
    assert alone is not None
    assert alone.inputs == ("image",)
    assert {n.op_type for n in alone.proto.graph.node} == {"DequantizeLinear", "Conv", "QuantizeLinear"}
    assert alone.outputs == {"stem_Conv": "alone/stem_relu_QuantizeLinear_Output"}


def test_control_flow_is_taken_from_the_float_model() -> None:
    net = Net(5)
    x = net.add("MatMul", ["x", net.random("w1", 8, 8)], "h")

    def branch(name: str, op: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(f"{name}.out", TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(op, [x], [out.name])], name, [], [out])

    net.add("ReduceSum", ["x"], "total", keepdims=0)
    net.add("Greater", ["total", net.const("zero", 0.0)], "positive")
    net.add("If", ["positive"], "chosen", then_branch=branch("a", "Relu"), else_branch=branch("b", "Neg"))
    net.add("MatMul", ["chosen", net.random("w2", 8, 4)], "y")
    model = load_model(net.model({"x": ["N", 8]}, {"y": ["N", 4]}).SerializeToString())
    rng = np.random.default_rng(0)
    items = tuple({"x": rng.standard_normal((2, 8)).astype(np.float32)} for _ in range(6))
    quantized = static_quantized(model, items, op_types_to_quantize=["MatMul"])
    by_tensor = {e.tensor: e for e in layer_errors(model, read_quantized(quantized), list_samples(items))}
    last = by_tensor["y"]
    assert last.type == "uint8"
    assert last.local is not None
    assert last.cumulative is not None
    assert last.local.mse < last.cumulative.mse


def test_shapes_that_differ_are_not_available() -> None:
    net = Net()
    net.add("MatMul", ["x", net.random("w", 4, 3)], "y")
    net.add("NonZero", ["y"], "where")
    proto = net.model({"x": ["N", 4]}, {"y": ["N", 3]})
    proto.graph.output.append(helper.make_tensor_value_info("where", TensorProto.INT64, [2, "K"]))
    model = load_model(proto.SerializeToString())
    changed = onnx.ModelProto()
    changed.CopyFrom(model.proto())
    changed.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((4, 3), np.float32), "w"))
    result = compare(model, changed, list_samples([{"x": np.ones((1, 4), np.float32)}]), latency=False)
    where = result.outputs[1]
    assert (where.error, where.equal_share, where.mismatched) == (None, None, 1)
    assert any("other shapes" in text for text in result.warnings)
