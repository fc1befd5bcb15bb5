"""Files for any x86: the same bits from a default session as from exact sums, whatever made the weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from quantscope.core.data import Samples, open_samples
from quantscope.core.data.sources import random_samples
from quantscope.core.evaluate import read_quantized
from quantscope.core.evaluate.saturating import may_saturate
from quantscope.core.model import Model, load_model
from quantscope.core.pipeline import quantize
from quantscope.core.quant import ScaleRule
from quantscope.core.quantize import resolve
from quantscope.core.recipe import Recipe
from quantscope.core.runtime import machine
from quantscope.core.targets import ANY_X86, ONNXRUNTIME_CPU, Granularity, Precision
from quantscope.core.targets.table import SEVEN_BITS, U8U8
from quantscope.core.thresholds import Method, WeightMethod
from quantscope.core.tuning import autotune, easyquant
from quantscope.sample_data import SAMPLES
from tests.emulator import EmulatedSession, processor
from tests.evaluating import list_samples
from tests.networks import NETWORKS, Net, feeds
from tests.quantizing import executed, network, sqnr, statistics_of
from tests.sessions import options
from tests.sessions import session as open_session
from tests.test_model import OPENS

SAFE = (ANY_X86, SEVEN_BITS, U8U8)
Feed = dict[str, np.ndarray]


def every_second(recipe: Recipe, model: Model, precision: Precision) -> Recipe:
    for layer in [layer.name for layer in model.layers if layer.kind == "compute"][::2]:
        recipe = recipe.with_layer(layer, precision=precision)
    return recipe


CHOICES: dict[str, Callable[[Recipe, Model], Recipe]] = {
    "plain": lambda r, m: r,
    "per tensor": lambda r, m: r.with_default(weights=Granularity.PER_TENSOR),
    "weights by mse": lambda r, m: r.with_default(weight_method=WeightMethod.MSE, method=Method.MSE),
    "weights by percentile": lambda r, m: r.with_default(weight_method=WeightMethod.PERCENTILE),
    "symmetric": lambda r, m: r.with_default(symmetric=True),
    "power of two": lambda r, m: r.with_default(scale_rule=ScaleRule.POWER_OF_TWO_MSE),
    "rounded": lambda r, m: r.with_passes("rounding"),
    "power of two, rounded": lambda r, m: r.with_default(scale_rule=ScaleRule.POWER_OF_TWO_UP).with_passes(
        "rounding"
    ),
    "all passes": lambda r, m: r.with_passes("equalize", "smooth", "rounding", "bias_correction"),
    "half 16 bits": lambda r, m: every_second(r, m, Precision.INT16),
    "half float": lambda r, m: every_second(r, m, Precision.FLOAT),
}


def assert_safe(proto: onnx.ModelProto, model: Model, items: list[Feed]) -> None:
    """Proved from the weights, seen in the emulation, and where it shows, on this machine."""
    assert may_saturate(model, read_quantized(proto)) == ()
    data = proto.SerializeToString()
    exact, saturating = (EmulatedSession(data, saturating=s) for s in (False, True))
    actual, default = (open_session(data, options(exact=e, threads=1)) for e in (True, False))
    for item in items:
        given = {i.name: item[i.name] for i in actual.get_inputs()}
        for one, other in ((actual, default), (exact, saturating)):
            for found, expected in zip(other.run(None, given), one.run(None, given), strict=True):
                np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_bits_in_a_default_session(name: str, choice: str) -> None:
    model, items = network(name), feeds(name)
    recipe = CHOICES[choice](Recipe(target=ANY_X86.name), model)
    made = quantize(model, recipe, list_samples(items), cache=False)
    assert_safe(made.proto, model, items[:2])


@pytest.mark.parametrize("target", SAFE, ids=lambda t: t.name)
@pytest.mark.parametrize("name", SAMPLES)
def test_samples_of_the_product(name: str, target: object) -> None:
    sample = SAMPLES[name]
    model = load_model(sample.model)
    samples = open_samples(sample.calibration, model).take(24)
    recipe = Recipe(target=target.name).with_passes("rounding", "bias_correction")  # type: ignore[attr-defined]
    made = quantize(model, recipe, samples, cache=False)
    assert_safe(made.proto, made.model, [samples[i] for i in range(4)])


@pytest.mark.slow
def test_autotune_works_on_it() -> None:
    model = load_model(SAMPLES["digits_mlp"].model)
    samples = open_samples(SAMPLES["digits_mlp"].calibration, model).take(48)
    found = autotune(model, samples, Recipe(target=ANY_X86.name))
    assert found.recipe.target == ANY_X86.name
    assert found.tuned_db >= found.minmax_db
    made = quantize(model, found.recipe, samples, cache=False)
    assert_safe(made.proto, made.model, [samples[i] for i in range(4)])


def product_of(*, vector: bool, left: bool) -> tuple[Model, list[Feed]]:
    """A MatMul by a vector, or one whose constant is the left operand."""
    n, rng = Net(), np.random.default_rng(5)
    weight = rng.standard_t(4, (64,) if vector else (8, 64)).astype(np.float32)
    given = [n.const("w", weight), "x"] if left else ["x", n.const("w", weight)]
    n.add("MatMul", given, "y")
    shape: list[object] = ["N", 5, 64] if not left else ["N", 64, 5]
    model = load_model(n.model({"x": shape}, {"y": [None] * (2 if vector else 3)}).SerializeToString())
    sizes = [1, *(int(str(size)) for size in shape[1:])]
    return model, [{"x": rng.uniform(0, 1, sizes).astype(np.float32)} for _ in range(8)]


@pytest.mark.parametrize("granularity", Granularity)
@pytest.mark.parametrize(("vector", "left"), [(True, False), (False, True)])
def test_products_of_other_forms(vector: bool, left: bool, granularity: Granularity) -> None:
    model, items = product_of(vector=vector, left=left)
    recipe = Recipe(target=ANY_X86.name).with_default(weights=granularity)
    made = quantize(model, recipe, list_samples(items), cache=False)
    assert_safe(made.proto, model, items)
    floats = [open_session(model.float_bytes()).run(None, item)[0] for item in items]
    assert sqnr(floats, [open_session(made.proto).run(None, item)[0] for item in items]) > 35


def test_a_constant_left_operand_runs_on_integers(tmp_path: Path) -> None:
    """As unsigned integers: a default session has no kernel for signed ones beside unsigned activations."""
    model, items = product_of(vector=False, left=True)
    made = quantize(model, Recipe(), list_samples(items), cache=False)
    assert executed(made.proto, tmp_path)["QLinearMatMul"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_scales_that_easyquant_moves(name: str) -> None:
    """What EasyQuant measured is what the recipe gives: no scale goes below the least safe one."""
    model, items = network(name), feeds(name)
    samples, recipe = list_samples(items), Recipe(target=ANY_X86.name)
    statistics = statistics_of(model, items)
    for _ in range(2):  # the second time from where the first one ended
        encodings = resolve(recipe, statistics, model)
        found = easyquant(model, recipe, encodings, samples)
        recipe = found.apply(recipe)
    assert any(choice.weight_factors for choice in recipe.layers.values())
    last = easyquant(model, recipe, resolve(recipe, statistics, model), samples)
    for before, after in zip(found.layers, last.layers, strict=True):
        assert after.before == pytest.approx(before.after, abs=2e-5), before.layer
    assert_safe(quantize(model, recipe, samples, statistics=statistics).proto, model, items[:2])


@pytest.mark.parametrize("name", NETWORKS)
def test_it_loses_less_than_seven_bits(name: str) -> None:
    """Error of the weights, each against its layer's own; and unsigned weights lose nothing."""
    model, items = network(name), feeds(name)
    statistics = statistics_of(model, items)

    def noise(target: str) -> float:
        found = resolve(Recipe(target=target), statistics, model)
        total = 0.0
        for node, place in found.placement.weights.items():
            value = model.ir.graph.initializers[place.initializer].const_value
            assert value is not None
            weight = np.asarray(value.numpy(), np.float32)
            total += float(
                np.square(found.rounded_weight(node, weight) - weight).sum() / np.square(weight).sum()
            )
        return total

    full, bounded, seven = (noise(t.name) for t in (ONNXRUNTIME_CPU, ANY_X86, SEVEN_BITS))
    assert full < bounded < seven
    assert np.isclose(noise(U8U8.name), full, rtol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_unsigned_weights_give_what_signed_ones_give(name: str) -> None:
    model, items = network(name), feeds(name)
    samples = list_samples(items)
    protos = [quantize(model, Recipe(target=t.name), samples).proto for t in (ONNXRUNTIME_CPU, U8U8)]
    assert len(items) >= 2
    for item in items[:2]:
        signed, unsigned = (open_session(p).run(None, item)[0] for p in protos)
        np.testing.assert_array_equal(signed, unsigned)


def test_without_a_known_order_the_file_is_safe_in_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.ort, "__version__", "1.99.0")
    model, items = network("residual_cnn"), feeds("residual_cnn")
    with processor(saturating=False):
        for choice in ("plain", "rounded", "per tensor"):
            recipe = CHOICES[choice](Recipe(target=ANY_X86.name), model)
            made = quantize(model, recipe, list_samples(items), cache=False)
            for tensor in made.proto.graph.initializer:
                if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) >= 2:
                    values = onnx.numpy_helper.to_array(tensor).astype(int)
                    for row in values.reshape(len(values), -1):
                        assert np.sort(np.maximum(row, 0))[-2:].sum() <= 128
                        assert np.sort(np.maximum(-row, 0))[-2:].sum() <= 128
            assert any("is not known" in said for said in made.log) == (choice == "rounded")


def shared_pair(shared: Path, name: str) -> tuple[Model, Samples]:
    folder = shared / "cases" / name
    model = load_model(folder / "model.onnx")
    return model, open_samples(folder / "data.npz", model)


@pytest.mark.parametrize(
    "name", ["opset25", "prelu_forms", "resize_split_topk", "dup_input_add", "yolo_head", "attn_add_1e9"]
)
def test_cases_of_others(shared: Path, name: str) -> None:
    model, samples = shared_pair(shared, name)
    made = quantize(model, Recipe(target=ANY_X86.name), samples, cache=False)
    items = [samples[i] for i in range(min(4, len(samples)))]
    assert_safe(made.proto, model, items)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OPENS))
def test_real_models(shared: Path, name: str) -> None:
    """On random inputs, which saturate as well as any: a default session here gives what exact sums give."""
    model = load_model(shared / "models" / f"{name}.onnx")
    samples = random_samples(model, 1)
    proto = quantize(model, Recipe(target=ANY_X86.name), samples, cache=False).proto
    assert may_saturate(model, read_quantized(proto)) == ()
    exact, default = (open_session(proto, options(exact=e)) for e in (True, False))
    given = {i.name: samples[0][i.name] for i in exact.get_inputs()}
    for found, expected in zip(default.run(None, given), exact.run(None, given), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("name", "least"), [("opset25", 31.0), ("prelu_forms", 31.0)])
def test_what_saturation_ruined_comes_back(shared: Path, name: str, least: float) -> None:
    """In a default session: 9.3 and 4.8 dB at full 8 bits on a processor that saturates."""
    model, samples = shared_pair(shared, name)
    items = [samples[i] for i in range(min(16, len(samples)))]
    floats = [open_session(model.float_bytes()).run(None, item)[0] for item in items]
    figures = {}
    for target in (ONNXRUNTIME_CPU, ANY_X86):
        proto = quantize(model, Recipe(target=target.name), samples, cache=False).proto
        emulated = EmulatedSession(proto, saturating=True)
        figures[target.name] = sqnr(floats, [emulated.run(None, item)[0] for item in items])
    assert figures[ONNXRUNTIME_CPU.name] < 12.0
    assert figures[ANY_X86.name] > least
