"""Linear, power-of-two and logarithmic grids: against the values themselves and the formula of LOG2."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantscope.core.calibration import histogram_of
from quantscope.core.quant import UINT8, QuantSpec, QuantType, Range, encoding_from_range
from quantscope.core.thresholds import (
    Grid,
    Method,
    codebook_mse,
    compare_grids,
    linear_codebook,
    log2_codebook,
    search,
)
from tests.tensors import FAMILIES, INT8_SYMMETRIC, SPECS, UINT8_ASYMMETRIC, degenerate, family, quantized

DEGENERATE = degenerate()


def log2_by_formula(x: np.ndarray, bits: int, peak: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        exponent = np.rint(np.log2(np.abs(x) / peak))
    return np.sign(x) * 2.0 ** np.clip(exponent, -(2 ** (bits - 1) - 1), 0) * peak


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_log2_is_the_formula(name: str, bits: int) -> None:
    x = family(name, count=20_000).astype(np.float64)
    book = log2_codebook(np.abs(x).max(), bits)
    expected = log2_by_formula(x, bits, np.abs(x).max())
    np.testing.assert_allclose(book(x), expected, rtol=1e-12)
    mse = np.mean((x - expected) ** 2)
    assert codebook_mse(histogram_of(x.astype(np.float32)), book) == pytest.approx(mse, rel=5e-3)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("spec", [s for s in SPECS.values() if s.type.bits <= 8], ids=str)
def test_linear_codebooks_are_the_quantizer(name: str, spec: QuantSpec) -> None:
    x = family(name, count=5000)
    h = histogram_of(x)
    encoding = encoding_from_range(search(Method.MSE, h, spec).range, spec)
    book = linear_codebook(encoding)
    assert book.values.size == spec.qmax - spec.qmin + 1
    np.testing.assert_allclose(book(x), quantized(x, encoding), rtol=1e-9, atol=1e-12)
    by_grid = {g.grid: g for g in compare_grids(h, spec, search(Method.MSE, h, spec).range)}
    assert codebook_mse(h, book) == pytest.approx(by_grid[Grid.LINEAR].mse, rel=1e-6)
    assert by_grid[Grid.POWER_OF_TWO].mse >= by_grid[Grid.LINEAR].mse * 0.99
    scale = np.diff(by_grid[Grid.POWER_OF_TWO].codebook.values)[0]
    assert np.frexp(scale)[0] == pytest.approx(0.5)


@given(st.floats(1e-20, 1e20), st.integers(2, 16), st.booleans())
def test_staircases_go_through_the_quantizers_values(peak: float, bits: int, signed: bool) -> None:
    for book in (
        log2_codebook(peak, bits, signed=signed),
        linear_codebook(
            encoding_from_range(
                Range(-peak, peak), QuantSpec(type=QuantType(min(bits, 8), True), symmetric=True)
            )
        ),
    ):
        low = -1.2 * peak if book.values[0] < 0 else 0.0
        x, y = book.staircase(low, 1.2 * peak)
        assert x.shape == y.shape
        assert (x[0], x[-1]) == (low, 1.2 * peak)
        assert np.all(np.diff(x) >= 0)
        assert np.all(np.diff(y) >= 0)
        wide = (x[1::2] - x[::2]) > 1e-9 * x[1::2]
        middles = (x[::2] + x[1::2])[wide] / 2
        np.testing.assert_array_equal(book(middles[middles != 0]), y[::2][wide][middles != 0])


def test_logarithms_suit_values_of_many_magnitudes_and_nothing_else() -> None:
    """Wide log-normal values at few bits: LOG2 wins; evenly spread ones: linear wins by far."""
    rng = np.random.default_rng(0)
    spec = QuantSpec(type=QuantType(4, False), symmetric=False)
    wide = histogram_of(rng.lognormal(0, 3, 100_000).astype(np.float32))
    even = histogram_of(rng.uniform(0, 1, 100_000).astype(np.float32))
    for h, log_wins in ((wide, True), (even, False)):
        by_grid = {g.grid: g for g in compare_grids(h, spec, search(Method.MSE, h, spec).range)}
        assert (by_grid[Grid.LOG2].sqnr_db > by_grid[Grid.LINEAR].sqnr_db) == log_wins
    # More bits do not help: neighbouring levels stay a factor of two apart, at best 15 dB or so.
    eight = compare_grids(even, UINT8_ASYMMETRIC, Range(0, 1))[-1]
    assert 14 < eight.sqnr_db < 18
    assert abs(eight.sqnr_db - compare_grids(even, SPECS["uint4-asymmetric"], Range(0, 1))[-1].sqnr_db) < 0.1


def test_unsigned_values_spend_no_bit_on_the_sign() -> None:
    h = histogram_of(family("relu"))
    values = compare_grids(h, QuantSpec(type=QuantType(3, False), symmetric=True), Range(0, h.max))[
        -1
    ].codebook.values
    np.testing.assert_allclose(values, h.max * 2.0 ** np.arange(-7, 1))
    values = compare_grids(histogram_of(family("normal")), SPECS["int2-symmetric"], Range(-4, 4))[
        -1
    ].codebook.values
    assert values.size == 4
    assert np.all(values == -values[::-1])


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_tensors_have_finite_errors(name: str) -> None:
    h = histogram_of(DEGENERATE[name])
    for spec in (INT8_SYMMETRIC, UINT8_ASYMMETRIC, QuantSpec(type=UINT8, symmetric=True)):
        grids = compare_grids(h, spec, search(Method.MINMAX, h, spec).range)
        assert len(grids) > 1
        for found in grids:
            assert np.isfinite(found.mse)
            assert not np.isnan(found.sqnr_db)
            assert np.all(np.diff(found.codebook.values) >= 0)
