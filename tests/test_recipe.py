"""Recipes: defaults and overrides, undo by immutability, and a YAML form that explains its mistakes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantscope.core.errors import DataError, RecipeError
from quantscope.core.quant import Range, ScaleRule
from quantscope.core.quantize import resolve
from quantscope.core.recipe import Choice, Recipe, recipe_from_yaml, recipe_to_yaml
from quantscope.core.targets import Granularity, Precision, target
from quantscope.core.thresholds import Method, WeightMethod
from tests.networks import feeds
from tests.quantizing import network, statistics_of

ranges = st.tuples(st.floats(-1e6, 1e6, width=32), st.floats(0.125, 1e6, width=32)).map(
    lambda t: Range(t[0], t[0] + t[1] + abs(t[0]) * 1e-3)
)
choices = st.builds(
    Choice,
    method=st.sampled_from([None, *(m for m in Method if m is not Method.MANUAL)]),
    percentile=st.none() | st.floats(90, 100),
    range=st.none() | ranges,
    symmetric=st.none() | st.booleans(),
    precision=st.none() | st.sampled_from(Precision),
    weights=st.none() | st.sampled_from(Granularity),
    weight_method=st.none() | st.sampled_from(WeightMethod),
    scale_rule=st.none() | st.sampled_from(ScaleRule),
)
names = st.text(min_size=1, max_size=20)


@given(
    layers=st.dictionaries(names, choices, max_size=4),
    chosen=st.lists(names, max_size=4),
    weights=st.sampled_from(Granularity),
)
def test_several_layers_at_once_are_as_one_after_the_other(
    layers: dict[str, Choice], chosen: list[str], weights: Granularity
) -> None:
    start = Recipe(layers=layers)
    chosen += list(layers)[:2]
    one_by_one = without = start
    for name in chosen:
        one_by_one = one_by_one.with_layer(name, weights=weights, method="mse")
        without = without.without_layer(name)
    assert start.with_layers(chosen, weights=weights, method="mse") == one_by_one
    assert start.without_layers(chosen) == without
    with pytest.raises(RecipeError, match="metod"):
        start.with_layers(["a"], metod="mse")  # type: ignore[call-arg]


@given(default=choices, layers=st.dictionaries(names, choices, max_size=4))
def test_yaml_round_trip(default: Choice, layers: dict[str, Choice]) -> None:
    recipe = Recipe(default=default, layers=layers, model_hash="ab12")
    assert recipe_from_yaml(recipe_to_yaml(recipe)) == recipe


def test_a_choice_left_open_follows_the_default() -> None:
    recipe = Recipe().with_default(method=Method.KL).with_layer("a", precision=Precision.INT16)
    assert recipe.choice("a").method is Method.KL
    assert recipe.choice("a").precision is Precision.INT16
    assert recipe.choice("b").precision is Precision.INT8
    assert recipe.without_layer("a").choice("a") == recipe.choice("b")


def test_an_edit_leaves_the_recipe_before_it_as_it_was() -> None:
    before = Recipe()
    after = before.with_layer("a", method=Method.MANUAL, range=Range(-1, 1))
    assert "a" not in before.layers
    assert after.with_layer("a", method=Method.MSE).choice("a").range is None


def test_choices_written_as_texts_are_those_written_as_enums() -> None:
    """The engine compares members of enums by identity: a text among them would pass for another choice."""
    made = Recipe().with_layer("a", precision="float", scale_rule="power-of-two-up", method="KL")
    assert made.choice("a").precision is Precision.FLOAT
    assert made.choice("a").scale_rule is ScaleRule.POWER_OF_TWO_UP
    assert made.choice("a").method is Method.KL
    assert Recipe().with_default(weights="per_tensor").default.weights is Granularity.PER_TENSOR
    assert made.with_layer("a", precision=None).choice("a").precision is Precision.INT8
    by_hand = Recipe().with_layer("a", range=(0, 1.5)).choice("a")
    assert (by_hand.method, by_hand.range) == (Method.MANUAL, Range(0.0, 1.5))


def test_passes_are_written_as_in_the_file() -> None:
    (smooth, rotate) = Recipe().with_passes({"smooth": {"alpha": 0.7}}, "rotate").passes
    assert (smooth.option("alpha"), rotate.name) == (0.7, "rotate")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"method": "zz"}, "a: method should be one of minmax"),
        ({"precision": "flaot"}, "a: precision should be one of"),
        ({"range": 3}, r"a: a range is a pair \(low, high\)"),
        ({"range": (2, 1)}, "a: a range needs finite low <= high"),
        ({"symmetric": "yes"}, "a: symmetric should be true or false"),
        ({"metod": "kl"}, "a: unknown entry 'metod'; known are method"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_at_once(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        Recipe().with_layer("a", **changes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no recipe"),
        ("just words", "no recipe"),
        ("{", "not valid YAML"),
        ("quantscope: 2", "version 2"),
        ("quantscope: 1\ntarget: nowhere", "unknown target 'nowhere'"),
        ("quantscope: 1\nlayers: [1]", "'layers' should map"),
        ("quantscope: 1\nlayers: {a: minmax}", "a: expected entries"),
        ("quantscope: 1\nlayers: {a: {method: magic}}", "a: method should be one of minmax"),
        ("quantscope: 1\nlayers: {a: {metod: mse}}", "a: unknown entry 'metod'"),
        ("quantscope: 1\nlayers: {a: {method: manual}}", "a: the manual method needs a range"),
        ("quantscope: 1\nlayers: {a: {low: 1}}", "belong together"),
        ("quantscope: 1\nlayers: {a: {low: 3, high: 1}}", "low <= high"),
        ("quantscope: 1\nlayers: {a: {low: x, high: 1}}", "a: low should be a number"),
        ("quantscope: 1\nlayers: {a: {low: 1, high: 1}}", "low < high"),
        ("quantscope: 1\ndefault: {percentile: 5}", "50 to 100"),
        ("quantscope: 1\ndefault: {symmetric: maybe}", "true or false"),
        ("quantscope: 1\ndefalt: {}", "unknown entry 'defalt'"),
    ],
)
def test_mistakes_are_named(text: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says.replace("[", r"\[")):
        recipe_from_yaml(text)


def test_numbers_that_yaml_takes_for_text_are_read() -> None:
    recipe = recipe_from_yaml("quantscope: 1\nlayers: {a: {method: manual, low: -1e-3, high: 1e-3}}")
    assert recipe.choice("a").range == Range(-1e-3, 1e-3)


def test_unknown_layers_are_refused_by_name() -> None:
    model = network("mobile_cnn")
    statistics = statistics_of(model, feeds("mobile_cnn", 1))
    with pytest.raises(RecipeError, match=r"names 1 layer that .* lacks, e\.g\. 'nope'"):
        resolve(Recipe().with_layer("nope", method=Method.MSE), statistics, model)


def test_statistics_of_another_model_are_refused() -> None:
    statistics = statistics_of(network("mobile_cnn"), feeds("mobile_cnn", 1))
    with pytest.raises(DataError, match="calibrate again"):
        resolve(Recipe(), statistics, network("residual_cnn"))


def test_a_manual_range_holds_for_the_layers_output() -> None:
    model = network("transformer")
    statistics = statistics_of(model, feeds("transformer"))
    layer = model.layer_of("v")
    assert layer is not None
    encodings = resolve(
        Recipe().with_layer(layer.name, method=Method.MANUAL, range=Range(-2.0, 3.0)), statistics, model
    )
    assert float(encodings.activations["v"].high) == pytest.approx(3.0, abs=0.02)
    assert encodings.searches["v.mm"].method is not Method.MANUAL  # the product before the bias


@pytest.mark.parametrize("method", [m for m in Method if m is not Method.MANUAL])
@pytest.mark.parametrize("symmetric", [False, True])
def test_every_method_resolves_every_tensor(method: Method, symmetric: bool) -> None:
    model = network("shapes_cnn")
    statistics = statistics_of(model, feeds("shapes_cnn", 3))
    encodings = resolve(Recipe().with_default(method=method, symmetric=symmetric), statistics, model)
    assert set(encodings.activations) == set(encodings.placement.tensors)
    for tensor, encoding in encodings.activations.items():
        assert float(encoding.scale) > 0, tensor
        assert encoding.low <= 0 <= encoding.high


def test_targets_are_found_by_name() -> None:
    assert target("onnxruntime-cpu").weight.narrow_range
    with pytest.raises(RecipeError, match="onnxruntime-cpu"):
        target("tpu")
