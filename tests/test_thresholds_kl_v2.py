"""kl_v2 against its definition written out, and where the entropy method fails."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantscope.core.calibration import histogram_of
from quantscope.core.quant import INT8, QuantSpec
from quantscope.core.thresholds import Method, Search, errors_at, search
from quantscope.core.thresholds.kl import BINS, magnitude_bins, signed_bins
from quantscope.core.thresholds.kl_v2 import chance, chance_table, window_losses
from tests.tensors import INT8_SYMMETRIC, SPECS, UINT8_ASYMMETRIC, family

UINT8_UNSIGNED = SPECS["uint8-symmetric"]


def run(method: Method, x: np.ndarray, spec: QuantSpec) -> Search:
    return search(method, histogram_of(np.asarray(x, np.float32)), spec)


def losses_by_definition(counts: np.ndarray, start: int, stop: int, levels: int) -> tuple[float, float]:
    """Unevenness and clipping of a window, cell by cell; each cell is a whole number of half bins."""
    step = (stop - start) / levels
    halves = np.repeat(counts / 2, 2)  # bins are even inside
    borders = [start, *(start + (c + 0.5) * step for c in range(levels)), stop]
    uneven = 0.0
    for left, right in itertools.pairwise(borders):
        inside = halves[round(2 * left) : round(2 * right)]
        held, bins = inside.sum(), right - left
        if held > 0:
            own = sum(v * math.log(2 * v) for v in inside if v > 0)
            uneven += own - held * math.log(held / bins) - (bins - 1) * float(expected_excess(held / bins))
    centers = np.arange(counts.size) + 0.5
    moved = (counts * np.maximum(np.maximum(centers - stop, start - centers), 0.0)).sum() / step
    return uneven / counts.sum(), moved / counts.sum()


def expected_excess(mean: float) -> float:
    n = np.arange(1, 400)
    log_chance = n * math.log(mean) - mean - np.array([math.lgamma(k + 1) for k in n])
    return float((n * np.log(n) * np.exp(log_chance)).sum()) - mean * math.log(mean)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 4, 8]), st.integers(0, 40), st.integers(1, 12))
def test_window_losses_are_the_definition(seed: int, levels: int, start: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 60, 160) * (rng.random(160) < 0.8) * 1.0
    counts[-1] += 1
    stop = min(start + 2 * size * levels, 160)
    stop -= (stop - start) % levels  # so that cells end on halves of bins
    terms = counts * np.log(np.where(counts > 0, counts, 1))
    above = np.array([((np.arange(160) + 0.5 - b) * counts)[b:].sum() for b in range(161)])
    below = np.array([((a - np.arange(160) - 0.5) * counts)[:a].sum() for a in range(161)])
    sums = [np.append(0, np.cumsum(part)) for part in (counts, terms)]
    window = np.array([start]), np.array([stop])
    found = window_losses(*sums, above, below, counts.sum(), *window, levels, chance_table())[0]
    uneven, moved = losses_by_definition(counts, start, stop, levels)
    assert found[1] == pytest.approx(moved, rel=1e-9, abs=1e-12)
    if (stop - start) / levels > 1:
        assert found[0] == pytest.approx(uneven, rel=1e-6, abs=2e-3)


def test_chance_is_taken_off() -> None:
    """Even values have no unevenness on average, however few there are."""
    for mean in (1e-3, 0.1, 1.0, 7.3, 63.0, 500.0):
        looked_up = chance(chance_table(), mean, math.log(mean))
        assert looked_up == pytest.approx(expected_excess(mean) if mean < 100 else 0.5, rel=5e-3)
    for count in (300, 3000, 30_000, 300_000):
        x = np.random.default_rng(count).uniform(-1, 1, count)
        for spec in (INT8_SYMMETRIC, UINT8_ASYMMETRIC, SPECS["int4-symmetric"]):
            range_ = run(Method.KL_V2, x, spec).range
            assert range_.high > 0.9 * x.max(), count


@pytest.mark.parametrize("spec", [INT8_SYMMETRIC, UINT8_ASYMMETRIC, UINT8_UNSIGNED], ids=str)
@pytest.mark.parametrize("name", ["laplace", "relu", "gelu", "two_humps"])
def test_exact_zeros_do_not_move_the_threshold(name: str, spec: QuantSpec) -> None:
    x = family(name, count=50_000)
    x = x[x != 0]
    more = np.append(x, np.zeros(20 * x.size, np.float32))
    assert run(Method.KL_V2, x, spec).range == run(Method.KL_V2, more, spec).range
    assert run(Method.KL, x, INT8_SYMMETRIC).range != run(Method.KL, more, INT8_SYMMETRIC).range


def softmax(seed: int = 0) -> np.ndarray:
    e = np.exp(3 * np.random.default_rng(seed).standard_normal((2000, 100)))
    return (e / e.sum(axis=1, keepdims=True)).reshape(-1)


def relu_with_zeros(seed: int = 0) -> np.ndarray:
    return np.maximum(np.random.default_rng(seed).standard_normal(200_000), 0)


def relu6(seed: int = 0) -> np.ndarray:
    return np.clip(3 * np.random.default_rng(seed).standard_normal(200_000), 0, 6)


def mostly_zero(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(200_000) < 0.05, rng.standard_normal(200_000), 0)


@pytest.mark.parametrize("spec", [INT8_SYMMETRIC, UINT8_ASYMMETRIC], ids=str)
@pytest.mark.parametrize("draw", [softmax, relu_with_zeros, relu6, mostly_zero])
def test_where_kl_fails_the_threshold_is_sane(draw, spec: QuantSpec) -> None:  # type: ignore[no-untyped-def]
    h = histogram_of(draw().astype(np.float32))
    best = errors_at(h, search(Method.MSE, h, spec).range, spec).mse
    assert errors_at(h, search(Method.KL_V2, h, spec).range, spec).mse <= 3 * best
    if draw is not relu6 and spec is INT8_SYMMETRIC:
        assert errors_at(h, search(Method.KL, h, spec).range, spec).mse >= 50 * best


@pytest.mark.parametrize("spec", [INT8_SYMMETRIC, UINT8_ASYMMETRIC], ids=str)
def test_a_few_outliers_are_clipped_a_lot_of_mass_is_not(spec: QuantSpec) -> None:
    x = family("normal").copy()
    x[:20] *= 100
    range_ = run(Method.KL_V2, x, spec).range
    assert 5 < range_.high < 0.6 * np.abs(x).max()
    h = histogram_of(x)
    assert errors_at(h, range_, spec).clipped_share < 1e-3


@pytest.mark.parametrize("name", ["outliers", "heavy_tail"])
@pytest.mark.parametrize("spec", [SPECS["int4-symmetric"], SPECS["uint4-asymmetric"]], ids=str)
def test_with_few_bits_the_bulk_counts_and_not_the_outliers(name: str, spec: QuantSpec) -> None:
    """At full range the bulk is one level's heap, and moving one end alone does not help."""
    h = histogram_of(family(name))
    best = errors_at(h, search(Method.MSE, h, spec).range, spec).mse
    assert errors_at(h, search(Method.KL_V2, h, spec).range, spec).mse <= 1.2 * best


def test_bins_without_a_spike_are_all_used() -> None:
    assert magnitude_bins(histogram_of(family("normal"))).size == BINS
    assert signed_bins(histogram_of(family("normal"))).size == BINS
    assert (
        search(Method.KL_V2, histogram_of(family("normal")), QuantSpec(type=INT8, symmetric=True)).flags == ()
    )
