"""What an already quantized file holds, held against how it was made and against ONNX Runtime."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic

from quantscope.core import pipeline
from quantscope.core.calibration import histogram_of
from quantscope.core.errors import AlreadyQuantized
from quantscope.core.evaluate import Role, StoredQuantizer, observe, stored_quantizers, weight_histogram
from quantscope.core.model import Model, load_model
from quantscope.core.quant import Encoding, dequantize, quantize_values
from quantscope.core.recipe import Recipe
from quantscope.ui.content.stored_rows import stored_json, stored_row, without_quantizer
from tests.evaluating import case, list_samples, run_plainly, static_quantized
from tests.graphs import model as make
from tests.graphs import node, value
from tests.networks import NETWORKS
from tests.sessions import options
from tests.sessions import session as open_session


def opened(proto: onnx.ModelProto) -> Model:
    content = proto.SerializeToString()
    with pytest.raises(AlreadyQuantized, match="already quantized"):
        load_model(content)
    found = load_model(content, allow_quantized=True)
    assert found.quantized
    return found


def same(entry: StoredQuantizer, expected: Encoding) -> bool:
    found = entry.encoding
    return (
        found is not None
        and found.type == expected.type
        and np.array_equal(found.scale, expected.scale)
        and np.array_equal(found.zero_point, expected.zero_point)
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_our_own_files_say_the_encodings_that_they_were_made_from(name: str) -> None:
    model, _, items = case(name)
    made = pipeline.quantize(model, Recipe(), list_samples(items), cache=False)
    found = stored_quantizers(opened(made.proto))
    activations = {entry.name: entry for entry in found.quantizers if entry.role is Role.ACTIVATION}
    inputs = {
        name: made.encodings.activations[name] for name in activations if name in made.encodings.activations
    }
    assert inputs
    assert all(same(activations[tensor], encoding) for tensor, encoding in inputs.items())
    weights = [entry for entry in found.quantizers if entry.role is Role.WEIGHT]
    for encoding in made.encodings.weights.values():
        assert any(same(entry, encoding) for entry in weights)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_what_dequantize_linear_gives(name: str) -> None:
    _, proto, _ = case(name)
    found = [
        entry
        for entry in stored_quantizers(opened(proto)).quantizers
        if entry.role is not Role.ACTIVATION and entry.values() is not None
    ]
    assert {entry.role for entry in found} == {Role.WEIGHT, Role.BIAS}
    readers = {n.input[0]: n for n in proto.graph.node if n.op_type == "DequantizeLinear"}
    for entry in found:
        expected = alone(proto, readers[entry.name])
        values = entry.values()
        assert values is not None
        np.testing.assert_allclose(values, expected, rtol=1e-6, atol=0)
        histogram = weight_histogram(entry)
        assert histogram is not None
        assert (histogram.count, histogram.max) == (expected.size, np.float32(histogram.max))


def alone(proto: onnx.ModelProto, dequantizer: onnx.NodeProto) -> np.ndarray:
    """What ONNX Runtime makes of a DequantizeLinear and its constants."""
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    held, *parameters = (tensors[name] for name in dequantizer.input)
    graph = helper.make_graph(
        [dequantizer],
        "g",
        [helper.make_tensor_value_info(held.name, held.data_type, list(held.dims))],
        [helper.make_tensor_value_info(dequantizer.output[0], TensorProto.FLOAT, None)],
        parameters,
    )
    made = helper.make_model(graph, opset_imports=proto.opset_import, ir_version=8)
    return run_plainly(made, ({held.name: numpy_helper.to_array(held)},))[0][0]


def test_what_quantizers_round_is_what_the_model_holds_before_them() -> None:
    _, proto, items = case("residual_cnn")
    model = opened(proto)
    found = stored_quantizers(model)
    seen = observe(model, list_samples(items), found.quantizers, cache=False)
    activations = [entry for entry in found.quantizers if entry.role is Role.ACTIVATION]
    assert set(seen) == {entry.observed for entry in activations}
    other = onnx.ModelProto()
    other.CopyFrom(proto)
    names = [entry.observed for entry in activations if entry.observed not in items[0]]
    have = {output.name for output in proto.graph.output}
    for name in set(names) - have:
        other.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    runs = run_plainly(other, items, names)
    for number, name in enumerate(names):
        values = np.concatenate([outputs[number].ravel() for outputs in runs])
        assert seen[name].min == pytest.approx(values.min())
        assert seen[name].max == pytest.approx(values.max())
    given = np.concatenate([item[activations[0].observed].ravel() for item in items])
    assert seen[activations[0].observed] == histogram_of(given)


@pytest.mark.parametrize("kind", [QuantType.QUInt8, QuantType.QInt8], ids=["uint8", "int8"])
def test_integer_operators_are_read_too(kind: QuantType) -> None:
    model, _, items = case("residual_cnn")
    proto = static_quantized(model, items, quant_format=QuantFormat.QOperator, activation_type=kind)
    opened_ = opened(proto)
    found = stored_quantizers(opened_)
    ops = {entry.op for entry in found.quantizers}
    assert "QLinearConv" in ops
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    convs = [n for n in proto.graph.node if n.op_type == "QLinearConv"]
    by_name = {(entry.name, entry.role): entry for entry in found.quantizers}
    for conv in convs:
        weight = by_name[(conv.input[3], Role.WEIGHT)]
        np.testing.assert_array_equal(weight.scale, constants[conv.input[4]].ravel())
        assert weight.values() is not None
        output = by_name[(conv.output[0], Role.ACTIVATION)]
        assert output.integers
        assert float(output.scale[0]) == float(constants[conv.input[6]])
        assert int(output.zero_point[0]) == int(constants[conv.input[7]])
    seen = observe(opened_, list_samples(items), found.quantizers, cache=False)
    entry = by_name[(convs[0].output[0], Role.ACTIVATION)]
    other = onnx.ModelProto()
    other.CopyFrom(proto)
    integer = TensorProto.UINT8 if kind is QuantType.QUInt8 else TensorProto.INT8
    other.graph.output.append(helper.make_tensor_value_info(convs[0].output[0], integer, None))
    # Sessions for exact sums have no kernels for signed activations, whose sums are exact in any session.
    session = open_session(other, options(exact=kind is QuantType.QUInt8))
    held = np.concatenate([session.run([entry.observed], dict(item))[0].ravel() for item in items])
    encoding = entry.encoding
    assert encoding is not None
    histogram = seen[entry.observed]
    assert histogram == histogram_of(dequantize(held, encoding))
    assert stored_row(entry, histogram).clipped is None  # was rounded already


def test_scales_that_are_found_while_a_model_runs_are_said() -> None:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    model, _, _ = case("transformer")
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "f.onnx", Path(folder) / "q.onnx"
        source.write_bytes(model.float_bytes())
        quantize_dynamic(source, target)
        found = stored_quantizers(opened(onnx.load(target)))
    assert found.dynamic["DynamicQuantizeLinear"] > 0
    assert found.dynamic["MatMulInteger"] > 0


def qdq(*, low: int = 0, scale: float = 0.1, axis: int | None = None) -> Model:
    """A quantizer of the input, and a weight."""
    kind = np.uint8 if low == 0 else np.int8
    weights = {
        "s": np.float32(scale),
        "z": kind(0),
        "w": np.int8([[1, -2], [3, 127]]),
        "ws": np.float32(0.5) if axis is None else np.float32([0.5, 0.25]),
    }
    extra = {} if axis is None else {"axis": axis}
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("DequantizeLinear", ["w", "ws"], ["wd"], **extra),
        node("MatMul", ["d", "wd"], ["y"], name="fc"),
    ]
    return opened(make(nodes, [value("x", ["N", 2])], [value("y", ["N", 2])], weights))


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_channels_lie_along_the_axis_that_the_file_names(axis: int | None) -> None:
    entries = stored_quantizers(qdq(axis=axis)).quantizers
    weight = next(entry for entry in entries if entry.role is Role.WEIGHT)
    assert (weight.name, weight.layer, weight.type) == ("w", "fc", "int8")
    scale = np.float32(0.5) if axis is None else np.float32([0.5, 0.25]).reshape(-1, 1)
    scale = scale.T if axis == 1 else scale
    np.testing.assert_array_equal(weight.values(), np.int8([[1, -2], [3, 127]]) * scale)


def test_clipping_and_rounding_are_told_from_a_histogram() -> None:
    entry = next(e for e in stored_quantizers(qdq(low=-128)).quantizers if e.role is Role.ACTIVATION)
    values = np.random.default_rng(0).normal(0, 8, 4000).astype(np.float32)
    row = stored_row(entry, histogram_of(values))
    encoding = entry.encoding
    assert encoding is not None
    assert row.low is not None
    assert row.high is not None
    rounded = dequantize(quantize_values(values, encoding), encoding)
    assert row.clipped == pytest.approx(np.mean((values < row.low) | (values > row.high)), abs=2e-3)
    assert row.sqnr_db == pytest.approx(
        10 * np.log10(np.sum(values.astype(float) ** 2) / np.sum((values - rounded).astype(float) ** 2)),
        abs=0.1,
    )
    assert row.activation == ""


@pytest.mark.parametrize(("scale", "said"), [(0.1, "ReLU"), (6 / 255, "ReLU6")])
def test_a_range_that_does_the_work_of_a_relu_does_not_clip(scale: float, said: str) -> None:
    entry = next(e for e in stored_quantizers(qdq(scale=scale)).quantizers if e.role is Role.ACTIVATION)
    values = np.random.default_rng(0).normal(0, 3, 4000).astype(np.float32)
    row = stored_row(entry, histogram_of(values))
    assert row.activation == said
    if said == "ReLU":
        assert row.clipped == 0
        positive = np.maximum(values, 0)
        wanted = stored_row(entry, histogram_of(positive))
        assert row.sqnr_db == pytest.approx(wanted.sqnr_db or 0, abs=1e-6)
    else:
        assert row.clipped is row.sqnr_db is None


def test_scales_as_json_and_layers_without_any() -> None:
    entries = stored_quantizers(qdq(axis=1)).quantizers
    body = json.loads(stored_json(entries))["quantizers"]
    weight = next(entry for entry in body if entry["role"] == "weight")
    assert (weight["scale"], weight["zero_point"], weight["axis"]) == ([0.5, 0.25], [0, 0], 1)
    assert without_quantizer([("fc", "MatMul"), ("r", "Relu")], entries) == ["r (Relu)"]
