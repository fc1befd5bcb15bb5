"""Files of integer operators (QLinearConv and the like): their layers, held against the float model's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic

from quantscope.core.evaluate import compare, float_reference, preview
from quantscope.core.evaluate.comparison import NOT_ALONE
from quantscope.core.evaluate.qlinear import output_scales
from quantscope.core.model import Model
from tests.evaluating import Sample, case, list_samples, run_plainly, static_quantized
from tests.networks import NETWORKS
from tests.sessions import options
from tests.sessions import session as open_session
from tests.support import Run

Case = tuple[Model, onnx.ModelProto, tuple[Sample, ...]]


def qoperator(name: str, kind: QuantType = QuantType.QUInt8) -> Case:
    model, _, items = case(name)
    proto = static_quantized(model, items, quant_format=QuantFormat.QOperator, activation_type=kind)
    return model, proto, items


def dequantized(proto: onnx.ModelProto, items: tuple[Sample, ...], tensor: str) -> np.ndarray:
    """An integer tensor of a file, from a session with a DequantizeLinear behind it."""
    scale, zero = output_scales(proto.graph.node)[tensor]
    other = onnx.ModelProto()
    other.CopyFrom(proto)
    other.graph.node.append(helper.make_node("DequantizeLinear", [tensor, scale, zero], ["shown"]))
    other.graph.output.append(helper.make_tensor_value_info("shown", TensorProto.FLOAT, None))
    # Sessions for exact sums have no kernels for signed activations, whose sums are exact in any session.
    signed = any(t.name == zero and t.data_type == TensorProto.INT8 for t in proto.graph.initializer)
    session = open_session(other, options(exact=not signed))
    return np.concatenate([session.run(["shown"], dict(item))[0].ravel() for item in items])


def floats(model: Model, items: tuple[Sample, ...], tensor: str) -> np.ndarray:
    proto = model.proto()
    if tensor not in {o.name for o in proto.graph.output}:
        proto.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    return np.concatenate([out[0].ravel() for out in run_plainly(proto, items, [tensor])])


@pytest.mark.parametrize("kind", [QuantType.QUInt8, QuantType.QInt8], ids=["uint8", "int8"])
@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_measured_where_they_are_integers(name: str, kind: QuantType) -> None:
    model, proto, items = qoperator(name, kind)
    found = compare(model, proto, list_samples(items), latency=False)
    assert [layer.layer for layer in found.layers] == [layer.name for layer in model.layers]
    measured = {layer.tensor: layer for layer in found.layers if layer.cumulative is not None}
    assert len(measured) >= len(found.layers) - 3  # few tensors exist in neither form
    assert all(layer.local is None for layer in found.layers)
    assert NOT_ALONE in found.warnings
    integer = {
        tensor: layer
        for tensor, layer in measured.items()
        if layer.type and f"{tensor}_quantized" in output_scales(proto.graph.node)
    }
    assert len(integer) >= 3
    for tensor, layer in integer.items():
        f, q = floats(model, items, tensor), dequantized(proto, items, f"{tensor}_quantized")
        expected = 10 * np.log10(np.sum(f**2.0) / np.sum((f - q.astype(np.float64)) ** 2))
        assert layer.cumulative is not None
        assert layer.cumulative.sqnr_db == pytest.approx(expected, abs=0.05)
        assert layer.type == ("uint8" if kind == QuantType.QUInt8 else "int8")


def test_what_was_left_to_clipping_stands_for_the_activation() -> None:
    model, proto, items = qoperator("residual_cnn")
    found = {e.tensor: e for e in compare(model, proto, list_samples(items), latency=False).layers}
    error = found["stem_relu"].cumulative
    assert error is not None
    f, q = floats(model, items, "stem_relu"), dequantized(proto, items, "stem_quantized")
    assert error.sqnr_db == pytest.approx(10 * np.log10(np.sum(f**2.0) / np.sum((f - q) ** 2.0)), abs=0.05)


def test_a_preview_has_them_too() -> None:
    model, proto, items = qoperator("mobile_cnn")
    whole = compare(model, proto, list_samples(items), latency=False).layers
    seen = preview(float_reference(model, list_samples(items), count=len(items)), proto).layers
    assert [(e.layer, e.cumulative) for e in seen] == [(e.layer, e.cumulative) for e in whole]


def test_products_without_a_scale_give_floats() -> None:
    node = helper.make_node("QGemm", ["a", "as", "az", "b", "bs", "bz", ""], ["y"], domain="com.microsoft")
    assert output_scales([node]) == {}
    full = helper.make_node("QGemm", ["a", "as", "az", "b", "bs", "bz", "", "ys", "yz"], ["y"])
    moved = helper.make_node("Transpose", ["y"], ["t"])
    assert output_scales([full, moved]) == {"y": ("ys", "yz"), "t": ("ys", "yz")}


def test_files_quantized_at_run_time(tmp_path: Path) -> None:
    """MatMulInteger behind DynamicQuantizeLinear: scales are known at run time only, so layers are floats."""
    model, _, items = case("transformer")
    (tmp_path / "f.onnx").write_bytes(model.float_bytes())
    quantize_dynamic(tmp_path / "f.onnx", tmp_path / "q.onnx")
    found = compare(model, tmp_path / "q.onnx", list_samples(items), latency=False)
    assert found.output.sqnr_db is not None
    assert found.output.sqnr_db > 20
    assert sum(layer.cumulative is not None for layer in found.layers) > 10


def test_the_command_compares_them(quantscope: Run, tmp_path: Path) -> None:
    model, proto, items = qoperator("residual_cnn")
    (tmp_path / "f.onnx").write_bytes(model.float_bytes())
    onnx.save(proto, tmp_path / "q.onnx")
    np.savez(tmp_path / "x.npz", image=np.concatenate([item["image"] for item in items]))
    done = quantscope("compare", tmp_path / "f.onnx", tmp_path / "q.onnx", "--data", tmp_path / "x.npz")
    assert done.code == 0, done.err
    assert "none is quantized alone" in done.err
    assert "b0.c1" in done.out
