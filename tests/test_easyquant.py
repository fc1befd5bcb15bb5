"""EasyQuant: outputs as ONNX Runtime has them, a search that never loses, choices that a recipe keeps."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from quantscope.core import metrics
from quantscope.core.calibration import calibrate
from quantscope.core.data import Samples, pick
from quantscope.core.data.sources import random_samples
from quantscope.core.errors import DataError, RecipeError
from quantscope.core.evaluate import cosines, layer_output_curve, sample_rows, tensor_output_curve
from quantscope.core.evaluate.layer_output import reader_of, round_rows
from quantscope.core.model import Model, load_model
from quantscope.core.progress import Cancelled, Progress
from quantscope.core.quant import (
    INT8,
    UINT8,
    QuantSpec,
    Range,
    ScaleRule,
    encoding_from_range,
    fake_quantize,
    kept_range,
)
from quantscope.core.quantize import Encodings, quantize_model, resolve
from quantscope.core.recipe import Recipe, recipe_from_yaml, recipe_to_yaml
from quantscope.core.targets import Granularity, Precision
from quantscope.core.thresholds import Method
from quantscope.core.tuning import EasyQuantResult, easyquant
from quantscope.core.tuning.easyquant_search import SAMPLES
from quantscope.core.tuning.scale_search import FACTORS, LayerTuning, best_factors
from tests.networks import Net, embedding
from tests.quantizing import network, run
from tests.sessions import options
from tests.sessions import session as open_session

QUICK = 2e8  # multiplications a layer: a test's patience


def single(kind: str) -> Model:
    """A network around one product of the kind."""
    n = Net(3)
    shape: list[object] = ["N", 6, 9, 9]
    if kind == "conv":
        y = n.add("Relu", [n.conv("x", "c", 6, 10, stride=2)], "y")
    elif kind == "depthwise":
        n.const("zero", 0.0), n.const("six", 0.75)
        y = n.add("Clip", [n.conv("x", "c", 6, 6, group=6), "zero", "six"], "y")
    elif kind == "odd":
        w = n.random("w", 4, 3, 2, 3)
        y = n.add("Conv", ["x", w], "y", group=2, dilations=[2, 1], pads=[0, 1, 2, 0], strides=[1, 2])
    elif kind == "transposed":
        w = n.random("w", 6, 2, 3, 3)
        b = n.random("b", 4)
        y = n.add("ConvTranspose", ["x", w, b], "y", group=2, strides=[2, 2], pads=[1, 1, 1, 1])
    elif kind == "gemm":
        shape = ["N", 12]
        y = n.add("Gemm", ["x", n.random("w", 7, 12), n.random("b", 7)], "y", transB=1)
    elif kind == "matmul":
        shape = ["N", 5, 12]
        y = n.add("Add", [n.add("MatMul", ["x", n.random("w", 12, 7)], "m"), n.random("b", 7)], "a")
        y = n.add("Relu", [y], "y")
    else:
        raise KeyError(kind)
    out = n.add("Sigmoid", [y], "out")
    return load_model(n.model({"x": shape}, {out: [None] * len(shape)}).SerializeToString(), name=kind)


KINDS = ("conv", "depthwise", "odd", "transposed", "gemm", "matmul")


def start(model: Model, recipe: Recipe | None = None, count: int = 6) -> tuple[Recipe, Encodings, Samples]:
    samples = random_samples(model, count)
    recipe = recipe or Recipe()
    return recipe, resolve(recipe, calibrate(model, samples, cache=False), model), samples


def with_weight(model: Model, name: str, values: np.ndarray) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto())
    for tensor in proto.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
    return proto


def outputs(proto: onnx.ModelProto, tensor: str, feeds: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
    """What ONNX Runtime, unoptimized, gives for a tensor inside."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    del copy.graph.output[:]
    copy.graph.output.append(helper.make_tensor_value_info(tensor, 1, None))
    session = open_session(copy, options(plain=True))
    return [session.run([tensor], feed)[0] for feed in feeds]


@given(st.integers(0, 1000), st.booleans(), st.booleans())
def test_rows_are_rounded_as_everywhere(seed: int, signed: bool, symmetric: bool) -> None:
    x = (np.random.default_rng(seed).standard_normal(300) * 3).astype(np.float32)
    spec = QuantSpec(type=INT8 if signed else UINT8, symmetric=symmetric)
    e = encoding_from_range(Range(-2.0, 3.0), spec)
    out, zero = np.empty_like(x), int(e.zero_point)
    round_rows(x, np.float32(e.scale), np.float32(e.qmin - zero), np.float32(e.qmax - zero), out)
    np.testing.assert_array_equal(out, fake_quantize(x, e))


@pytest.mark.parametrize("kind", KINDS)
def test_cosines_are_those_of_the_real_layer(kind: str) -> None:
    """On all positions: input and weight rounded by hand, the layer run by ONNX Runtime."""
    model = single(kind)
    _, encodings, samples = start(model)
    layer = next(layer for layer in model.layers if layer.weight is not None)
    reader = reader_of(model, encodings, layer.name)
    assert not isinstance(reader, str)
    picked = pick(samples, SAMPLES)
    seen = sample_rows(model, [reader], picked, most={layer.name: 10**6})[layer.name]
    exact = outputs(model.proto(), layer.output, list(picked.runs))
    np.testing.assert_allclose(seen.lengths, [np.linalg.norm(y) for y in exact], rtol=1e-5)
    np.testing.assert_allclose(
        np.sort(seen.output.reshape(-1)), np.sort(np.concatenate([y.reshape(-1) for y in exact])), atol=1e-5
    )
    base, weight = encodings.activations["x"], encodings.weights[reader.node]
    for activation_factor, weight_factor in ((1.0, 1.0), (0.6, 1.0), (1.0, 1.7), (1.3, 0.55)):
        a = replace(base, scale=np.float32(base.scale * activation_factor))
        w = replace(weight, scale=np.asarray(weight.scale * weight_factor, np.float32))
        rounded = with_weight(model, reader.place.initializer, fake_quantize(reader.weight, w))
        feeds = [{"x": fake_quantize(run_["x"], a)} for run_ in picked.runs]
        found = outputs(rounded, layer.output, feeds)
        expected = np.mean([metrics.cosine(y, q) for y, q in zip(exact, found, strict=True)])
        assert seen.cosine(seen.quantized_rows(a), reader.rounded(w)) == pytest.approx(expected, abs=2e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 5), st.integers(1, 4))
def test_factors_are_chosen_one_after_the_other(seed: int, scales: int, candidates: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    square = rng.random((candidates + 1, scales, count)) + 0.1
    dot = rng.standard_normal(square.shape)
    lengths = rng.random(count) * 9
    picked = best_factors((dot[0], square[0]), list(zip(dot[1:], square[1:], strict=True)), lengths)

    def mean(choice: list[int]) -> float:
        rows = np.arange(scales)
        d, q = dot[choice, rows].sum(axis=0), square[choice, rows].sum(axis=0)
        return float(cosines(d, q, lengths).mean())

    choice = [0] * scales
    for i in range(scales):  # by trying them all
        trials = [mean([*choice[:i], k, *choice[i + 1 :]]) for k in range(candidates + 1)]
        if max(trials[1:]) > trials[0] + 1e-8:
            choice[i] = 1 + int(np.argmax(trials[1:]))
    assert [p + 1 for p in picked] == choice


def test_cosines_of_nothing() -> None:
    dot, square, lengths = np.zeros(3), np.array([0.0, 4.0, 0.0]), np.array([0.0, 0.0, 2.0])
    np.testing.assert_array_equal(cosines(dot, square, lengths), [1.0, 0.0, 0.0])


@pytest.mark.parametrize("name", ["mobile_cnn", "residual_cnn", "transformer"])
@pytest.mark.parametrize("method", [Method.MINMAX, Method.MSE])
def test_a_model_gets_better_and_the_recipe_keeps_it(name: str, method: Method) -> None:
    model = network(name)
    recipe, encodings, samples = start(model, Recipe().with_default(method=method))
    tuned = easyquant(model, recipe, encodings, samples, effort=QUICK)
    assert {t.layer for t in tuned.layers} | set(tuned.left_out) == {
        p.layer for p in encodings.placement.weights.values()
    }
    roots = {t.tensor for t in tuned.layers}
    for root in roots:  # layers that share their input share its range: their sum grows
        own = [t for t in tuned.layers if t.tensor == root]
        assert sum(t.after for t in own) >= sum(t.before for t in own)
    assert sum(t.after for t in tuned.layers) > sum(t.before for t in tuned.layers)
    scales = {p.layer: encodings.raw_weights[n].scale.size for n, p in encodings.placement.weights.items()}
    for t in tuned.layers:
        assert all(FACTORS[0] <= f <= FACTORS[-1] for f in t.factors)
        assert len(t.factors) in (1, scales[t.layer])
    better = tuned.apply(recipe)
    assert recipe_from_yaml(recipe_to_yaml(better)) == better
    assert {k for k, c in better.layers.items() if c.method is Method.MANUAL} == set(tuned.ranges)
    after = resolve(better, calibrate(model, samples, cache=False), model)
    for t in tuned.layers:
        e = after.activations[t.tensor]
        spec = QuantSpec(type=e.type, symmetric=False)
        curve = layer_output_curve(model, after, t.layer, samples, [kept_range(e, spec)])
        assert curve.cosine[0, 0] == pytest.approx(t.after, abs=0.1 * (1 - t.after) + 1e-6)
    samples_ = list(samples)
    exact = run(model.proto(), samples_)
    error = [
        sum(np.sum((a - b) ** 2) for a, b in zip(exact, run(quantize_model(model, e), samples_), strict=True))
        for e in (encodings, after)
    ]
    assert error[1] < error[0] * 1.3  # a layer's direction, on few rows, is not the whole error


def test_one_layer_is_tuned_alone() -> None:
    model = network("residual_cnn")
    recipe, encodings, samples = start(model)
    layer = next(la for la in model.layers if "b1.c1" in la.name)
    tuned = easyquant(model, recipe, encodings, samples, layers=[layer.name], effort=QUICK)
    assert [t.layer for t in tuned.layers] == [layer.name]
    assert tuned.layers[0].after > tuned.layers[0].before
    better = tuned.apply(recipe)
    maker = model.layer_of(tuned.layers[0].tensor)
    assert maker is not None
    assert set(better.layers) <= {layer.name, maker.name}
    assert better.choice(layer.name).weight_factors == tuned.layers[0].factors


def test_a_range_much_too_wide_shrinks() -> None:
    model = single("gemm")
    recipe = Recipe().with_layer("x", method=Method.MANUAL, range=Range(-30.0, 30.0))
    recipe, encodings, samples = start(model, recipe)
    tuned = easyquant(model, recipe, encodings, samples)
    found = tuned.ranges["x"]
    assert found.high - found.low < 30
    assert tuned.layers[0].after > tuned.layers[0].before


def test_what_cannot_be_tuned_is_named() -> None:
    model = network("residual_cnn")
    layer = next(la for la in model.layers if la.weight is not None)
    recipe = Recipe().with_layer(layer.name, precision=Precision.FLOAT)
    recipe, encodings, samples = start(model, recipe)
    tuned = easyquant(model, recipe, encodings, samples, effort=QUICK)
    assert tuned.left_out == {layer.name: "it has no quantized weight"}
    with pytest.raises(DataError, match="no output to compare: it has no quantized weight"):
        layer_output_curve(model, encodings, layer.name, samples, [Range(-1, 1)])


def test_rows_of_a_constant_table_keep_its_range() -> None:
    model = load_model(embedding().SerializeToString(), name="embedding")
    tuned = easyquant(model, *start(model), effort=QUICK)
    assert not tuned.ranges
    assert len(tuned.layers) == 1
    assert tuned.layers[0].after >= tuned.layers[0].before


@pytest.mark.parametrize("rule", [ScaleRule.POWER_OF_TWO_UP, ScaleRule.POWER_OF_TWO_MSE])
def test_powers_of_two_stay_powers_of_two(rule: ScaleRule) -> None:
    model = network("mobile_cnn")
    recipe, encodings, samples = start(model, Recipe().with_default(scale_rule=rule))
    tuned = easyquant(model, recipe, encodings, samples, effort=QUICK)
    after = resolve(tuned.apply(recipe), calibrate(model, samples, cache=False), model)
    assert after.activations
    assert after.weights
    for e in (*after.activations.values(), *after.weights.values()):
        assert np.all(np.frexp(e.scale)[0] == 0.5)


def test_a_second_run_starts_from_the_first() -> None:
    model = single("conv")
    recipe, encodings, samples = start(model)
    first = easyquant(model, recipe, encodings, samples)
    once = first.apply(recipe)
    statistics = calibrate(model, samples, cache=False)
    second = easyquant(model, once, resolve(once, statistics, model), samples)
    assert second.layers[0].before == pytest.approx(first.layers[0].after, abs=1e-6)
    assert second.layers[0].after >= second.layers[0].before
    twice = second.apply(once)
    found = easyquant(model, twice, resolve(twice, statistics, model), samples).layers[0]
    assert found.before == pytest.approx(second.layers[0].after, abs=1e-6)


def test_progress_counts_up_and_can_cancel() -> None:
    model = network("mobile_cnn")
    recipe, encodings, samples = start(model)
    seen: list[Progress] = []
    easyquant(model, recipe, encodings, samples, effort=QUICK, progress=seen.append)
    done = [p.done for p in seen]
    assert done == sorted(done)
    assert done[-1] == seen[-1].total
    assert all(p.done <= p.total for p in seen)

    def stop(progress: Progress) -> None:
        if progress.done >= 50:
            raise Cancelled

    with pytest.raises(Cancelled):
        easyquant(model, recipe, encodings, samples, effort=QUICK, progress=stop)


def test_the_same_samples_in_any_order_give_the_same_scales() -> None:
    model = single("depthwise")
    recipe, encodings, samples = start(model)
    a = easyquant(model, recipe, encodings, samples)
    b = easyquant(model, recipe, encodings, samples.select(range(len(samples))[::-1]))
    assert a.layers == b.layers
    assert a.ranges == b.ranges


def test_the_curve_of_a_tensor_is_that_of_its_readers() -> None:
    model = network("transformer")
    _, encodings, samples = start(model)
    groups: dict[str, list[str]] = {}
    for layer in model.layers:
        reader = reader_of(model, encodings, layer.name)
        if not isinstance(reader, str):
            tensor = reader.product.linear.input
            groups.setdefault(encodings.placement.sources.get(tensor, tensor), []).append(layer.name)
    tensor, readers = max(groups.items(), key=lambda item: len(item[1]))
    assert len(readers) >= 3  # query, key and value
    e = encodings.activations[tensor]
    whole = kept_range(e, QuantSpec(type=e.type, symmetric=False))
    ranges = [Range(whole.low * f, whole.high * f) for f in (0.05, 0.3, 0.8, 1.0, 3.0, 20.0)]
    curve = tensor_output_curve(model, encodings, tensor, samples, ranges)
    assert curve.readers == tuple(readers)
    assert curve.cosine.shape == (6, len(readers))
    best = curve.cosine.mean(axis=1).argmax()
    assert 0 < best < 5
    assert np.all(curve.cosine[[0, 5]].mean(axis=1) < curve.cosine[best].mean())
    one = layer_output_curve(model, encodings, readers[1], samples, ranges)
    np.testing.assert_allclose(one.cosine[:, 0], curve.cosine[:, 1], rtol=1e-9)
    with pytest.raises(DataError, match="no layer with quantized weights reads"):
        tensor_output_curve(model, encodings, "nothing", samples, ranges)


def test_weight_factors_in_recipes() -> None:
    model = single("conv")
    layer = next(la.name for la in model.layers if la.weight is not None)
    recipe, encodings, samples = start(model)
    statistics = calibrate(model, samples, cache=False)
    node = next(iter(encodings.placement.weights))
    factors = tuple(np.linspace(0.5, 1.5, 10).round(3).tolist())
    changed = recipe.with_layer(layer, weight_factors=factors)
    found = resolve(changed, statistics, model, previous=encodings)
    ratio = found.raw_weights[node].scale / encodings.raw_weights[node].scale
    np.testing.assert_allclose(ratio, factors, rtol=1e-6)
    assert resolve(recipe, statistics, model, previous=found).raw_weights[node] == encodings.raw_weights[node]
    # Other scales make the factors meaningless.
    assert changed.with_layer(layer, weights=Granularity.PER_TENSOR).choice(layer).weight_factors is None
    assert changed.with_default(weights=Granularity.PER_TENSOR).choice(layer).weight_factors is None
    assert changed.with_default(method=Method.MSE).choice(layer).weight_factors == factors
    with pytest.raises(RecipeError, match="3 weight_factors, but the weight has 10 scale"):
        resolve(recipe.with_layer(layer, weight_factors=(1.0, 1.0, 1.0)), statistics, model)
    for wrong in ((), (0.0,), (-1.0,), (float("nan"),), (float("inf"),)):
        with pytest.raises(RecipeError, match="positive numbers"):
            recipe.with_layer(layer, weight_factors=wrong)
    with pytest.raises(RecipeError, match="one layer"):
        recipe.with_default(weight_factors=(1.0,))
    text = recipe_to_yaml(changed).replace("- 0.5", "- wide", 1)
    with pytest.raises(RecipeError, match="weight_factors should be a number"):
        recipe_from_yaml(text)


def test_nothing_found_changes_nothing() -> None:
    tuning = LayerTuning(layer="a", tensor="x", before=1.0, after=1.0, factors=(1.0, 1.0), rows=4)
    tuned = EasyQuantResult(layers=(tuning,), ranges={}, left_out={}, samples=1)
    assert tuned.apply(Recipe()) == Recipe()
    assert list(itertools.chain(tuned.apply(Recipe()).layers)) == []


def stopping(after: int) -> Callable[[Progress], None]:
    """A progress callback that cancels after so many reports, and then whenever it is called."""
    told = itertools.count(1)

    def tell(_progress: Progress) -> None:
        if next(told) > after:
            raise Cancelled

    return tell


def test_a_cancel_loses_nothing_that_was_found() -> None:
    model = network("residual_cnn")
    recipe, encodings, samples = start(model)
    whole = easyquant(model, recipe, encodings, samples, effort=QUICK)
    assert whole.complete
    full = {tuning.layer: tuning for tuning in whole.layers}
    reports: list[Progress] = []
    easyquant(model, recipe, encodings, samples, effort=QUICK, progress=reports.append)
    for share in (0.0, 0.3, 0.7):
        stop = stopping(int(share * len(reports)))
        part = easyquant(model, recipe, encodings, samples, effort=QUICK, partial=True, progress=stop)
        assert not part.complete
        assert len(part.layers) < len(full)
        assert all(tuning.after >= tuning.before - 1e-9 for tuning in part.layers)
        same = [tuning == full[tuning.layer] for tuning in part.layers]
        in_work = {t.tensor for t in part.layers} - {t.tensor for t in part.layers if t == full[t.layer]}
        assert len(in_work) <= 1  # all others are as in the whole run
        assert share < 0.5 or sum(same) >= 2
        resolve(part.apply(recipe), calibrate(model, samples, cache=False), model)
        with pytest.raises(Cancelled):
            easyquant(
                model,
                recipe,
                encodings,
                samples,
                effort=QUICK,
                progress=stopping(int(share * len(reports))),
            )
