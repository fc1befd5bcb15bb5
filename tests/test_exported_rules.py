"""Every tensor of an exported file holds the recipe's scale rule, symmetry and types, whatever changed it."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest

from quantscope.core.calibration import Statistics, calibrate
from quantscope.core.data import Samples, open_samples
from quantscope.core.data.sources import random_samples
from quantscope.core.model import Model, load_model
from quantscope.core.passes import with_bias_shifts
from quantscope.core.passes.bias_correction import correct_biases
from quantscope.core.pipeline import quantize
from quantscope.core.quant import ScaleRule
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import PASSES, Recipe
from quantscope.core.targets import TARGETS, Granularity, Precision
from quantscope.core.thresholds import WeightMethod
from quantscope.core.tuning import autotune, easyquant
from quantscope.sample_data import SAMPLES
from tests.evaluating import list_samples
from tests.exported import check_rules
from tests.networks import NETWORKS, Net
from tests.quantizing import network

RULES = list(itertools.product(ScaleRule, (False, True), TARGETS, (Precision.INT8, Precision.INT16)))
FIXES = [(name,) for name in PASSES] + [tuple(PASSES), ()]


def dense() -> Model:
    """Constants behind products, whose range a shift leaves; a Gemm with factors; a weight on the left."""
    n = Net(5)
    w = n.random("w", 12, 10, scale=0.02)
    x = n.add("Add", [n.add("MatMul", ["x", w], "product"), n.random("b", 10, scale=1e-3)], "shifted")
    x = n.add("Reshape", [x, n.const("rows", [-1, 10], np.int64)], "flat")
    x = n.add("Gemm", [x, n.random("v", 8, 10), n.random("c", 8)], "gemm", transB=1, alpha=0.5, beta=2.0)
    turned = n.add("Transpose", [x], "turned", perm=[1, 0])
    n.add("MatMul", [n.random("left", 4, 8), turned], "y")
    return load_model(n.model({"x": ["N", 3, 12]}, {"y": [4, "M"]}).SerializeToString(), name="dense")


@cache
def given(name: str) -> tuple[Model, Samples, Statistics]:
    model = dense() if name == "dense" else network(name)
    samples = random_samples(model, 5)
    return model, samples, calibrate(model, samples, cache=False)


MODELS = (*NETWORKS, "dense")


@pytest.mark.parametrize("number", range(len(RULES)))
def test_what_fixes_leave_behind_holds_the_rules(number: int) -> None:
    rule, symmetric, target, precision = RULES[number]
    # Networks, fixes and the granularity take turns, each with others the next time around.
    for turn, fixes in enumerate((FIXES[number % len(FIXES)], tuple(PASSES))):
        model, samples, statistics = given(MODELS[(number + turn + number // 16) % len(MODELS)])
        recipe = Recipe(target=target).with_default(
            scale_rule=rule,
            symmetric=symmetric,
            precision=precision,
            weights=list(Granularity)[number // 3 % 2],
            weight_method=list(WeightMethod)[number % 3],
        )
        made = quantize(model, recipe.with_passes(*fixes), samples, statistics=statistics, cache=False)
        seen = check_rules(made.proto, recipe)
        assert seen["activations"] >= 4
        assert seen["weights"] >= 1


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("rule", ScaleRule)
def test_constants_that_a_shift_widens_keep_the_rules(rule: ScaleRule, symmetric: bool) -> None:
    n = Net(1)
    w = n.rng.uniform(0.001, 0.01, (6, 4))  # rounds to 0 beside one large weight: the output is too small
    w[0, 0] = 4.0
    edge = np.full(4, 255 * 2.0**-6)  # the last integer in steps that are a power of two
    n.add("Add", [n.add("MatMul", ["x", n.const("w", w)], "product"), n.const("b", edge)], "y")
    model = load_model(n.model({"x": ["N", 5, 6]}, {"y": ["N", 5, 4]}).SerializeToString())
    rng = np.random.default_rng(0)
    samples = list_samples([{"x": rng.uniform(1, 2, (1, 5, 6)).astype(np.float32)} for _ in range(12)])
    statistics = calibrate(model, samples, cache=False)
    recipe = Recipe().with_default(scale_rule=rule, symmetric=symmetric, weights=Granularity.PER_TENSOR)
    encodings = resolve(recipe, statistics, model)
    fixed = correct_biases(model, encodings, samples).encodings
    assert fixed.constants["b"].high > encodings.constants["b"].high
    assert check_rules(quantize_model(model, fixed), recipe)["constants"] == 1


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("rule", [ScaleRule.POWER_OF_TWO_UP, ScaleRule.POWER_OF_TWO_NEAREST])
def test_a_transformer_keeps_the_rules_with_corrected_biases(rule: ScaleRule, symmetric: bool) -> None:
    sample = SAMPLES["digits_vit"]
    model = load_model(sample.model)
    samples = open_samples(sample.calibration, model).take(6)
    recipe = Recipe().with_default(scale_rule=rule, symmetric=symmetric)
    made = quantize(model, recipe.with_passes("bias_correction"), samples, cache=False)
    assert check_rules(made.proto, recipe)["constants"] >= 10


@pytest.mark.parametrize("rule", ScaleRule)
def test_room_for_a_large_shift_keeps_the_rule(rule: ScaleRule) -> None:
    model, _, statistics = given("residual_cnn")
    recipe = Recipe().with_default(scale_rule=rule)
    encodings = resolve(recipe, statistics, model)
    node = next(iter(encodings.placement.weights))
    moved = with_bias_shifts(model, encodings, {node: np.full(8, 1e9, np.float32)})
    assert (moved.weights[node].scale > encodings.weights[node].scale).all()
    check_rules(quantize_model(model, moved), recipe)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("rule", ScaleRule)
def test_easyquant_keeps_the_rules(rule: ScaleRule, symmetric: bool, target: str) -> None:
    for name in ("dense", "transformer"):
        model, samples, statistics = given(name)
        recipe = Recipe(target=target).with_default(scale_rule=rule, symmetric=symmetric)
        encodings = resolve(recipe, statistics, model)
        found = easyquant(model, recipe, encodings, samples, effort=2e7)
        moved = [factor for layer in found.layers for factor in layer.factors if factor != 1.0]
        assert moved or found.ranges or rule is not ScaleRule.FREE
        tuned = resolve(found.apply(recipe), statistics, model)
        check_rules(quantize_model(model, tuned), recipe)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("rule", [ScaleRule.POWER_OF_TWO_UP, ScaleRule.POWER_OF_TWO_MSE])
def test_auto_tune_keeps_the_rules(rule: ScaleRule, symmetric: bool) -> None:
    model, samples, statistics = given("dense")
    recipe = Recipe().with_default(scale_rule=rule, symmetric=symmetric)
    found = autotune(model, samples, recipe, statistics=statistics)
    assert found.recipe.default.scale_rule is rule
    assert found.recipe.default.symmetric is symmetric
    check_rules(quantize(model, found.recipe, samples, statistics=statistics, cache=False).proto, recipe)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("rule", [ScaleRule.POWER_OF_TWO_UP, ScaleRule.POWER_OF_TWO_MSE])
def test_mixes_of_precisions_keep_the_rules(rule: ScaleRule, symmetric: bool) -> None:
    rng = np.random.default_rng(0)
    for name in MODELS:
        model, samples, statistics = given(name)
        recipe = Recipe().with_default(scale_rule=rule, symmetric=symmetric).with_passes("bias_correction")
        for layer in model.layers:
            recipe = recipe.with_layer(layer.name, precision=list(Precision)[rng.integers(3)])
        made = quantize(model, recipe, samples, statistics=statistics, cache=False)
        assert check_rules(made.proto, recipe)["activations"] >= 2
