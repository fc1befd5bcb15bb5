"""The entropy method against its definition written out, bin by bin."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantscope.core.calibration import histogram_of
from quantscope.core.quant import INT8, UINT8, QuantSpec
from quantscope.core.thresholds import Method, curves, search
from quantscope.core.thresholds.kl import BINS, kl_levels, magnitude_bins, signed_bins, window_divergences
from tests.tensors import FAMILIES, INT8_SYMMETRIC, SPECS, UINT8_ASYMMETRIC, family


def divergence(counts: np.ndarray, start: int, stop: int, levels: int) -> float:
    """KL(P || Q) of one window, as the paper says, with the two gaps filled as the module says."""
    left, right = counts[:start].sum(), counts[stop:].sum()
    if left + right > 0.5 * counts.sum():
        return math.inf
    inner = counts[start:stop]
    p, q = inner.copy(), np.zeros(inner.size)
    p[0] += left
    p[-1] += right
    borders = [math.ceil(g * inner.size / levels) for g in range(levels + 1)]
    for begin, end in itertools.pairwise(borders):
        occupied = p[begin:end] > 0
        if occupied.any():
            mass = inner[begin:end].sum()
            q[begin:end][occupied] = (mass if mass > 0 else 1.0) / occupied.sum()
    p, q = p / p.sum(), q / q.sum()
    some = p > 0
    return float(np.sum(p[some] * np.log(p[some] / q[some])))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.floats(0, 0.9), st.data())
def test_all_windows_equal_the_definition(
    seed: int, log2_levels: int, empty: float, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    n, levels = data.draw(st.integers(levels_of(log2_levels), 150)), levels_of(log2_levels)
    counts = np.where(rng.random(n) < empty, 0.0, rng.integers(0, 50, n) * rng.choice([1.0, 0.25, 100.0]))
    counts[rng.integers(n)] += 1.0
    windows = [(a, b) for a in range(n) for b in range(a + levels, n + 1)]
    picked = windows[:: max(len(windows) // 200, 1)]
    starts, stops = (np.array(part) for part in zip(*picked, strict=True))
    result = window_divergences(counts, starts, stops, log2_levels)
    expected = [divergence(counts, a, b, levels) for a, b in picked]
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-12)
    few = window_divergences(counts, starts[:1], stops[:1], log2_levels)  # without the table of terms
    np.testing.assert_allclose(few, expected[:1], rtol=1e-9, atol=1e-12)


def levels_of(log2_levels: int) -> int:
    return 1 << log2_levels


@pytest.mark.parametrize("name", FAMILIES)
def test_bins_are_those_of_the_values(name: str) -> None:
    x = family(name).astype(np.float64)
    h = histogram_of(x)
    for ours, values, span in (
        (magnitude_bins(h), np.abs(x), (0.0, np.abs(x).max())),
        (signed_bins(h), x, (min(x.min(), 0.0), max(x.max(), 0.0))),
    ):
        exact = np.histogram(values, BINS, range=span)[0]
        assert ours.sum() == pytest.approx(x.size)
        # A bin of the grid may straddle a border: no more than what it holds (on both sides) may be moved.
        assert np.abs(np.cumsum(ours) - np.cumsum(exact)).max() <= 2 * h.counts.max()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_choice_is_as_good_as_on_the_values_own_bins(name: str) -> None:
    x = np.abs(family(name).astype(np.float64))
    exact = np.histogram(x, BINS, range=(0.0, x.max()))[0].astype(np.float64)
    stops = np.arange(128, BINS + 1)
    loss = window_divergences(exact, np.zeros_like(stops), stops, 7)
    chosen = search(Method.KL, histogram_of(family(name)), INT8_SYMMETRIC).range.high
    kept = min(round(chosen / x.max() * BINS - 0.5), BINS)
    assert loss[kept - 128] <= loss.min() * 1.06 + 1e-4


def test_levels_follow_the_type() -> None:
    expected = {"int8-symmetric": 128, "uint8-symmetric": 256, "int8-asymmetric": 256, "int4-symmetric": 8}
    positive = histogram_of(family("relu"))
    assert {name: kl_levels(positive, SPECS[name]) for name in expected} == expected
    assert kl_levels(histogram_of(family("normal")), SPECS["uint8-symmetric"]) == 128


def test_a_uniform_tensor_is_not_clipped() -> None:
    x = np.linspace(-1, 1, 100_001, dtype=np.float32)
    for spec in (INT8_SYMMETRIC, UINT8_ASYMMETRIC):
        range_ = search(Method.KL, histogram_of(x), spec).range
        assert (range_.low, range_.high) == pytest.approx((-1, 1), rel=0.01)


def test_a_far_outlier_is_clipped() -> None:
    x = np.append(family("normal"), np.float32(100.0))
    assert search(Method.KL, histogram_of(x), INT8_SYMMETRIC).range.high < 20
    assert search(Method.KL, histogram_of(x), UINT8_ASYMMETRIC).range.high < 20
    assert search(Method.KL, histogram_of(-x), UINT8_ASYMMETRIC).range.low > -20


def test_data_far_from_zero_are_not_clipped_away() -> None:
    """The bare definition has divergence 0 where all mass falls into one bin, and would clip everything."""
    x = family("normal") + np.float32(10.0)
    for spec in (INT8_SYMMETRIC, UINT8_ASYMMETRIC, QuantSpec(type=UINT8, symmetric=True)):
        assert search(Method.KL, histogram_of(x), spec).range.high > 12


@pytest.mark.parametrize("name", ["int16-symmetric", "uint16-asymmetric", "uint12-asymmetric"])
def test_more_levels_than_bins_keep_everything_and_say_so(name: str) -> None:
    h = histogram_of(family("heavy_tail"))
    s = search(Method.KL, h, SPECS[name])
    assert s.range == search(Method.MINMAX, h, SPECS[name]).range
    assert "levels" in s.reason
    assert np.isnan(curves(h, SPECS[name]).kl).all()


def test_thresholds_lie_half_a_bin_beyond_what_is_kept() -> None:
    h = histogram_of(family("heavy_tail"))
    s = search(Method.KL, h, QuantSpec(type=INT8, symmetric=True))
    kept = np.arange(128, BINS + 1)
    np.testing.assert_allclose(s.highs[:-1], (kept[:-1] + 0.5) * h.abs_max / BINS)
    assert s.highs[-1] == h.abs_max
    np.testing.assert_array_equal(s.lows, -s.highs)


@pytest.mark.parametrize("spec", [INT8_SYMMETRIC, UINT8_ASYMMETRIC], ids=str)
def test_the_curve_agrees_with_the_search(spec: QuantSpec) -> None:
    h = histogram_of(family("laplace"))
    s, c = search(Method.KL, h, spec), curves(h, spec, side="high")
    start = s.lows == (-s.highs if spec.symmetric else c.lows[0])
    near = np.interp(c.thresholds, s.highs[start], s.loss[start])
    some = np.isfinite(c.kl) & (c.thresholds > s.highs[start][0])
    assert some.sum() > 100
    assert np.median(np.abs(c.kl[some] / near[some] - 1)) < 0.05
