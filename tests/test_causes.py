"""Planted faults are found, named with their numbers, and their remedies do what was predicted."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from quantscope.core.calibration import histogram_of
from quantscope.core.pipeline import finish
from quantscope.core.quant import UINT8, QuantSpec, Range, encoding_from_range
from quantscope.core.quantize import resolve
from quantscope.core.recipe import Recipe
from quantscope.core.sensitivity import Kind, by_layer, measure_channel_errors, ranking, run_sensitivity
from quantscope.core.targets import Granularity, Precision
from quantscope.core.thresholds import Method, WeightMethod, encoding_errors
from quantscope.core.tuning import output_forecast
from quantscope.core.tuning.causes import Reason, causes, prepare_trials, split_parts, try_remedy
from quantscope.core.tuning.causes.facts import TensorFacts
from quantscope.core.tuning.causes.tensors import typical_range
from tests.heads import HEADS, samples_for
from tests.networks import NETWORKS, Net, feeds
from tests.planted import Planted, network
from tests.planted import depthwise as depthwise  # a fixture
from tests.planted import outlier as outlier  # a fixture


def test_an_outlier_channel_is_named(outlier: Planted) -> None:
    found = outlier.causes(outlier.layer_of("b0.r1"))
    cause = found[Reason.OUTLIER_CHANNEL]
    assert cause.sentence.startswith("Channel 3 reaches 40")
    assert cause.share > 0.5
    assert cause.figures["channel"] == 3
    assert cause.figures["widest"] == pytest.approx(400.0, rel=0.05)
    assert cause.remedies[0].fix == "equalize"
    wider = next(r for r in cause.remedies if r.changes.get("precision") is Precision.INT16)
    assert wider.gain_db > 10.0


def test_depthwise_weights_per_tensor_are_named(depthwise: Planted) -> None:
    layer = depthwise.layer_of("b0.depthwise_relu6")
    runs = list(run_sensitivity(depthwise.model, depthwise.encodings, depthwise.samples))
    assert layer in [score.name for score in ranking(runs)[:2]]
    cause = depthwise.causes(layer)[Reason.UNEVEN_WEIGHTS]
    assert "depthwise" in cause.sentence
    assert "24 channels" in cause.sentence
    assert cause.figures["spread"] > 8.0
    remedy = cause.remedies[0]
    assert remedy.changes == {"weights": Granularity.PER_CHANNEL}
    assert remedy.gain_db > 8.0
    assert "equalize" in [r.fix for r in cause.remedies]


def test_a_remedy_does_to_the_output_what_was_predicted(depthwise: Planted) -> None:
    layer = depthwise.layer_of("b0.depthwise_relu6")
    runs = list(run_sensitivity(depthwise.model, depthwise.encodings, depthwise.samples))
    remedy = depthwise.causes(layer)[Reason.UNEVEN_WEIGHTS].remedies[0]
    forecast = output_forecast(runs, layer, remedy.gain_db)
    assert forecast is not None
    assert forecast.before == pytest.approx(depthwise.output_sqnr(depthwise.recipe))
    assert depthwise.output_sqnr(remedy.applied(depthwise.recipe)) == pytest.approx(forecast.after, abs=2.0)
    without_disable = [run for run in runs if run.subject.kind is not Kind.DISABLE]
    rough = output_forecast(without_disable, layer, remedy.gain_db)
    assert rough is not None
    assert forecast.before < rough.after
    assert output_forecast([], layer, 1.0) is None


def test_clipping_is_named_and_a_wider_range_offered() -> None:
    proto = NETWORKS["residual_cnn"][0]()
    plain = Planted(proto, feeds("residual_cnn"))
    layer = plain.layer_of("stem_relu")
    recipe = Recipe().with_layer(layer, method=Method.MANUAL, range=Range(0.0, 0.3))
    planted = Planted(proto, feeds("residual_cnn"), recipe)
    cause = planted.causes(layer)[Reason.CLIPPED]
    values = np.concatenate([t.ravel() for t in tensor_values(planted, "stem_relu")])
    assert cause.figures["clipped_share"] == pytest.approx(np.mean(values > 0.3), rel=0.02)
    assert cause.figures["part"] > 0.9
    better = cause.remedies[0]
    assert better.gain_db > 10.0
    assert planted.output_sqnr(better.applied(recipe)) > planted.output_sqnr(recipe) + 5.0


def tensor_values(planted: Planted, tensor: str) -> list[np.ndarray]:
    from quantscope.core.sensitivity import Quantizers, simulation

    simulated = simulation(planted.model, planted.encodings, plain=True)
    return [simulated.trace(item, Quantizers()).values[tensor, False] for item in planted.items]


def test_weights_that_shift_the_output_are_named() -> None:
    """All small weights round to 0, and what they read is positive: the output loses a constant."""

    def lonely(weight: np.ndarray) -> np.ndarray:
        weight[:] = 0.003
        weight[:, 0, 0, 0] = 1.0
        return weight

    proto = network("residual_cnn", **{"b1.c1.w": lonely})
    items = [{"image": np.abs(item["image"]) + 1.0} for item in feeds("residual_cnn")]
    planted = Planted(proto, items)
    found = planted.causes(planted.layer_of("b1.r1"))
    cause = found[Reason.SHIFT]
    assert cause.figures["shift"] < 0.0
    assert cause.figures["part"] > 0.5
    assert cause.remedies[0].fix == "bias_correction"
    assert cause.remedies[0].gain_db > 3.0
    corrected = finish(
        planted.model, cause.remedies[0].applied(planted.recipe), planted.samples, planted.encodings
    )[0]
    layer = planted.layer_of("b1.r1")
    before, after = (
        measure_channel_errors(planted.model, encodings, planted.samples, [layer])[layer].total
        for encodings in (planted.encodings, corrected)
    )
    measured = 10 * np.log10(before / after)
    assert measured == pytest.approx(cause.remedies[0].gain_db, abs=3.0)
    outliers = found.get(Reason.WEIGHT_OUTLIERS)
    assert outliers is None or outliers.remedies[0].changes == {"weight_method": WeightMethod.MSE}


def joined_branches() -> onnx.ModelProto:
    n = Net()
    small = n.add("Relu", [n.conv("image", "small", 3, 4)], "small_relu")
    large = n.add("Relu", [n.conv("image", "large", 3, 4)], "large_relu")
    scaled = n.add("Mul", [large, n.const("fifty", 50.0)], "scaled")
    joined = n.add("Concat", [small, scaled], "joined", axis=1)
    n.conv(joined, "mask", 8, 2, k=1)
    return n.model({"image": ["N", 3, 8, 8]}, {"mask": ["N", 2, 8, 8]})


def test_a_concat_of_unlike_ranges_is_named() -> None:
    items = [{"image": item["image"][:, :, :8, :8]} for item in feeds("residual_cnn")]
    planted = Planted(joined_branches(), items)
    cause = planted.causes(planted.layer_of("joined"))[Reason.SHARED_RANGE]
    assert "'small_relu'" in cause.sentence
    assert "'scaled'" in cause.sentence
    assert cause.figures["spread"] > 8.0
    assert cause.figures["bits"] < 5.0


@pytest.mark.parametrize(
    ("head", "tensor", "reason"),
    [("joined_first", "cat", Reason.SHARED_RANGE), ("huge_token", "y", Reason.OUTLIER_CHANNEL)],
)
def test_where_nothing_computes_any_more_float_is_a_remedy_that_brings_the_outputs_back(
    head: str, tensor: str, reason: Reason
) -> None:
    planted = Planted(HEADS[head](), samples_for(head, 16))
    cause = planted.causes(planted.layer_of(tensor))[reason]
    remedy = next(r for r in cause.remedies if r.changes.get("precision") is Precision.FLOAT)
    if reason is Reason.SHARED_RANGE:
        assert remedy is cause.remedies[0]
    ready = prepare_trials(planted.model, split_parts(planted.samples, None, 4), planted.statistics)
    trial = try_remedy(ready, planted.recipe, remedy)
    assert trial.before.lost == trial.revived > 0
    assert trial.after.lost == 0
    assert trial.gain_db is not None
    assert trial.gain_db > 20.0


def peaked_attention() -> onnx.ModelProto:
    n = Net()
    x = n.add("Gemm", ["x", n.random("fc.w", 64, 16, scale=1.0), n.random("fc.b", 64)], "fc", transB=1)
    p = n.add("Softmax", [x], "probabilities", axis=-1)
    n.add("Gemm", [p, n.random("out.w", 4, 64), n.random("out.b", 4)], "y", transB=1)
    return n.model({"x": ["N", 16]}, {"y": ["N", 4]})


def test_vanishing_probabilities_are_named() -> None:
    rng = np.random.default_rng(3)
    items = [{"x": rng.standard_normal((1, 16)).astype(np.float32)} for _ in range(8)]
    planted = Planted(peaked_attention(), items)
    cause = planted.causes(planted.layer_of("probabilities"))[Reason.SOFTMAX]
    half = float(planted.encodings.activations["probabilities"].scale) / 2
    values = np.concatenate([t.ravel() for t in tensor_values(planted, "probabilities")])
    assert cause.figures["vanished"] == pytest.approx(np.mean(values < half), abs=0.01)
    assert any(r.changes.get("precision") is Precision.INT16 for r in cause.remedies)


def gated_mlp(gate: str) -> onnx.ModelProto:
    n = Net()
    h = n.add("Gemm", ["x", n.random("up.w", 64, 16, scale=2.0), n.random("up.b", 64)], "up", transB=1)
    if gate == "GELU":
        e = n.add("Erf", [n.add("Div", [h, n.const("root", 2**0.5)], "scaled")], "erf")
        h = n.add("Mul", [h, n.add("Add", [e, n.const("one", 1.0)], "shifted")], "doubled")
        h = n.add("Mul", [h, n.const("half", 0.5)], "gated")
    else:
        other = (
            h
            if gate == "SiLU"
            else n.add("Gemm", ["x", n.random("g.w", 64, 16), n.random("g.b", 64)], "g", transB=1)
        )
        h = n.add("Mul", [h, n.add("Sigmoid", [other], "sigmoid")], "gated")
    n.add("Gemm", [h, n.random("down.w", 4, 64), n.random("down.b", 4)], "y", transB=1)
    return n.model({"x": ["N", 16]}, {"y": ["N", 4]})


@pytest.mark.parametrize("gate", ["GELU", "SiLU", "none"])
def test_gates_are_named_with_the_levels_of_their_negative_values(gate: str) -> None:
    rng = np.random.default_rng(4)
    items = [{"x": rng.standard_normal((1, 16)).astype(np.float32)} for _ in range(8)]
    planted = Planted(gated_mlp(gate), items)
    found = planted.causes(planted.layer_of("gated"))
    if gate == "none":
        assert Reason.GATED not in found
        return
    cause = found[Reason.GATED]
    assert f"Output of a {gate}:" in cause.sentence
    values = np.concatenate([t.ravel() for t in tensor_values(planted, "gated")])
    assert cause.figures["negative"] == pytest.approx(np.mean(values < 0), abs=0.01)
    scale = float(planted.encodings.activations["gated"].scale)
    assert cause.figures["levels"] == pytest.approx(-values.min() / scale, rel=1e-3)


def test_a_layer_norm_with_an_outlier_channel_is_named() -> None:
    def spiked(weight: np.ndarray) -> np.ndarray:
        weight[5] = 60.0
        return weight

    planted = Planted(network("transformer", **{"norm2.g": spiked}), feeds("transformer"))
    cause = planted.causes(planted.layer_of("norm2"))[Reason.OUTLIER_CHANNEL]
    assert cause.sentence.startswith("In the output of the LayerNorm, channel 5 reaches")
    assert cause.remedies[0].fix == "smooth"


def test_every_layer_gets_an_answer_and_only_worthwhile_changes() -> None:
    for name in NETWORKS:
        planted = Planted(NETWORKS[name][0](), feeds(name))
        own = by_layer(planted.encodings)
        assert own
        remedies = 0
        for layer in planted.model.layers:
            found = causes(planted.model, planted.statistics, planted.recipe, planted.encodings, layer.name)
            assert bool(found) == (layer.name in own), (name, layer.name)
            for cause in found:
                assert cause.sentence.endswith(".")
                for remedy in cause.remedies:
                    remedies += 1
                    assert bool(remedy.changes) != (remedy.fix is not None)
                    changed = remedy.applied(planted.recipe)
                    assert changed != planted.recipe
                    assert remedy.applied(changed) == changed
                    resolve(changed, planted.statistics, planted.model)
        assert remedies, name


def test_typical_range() -> None:
    values = np.concatenate([np.linspace(-1.0, 3.0, 100_000), [500.0, -500.0]]).astype(np.float32)
    low, high = typical_range(histogram_of(values), 0.999)
    assert low == pytest.approx(-1.0, abs=0.1)
    assert high == pytest.approx(3.0, abs=0.1)
    assert typical_range(histogram_of(np.zeros(5, np.float32)), 0.999) == (0.0, 0.0)


def test_extremes_beside_a_range_that_a_rounded_zero_point_moved_are_not_cut_off() -> None:
    values = np.repeat(np.float32([-77.1, -60.0, -50.0, 42.6]), 100)
    histogram, spec = histogram_of(values), QuantSpec(type=UINT8, symmetric=False)
    for low, cut in ((-77.1, 0.0), (-59.0, 0.5)):
        encoding = encoding_from_range(Range(low, 42.6), spec)
        error = encoding_errors(histogram, encoding)
        found = TensorFacts(histogram=histogram, encoding=encoding, error=error)
        assert found.cut_share == pytest.approx(cut)
    assert encoding_errors(histogram, encoding_from_range(Range(-77.1, 42.6), spec)).clipped_share > 0


def test_stuck_values_of_an_input_may_be_given_up() -> None:
    items = feeds("residual_cnn")
    name = next(iter(items[0]))
    reach = max(float(np.abs(item[name]).max()) for item in items)
    for item in items:
        item[name] = item[name].copy()
    items[0][name].flat[:2] = 60.0 * reach  # so far that cutting them off wins no squared error
    planted = Planted(network("residual_cnn"), items)
    layer = planted.layer_of(name)
    cause = planted.causes(layer)[Reason.STRETCHED]
    assert "only measuring tells" in cause.sentence
    cut = next(remedy for remedy in cause.remedies if remedy.label == "Range by Percentile 99.9 %")
    assert cut.price == "gives up 0.1 % of the values"
    assert cut.gain_db < 1.0
    choice = cut.applied(planted.recipe).choice(layer)
    assert (choice.method, choice.percentile) == (Method.PERCENTILE, 99.9)
    kept = resolve(cut.applied(planted.recipe), planted.statistics, planted.model).activations[name]
    assert float(kept.high) < 2.0 * reach
