"""Metrics: known answers, relations that must hold, and the rules for zeros, NaN and overflow."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from quantscope.core import metrics

VECTORS = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        *[arrays.arrays(np.float64, n, elements=st.floats(-1e3, 1e3).map(lambda v: round(v, 3)))] * 2
    )
)
PAIRWISE = (
    metrics.cosine,
    metrics.sqnr_db,
    metrics.mse,
    metrics.nmse,
    metrics.max_abs_error,
    metrics.relative_error,
)
PERFECT = {"cosine": 1.0, "sqnr_db": math.inf}
F, Q = np.array([3.0, 4.0, 0.0]), np.array([4.0, 3.0, 1.0])


def test_known_answers() -> None:
    assert metrics.cosine(F, Q) == pytest.approx(24 / (5 * math.sqrt(26)))
    assert metrics.mse(F, Q) == 1.0
    assert metrics.nmse(F, Q) == pytest.approx(3 / 25)
    assert metrics.sqnr_db(F, Q) == pytest.approx(10 * math.log10(25 / 3))
    assert metrics.relative_error(F, Q) == pytest.approx(math.sqrt(3) / 5)
    assert metrics.max_abs_error(F, Q) == 1.0
    assert metrics.rmse_over_scale(F, Q, 0.5) == 2.0
    assert metrics.kl_divergence(np.array([1, 1]), np.array([1, 3])) == pytest.approx(0.5 * math.log(4 / 3))
    assert metrics.quantization_loss(0.8, 0.76) == pytest.approx(5.0)


def test_ideal_rounding_costs_a_scale_over_root_12() -> None:
    x = np.random.default_rng(0).uniform(-100, 100, 200_000)
    assert metrics.rmse_over_scale(x, np.rint(x), 1.0) == pytest.approx(1 / math.sqrt(12), rel=0.01)


@given(VECTORS)
def test_relations(pair: tuple[np.ndarray, np.ndarray]) -> None:
    f, q = pair
    assert -1.0 <= metrics.cosine(f, q) <= 1.0
    assert metrics.cosine(f, q) == pytest.approx(metrics.cosine(q, f))
    assert metrics.cosine(f, 2 * q) == pytest.approx(metrics.cosine(f, q))
    assert metrics.mse(f, q) == pytest.approx(float(np.mean((f - q) ** 2)))
    assert metrics.mse(f, q) <= metrics.max_abs_error(f, q) ** 2 * (1 + 1e-12)
    if np.any(f):
        assert metrics.relative_error(f, q) == pytest.approx(math.sqrt(metrics.nmse(f, q)))
        if np.any(f != q):
            assert metrics.sqnr_db(f, q) == pytest.approx(-10 * math.log10(metrics.nmse(f, q)))


@pytest.mark.parametrize("metric", PAIRWISE)
def test_equal_values_are_perfect_in_any_shape_and_type(metric: object) -> None:
    x = np.random.default_rng(1).standard_normal((4, 5, 6)).astype(np.float32)
    perfect = PERFECT.get(metric.__name__, 0.0)
    assert metric(x, x.copy()) == perfect
    assert metric(x.reshape(-1), x) == perfect
    assert metric(x[:0], x[:0]) == perfect
    assert metric(np.zeros(3), np.zeros(3)) == perfect


@pytest.mark.parametrize("metric", PAIRWISE)
def test_nan_is_never_hidden(metric: object) -> None:
    bad = np.array([1.0, np.nan, 2.0])
    for pair in ((bad, F), (F, bad), (bad, bad), (bad, np.zeros(3)), (np.zeros(3), bad)):
        assert math.isnan(metric(*pair))


@pytest.mark.parametrize("metric", PAIRWISE)
def test_infinity_never_looks_good(metric: object) -> None:
    bad = np.array([1.0, np.inf, 2.0])
    for pair in ((bad, F), (F, bad), (bad, bad)):
        value = metric(*pair)
        assert math.isnan(value) or value == (-math.inf if metric is metrics.sqnr_db else math.inf)


def test_zero_rules() -> None:
    zero = np.zeros(3)
    assert metrics.cosine(F, zero) == metrics.cosine(zero, F) == 0.0
    assert metrics.sqnr_db(zero, F) == -math.inf
    assert metrics.sqnr_db(F, zero) == 0.0
    assert metrics.nmse(zero, F) == metrics.relative_error(zero, F) == math.inf
    assert metrics.quantization_loss(0.0, 0.0) == 0.0
    assert metrics.quantization_loss(0.0, 0.1) == math.inf


@pytest.mark.parametrize("factor", [1e-300, 1e-38, 1e30, 1e300])
def test_squares_neither_vanish_nor_overflow(factor: float) -> None:
    for metric in (metrics.cosine, metrics.sqnr_db, metrics.nmse, metrics.relative_error):
        assert metric(F * factor, Q * factor) == pytest.approx(metric(F, Q))


def test_float32_sums_are_taken_in_float64() -> None:
    x = np.full(1 << 20, 0.1, np.float32)
    x[0] = 1e4
    assert metrics.mse(x, np.zeros_like(x)) == pytest.approx(
        float(np.mean(x.astype(np.float64) ** 2)), rel=1e-12
    )


def test_shapes_that_do_not_fit_are_refused() -> None:
    for metric in PAIRWISE:
        with pytest.raises(ValueError, match="3 and 2 elements"):
            metric(F, Q[:2])
    for scale in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="scale"):
            metrics.rmse_over_scale(F, Q, scale)


def test_kl_divergence_rules() -> None:
    p, q = np.array([2, 0, 2]), np.array([1, 1, 2])
    assert metrics.kl_divergence(p, p * 7) == 0.0
    assert metrics.kl_divergence(q, p) == math.inf
    assert metrics.kl_divergence(p, q) == pytest.approx(0.5 * math.log(2))
    assert metrics.kl_divergence(p * 0, p * 0) == 0.0
    assert metrics.kl_divergence(p, p * 0) == metrics.kl_divergence(p * 0, p) == math.inf
    assert math.isnan(metrics.kl_divergence(np.array([1.0, np.nan]), np.array([1.0, 1.0])))
    with pytest.raises(ValueError, match="negative"):
        metrics.kl_divergence(-p, q)


@given(
    arrays.arrays(np.int64, 12, elements=st.integers(0, 50)),
    arrays.arrays(np.int64, 12, elements=st.integers(1, 50)),
)
def test_kl_divergence_is_never_negative(p: np.ndarray, q: np.ndarray) -> None:
    assert metrics.kl_divergence(p, q) >= 0.0


def test_top_k() -> None:
    logits = np.array([[0.1, 0.7, 0.2], [0.5, 0.1, 0.4], [0.3, 0.3, 0.3], [np.nan, 1.0, 0.0]])
    labels = np.array([1, 2, 2, 1])
    assert metrics.top_k_accuracy(logits, labels) == 0.25
    assert metrics.top_k_accuracy(logits, labels, 2) == 0.5
    assert metrics.top_k_accuracy(logits, labels, 3) == 0.75  # NaN is wrong at any k
    assert math.isnan(metrics.top_k_accuracy(logits[:0], labels[:0]))


@given(arrays.arrays(np.float32, (20, 7), elements=st.floats(-3, 3, width=16)), st.integers(0, 1000))
def test_top_1_is_argmax_and_k_adds_up(logits: np.ndarray, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 7, 20)
    by_k = [metrics.top_k_accuracy(logits, labels, k) for k in range(1, 8)]
    assert by_k[0] == np.mean(logits.argmax(axis=1) == labels)
    assert by_k == sorted(by_k)
    assert by_k[-1] == 1.0


def test_top_k_refuses_what_makes_no_sense() -> None:
    logits = np.zeros((3, 4))
    for scores, labels, k in (
        (logits, np.array([0, 1]), 1),
        (logits[0], np.array([0, 1, 2]), 1),
        (logits, np.array([0, 1, 4]), 1),
        (logits, np.array([0, 1, -1]), 1),
        (logits, np.array([0.0, 1.0, 2.0]), 1),
        (logits, np.array([0, 1, 2]), 0),
    ):
        with pytest.raises(ValueError, match=r"scores|labels|k is"):
            metrics.top_k_accuracy(scores, labels, k)


def test_agreement() -> None:
    f = np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [np.nan, 1.0]])
    q = np.array([[0.0, 9.0], [0.0, 1.0], [0.5, 0.6], [0.0, 1.0]])
    assert metrics.agreement(f, q) == 0.5
    assert math.isnan(metrics.agreement(f[:0], q[:0]))
    with pytest.raises(ValueError, match="scores"):
        metrics.agreement(f, q[:2])


def test_every_metric_has_its_formula() -> None:
    functions = {
        name
        for name, member in vars(metrics).items()
        if inspect.isfunction(member) and member.__module__ == metrics.__name__ and not name.startswith("_")
    }
    assert functions <= set(metrics.FORMULAS)
