"""Precisions in the quantized graph: layers in 16 bit or float, and tensors that must stay float."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantscope.core.calibration import Accumulator
from quantscope.core.evaluate import fusion_report, integer_layers
from quantscope.core.model import load_model
from quantscope.core.quant import UINT8, QuantSpec, Range
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.quantize.representable import why_float
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Granularity, Precision
from quantscope.core.thresholds import Method
from tests.networks import Net, feeds, masked_attention
from tests.quantizing import MINMAX, executed, network, quantized, run, sqnr, statistics_of


@pytest.mark.parametrize(("opset", "domain"), [(17, "com.microsoft"), (21, "")])
def test_sixteen_bit_activations(opset: int, domain: str) -> None:
    n = Net(opset=opset)
    n.add("Relu", [n.conv("image", "a", 3, 8)], "r")
    n.conv("r", "y", 8, 4)
    model = load_model(n.model({"image": ["N", 3, 16, 16]}, {"y": ["N", 4, 16, 16]}).SerializeToString())
    samples = [{"image": s["image"][:, :, :16, :16]} for s in feeds("mobile_cnn")]
    fine, _ = quantized(model, samples, Recipe().with_default(precision=Precision.INT16))
    coarse, _ = quantized(model, samples)
    assert {q.domain for q in fine.graph.node if q.op_type == "QuantizeLinear"} == {domain}
    floats = run(model.proto(), samples)
    assert sqnr(floats, run(fine, samples)) > sqnr(floats, run(coarse, samples)) + 1


def test_mixed_precisions_run_and_help() -> None:
    model, samples = network("transformer"), feeds("transformer")
    floats = run(model.proto(), samples)
    plain, _ = quantized(model, samples)
    mixed_recipe = Recipe()
    for layer in model.layers:
        if layer.op in {"Softmax", "LayerNormalization"}:
            mixed_recipe = mixed_recipe.with_layer(layer.name, precision=Precision.INT16)
        if layer.name.startswith("gelu"):
            mixed_recipe = mixed_recipe.with_layer(layer.name, precision=Precision.FLOAT)
    mixed, _ = quantized(model, samples, mixed_recipe)
    assert sqnr(floats, run(mixed, samples)) > sqnr(floats, run(plain, samples))


@pytest.mark.parametrize("granularity", Granularity)
@pytest.mark.parametrize("name", ["transformer", "residual_cnn"])
def test_sixteen_bits_are_not_rounded_to_eight_again(
    name: str, granularity: Granularity, tmp_path: Path
) -> None:
    """ONNX Runtime would make MatMulNBits of a product with 8-bit weights, which rounds its activations."""
    model, samples = network(name), feeds(name)
    wide = Recipe().with_default(precision=Precision.INT16, weights=granularity)
    recipes = [wide]
    for layer in model.layers:
        if layer.op in ("MatMul", "Gemm"):
            recipes += [
                Recipe().with_layer(layer.name, precision=p) for p in Precision if p is not Precision.INT8
            ]
    for recipe in recipes:
        proto, _ = quantized(model, samples, recipe)
        assert not {op for op in executed(proto, tmp_path) if "NBits" in op or "Dynamic" in op}
    proto, _ = quantized(model, samples, wide)
    floats = run(model.proto(), samples)
    plain = sqnr(floats, run(proto, samples, plain=True))
    assert sqnr(floats, run(proto, samples)) == pytest.approx(plain, abs=0.05)


def test_all_float_is_the_float_model() -> None:
    model, samples = network("residual_cnn"), feeds("residual_cnn", 2)
    proto, _ = quantized(model, samples, Recipe().with_default(precision=Precision.FLOAT))
    assert not any(n.op_type == "QuantizeLinear" for n in proto.graph.node)
    np.testing.assert_array_equal(run(proto, samples)[1], run(model.proto(), samples)[1])


@pytest.mark.parametrize("name", ["mobile_cnn", "residual_cnn", "shapes_cnn"])
def test_a_float_layer_runs_in_float(name: str) -> None:
    model, samples = network(name), feeds(name)
    statistics = statistics_of(model, samples)
    layers = [layer for layer in model.layers if layer.op in {"Conv", "ConvTranspose", "Gemm"}]
    assert len(layers) >= 3
    for layer in layers:
        recipe = MINMAX.with_layer(layer.name, precision=Precision.FLOAT)
        proto = quantize_model(model, resolve(recipe, statistics, model))
        in_integers = integer_layers(fusion_report(proto), model)
        assert layer.name not in in_integers
        assert len(in_integers) >= 3


@pytest.mark.parametrize("mask", [-1e4, -3.4e38, -np.inf])
def test_masked_scores_stay_float(mask: float) -> None:
    model = load_model(masked_attention(mask).SerializeToString())
    samples = [{"x": np.random.default_rng(i).standard_normal((4, 8)).astype(np.float32)} for i in range(32)]
    proto, encodings = quantized(model, samples, MINMAX)
    assert set(encodings.kept_float) == {"masked"}
    assert sqnr(run(model.proto(), samples), run(proto, samples)) > 25
    layer = model.layer_of("masked")
    assert layer is not None
    forced = MINMAX.with_layer(layer.name, method=Method.MANUAL, range=Range(-20.0, 10.0))
    by_hand, encodings = quantized(model, samples, forced)
    assert not encodings.kept_float
    assert float(encodings.activations["masked"].low) == pytest.approx(-20, abs=0.1)
    assert sqnr(run(model.proto(), samples), run(by_hand, samples)) > 20


def test_a_binary_mask_and_rare_outliers_are_quantized() -> None:
    rng = np.random.default_rng(0)
    spec = QuantSpec(type=UINT8, symmetric=False)
    ordinary = {
        "normal": rng.standard_normal(10_000),
        "binary": rng.integers(0, 2, 10_000).astype(float) * -1e4,
        "one outlier": np.append(rng.standard_normal(100_000), 1e5),
        "two modes": np.concatenate([rng.normal(0, 1, 5000), rng.normal(50, 1, 5000)]),
        "relu": np.maximum(rng.standard_normal(10_000), 0),
    }
    for name, values in ordinary.items():
        accumulator = Accumulator()
        accumulator.add(values.astype(np.float32))
        assert why_float(accumulator.histogram(), spec) is None, name


@pytest.mark.parametrize("op", ["Softmax", "Add", "Sigmoid", "MatMul"])
def test_any_layer_set_to_float_runs_in_float(op: str) -> None:
    model = network("shapes_cnn" if op == "Sigmoid" else "transformer")
    samples = feeds(model.name)
    layers = [layer for layer in model.layers if layer.op == op]
    assert layers
    for layer in layers:
        proto, _ = quantized(model, samples, MINMAX.with_layer(layer.name, precision=Precision.FLOAT))
        assert layer.name not in integer_layers(fusion_report(proto), model)
