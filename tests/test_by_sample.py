"""Methods that look at single samples: what is recorded, moving averages, and the order of scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quantscope.core.calibration import Accumulator, BySample, Statistics, calibrate, histogram_of
from quantscope.core.calibration.by_sample import Recorder, merge_recorders, top_two
from quantscope.core.data.sources import random_samples
from quantscope.core.quant import QuantSpec, Range, encoding_from_range, quantize_values
from quantscope.core.quantize import resolve
from quantscope.core.recipe import Recipe
from quantscope.core.thresholds import FROM_SAMPLES, Method, errors_at, search
from quantscope.core.thresholds.moving_average import running_averages
from tests.quantizing import network
from tests.tensors import INT8_SYMMETRIC, SPECS, UINT8_ASYMMETRIC, degenerate

DEGENERATE = degenerate()


def of(extremes: list[list[float]], tops: np.ndarray | None = None) -> BySample:
    return BySample(extremes=np.array(extremes, np.float64).reshape(-1, 2), tops=tops)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, hnp.array_shapes(max_side=60)), st.integers(1, 3))
def test_an_accumulator_knows_the_extremes_of_the_latest_array(x: np.ndarray, times: int) -> None:
    a = Accumulator()
    a.add(np.float32([-1e6, 1e6]))
    for _ in range(times):
        a.add(x)
    finite = x[np.isfinite(x)]
    expected = (finite.min(), finite.max()) if finite.size else (np.inf, -np.inf)
    assert a.latest == expected


def test_recorders_join_in_the_order_of_the_samples() -> None:
    a, b = Recorder(), Recorder()
    b.note("x", 2, (np.inf, -np.inf))
    a.note("x", 1, (-2.0, 5.0))
    b.note("x", 0, (-1.0, 1.0))
    b.note_scores("x", 2, np.float32([[1, 3, 2]]))
    a.note_scores("x", 1, np.float32([[5, 4], [0, 9]]))
    a.note_scores("x", 0, np.zeros((2, 3, 4, 4), np.float32))  # a map, no scores
    found = merge_recorders([a, b], 3)["x"]
    np.testing.assert_array_equal(found.extremes, [[-1, 1], [-2, 5], [np.nan, np.nan]])
    assert found.tops is not None
    np.testing.assert_array_equal(found.tops, [[5, 4], [9, 0], [3, 2]])


def test_top_two_along_any_axis() -> None:
    x = np.random.default_rng(0).standard_normal((4, 7, 5))
    x[0, 0, 0] = np.nan
    ordered = np.sort(np.moveaxis(x, 1, -1).reshape(-1, 7)[1:], axis=1)
    np.testing.assert_array_equal(top_two(x, axis=1), ordered[:, [-1, -2]])


@pytest.mark.parametrize("threads", [1, 3])
def test_calibration_records_each_sample(threads: int) -> None:
    model = network("mobile_cnn")
    statistics = calibrate(model, random_samples(model, 5), threads=threads, cache=False)
    assert set(statistics.by_sample) == set(statistics.histograms)
    for name, seen in statistics.by_sample.items():
        h = statistics.histograms[name]
        assert seen.extremes.shape == (5, 2)
        assert (seen.extremes[:, 0].min(), seen.extremes[:, 1].max()) == (h.min, h.max)
        assert np.flatnonzero(seen.extremes[:, 1] == h.max)[0] == h.max_sample
    tops = [seen.tops for name, seen in statistics.by_sample.items() if name == model.outputs[0].name]
    assert len(tops) == 1
    assert tops[0] is not None
    assert tops[0].shape == (5, 2)
    again = Statistics.from_bytes(statistics.to_bytes())
    for name, seen in statistics.by_sample.items():
        np.testing.assert_array_equal(again.by_sample[name].extremes, seen.extremes)
        if seen.tops is None:
            assert again.by_sample[name].tops is None
        else:
            np.testing.assert_array_equal(again.by_sample[name].tops, seen.tops)
    resolved = resolve(Recipe().with_default(method=Method.MOVING_AVERAGE), statistics, model)
    assert sum("Moving average" in s.reason for s in resolved.searches.values()) == len(resolved.searches)


def test_statistics_without_samples_keep_every_value_and_say_so() -> None:
    model = network("mobile_cnn")
    statistics = replace(calibrate(model, random_samples(model, 2), cache=False), by_sample={})
    assert Statistics.from_bytes(statistics.to_bytes()).by_sample == {}
    for method, words in ((Method.MOVING_AVERAGE, "No extremes"), (Method.ISOTONE, "no rows of scores")):
        found = resolve(Recipe().with_default(method=method), statistics, model)
        plain = resolve(Recipe(), statistics, model)
        assert found.activations == plain.activations
        assert all(words in s.reason for s in found.searches.values())


def test_the_moving_average_is_a_weighted_mean() -> None:
    extremes = np.random.default_rng(0).standard_normal((40, 2))
    c, n = 0.01, 40
    weights = np.array([(1 - c) ** (n - 1)] + [c * (1 - c) ** (n - 1 - i) for i in range(1, n)])
    assert weights.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(running_averages(extremes, c)[-1], weights @ extremes, rtol=1e-12)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_the_order_decides(spec: QuantSpec) -> None:
    ends = [[-1.0, 2.0]] * 50 + [[-1.0, 10.0]] * 50
    h = histogram_of(np.float32([-1.0, 2.0, 10.0]))
    rising = search(Method.MOVING_AVERAGE, h, spec, by_sample=of(ends))
    falling = search(Method.MOVING_AVERAGE, h, spec, by_sample=of(ends[::-1]))
    assert rising.range.high == pytest.approx(2 + 8 * (1 - 0.99**50), rel=1e-9)
    assert falling.range.high == pytest.approx(10 - 8 * (1 - 0.99**50), rel=1e-9)
    assert "order" in rising.reason
    steady = search(Method.MOVING_AVERAGE, h, spec, by_sample=of([[-1.0, 2.0]] * 3 + [[np.nan, np.nan]]))
    assert steady.range.high == pytest.approx(2.0)
    for s in (rising, falling):
        assert np.all(np.diff(s.highs - s.lows) >= 0)
        assert ((s.lows == s.range.low) & (s.highs == s.range.high)).any()


def scores(margin: float, seed: int = 0) -> np.ndarray:
    """Logits whose winner leads by at least `margin`."""
    x = np.random.default_rng(seed).standard_normal((500, 20)).astype(np.float32)
    x[np.arange(500), x.argmax(axis=1)] += np.float32(margin)
    return x


def kept(x: np.ndarray, range_: Range, spec: QuantSpec) -> float:
    q = quantize_values(x, encoding_from_range(range_, spec)).astype(np.int64)
    top, winner = np.sort(q, axis=1), x.argmax(axis=1)
    return float(np.mean((q[np.arange(len(x)), winner] == top[:, -1]) & (top[:, -1] > top[:, -2])))


@pytest.mark.parametrize("spec", [s for s in SPECS.values() if s.type.bits in (2, 4, 8)], ids=str)
@pytest.mark.parametrize("shift", [0.0, 4.0])
def test_no_other_range_keeps_more_winners(spec: QuantSpec, shift: float) -> None:
    x = scores(0.3) + np.float32(shift)
    h = histogram_of(x)
    found = search(Method.ISOTONE, h, spec, by_sample=of([], top_two(x)))
    ours = kept(x, found.range, spec)
    assert found.loss.min() == pytest.approx(1 - ours, abs=1e-9)
    for method in (Method.MINMAX, Method.MSE, Method.PERCENTILE, Method.KL):
        other = search(method, h, spec).range
        if spec.symmetric or other.low == found.range.low:  # the low end is not searched
            assert ours >= kept(x, other, spec) - 0.004


def test_of_ranges_that_keep_all_the_best_is_taken() -> None:
    x = scores(2.0)
    h = histogram_of(x)
    found = search(Method.ISOTONE, h, INT8_SYMMETRIC, by_sample=of([], top_two(x)))
    assert kept(x, found.range, INT8_SYMMETRIC) == 1.0
    best = errors_at(h, search(Method.MSE, h, INT8_SYMMETRIC).range, INT8_SYMMETRIC).mse
    assert errors_at(h, found.range, INT8_SYMMETRIC).mse <= 1.3 * best
    assert "all but 0 of 500 rows" in found.reason


def test_probabilities_near_one_are_not_clipped_into_ties() -> None:
    logits = 6 * np.random.default_rng(1).standard_normal((800, 10))
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    x = (e / e.sum(axis=1, keepdims=True)).astype(np.float32)
    h = histogram_of(x)
    found = search(Method.ISOTONE, h, UINT8_ASYMMETRIC, by_sample=of([], top_two(x)))
    entropy = search(Method.KL, h, UINT8_ASYMMETRIC)
    assert kept(x, found.range, UINT8_ASYMMETRIC) > 0.99 > kept(x, entropy.range, UINT8_ASYMMETRIC)


@pytest.mark.parametrize("method", FROM_SAMPLES)
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_tensors_get_usable_scales(name: str, method: Method) -> None:
    x = DEGENERATE[name]
    h = histogram_of(x)
    rows = np.resize(x, (20, 5)) if x.size else np.zeros((0, 5))
    shown = of([[h.min, h.max]] * 3, top_two(rows))
    for spec in SPECS.values():
        for known in (shown, of([]), None):
            s = search(method, h, spec, by_sample=known)
            encoding = encoding_from_range(s.range, spec)
            assert 0 < encoding.scale < np.inf
            assert s.range.low <= 0.0 <= s.range.high
            assert s.lows.shape == s.highs.shape == s.loss.shape
            assert not np.isnan(s.loss).any()
            assert np.all(np.diff(s.highs - s.lows) >= 0)
            assert s.reason.endswith(".")
            assert s.method is method
