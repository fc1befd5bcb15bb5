"""Degenerate tensors: a usable scale and a flag from every method, for every type and rule for scales."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quantscope.core.calibration import Histogram, histogram_of
from quantscope.core.quant import QuantSpec, QuantType, Range, ScaleRule, encoding_from_range, fake_quantize
from quantscope.core.thresholds import FLAGS, Method, Search, errors_at, search
from quantscope.core.thresholds.power_of_two import with_ruled_scale

BITS = range(2, 17)
RULES = [rule for rule in ScaleRule if rule is not ScaleRule.FREE]
Z = np.random.default_rng(0).standard_normal(2000)
# Tensor, and the flags that name what is odd about it.
TENSORS: dict[str, tuple[object, set[str]]] = {
    "empty": ([], {"empty"}),
    "constant": (np.full(1500, -2.5), {"constant", "non_positive"}),
    "all zero": (np.zeros(1500), {"all_zero"}),
    "one value": ([3.0], {"constant", "few_values"}),
    "denormal": (np.sign(Z) * 1e-41, {"near_zero"}),
    "denormal on both sides": (Z * 1e-39, {"near_zero"}),
    "nearly too small": (Z * 1e-37, set()),
    "1e30": (Z * 1e30, {"huge"}),
    "largest floats": (np.repeat([-3.4e38, 0.0, 3.4e38], 500), {"huge"}),
    "NaN and inf": (np.append(Z, [np.nan, np.inf, -np.inf]), {"nan", "inf"}),
    "only NaN": ([np.nan] * 3, {"empty", "nan"}),
    "positive": (np.abs(Z) + 5.0, {"non_negative"}),
    "negative": (-np.abs(Z), {"non_positive"}),
    "two spikes": (np.repeat([-1.0, 2.0], [600, 900]), {"two_values"}),
    "a spike at zero": (np.repeat([0.0, 1.0], [900, 600]), {"two_values", "zero_spike"}),
    "one outlier": (np.append(np.tile(Z, 6), 1e30), {"huge", "outliers"}),
}


def spec_of(bits: int, *, signed: bool, symmetric: bool, rule: ScaleRule) -> QuantSpec:
    return QuantSpec(type=QuantType(bits, signed), symmetric=symmetric, scale_rule=rule)


def all_of(h: Histogram, spec: QuantSpec) -> dict[Method, Search]:
    return {method: search(method, h, spec, manual=Range(-1.0, 2.0)) for method in Method}


def check(x: np.ndarray, h: Histogram, spec: QuantSpec, found: Search) -> None:
    encoding = encoding_from_range(found.range, spec)
    scale = float(encoding.scale)
    limits = np.finfo(np.float32)
    assert float(limits.tiny) <= scale <= float(limits.max)
    assert spec.qmin <= encoding.zero_point <= spec.qmax
    assert found.range.low <= 0.0 <= found.range.high
    if spec.scale_rule is not ScaleRule.FREE:
        assert np.frexp(scale)[0] == 0.5
    error = errors_at(h, found.range, spec)
    assert not np.isnan([error.mse, error.cosine, error.sqnr_db, error.clipped_share]).any()
    assert found.flags == tuple(flag for flag in FLAGS if flag in found.flags)
    if "huge" not in found.flags:  # as the flag says, those may overflow
        assert np.isfinite(fake_quantize(x[np.isfinite(x)], encoding)).all()
    assert fake_quantize(np.zeros(1, np.float32), encoding)[0] == 0.0


@pytest.mark.parametrize("name", TENSORS)
def test_every_method_type_and_rule_gives_a_usable_scale_and_a_flag(name: str) -> None:
    values, flags = TENSORS[name]
    x = np.asarray(values, np.float32)
    h = histogram_of(x)
    for bits, symmetric in itertools.product(BITS, (True, False)):
        free = spec_of(bits, signed=symmetric, symmetric=symmetric, rule=ScaleRule.FREE)
        for method, found in all_of(h, free).items():
            assert flags <= set(found.flags), (method, free)
            check(x[:200], h, free, found)
            for rule in RULES:
                spec = replace(free, scale_rule=rule)
                check(x[:200], h, spec, with_ruled_scale(found, h, spec))


@pytest.mark.parametrize("rule", RULES)
def test_a_search_under_a_rule_is_the_search_and_then_the_rule(rule: ScaleRule) -> None:
    for (values, _), bits, symmetric in itertools.product(TENSORS.values(), (2, 8, 16), (True, False)):
        h = histogram_of(np.asarray(values, np.float32))
        free = spec_of(bits, signed=symmetric, symmetric=symmetric, rule=ScaleRule.FREE)
        spec = replace(free, scale_rule=rule)
        for method in (Method.MINMAX, Method.MSE, Method.ACIQ, Method.MANUAL):
            hand = Range(-1.0, 2.0)
            found, alone = (search(method, h, s, manual=hand) for s in (spec, free))
            ruled = with_ruled_scale(alone, h, spec)
            assert (found.range, found.asked, found.flags) == (ruled.range, alone.range, alone.flags)


ODD = [0.0, -0.0, 1.0, -1.0, 1e-45, -1e-40, 1.2e-38, 1e30, -1e30, 3.4e38, np.nan, np.inf, -np.inf]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(ODD) | st.floats(width=32), max_size=12),
    st.sampled_from(BITS),
    st.booleans(),
    st.booleans(),
    st.sampled_from(ScaleRule),
)
@example([1e-45], 2, True, True, ScaleRule.POWER_OF_TWO_MSE)
@example([3.4e38, -3.4e38], 16, False, False, ScaleRule.POWER_OF_TWO_UP)
def test_any_few_values_give_usable_scales(
    values: list[float], bits: int, signed: bool, symmetric: bool, rule: ScaleRule
) -> None:
    x = np.array(values, np.float32)
    h = histogram_of(x)
    spec = spec_of(bits, signed=signed, symmetric=symmetric, rule=rule)
    for found in all_of(h, spec).values():
        assert {"few_values", "empty"} & set(found.flags)
        check(x, h, spec, found)
