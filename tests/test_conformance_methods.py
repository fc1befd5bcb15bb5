"""Every threshold method of the table goes through the same checks; a new one is covered by being listed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quantscope.core.calibration import BySample, Histogram, histogram_of
from quantscope.core.quant import QuantSpec, Range, ScaleRule, encoding_from_range
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe, recipe_from_yaml, recipe_to_yaml
from quantscope.core.thresholds import (
    AUTOMATIC,
    FLAGS,
    METHODS,
    Method,
    Needs,
    Search,
    WeightMethod,
    errors_at,
    search,
)
from quantscope.core.thresholds.table import SEARCHES, Given, Searching
from quantscope.sample_data import SAMPLES
from quantscope.ui.content.tensor_view import LABELS, RULES
from quantscope.ui.views import details
from tests.documents import coded, option_help, readme_row
from tests.networks import feeds
from tests.quantizing import network, statistics_of
from tests.support import Run
from tests.tensors import (
    FAMILIES,
    INT8_SYMMETRIC,
    SPECS,
    UINT8_ASYMMETRIC,
    degenerate,
    family,
    raw_mse,
)

TENSORS = {**{name: family(name, count=3000) for name in FAMILIES}, **degenerate()}
TYPES = [
    SPECS[name]
    for name in (
        "int8-symmetric",
        "int8-symmetric-narrow",
        "uint8-symmetric",
        "uint8-asymmetric",
        "int4-symmetric",
        "uint16-asymmetric",
    )
]
EXACT = ("zeros", "negative zero", "one value", "negative constant", "two spikes", "empty")
BY_HAND = Range(-1.0, 2.0)
# What a refined range may be wider than the data: 5 %, and a step that may hold nothing.
WIDER, STEPS = 1.051, 1.0


def given_for(x: np.ndarray, h: Histogram) -> Given:
    """All that any method may ask for."""
    rows = np.sort(
        np.resize(np.nan_to_num(x, posinf=0.0, neginf=0.0), (20, 5)) if x.size else np.zeros((0, 5))
    )
    shown = BySample(extremes=np.array([[h.min, h.max]] * 3), tops=rows[:, :-3:-1].astype(np.float64))
    return Given(manual=BY_HAND, by_sample=shown)


def faults(method: Method, searching: Searching, x: np.ndarray, spec: QuantSpec) -> Iterator[str]:
    """What is wrong with a method's result for one tensor, one line each."""
    h = histogram_of(x)
    found, again = (searching(h, spec, given_for(x, h)) for _ in range(2))
    low, high = found.range.low, found.range.high
    step = float(encoding_from_range(found.range, spec).scale)
    automatic = method.facts.needs is not Needs.RANGE
    one_sided = not spec.type.signed and h.min >= 0.0
    spread = 2 * h.abs_max if spec.symmetric else max(h.max, 0.0) - min(h.min, 0.0)
    curve = np.concatenate([found.lows, found.highs, found.loss])
    same = np.array_equal(found.lows, again.lows) and np.array_equal(found.loss, again.loss)
    error = errors_at(h, found.range, spec)
    checks = {
        "it is another method's": found.method is method,
        "the range is not finite": np.isfinite([low, high]).all(),
        "the range does not hold 0": low <= 0.0 <= high,
        "the scale is not usable": 0.0 < step < np.inf,
        "the range is wider than the data": not automatic or high - low <= spread * WIDER + STEPS * step,
        "the range is not symmetric": not (automatic and spec.symmetric)
        or low == (0.0 if one_sided else -high),
        "two runs differ": (found.range, found.reason) == (again.range, again.reason) and same,
        "the curve has no candidates": found.loss.size > 0,
        "lows, highs and losses do not go together": found.lows.shape
        == found.highs.shape
        == found.loss.shape,
        "the curve holds NaN": not np.isnan(curve).any(),
        "candidates are not sorted by width": bool(np.all(np.diff(found.highs - found.lows) >= 0)),
        "the loss has no label": bool(found.loss_label),
        "the reason is not one sentence": found.reason.endswith(".") and "\n" not in found.reason,
        "there are unknown flags": set(found.flags) <= set(FLAGS),
        "the error is not a number": not np.isnan([error.mse, error.cosine, error.clipped_share]).any(),
    }
    yield from (f"{method}, {spec}: {what}" for what, good in checks.items() if not good)


def test_the_tables_hold_every_method() -> None:
    assert len(METHODS) >= 12
    assert list(METHODS) == list(SEARCHES) == list(Method)
    assert set(AUTOMATIC) | {Method.MANUAL} == set(Method)


@pytest.mark.parametrize("method", Method)
def test_each_method_is_described(method: Method, repo_root: Path) -> None:
    facts = method.facts
    assert (repo_root / "core" / "thresholds" / f"{method}.py").is_file()
    assert facts.label
    assert [other.facts.label for other in Method].count(facts.label) == 1
    assert re.fullmatch(r"[A-Z][^.]*\.", facts.sentence)
    assert facts.source
    assert LABELS[method] == facts.label
    automatic = method in AUTOMATIC
    assert (method in re.findall(r"\w+", option_help("quantize", "--method"))) is automatic
    assert (method in coded(readme_row("--method"))) is automatic


def test_the_command_line_offers_all_but_manual(quantscope: Run, tmp_path: Path) -> None:
    model = SAMPLES["digits_mlp"].model
    said = {"nonsense": f"choose from {', '.join(AUTOMATIC)}, auto", "manual": "needs a range for each layer"}
    for wrong, words in said.items():
        done = quantscope("quantize", model, "--random", 2, "--method", wrong, "-o", tmp_path / "q.onnx")
        assert done.code == 2
        assert words in done.err


def test_no_document_names_a_method_that_does_not_exist(repo_root: Path) -> None:
    assert set(coded(readme_row("--method"))) == {*AUTOMATIC, "auto"}
    css = (repo_root / "ui/components/threshold/style.css").read_text(encoding="utf-8")
    coloured = set(re.findall(r"\.mark\.(\w+) \{ --hue", css))
    assert coloured
    assert coloured <= set(Method)


def test_weight_methods_and_rules_for_scales_are_named_where_they_can_be_chosen() -> None:
    names = {method.value for method in WeightMethod}
    assert names <= set(re.findall(r"\w+", option_help("quantize", "--weight-method")))
    assert set(coded(readme_row("--weight-method"))) == {*names, "auto"}
    assert set(details.WEIGHT_METHODS.values()) == set(WeightMethod)
    rules = {rule.value.replace("_", "-") for rule in ScaleRule}
    assert rules == set(re.findall(r"free|power-of-two-\w+", option_help("quantize", "--scale-rule")))
    assert rules == set(coded(readme_row("--scale-rule")))
    assert set(RULES) == set(ScaleRule)


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("method", Method)
def test_results_are_well_formed(method: Method, name: str) -> None:
    for spec in TYPES:
        assert list(faults(method, SEARCHES[method], TENSORS[name], spec)) == []


@pytest.mark.parametrize("method", AUTOMATIC)
def test_tensors_of_one_value_beside_zero_are_kept_exactly(method: Method) -> None:
    for name in EXACT:
        x = TENSORS[name]
        h = histogram_of(x)
        for spec in TYPES:
            found = SEARCHES[method](h, spec, given_for(x, h))
            if x.size:
                energy = float(np.mean(np.square(x, dtype=np.float64)))
                assert raw_mse(x, encoding_from_range(found.range, spec)) <= 1e-12 * energy, (name, spec)


@pytest.mark.parametrize("method", Method)
def test_a_method_reads_what_it_says_it_needs(method: Method) -> None:
    x = family("laplace", count=3000)
    h, needs = histogram_of(x), method.facts.needs
    everything = given_for(x, h)
    other = Given(
        percentile=90.0,
        manual=Range(-0.5, 0.5),
        by_sample=BySample(extremes=np.array([[-0.1, 0.2]]), tops=np.array([[0.2, 0.1]])),
    )
    first, second = (SEARCHES[method](h, UINT8_ASYMMETRIC, given).range for given in (everything, other))
    assert (first == second) is (needs is Needs.HISTOGRAM)
    if needs is Needs.RANGE:
        with pytest.raises(ValueError, match="needs a range"):
            SEARCHES[method](h, UINT8_ASYMMETRIC, Given())
    elif needs is Needs.SAMPLES:
        alone = SEARCHES[method](h, UINT8_ASYMMETRIC, Given())
        assert alone.range == SEARCHES[Method.MINMAX](h, UINT8_ASYMMETRIC, Given()).range
        assert "keeps every value" in alone.reason


@pytest.mark.parametrize("rule", [rule for rule in ScaleRule if rule is not ScaleRule.FREE])
@pytest.mark.parametrize("method", Method)
def test_rules_for_scales_hold(method: Method, rule: ScaleRule) -> None:
    for name in ("laplace", "relu", "two_humps", "zeros", "one outlier"):
        x = TENSORS[name]
        h = histogram_of(x)
        for free in (INT8_SYMMETRIC, UINT8_ASYMMETRIC):
            spec, given = replace(free, scale_rule=rule), given_for(x, h)
            found = search(method, h, spec, manual=given.manual, by_sample=given.by_sample)
            assert found.asked == SEARCHES[method](h, free, given).range
            assert np.frexp(float(encoding_from_range(found.range, spec).scale))[0] == 0.5


@pytest.mark.parametrize("method", Method)
def test_a_recipe_with_it_is_read_back_and_makes_a_model(method: Method) -> None:
    model = network("shapes_cnn")
    layer = next(layer for layer in model.layers if layer.kind == "compute")
    by_hand = {"range": BY_HAND} if method.facts.needs is Needs.RANGE else {}
    recipe = Recipe().with_layer(layer.name, method=method, **by_hand)
    if not by_hand:
        recipe = recipe.with_default(method=method)
    assert recipe_from_yaml(recipe_to_yaml(recipe)) == recipe
    encodings = resolve(recipe, statistics_of(model, feeds("shapes_cnn", 1)), model)
    assert encodings.searches[layer.output].method is method
    assert quantize_model(model, encodings).graph.node


def bad(change: str) -> Searching:
    """MinMax with something wrong about it."""
    turns = iter(range(1_000_000))

    def searching(h: Histogram, spec: QuantSpec, given: Given) -> Search:
        found = SEARCHES[Method.MINMAX](h, spec, given)
        low, high = found.range.low, found.range.high
        return {
            "it is another method's": replace(found, method=Method.KL),
            "the range is wider than the data": replace(found, range=Range(2 * low, 2 * high)),
            "the range is not symmetric": replace(found, range=Range(0.9 * low, high)),
            "two runs differ": replace(found, reason=f"Run {next(turns)}."),
            "the curve has no candidates": replace(
                found, lows=found.lows[:0], highs=found.highs[:0], loss=found.loss[:0]
            ),
            "lows, highs and losses do not go together": replace(found, loss=np.zeros(2)),
            "the curve holds NaN": replace(found, loss=np.full(1, np.nan)),
            "candidates are not sorted by width": replace(
                found, lows=np.array([-2.0, -1.0]), highs=np.array([2.0, 1.0]), loss=np.zeros(2)
            ),
            "the loss has no label": replace(found, loss_label=""),
            "the reason is not one sentence": replace(found, reason="No full stop"),
            "there are unknown flags": replace(found, flags=("odd",)),
        }[change]

    return searching


@pytest.mark.parametrize(
    "change",
    [
        "it is another method's",
        "the range is wider than the data",
        "the range is not symmetric",
        "two runs differ",
        "the curve has no candidates",
        "lows, highs and losses do not go together",
        "the curve holds NaN",
        "candidates are not sorted by width",
        "the loss has no label",
        "the reason is not one sentence",
        "there are unknown flags",
    ],
)
def test_a_planted_fault_is_found(change: str) -> None:
    found = list(faults(Method.MINMAX, bad(change), TENSORS["normal"], INT8_SYMMETRIC))
    assert any(line.endswith(change) for line in found)
