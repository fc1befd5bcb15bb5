"""Scales that are powers of two: what each rule promises, whatever method chose the range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantscope.core.calibration import calibrate, histogram_of
from quantscope.core.data import open_samples
from quantscope.core.model import load_model
from quantscope.core.quant import (
    INT8,
    QuantSpec,
    Range,
    ScaleRule,
    encoding_from_range,
    fake_quantize,
    kept_range,
    ruled_scale,
)
from quantscope.core.quantize import resolve
from quantscope.core.recipe import Recipe
from quantscope.core.thresholds import (
    FROM_HISTOGRAM,
    Method,
    WeightMethod,
    curves,
    encoding_errors,
    errors_at,
    search,
    weight_encoding,
)
from quantscope.sample_data import SAMPLES
from tests.networks import feeds
from tests.quantizing import network, statistics_of
from tests.tensors import FAMILIES, SPECS, UINT8_ASYMMETRIC, degenerate, family, raw_mse

DEGENERATE = degenerate()
RULES = [rule for rule in ScaleRule if rule is not ScaleRule.FREE]
ENDS = st.floats(-(2.0**90), 2.0**90, width=32)


def is_power_of_two(scale: np.ndarray) -> bool:
    return bool(np.all(np.frexp(np.asarray(scale, np.float64))[0] == 0.5))


@given(st.floats(2.0**-126, 2.0**127, width=32))
def test_the_scale_is_the_power_of_two_that_the_rule_names(scale: float) -> None:
    up = float(ruled_scale(np.float32(scale), ScaleRule.POWER_OF_TWO_UP))
    near = float(ruled_scale(np.float32(scale), ScaleRule.POWER_OF_TWO_NEAREST))
    assert is_power_of_two(up)
    assert scale <= up < 2 * scale
    assert near in (up, up / 2)
    assert 2**-0.5 * (1 - 1e-6) <= near / scale <= 2**0.5 * (1 + 1e-6)


@given(ENDS, ENDS, st.sampled_from(list(SPECS)), st.sampled_from(RULES))
def test_the_kept_range_gives_the_encoding_back(a: float, b: float, name: str, rule: ScaleRule) -> None:
    spec = replace(SPECS[name], scale_rule=rule)
    encoding = encoding_from_range(Range(min(a, b), max(a, b)), spec)
    assert is_power_of_two(encoding.scale)
    kept = kept_range(encoding, spec)
    assert kept.low <= 0.0 <= kept.high
    assert encoding_from_range(kept, spec) == encoding
    assert encoding_from_range(kept, replace(spec, scale_rule=ScaleRule.FREE)) == encoding


@pytest.mark.parametrize("spec", [s for s in SPECS.values() if s.type.bits <= 8], ids=str)
@pytest.mark.parametrize("name", FAMILIES)
def test_up_clips_no_more_and_the_least_error_beats_both(name: str, spec: QuantSpec) -> None:
    h = histogram_of(family(name, count=10_000))
    for method in (Method.MINMAX, Method.PERCENTILE, Method.OCTAV):
        free = errors_at(h, search(method, h, spec).range, spec)
        errors = {}
        for rule in RULES:
            ruled = replace(spec, scale_rule=rule)
            found = search(method, h, ruled)
            encoding = encoding_from_range(found.range, ruled)
            assert is_power_of_two(encoding.scale)
            errors[rule] = encoding_errors(h, encoding)
        # An asymmetric range may move by half a step, as its zero point is rounded.
        slack = 0.01 if not spec.symmetric else 1e-9
        assert errors[ScaleRule.POWER_OF_TWO_UP].clipped_share <= free.clipped_share + slack
        least = errors[ScaleRule.POWER_OF_TWO_MSE].mse
        assert all(least <= error.mse * (1 + 1e-9) for error in errors.values())


@pytest.mark.parametrize("name", ["normal", "gelu", "two_humps", "heavy_tail", "negative"])
def test_the_least_error_is_that_of_every_zero_point_tried(name: str) -> None:
    x = family(name, count=5000)
    h = histogram_of(x)
    spec = replace(UINT8_ASYMMETRIC, scale_rule=ScaleRule.POWER_OF_TWO_MSE)
    chosen = search(Method.PERCENTILE, h, UINT8_ASYMMETRIC).range
    free = float(encoding_from_range(chosen, UINT8_ASYMMETRIC).scale)
    found = encoding_from_range(search(Method.PERCENTILE, h, spec).range, spec)
    up = 2.0 ** np.ceil(np.log2(free))
    best = min(
        raw_mse(x, replace(found, scale=np.float32(up / 2), zero_point=np.int32(zero))) for zero in range(256)
    )
    assert float(found.scale) in (up, up / 2)
    assert raw_mse(x, found) <= best * 1.01


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", DEGENERATE)
def test_every_method_and_rule_gives_a_usable_scale_for_any_tensor(name: str, rule: ScaleRule) -> None:
    h = histogram_of(DEGENERATE[name])
    for base in SPECS.values():
        spec = replace(base, scale_rule=rule)
        for method in FROM_HISTOGRAM if spec.type.bits <= 8 else (Method.MINMAX, Method.MSE):
            found = search(method, h, spec)
            encoding = encoding_from_range(found.range, spec)
            assert 0 < encoding.scale < np.inf
            assert is_power_of_two(encoding.scale)
            assert spec.qmin <= encoding.zero_point <= spec.qmax
            assert "the scale is" in found.reason
            assert found.reason.endswith(".")


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 50), st.sampled_from([None, 0]), st.sampled_from(WeightMethod), st.booleans())
def test_weights_follow_the_rule_channel_by_channel(
    seed: int, axis: int | None, method: WeightMethod, symmetric: bool
) -> None:
    rng = np.random.default_rng(seed)
    weight = (rng.standard_t(4, (6, 50)) * 10.0 ** rng.uniform(-2, 1, (6, 1))).astype(np.float32)
    error = {}
    for rule in RULES:
        spec = QuantSpec(type=INT8, symmetric=symmetric, axis=axis, scale_rule=rule)
        encoding = weight_encoding(weight, spec, method)
        assert encoding.scale.shape == (() if axis is None else (6,))
        assert is_power_of_two(encoding.scale)
        error[rule] = np.sum((fake_quantize(weight, encoding) - weight).astype(np.float64) ** 2, axis=1)
    if method is not WeightMethod.MSE:  # which already chose among ranges by their error after rounding up
        least = error[ScaleRule.POWER_OF_TWO_MSE].sum()
        assert least <= error[ScaleRule.POWER_OF_TWO_UP].sum() * (1 + 1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_a_recipe_makes_every_scale_a_power_of_two(rule: ScaleRule) -> None:
    model = network("shapes_cnn")
    statistics = statistics_of(model, feeds("shapes_cnn", 3))
    encodings = resolve(Recipe().with_default(scale_rule=rule), statistics, model)
    assert all(is_power_of_two(e.scale) for e in encodings.activations.values())
    assert encodings.weights
    assert all(is_power_of_two(e.scale) for e in encodings.weights.values())
    one = next(iter(model.layers)).name
    mixed = resolve(Recipe().with_layer(one, scale_rule=rule), statistics, model)
    assert not all(is_power_of_two(e.scale) for e in mixed.activations.values())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["int8-symmetric", "uint8-symmetric", "uint8-asymmetric", "int4-asymmetric"])
@pytest.mark.parametrize("side", ["high", "low", "both"])
def test_every_point_of_a_curve_is_what_a_threshold_there_becomes(
    side: str, name: str, rule: ScaleRule
) -> None:
    spec = replace(SPECS[name], scale_rule=rule)
    for kind in ("two_humps", "relu"):
        h = histogram_of(family(kind, count=20_000))
        fixed = search(Method.MSE, h, replace(spec, scale_rule=ScaleRule.FREE)).range
        c = curves(h, spec, n=64, side=side, fixed=fixed)
        assert np.all(np.diff(c.thresholds) >= 0)
        for i in range(0, c.thresholds.size, 3):
            asked = Range(float(c.lows[i]), float(c.highs[i]))
            found = search(Method.MANUAL, h, spec, manual=asked)
            assert found.asked == asked
            assert (found.range.low, found.range.high) == (c.kept_lows[i], c.kept_highs[i])
            assert c.mse[i] == pytest.approx(errors_at(h, found.range, spec).mse, rel=1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_a_curve_has_a_point_on_both_sides_of_every_jump(rule: ScaleRule) -> None:
    h = histogram_of(family("normal", count=20_000))
    c = curves(h, replace(SPECS["int8-symmetric"], scale_rule=rule), n=64)
    jumps = np.flatnonzero(np.diff(c.kept_highs) != 0.0)
    assert jumps.size
    assert np.all(np.diff(c.thresholds)[jumps] < 1e-9 * c.thresholds[-1])


def test_the_kernel_that_needs_a_coarser_output_gets_a_power_of_two_too() -> None:
    sample = SAMPLES["digits_mobilenet"]
    model = load_model(sample.model)
    pool = next(layer for layer in model.layers if layer.op == "GlobalAveragePool")
    statistics = calibrate(model, open_samples(sample.calibration, model).take(4))
    tiny = Recipe().with_layer(pool.name, method=Method.MANUAL, range=Range(0.0, 1e-3))
    assert not is_power_of_two(resolve(tiny, statistics, model).activations[pool.output].scale)
    ruled = tiny.with_default(scale_rule=ScaleRule.POWER_OF_TWO_NEAREST)
    found = resolve(ruled, statistics, model).activations
    assert is_power_of_two(found[pool.output].scale)
    assert float(found[pool.inputs[0]].scale) < 256 * float(found[pool.output].scale)
