"""What a file does in a default session, told apart from its exact figures, on both kinds of processor."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantFormat, QuantType

from quantscope.core.evaluate import Comparison, compare, read_quantized
from quantscope.core.evaluate.comparison import _same
from quantscope.core.evaluate.saturating import may_saturate, saturated_layers
from quantscope.core.model import Model, load_model
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.targets import ANY_X86, ONNXRUNTIME_CPU
from quantscope.core.targets.table import U8U8
from quantscope.sample_data import SAMPLES
from tests.emulator import EmulatedSession, processor
from tests.evaluating import case, list_samples, static_quantized
from tests.networks import NETWORKS, Net, feeds
from tests.quantizing import network, run, sqnr, statistics_of
from tests.support import Run

MLP = SAMPLES["digits_mlp"]


def made(name: str, target: str) -> tuple[Model, onnx.ModelProto, list[dict[str, np.ndarray]]]:
    model, items = network(name), feeds(name)
    return (
        model,
        quantize_model(model, resolve(Recipe(target=target), statistics_of(model, items), model)),
        items,
    )


def compared(name: str, target: str, *, saturating: bool) -> Comparison:
    model, proto, items = made(name, target)
    with processor(saturating=saturating):
        return compare(model, proto, list_samples(items), latency=False)


@pytest.mark.parametrize("name", NETWORKS)
def test_exact_figures_do_not_depend_on_the_processor(name: str) -> None:
    exact, cut = (compared(name, ONNXRUNTIME_CPU.name, saturating=s) for s in (False, True))
    assert exact.output == cut.output
    assert exact.outputs == cut.outputs
    assert exact.layers == cut.layers
    assert exact.may_saturate == cut.may_saturate != ()
    assert exact.default is None
    assert cut.default is not None


@pytest.mark.parametrize("name", NETWORKS)
def test_the_default_session_is_a_second_figure(name: str) -> None:
    model, proto, items = made(name, ONNXRUNTIME_CPU.name)
    found = compared(name, ONNXRUNTIME_CPU.name, saturating=True)
    assert found.default is not None
    assert not found.default.equal
    floats = run(model.proto(), items)
    emulated = EmulatedSession(proto, saturating=True)
    expected = sqnr(floats, [emulated.run(None, item)[0] for item in items])
    assert found.default.output.sqnr_db == pytest.approx(expected, abs=1e-3)
    assert found.output.sqnr_db == pytest.approx(sqnr(floats, run(proto, items)), abs=1e-3)
    assert found.default.layers
    assert {layer.layer for layer in found.default.layers} <= set(found.may_saturate)
    ranked = [layer.sqnr_db for layer in found.default.layers]
    assert ranked == sorted(ranked)


@pytest.mark.parametrize("target", [ANY_X86, U8U8], ids=lambda t: t.name)
def test_a_file_that_cannot_saturate_is_the_same_in_both(target: object) -> None:
    found = compared("residual_cnn", target.name, saturating=True)  # type: ignore[attr-defined]
    assert found.default is not None
    assert found.default.equal
    assert found.default.output == found.output
    assert found.default.layers == ()
    assert found.may_saturate == ()


def chain(*weights: np.ndarray) -> Model:
    """Products in a row, each with Relu."""
    n = Net()
    x = "x"
    for i, weight in enumerate(weights):
        x = n.add("Relu", [n.add("MatMul", [x, n.const(f"w{i}", weight)], f"m{i}")], f"r{i}")
    model = n.model({"x": ["N", 16]}, {x: ["N", weights[-1].shape[1]]})
    return load_model(model.SerializeToString())


def test_a_layer_answers_for_its_own_sums_only() -> None:
    """The middle one saturates; those around it have one large weight a column, and small ones against it."""
    rng = np.random.default_rng(3)
    calm = np.where(np.eye(16), 1.0, rng.uniform(-0.02, 0.0, (16, 16))).astype(np.float32)
    loud = rng.uniform(0.9, 1.0, (16, 16)).astype(np.float32)
    model = chain(calm, loud, calm)
    items = [{"x": rng.uniform(0.9, 1.0, (1, 16)).astype(np.float32)} for _ in range(8)]
    encodings = resolve(Recipe(), statistics_of(model, items), model)
    file = read_quantized(quantize_model(model, encodings))
    middle = model.layer_of("r1")
    assert middle is not None
    assert may_saturate(model, file) == (middle.name,)
    with processor(saturating=True):
        (found,) = saturated_layers(model, file, list_samples(items))
    assert found.layer == middle.name
    assert found.changed > 0.9
    # Halved sums: 16 bits hold half of two large products.
    assert 3.0 < found.sqnr_db < 9.0
    with processor(saturating=False):
        assert saturated_layers(model, file, list_samples(items)) == ()


def test_sixteen_ones(tmp_path: Path) -> None:
    """One product of sixteen ones gives 16; a saturating session makes half of it."""
    model = chain(np.ones((16, 1), np.float32))
    items = [{"x": np.ones((1, 16), np.float32)}]
    statistics = statistics_of(model, items)
    for target, least in ((ONNXRUNTIME_CPU, 8.0), (ANY_X86, 15.8)):
        proto = quantize_model(model, resolve(Recipe(target=target.name), statistics, model))
        assert run(proto, items)[0].item() == pytest.approx(16.0, rel=1e-2)
        saturated = EmulatedSession(proto, saturating=True).run(None, items[0])[0].item()
        assert least <= saturated <= least + 0.2


def test_files_of_other_tools() -> None:
    """onnxruntime's own quantizer writes weights that saturate."""
    model, quantized, items = case("residual_cnn")
    with processor(saturating=True):
        found = compare(model, quantized, list_samples(items), latency=False)
    assert found.default is not None
    assert not found.default.equal
    assert found.may_saturate
    assert found.default.layers


def written_as(form: str) -> tuple[Model, onnx.ModelProto, list[dict[str, np.ndarray]]]:
    """A product of all ones, quantized by hand, with the weight in one of the forms that exporters write."""
    weight, n = np.ones((16, 4), np.float32), Net()
    n.add("MatMul", ["x", n.const("w", weight)], "y")
    model = load_model(n.model({"x": ["N", 16]}, {"y": ["N", 4]}).SerializeToString())
    q = Net()
    scales = {"s": 1 / 255, "ws": 1 / 127, "ys": 16 / 255}
    for name, scale in scales.items():
        q.const(name, scale)
    q.const("z", 0, np.uint8), q.const("wz", 0, np.int8)
    rounded = np.full((16, 4), 127)
    if form == "QuantizeLinear":
        w = q.add(
            "DequantizeLinear",
            [q.add("QuantizeLinear", [q.const("w", weight), "ws", "wz"], "wq"), "ws", "wz"],
            "wd",
        )
    elif form == "Transpose behind":
        w = q.add(
            "Transpose",
            [q.add("DequantizeLinear", [q.const("wq", rounded.T, np.int8), "ws", "wz"], "wd")],
            "wt",
        )
    else:
        w = q.add("DequantizeLinear", [q.const("wq", rounded, np.int8), "ws", "wz"], "wd")
    x = q.add("DequantizeLinear", [q.add("QuantizeLinear", ["x", "s", "z"], "xq"), "s", "z"], "xd")
    y = q.add("QuantizeLinear", [q.add("MatMul", [x, w], "product"), "ys", "z"], "yq")
    q.add("DequantizeLinear", [y, "ys", "z"], "y")
    proto = q.model({"x": ["N", 16]}, {"y": ["N", 4]})
    return model, proto, [{"x": np.ones((1, 16), np.float32)}]


@pytest.mark.parametrize("form", ["plain", "QuantizeLinear", "Transpose behind"])
def test_weights_are_found_however_they_are_written(form: str) -> None:
    model, proto, items = written_as(form)
    with processor(saturating=True):
        found = compare(model, proto, list_samples(items), latency=False)
    assert len(found.may_saturate) == 1
    assert found.default is not None
    assert not found.default.equal
    assert found.output.sqnr_db is not None
    assert found.output.sqnr_db > 40


@pytest.mark.parametrize("saturating", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_files_of_integer_operators(signed: bool, saturating: bool) -> None:
    """onnxruntime's QOperator format; sessions for exact sums have no kernel for two signed operands."""
    model, _, items = case("residual_cnn")
    kind = QuantType.QInt8 if signed else QuantType.QUInt8
    proto = static_quantized(model, items, quant_format=QuantFormat.QOperator, activation_type=kind)
    with processor(saturating=saturating):
        found = compare(model, proto, list_samples(items), latency=False, layers=False)
    assert found.output.sqnr_db is not None
    assert found.output.sqnr_db > 20
    assert bool(found.may_saturate) != signed
    assert set(found.may_saturate) <= {layer.name for layer in model.layers}


def test_weights_computed_at_run_time_are_said_to_be_beyond_help() -> None:
    n = Net()
    n.const("s", 1 / 255), n.const("z", 0, np.uint8), n.const("ws", 1 / 127), n.const("wz", 0, np.int8)
    a = n.add("QuantizeLinear", ["x", "s", "z"], "a")
    b = n.add("QuantizeLinear", ["x2", "ws", "wz"], "b")
    total = n.add("MatMulInteger", [a, b, "z", "wz"], "sums")
    n.nodes.append(onnx.helper.make_node("Cast", [total], ["y"], to=1))
    quantized = n.model({"x": [1, 16], "x2": [16, 1]}, {"y": [1, 1]})
    f = Net()
    f.add("Mul", [f.add("MatMul", ["x", "x2"], "p"), f.const("k", 255.0 * 127)], "y")
    model = load_model(f.model({"x": [1, 16], "x2": [16, 1]}, {"y": [1, 1]}).SerializeToString())
    items = [{"x": np.full((1, 16), 0.3, np.float32), "x2": np.full((16, 1), 0.2, np.float32)}]
    with processor(saturating=True):
        found = compare(model, quantized, list_samples(items), latency=False, layers=False)
    assert len(found.may_saturate) == 1
    assert any("in every session" in warning for warning in found.warnings)


def test_outputs_inside_sequences_and_maps_are_compared() -> None:
    one, other = np.ones(3, np.float32), np.array([1, 1, 2], np.float32)
    assert _same([{"a": one}], [{"a": one.copy()}])
    assert not _same([{"a": one}], [{"a": other}])
    assert not _same([one], [one, one])
    assert not _same(one, one.astype(np.float64))


def quantizing(out: Path) -> tuple[object, ...]:
    """A command line that writes a file and compares it."""
    few = ("--data", MLP.calibration, "--limit", 64)
    return ("quantize", MLP.model, *few, "-o", out, "--method", "minmax", "--report")


def test_as_json_and_in_words(quantscope: Run, tmp_path: Path) -> None:
    command = quantizing(tmp_path / "q.onnx")
    with processor(saturating=True):
        text, found = quantscope(*command), quantscope(*command, "--json")
    assert text.code == found.code == 0, text.err
    comparison = found.json["comparison"]
    default = comparison["default_session"]
    assert default["equal"] is False
    assert default["output"]["sqnr_db"] < comparison["output"]["sqnr_db"] - 10
    assert default["layers"][0]["name"] == "fc1"
    assert comparison["latency_ms"]["default_session"] > 0
    assert "default session" in text.out.splitlines()[2]
    assert "--target onnxruntime-any-x86" in text.out
    assert "layers that saturate" in text.out
    json.dumps(comparison, allow_nan=False)


def test_the_target_for_any_x86_is_the_remedy(quantscope: Run, tmp_path: Path) -> None:
    command = quantizing(tmp_path / "q.onnx")
    with processor(saturating=True):
        done = quantscope(*command, "--target", ANY_X86.name)
        again = quantscope("compare", MLP.model, tmp_path / "q.onnx", "--data", MLP.evaluation, "--json")
    assert "gives the same outputs, bit for bit" in done.out
    assert again.json["default_session"]["equal"] is True
    assert again.json["may_saturate"] == []
    assert again.json["latency_ms"]["default_session"] is None
    with processor(saturating=False):
        done = quantscope(*command)
    assert "on x86 CPUs without VNNI 3 layers may saturate" in done.out


def test_where_nothing_is_saturated_nothing_is_said(quantscope: Run, tmp_path: Path) -> None:
    command = quantizing(tmp_path / "q.onnx")
    with processor(saturating=False):
        done = quantscope(*command, "--target", ANY_X86.name)
    assert done.code == 0
    assert "VNNI" not in done.out
    assert "default session" not in done.out


def test_an_exact_layer_has_no_noise() -> None:
    found = compared("transformer", ONNXRUNTIME_CPU.name, saturating=True)
    assert found.default is not None
    assert all(math.isfinite(layer.sqnr_db) and 0 < layer.changed <= 1 for layer in found.default.layers)
