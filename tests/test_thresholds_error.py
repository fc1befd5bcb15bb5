"""Errors read off a histogram against errors computed on the values themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantscope.core import metrics
from quantscope.core.calibration import histogram_of
from quantscope.core.quant import Encoding, Range, encoding_from_range, fake_quantize
from quantscope.core.thresholds import curves, encoding_errors, errors_at
from tests.tensors import FAMILIES, SPECS, UINT8_ASYMMETRIC, family, quantized, raw_mse

SHARES = (1.0, 0.8, 0.5, 0.3)


def ranges(x: np.ndarray) -> list[Range]:
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    return [Range(low * share, high * share) for share in SHARES]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
@pytest.mark.parametrize("name", FAMILIES)
def test_errors_agree_with_the_values_themselves(name: str, spec: object) -> None:
    x = family(name)
    h = histogram_of(x)
    # Steps near or below a bin's width see that values crowd at one end of it (gelu's minimum).
    tolerance = 0.005 if spec.type.bits <= 8 else 0.06 if name == "gelu" else 0.015
    for range_ in ranges(x):
        encoding = encoding_from_range(range_, spec)
        q, error = quantized(x, encoding), errors_at(h, range_, spec)
        mse = raw_mse(x, encoding)
        assert error.mse == pytest.approx(mse, rel=tolerance)
        assert error.mse == pytest.approx(error.clipping_mse + error.rounding_mse, rel=1e-12)
        assert 1.0 - error.cosine == pytest.approx(1.0 - metrics.cosine(x, q), rel=tolerance, abs=1e-14)
        assert error.sqnr_db == pytest.approx(metrics.sqnr_db(x, q), abs=10 * np.log10(1 + tolerance))
        low, high = float(encoding.low) * (1 + 1e-6), float(encoding.high) * (1 + 1e-6)
        outside = (x > high) | (x < low)
        assert error.clipped_share == pytest.approx(outside.mean(), abs=5e-3 if name == "gelu" else 2e-4)
        clipped = float(np.sum((x - q)[outside] ** 2)) / x.size
        assert error.clipping_mse == pytest.approx(clipped, rel=tolerance, abs=tolerance * mse)


@pytest.mark.parametrize("name", FAMILIES)
def test_errors_agree_with_fake_quantize(name: str) -> None:
    x = family(name)
    range_ = ranges(x)[1]
    error = errors_at(histogram_of(x), range_, UINT8_ASYMMETRIC)
    q = fake_quantize(x, encoding_from_range(range_, UINT8_ASYMMETRIC))
    assert error.mse == pytest.approx(metrics.mse(x, q), rel=0.005)
    assert error.sqnr_db == pytest.approx(metrics.sqnr_db(x, q), abs=0.02)


ATOMS = st.floats(-1e6, 1e6, width=32)


@settings(deadline=None)
@given(
    st.tuples(ATOMS, ATOMS).map(sorted),
    st.tuples(st.integers(1, 50), st.integers(0, 50), st.integers(1, 50)),
    st.sampled_from(list(SPECS.values())),
    st.floats(0.1, 1.2),
)
def test_zeros_and_extremes_are_exact(
    ends: list[float], counts: tuple[int, int, int], spec: object, share: float
) -> None:
    low, high = ends
    x = np.repeat(np.float32([low, 0.0 if low <= 0.0 <= high else low, high]), counts)
    range_ = Range(min(low * share, 0.0), max(high * share, 0.0))
    encoding = encoding_from_range(range_, spec)
    peak = float(np.abs(x).max())
    assert errors_at(histogram_of(x), range_, spec).mse == pytest.approx(
        raw_mse(x, encoding), rel=1e-9, abs=1e-12 * peak**2
    )


def test_values_spread_evenly_in_their_bins_are_exact() -> None:
    """The model of the histogram itself: each bin holds its own number of evenly spaced values."""
    rng = np.random.default_rng(3)
    bins = np.arange(-300, 700)[rng.random(1000) < 0.5]
    sizes = rng.choice([25, 50, 100, 200], bins.size)
    x = np.concatenate([k + (np.arange(n) + 0.5) / n for k, n in zip(bins, sizes, strict=True)])
    h = histogram_of(np.append(x, [-8192.0, 8192.0]))  # fixes the width of a bin at 1
    assert h.width == 1.0
    for step in (2.3, 3.7, 11.0, 50.0):
        encoding = Encoding(np.float32(step), np.int32(90), UINT8_ASYMMETRIC.type, None, 0, 255)
        error = encoding_errors(h, encoding)
        expected = raw_mse(np.append(x, [-8192.0, 8192.0]), encoding)
        assert error.mse == pytest.approx(expected, rel=1e-6)
        # 25 points stand for a whole bin: that is worth about 1e-3 of the error inside.
        inside = (x >= float(encoding.low)) & (x <= float(encoding.high))
        rounding = np.sum((x - quantized(x, encoding))[inside] ** 2) / h.count
        assert error.rounding_mse == pytest.approx(float(rounding), rel=2e-3)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(-60, 60), st.floats(0.05, 1.0))
def test_errors_scale_with_the_data(seed: int, power: int, share: float) -> None:
    x = family("normal", seed, 500)
    spec, factor = UINT8_ASYMMETRIC, np.float32(2.0**power)
    range_ = Range(float(x.min()) * share, float(x.max()) * share)
    scaled = Range(range_.low * float(factor), range_.high * float(factor))
    a, b = errors_at(histogram_of(x), range_, spec), errors_at(histogram_of(x * factor), scaled, spec)
    assert b.mse == a.mse * float(factor) ** 2
    assert (b.cosine, b.sqnr_db, b.clipped_share) == (a.cosine, a.sqnr_db, a.clipped_share)


def test_min_and_max_clip_nothing() -> None:
    for name in FAMILIES:
        x = family(name)
        peak = float(np.abs(x).max())
        error = errors_at(histogram_of(x), Range(-peak, peak), SPECS["int8-symmetric"])
        assert error.clipped_share == 0.0
        assert error.clipping_mse == 0.0


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
@pytest.mark.parametrize("side", ["high", "low", "both"])
def test_curves_are_errors_at_each_threshold(side: str, spec: object) -> None:
    h = histogram_of(family("two_humps"))
    fixed = Range(-1.5, 2.5)
    c = curves(h, spec, n=64, side=side, fixed=fixed)
    assert np.all(np.diff(c.thresholds) > 0)
    assert c.thresholds.size == 64
    for i in (0, 17, 40, 63):
        error = errors_at(h, Range(c.lows[i], c.highs[i]), spec)
        for field in ("mse", "clipping_mse", "rounding_mse", "cosine", "sqnr_db", "clipped_share"):
            assert getattr(c, field)[i] == pytest.approx(getattr(error, field), rel=1e-12)
    negative = curves(histogram_of(family("negative")), spec, n=64, side=side)
    assert np.all(np.diff(negative.thresholds) > 0)
    if not spec.symmetric and side == "high":
        assert np.all(c.lows == fixed.low)
        assert c.highs[-1] == pytest.approx(h.max)
    if not spec.symmetric and side == "low":
        assert np.all(c.highs == fixed.high)
        assert c.lows[-1] == pytest.approx(h.min)
