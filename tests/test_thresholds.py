"""Threshold searches: against exhaustive searches on the values, known optima, and their own promises."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantscope.core import metrics
from quantscope.core.calibration import histogram_of
from quantscope.core.quant import INT8, INT16, UINT8, QuantSpec, QuantType, Range, encoding_from_range
from quantscope.core.thresholds import FLAGS, FROM_HISTOGRAM, Method, curves, errors_at, search
from tests import distributions
from tests.tensors import (
    FAMILIES,
    INT8_NARROW,
    INT8_SYMMETRIC,
    SPECS,
    UINT8_ASYMMETRIC,
    degenerate,
    family,
    quantized,
    raw_mse,
)

DEGENERATE = degenerate()
ALL_METHODS = list(Method)
BY_SPEC = {
    "symmetric_int8": INT8_SYMMETRIC,
    "symmetric_int8_narrow": INT8_NARROW,
    "asymmetric_uint8": UINT8_ASYMMETRIC,
}
TOOLS = Path(__file__).parent / "data" / "tool_thresholds.json"


def found(x: np.ndarray, method: Method, spec: QuantSpec) -> Range:
    return search(method, histogram_of(x), spec).range


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", distributions.FAMILIES)
def test_mse_reaches_the_optimum_of_a_dense_grid(name: str, seed: int) -> None:
    """Over the scale and the zero point: int8 with T/127, the same without -128, and uint8."""
    x = distributions.drawn(name, seed)
    optima = json.loads(TOOLS.read_text(encoding="utf-8"))["optima"]
    assert optima.keys() == BY_SPEC.keys()
    for algorithm, best in optima.items():
        spec = BY_SPEC[algorithm]
        ratio = raw_mse(x, encoding_from_range(found(x, Method.MSE, spec), spec)) / best[f"{name}/{seed}"]
        assert ratio <= 1.001, (algorithm, ratio)


@pytest.mark.parametrize("spec", [s for s in SPECS.values() if s.type.bits <= 8], ids=str)
@pytest.mark.parametrize("method", [Method.MSE, Method.COSINE])
@pytest.mark.parametrize("name", FAMILIES)
def test_no_range_near_or_far_is_better(name: str, method: Method, spec: QuantSpec) -> None:
    x = family(name, count=20_000)
    h = histogram_of(x)
    chosen = search(method, h, spec).range

    def loss(range_: Range) -> float:
        q = quantized(x, encoding_from_range(range_, spec))
        return 1.0 - metrics.cosine(x, q) if method is Method.COSINE else metrics.mse(x, q)

    best = loss(chosen)
    lows = [1.0] if spec.symmetric else [0.5, 0.95, 1.0, 1.05, 1.5]
    for low in lows:
        for high in (0.3, 0.7, 0.9, 0.97, 0.99, 1.01, 1.03, 1.1, 1.5):
            other = Range(chosen.low * (high if spec.symmetric else low), chosen.high * high)
            assert best <= loss(other) * 1.004, other  # 20,000 values: chance weighs more than on 200,000


def test_both_ends_are_searched() -> None:
    x = np.append(family("normal", count=50_000), np.float32([-40.0, 25.0]))
    for method in (Method.MSE, Method.COSINE, Method.KL, Method.PERCENTILE):
        range_ = found(x, method, UINT8_ASYMMETRIC)
        assert -38 < range_.low < -3
        assert 3 < range_.high < 24
    sixteen = found(np.repeat(x[:-2], 20), Method.MSE, SPECS["uint16-asymmetric"])
    assert (sixteen.low, sixteen.high) == pytest.approx((x[:-2].min(), x[:-2].max()), rel=0.02)


@pytest.mark.parametrize("method", FROM_HISTOGRAM)
def test_one_sided_tensors_move_one_end(method: Method) -> None:
    positive = np.abs(family("laplace", count=20_000)) + np.float32(0.01)
    up = found(positive, method, UINT8_ASYMMETRIC)
    assert up.low == 0.0 < up.high <= positive.max() * 1.05
    down = found(-positive, method, UINT8_ASYMMETRIC)
    assert -positive.max() * 1.05 <= down.low < down.high == 0.0
    # The entropy's curve is jagged: values on a border change bins when they are mirrored.
    assert -down.low == pytest.approx(up.high, rel=0.2 if method is Method.KL else 0.01)
    unsigned = QuantSpec(type=UINT8, symmetric=True)
    assert found(positive, method, unsigned).low == 0.0
    assert found(-positive, method, unsigned).low < 0.0


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(FAMILIES), st.integers(0, 100), st.integers(-40, 40), st.sampled_from(FROM_HISTOGRAM))
def test_ranges_scale_with_the_data(name: str, seed: int, power: int, method: Method) -> None:
    x = family(name, seed, 2000)
    for spec in BY_SPEC.values():
        a, b = found(x, method, spec), found(x * np.float32(2.0**power), method, spec)
        assert (b.low, b.high) == (math.ldexp(a.low, power), math.ldexp(a.high, power))


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(FAMILIES), st.integers(0, 100), st.sampled_from(FROM_HISTOGRAM))
def test_a_mirrored_tensor_costs_the_same_with_a_symmetric_range(
    name: str, seed: int, method: Method
) -> None:
    x = family(name, seed, 2000)
    a, b = (search(method, histogram_of(y), INT8_NARROW).loss.min() for y in (x, -x))
    assert b == pytest.approx(a, rel=1e-3)  # values on a border change bins when they are mirrored


def order_statistics(x: np.ndarray, share: float) -> tuple[float, float]:
    """The values just below and just above the one of this rank, counted from 1."""
    rank, ordered = share * x.size, np.sort(x)
    return float(ordered[max(int(rank) - 2, 0)]), float(ordered[min(int(rank) + 1, x.size - 1)])


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.9, 99.99])
def test_percentiles_lie_in_the_bin_of_the_ordered_values(name: str, percentile: float) -> None:
    x = family(name)
    h, tail = histogram_of(x), 1 - percentile / 100
    symmetric = search(Method.PERCENTILE, h, INT8_SYMMETRIC, percentile=percentile).range
    below, above = order_statistics(np.abs(x), 1 - tail)
    assert below - h.width <= symmetric.high <= above + h.width
    assert symmetric.low == -symmetric.high
    both = search(Method.PERCENTILE, h, UINT8_ASYMMETRIC, percentile=percentile).range
    cut = tail / 2 if x.min() < 0 < x.max() else tail
    if x.max() > 0:
        below, above = order_statistics(x, 1 - cut)
        assert below - h.width <= both.high <= above + h.width
    if x.min() < 0:
        below, above = order_statistics(-x, 1 - cut)
        assert below - h.width <= -both.low <= above + h.width


def test_percentiles_reach_the_extremes() -> None:
    x = np.float32([-7.0, 0.0, 0.5, 3.0])
    h = histogram_of(x)
    assert search(Method.PERCENTILE, h, UINT8_ASYMMETRIC, percentile=100.0).range == Range(-7.0, 3.0)
    assert search(Method.PERCENTILE, h, INT8_SYMMETRIC, percentile=99.99).range == Range(-7.0, 7.0)
    for wrong in (0.0, -1.0, 100.1, math.nan):
        with pytest.raises(ValueError, match="percentile"):
            search(Method.PERCENTILE, h, INT8_SYMMETRIC, percentile=wrong)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
@pytest.mark.parametrize("name", DEGENERATE)
def test_every_method_gives_a_usable_scale_for_any_tensor(name: str, spec: QuantSpec) -> None:
    x = DEGENERATE[name]
    h = histogram_of(x)
    for method in ALL_METHODS:
        s = search(method, h, spec, manual=Range(-1.0, 2.0))
        encoding = encoding_from_range(s.range, spec)
        assert s.range.low <= 0.0 <= s.range.high
        assert 0 < encoding.scale < np.inf
        assert spec.qmin <= encoding.zero_point <= spec.qmax
        assert s.lows.shape == s.highs.shape == s.loss.shape
        assert s.loss.size > 0
        assert not np.isnan(s.loss).any()
        assert np.all(np.diff(s.highs - s.lows) >= 0)
        assert s.reason.endswith(".")
        assert "\n" not in s.reason
        assert set(s.flags) <= set(FLAGS)
        if method is not Method.MANUAL:
            spread = 2 * h.abs_max if spec.symmetric else max(h.max, 0.0) - min(h.min, 0.0)
            refined = method in (Method.MSE, Method.ADMM)  # of whose levels one may hold nothing
            spare = float(encoding.scale) if refined else 0.0
            assert s.range.high - s.range.low <= spread * 1.051 + spare
        error = errors_at(h, s.range, spec)
        assert not np.isnan([error.mse, error.cosine, error.sqnr_db, error.clipped_share]).any()
        finite = x[np.isfinite(x)]
        assert finite.size == 0 or np.all(np.isfinite(quantized(finite, encoding)))
    for side in ("high", "low", "both"):
        c = curves(h, spec, n=32, side=side)
        assert not np.isnan([c.mse, c.cosine, c.sqnr_db, c.clipped_share]).any()


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
@pytest.mark.parametrize("name", DEGENERATE)
def test_mse_is_never_worse_than_minmax(name: str, spec: QuantSpec) -> None:
    h = histogram_of(DEGENERATE[name])
    by = {m: errors_at(h, search(m, h, spec).range, spec).mse for m in (Method.MSE, Method.MINMAX)}
    assert by[Method.MSE] <= by[Method.MINMAX] * (1 + 1e-6)


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("empty", {"empty"}),
        ("not finite", {"empty", "nan", "inf"}),
        ("zeros", {"all_zero", "few_values"}),
        ("negative constant", {"constant", "non_positive", "few_values"}),
        ("denormal", {"near_zero", "two_values", "few_values"}),
        ("huge", {"huge"}),
        ("some NaN", {"nan", "inf", "few_values"}),
        ("two spikes", {"two_values", "zero_spike", "non_negative"}),
        ("positive", {"non_negative"}),
    ],
)
def test_flags(name: str, flags: set[str]) -> None:
    assert set(search(Method.MINMAX, histogram_of(DEGENERATE[name]), UINT8_ASYMMETRIC).flags) == flags


def test_ordinary_tensors_have_no_flags_and_outliers_are_named() -> None:
    assert search(Method.MSE, histogram_of(family("normal")), UINT8_ASYMMETRIC).flags == ()
    far = np.append(family("normal"), np.float32([30.0, -30.0]))
    assert search(Method.MSE, histogram_of(far), UINT8_ASYMMETRIC).flags == ("outliers",)


@pytest.mark.parametrize("method", [Method.MSE, Method.COSINE, Method.KL])
@pytest.mark.parametrize("spec", BY_SPEC.values(), ids=BY_SPEC.keys())
def test_the_choice_is_on_the_curve_and_lowest_there(method: Method, spec: QuantSpec) -> None:
    s = search(method, histogram_of(family("laplace")), spec)
    at = (s.lows == s.range.low) & (s.highs == s.range.high)
    assert at.any()
    if method is not Method.KL:  # which may stop where neither end alone helps
        assert s.loss[at].min() == s.loss.min()
        assert s.loss.size >= 512


@pytest.mark.parametrize("spec", BY_SPEC.values(), ids=BY_SPEC.keys())
def test_losses_are_what_their_labels_say(spec: QuantSpec) -> None:
    h = histogram_of(family("normal"))
    for method, label in ((Method.MSE, "MSE"), (Method.COSINE, "1 - cosine"), (Method.MINMAX, "MSE")):
        s = search(method, h, spec)
        assert s.loss_label == label
        for i in range(0, s.loss.size, 97):
            error = errors_at(h, Range(s.lows[i], s.highs[i]), spec)
            expected = error.mse if label == "MSE" else 1.0 - error.cosine
            assert s.loss[i] == pytest.approx(expected, rel=2e-5, abs=1e-12)


@pytest.mark.parametrize("bits", range(2, 17))
@pytest.mark.parametrize("signed", [True, False])
def test_every_width_is_served_and_more_bits_cost_less(bits: int, signed: bool) -> None:
    h = histogram_of(family("laplace"))
    for symmetric in (True, False):
        spec = QuantSpec(type=QuantType(bits, signed), symmetric=symmetric)
        mse = errors_at(h, search(Method.MSE, h, spec).range, spec).mse
        assert mse <= errors_at(h, search(Method.MINMAX, h, spec).range, spec).mse * (1 + 1e-9)
        if bits > 2:
            coarser = QuantSpec(type=QuantType(bits - 1, signed), symmetric=symmetric)
            assert mse < errors_at(h, search(Method.MSE, h, coarser).range, coarser).mse


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
@pytest.mark.parametrize("name", ["one value", "negative constant", "two spikes", "spikes on both sides"])
def test_a_cosine_that_cannot_be_improved_does_not_clip(name: str, spec: QuantSpec) -> None:
    """One value keeps its direction at any scale; the error must not be forgotten over that."""
    x = DEGENERATE[name]
    range_ = found(x, Method.COSINE, spec)
    if (x >= 0).all() or (x <= 0).all():
        assert raw_mse(x, encoding_from_range(range_, spec)) <= 1e-4 * float(np.mean(np.square(x)))


def test_manual_keeps_what_it_is_given_and_needs_it() -> None:
    h, range_ = histogram_of(family("normal")), Range(-0.25, 1.75)
    s = search(Method.MANUAL, h, UINT8_ASYMMETRIC, manual=range_)
    assert s.range == range_
    assert s.loss[0] == errors_at(h, range_, UINT8_ASYMMETRIC).mse
    with pytest.raises(ValueError, match="range"):
        search(Method.MANUAL, h, UINT8_ASYMMETRIC)


def test_minmax_is_the_extremes() -> None:
    x = family("two_humps")
    assert found(x, Method.MINMAX, UINT8_ASYMMETRIC) == Range(float(x.min()), float(x.max()))
    peak = float(np.abs(x).max())
    assert found(x, Method.MINMAX, QuantSpec(type=INT8, symmetric=True)) == Range(-peak, peak)
    assert found(x, Method.MINMAX, QuantSpec(type=INT16, symmetric=True)) == Range(-peak, peak)
