"""What a comparison adds up: error sums in any order, figures at their edges, rows of class scores."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantscope.core import metrics
from quantscope.core.evaluate import ErrorSums, ErrorTotal, class_scores, error_sums, tensor_error
from quantscope.core.evaluate.scores import count_rows
from quantscope.core.evaluate.sums import ExactSum
from quantscope.core.quant import INT8, INT16, UINT8, UINT16, Encoding, QuantType, dequantize


def encoding(kind: QuantType, scale: float = 0.031, zero: int = 3) -> Encoding:
    return Encoding(
        np.float32(scale).reshape(()), np.int32(zero).reshape(()), kind, None, kind.qmin, kind.qmax
    )


# ---- sums ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [INT8, UINT8, INT16, UINT16, None], ids=str)
@pytest.mark.parametrize("size", [1, 63, 64, 65, 1000])
def test_sums_agree_with_numpy(kind: QuantType | None, size: int) -> None:
    rng = np.random.default_rng(size)
    f = rng.standard_normal(size).astype(np.float32)
    if kind is None:
        q: np.ndarray = (f + rng.standard_normal(size) * 0.01).astype(np.float32)
        values, enc = q, None
    else:
        enc = encoding(kind)
        q = rng.integers(kind.qmin, kind.qmax, size, endpoint=True).astype(kind.dtype)
        values = dequantize(q, enc)
    sums = error_sums(f, q, enc)
    a, b = f.astype(np.float64), values.astype(np.float64)
    assert sums.ff == pytest.approx((a * a).sum(), rel=1e-13)
    assert sums.qq == pytest.approx((b * b).sum(), rel=1e-13)
    assert sums.fq == pytest.approx((a * b).sum(), rel=1e-11, abs=1e-11 * sums.qq)
    assert sums.dd == pytest.approx(((a - b) ** 2).sum(), rel=1e-13)
    assert sums.max_abs == np.abs(a - b).max()
    assert (sums.count, sums.non_finite) == (size, 0)


def test_sums_of_any_layout_and_precision() -> None:
    rng = np.random.default_rng(0)
    f = rng.standard_normal((4, 6, 5)).astype(np.float32)
    q = (f * 1.01).astype(np.float32)
    assert error_sums(f.transpose(2, 0, 1), q.transpose(2, 0, 1)).dd == pytest.approx(error_sums(f, q).dd)
    half = f.astype(np.float16)
    assert error_sums(half, half.astype(np.float32)).dd == 0.0
    assert error_sums(f.astype(np.float64), q).dd == error_sums(f, q).dd
    fixed = f.copy()
    fixed.flags.writeable = False
    assert error_sums(fixed, q) == error_sums(f, q)


def test_per_channel_integers() -> None:
    q = np.arange(12, dtype=np.int8).reshape(3, 4)
    enc = Encoding(np.array([0.5, 1.0, 2.0], np.float32), np.zeros(3, np.int32), INT8, 0, -128, 127)
    assert error_sums(dequantize(q, enc), q, enc).dd == 0.0
    assert error_sums(dequantize(q, enc) + 1, q, enc).dd == 12.0


@given(st.lists(st.floats(-1e30, 1e30, allow_nan=False), max_size=40), st.randoms())
def test_exact_sum_is_exact_in_any_order(values: list[float], random: Any) -> None:
    forwards, shuffled = ExactSum(), ExactSum()
    for x in values:
        forwards.add(x)
    for x in random.sample(values, len(values)):
        shuffled.add(x)
    assert forwards.value == shuffled.value == float(sum(map(Fraction, values), Fraction()))


@given(st.integers(0, 2**32 - 1), st.randoms())
@settings(max_examples=30)
def test_totals_do_not_depend_on_order(seed: int, random: Any) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(rng.integers(1, 300)).astype(np.float32) * 10.0**i for i in range(-3, 4)]
    parts = [error_sums(a, np.rint(a * 8) / np.float32(8)) for a in arrays]
    one, other = ErrorTotal(), ErrorTotal()
    for part in parts:
        one.add(part)
    for part in random.sample(parts, len(parts)):
        other.add(part)
    assert one.error() == other.error()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_figures_keep_their_definitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    f = rng.standard_normal((3, 50)).astype(np.float32)
    q = f + (rng.standard_normal((3, 50)) * 0.1).astype(np.float32)
    e = tensor_error(f, q)
    assert e.cosine == pytest.approx(metrics.cosine(f, q), rel=1e-12)
    assert e.sqnr_db == pytest.approx(metrics.sqnr_db(f, q), rel=1e-12)
    assert e.mse == pytest.approx(metrics.mse(f, q), rel=1e-12)
    assert e.nmse == pytest.approx(metrics.nmse(f, q), rel=1e-12)
    assert e.max_abs_error == metrics.max_abs_error(f, q)


@pytest.mark.parametrize(("f", "q"), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (1.0, -1.0)])
def test_zero_tensors_follow_the_rules(f: float, q: float) -> None:
    x, y = np.full(70, f, np.float32), np.full(70, q, np.float32)
    e = tensor_error(x, y)
    expected = (metrics.cosine(x, y), metrics.sqnr_db(x, y), metrics.nmse(x, y))
    assert (e.cosine, e.sqnr_db, e.nmse) == expected


def test_nan_and_infinity_are_never_perfect() -> None:
    f = np.arange(100, dtype=np.float32)
    q = f.copy()
    for broken in (np.nan, np.inf, -np.inf):
        q[7] = broken
        e = tensor_error(f, q)
        assert (e.cosine, e.sqnr_db, e.mse, e.nmse, e.max_abs_error) == (None,) * 5
        assert (e.non_finite, e.count) == (1, 99)
    alike = f.copy()
    alike[3], alike[4] = np.inf, np.nan
    e = tensor_error(alike, alike.copy())
    assert (e.sqnr_db, e.non_finite, e.count) == (math.inf, 0, 98)
    opposite = alike.copy()
    opposite[3] = -np.inf
    assert tensor_error(alike, opposite).non_finite == 1


def test_nan_in_float_beside_integers() -> None:
    f = np.array([1.0, np.nan], np.float32)
    e = tensor_error(f, np.array([1, 2], np.uint8), encoding(UINT8, 1.0, 0))
    assert (e.non_finite, e.cosine) == (1, None)


def test_nothing_compared_is_not_available() -> None:
    empty = tensor_error(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))
    assert (empty.cosine, empty.sqnr_db, empty.count) == (None, None, 0)
    total = ErrorTotal()
    total.add(ErrorSums(ff=1.0, count=1))
    total.add(None)
    assert not total.comparable


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        error_sums(np.zeros((1, 2), np.float32), np.zeros((2, 1), np.float32))


# ---- class scores --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "is_scores"),
    [
        ((1, 10), True),
        ((4, 10), True),
        ((1, 10, 1, 1), True),
        ((1, 1, 1, 10), True),
        ((1, 1), False),
        ((10,), False),
        ((1, 1, 257), False),
        ((1, 4420, 2), False),
        ((1, 3, 8, 8), False),
    ],
)
def test_what_looks_like_class_scores(shape: tuple[int, ...], is_scores: bool) -> None:
    found = class_scores(np.zeros(shape, np.float32))
    assert (found is not None) == is_scores
    if found is not None:
        assert found.shape == (shape[0], max(shape[1:]))


def test_integers_are_no_scores() -> None:
    assert class_scores(np.zeros((1, 10), np.int64)) is None


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_rows_are_counted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    f, q = rng.integers(0, 4, (2, 20, 7)).astype(np.float32)  # many ties, as a saturated int8 output has
    labels = rng.integers(0, 7, 20)
    places = [np.argsort(-scores, axis=1, kind="stable") == labels[:, None] for scores in (f, q)]
    hits = [int(place[:, :k].any(axis=1).sum()) for place in places for k in (1, 5)]
    same = int((f.argmax(axis=1) == q.argmax(axis=1)).sum())
    assert count_rows(f, q, labels).tolist() == [20, same, *hits]
    assert count_rows(f, q, None).tolist() == [20, same, 0, 0, 0, 0]
    assert count_rows(f[:0], q[:0], labels[:0]).tolist() == [0] * 6


def test_rows_with_nan_are_wrong_and_agree_with_nothing() -> None:
    f = np.eye(3, dtype=np.float32)
    q = f.copy()
    q[0, 1] = np.nan
    assert count_rows(f, q, np.array([0, 1, 2])).tolist() == [3, 2, 3, 3, 2, 2]
