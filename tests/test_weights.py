"""Weight ranges: per channel never worse than per tensor, least squares never worse than MinMax."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantscope.core.quant import INT8, QuantSpec, QuantType, fake_quantize
from quantscope.core.thresholds import WeightMethod, channel_rows, weight_encoding

SPEC = QuantSpec(type=INT8, symmetric=True, narrow_range=True)


def error(weight: np.ndarray, axis: int | None, method: WeightMethod, bits: int = 8) -> float:
    spec = QuantSpec(type=QuantType(bits, True), symmetric=True, narrow_range=True, axis=axis)
    return float(((fake_quantize(weight, weight_encoding(weight, spec, method)) - weight) ** 2).sum())


def uneven(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((8, 4, 3, 3)) * 10.0 ** rng.uniform(-2, 1, (8, 1, 1, 1))).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 3])
def test_channels_are_scaled_by_their_own_largest_magnitude(axis: int) -> None:
    weight = uneven()
    encoding = weight_encoding(weight, QuantSpec(type=INT8, symmetric=True, narrow_range=True, axis=axis))
    others = tuple(i for i in range(4) if i != axis)
    np.testing.assert_allclose(encoding.scale, np.abs(weight).max(axis=others) / 127, rtol=1e-6)
    assert not encoding.zero_point.any()


@given(st.integers(0, 50))
@settings(max_examples=15)
def test_per_channel_beats_per_tensor(seed: int) -> None:
    weight = uneven(seed)
    assert error(weight, 0, WeightMethod.MINMAX) < error(weight, None, WeightMethod.MINMAX)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("axis", [None, 0])
def test_least_squares_is_the_best_of_its_grid(bits: int, axis: int | None) -> None:
    weight = uneven(1)
    weight[:, 0, 0, 0] *= 6  # an outlier a channel
    least = error(weight, axis, WeightMethod.MSE, bits)
    assert least <= error(weight, axis, WeightMethod.MINMAX, bits)
    spec = QuantSpec(type=QuantType(bits, True), symmetric=True, narrow_range=True, axis=axis)
    found = weight_encoding(weight, spec, WeightMethod.MSE)
    for factor in (0.9, 0.95, 1.05):
        scale = (found.scale * np.float32(factor)).astype(np.float32)
        other = type(found)(scale, found.zero_point, found.type, found.axis, found.qmin, found.qmax)
        assert least <= float(((fake_quantize(weight, other) - weight) ** 2).sum()) * 1.05


def test_percentile_clips_outliers() -> None:
    weight = np.concatenate([np.linspace(-1, 1, 9999), [50.0]]).astype(np.float32)
    encoding = weight_encoding(weight, SPEC, WeightMethod.PERCENTILE, percentile=99.9)
    assert 0.9 < encoding.high < 1.1


@pytest.mark.parametrize("method", WeightMethod)
@pytest.mark.parametrize("value", [0.0, 1e-40, 1e30])
def test_degenerate_weights_get_usable_scales(method: WeightMethod, value: float) -> None:
    encoding = weight_encoding(np.full((3, 4), value, np.float32), SPEC, method)
    assert np.isfinite(encoding.scale).all()
    assert (encoding.scale > 0).all()


def test_rows() -> None:
    weight = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert channel_rows(weight, 1).shape == (3, 8)
    np.testing.assert_array_equal(channel_rows(weight, 1)[2], [8, 9, 10, 11, 20, 21, 22, 23])
    assert channel_rows(weight, None).shape == (1, 24)
