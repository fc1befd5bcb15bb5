"""Histograms: the same bits however the data are cut, shuffled or laid out, and equal to a plain twin."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from quantscope.core.calibration import BINS_PER_SIDE, Accumulator, Histogram, histogram_of
from quantscope.core.calibration.histogram import EMPTY, merge

SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    6.0,
    1e-45,
    -1e-45,
    1.2e-38,
    -1e30,
    1e30,
    3.4028235e38,
    math.inf,
    -math.inf,
    math.nan,
]
FLOATS32 = st.one_of(st.sampled_from(SPECIAL), st.floats(width=32), st.floats(-4, 4, width=32))
ARRAYS32 = arrays.arrays(np.float32, st.integers(0, 60), elements=FLOATS32)
WIDE = st.one_of(st.floats(), st.floats(-4, 4), st.sampled_from([-5e-324, 1e-300, 1.7e308, -1.7e308, 0.1]))
ARRAYS64 = arrays.arrays(np.float64, st.integers(0, 40), elements=WIDE)

LARGEST = np.float64(np.finfo(np.float32).max)
NO_DEADLINE = settings(deadline=None)  # the first example compiles


def twin(x: np.ndarray) -> Histogram:
    """The definition, in plain NumPy and Python numbers."""
    x = np.asarray(x).astype(np.float64 if x.dtype == np.float64 else np.float32).reshape(-1)
    finite = [float(v) for v in x[np.abs(x) <= LARGEST]]  # False for NaN
    base = {
        "nans": int(np.isnan(x).sum()),
        "infs": int((np.abs(x) > LARGEST).sum()),
        "count": len(finite),
        "zeros": sum(v == 0.0 for v in finite),
    }
    low, high = (min(finite) + 0.0, max(finite) + 0.0) if finite else (0.0, 0.0)
    peak, exponent = max(-low, high), -149
    while peak > math.ldexp(1.0, exponent) * BINS_PER_SIDE:
        exponent += 1
    bins: dict[int, int] = {}
    for v in finite:
        if v != 0.0:
            scaled = math.floor(Fraction(v) / Fraction(2) ** exponent)
            bins[scaled] = bins.get(scaled, 0) + 1
    first = min(bins, default=0)
    counts = np.array([bins.get(k, 0) for k in range(first, max(bins, default=-1) + 1)], np.int64)
    ends = {"min": low, "max": high, "at_min": finite.count(low), "at_max": finite.count(high)}
    return Histogram(exponent=exponent, first=first, counts=counts, **base, **ends)


@NO_DEADLINE
@given(ARRAYS32)
def test_float32_equals_the_definition(x: np.ndarray) -> None:
    assert histogram_of(x) == twin(x)


@NO_DEADLINE
@given(ARRAYS64)
def test_float64_equals_the_definition(x: np.ndarray) -> None:
    assert histogram_of(x) == twin(x)


@NO_DEADLINE
@given(arrays.arrays(np.float16, st.integers(0, 40), elements=st.floats(width=16)))
def test_float16_counts_as_the_same_float32_values(x: np.ndarray) -> None:
    assert histogram_of(x) == histogram_of(x.astype(np.float32)) == twin(x)


@NO_DEADLINE
@given(ARRAYS32, st.data())
def test_any_cut_any_order_and_any_merge_give_the_same_bits(x: np.ndarray, data: st.DataObject) -> None:
    whole = histogram_of(x)
    shuffled = x[data.draw(st.permutations(range(x.size)))] if x.size else x
    cuts = sorted(data.draw(st.lists(st.integers(0, x.size), max_size=4)))
    parts = np.split(shuffled, cuts)
    accumulator = Accumulator()
    for part in parts:
        accumulator.add(part)
    shards = [histogram_of(part) for part in parts]
    assert accumulator.histogram() == whole
    assert merge(shards) == whole
    assert merge(reversed(shards)) == whole
    assert accumulator.histogram().digest() == merge(shards).digest() == whole.digest()


@NO_DEADLINE
@given(ARRAYS32, ARRAYS32, st.integers(0, 20))
def test_coarsening_commutes_with_merging(a: np.ndarray, b: np.ndarray, shift: int) -> None:
    x, y = histogram_of(a), histogram_of(b)
    together = x.merge(y)
    apart = x.coarsen(together.exponent - x.exponent + shift).merge(
        y.coarsen(together.exponent - y.exponent + shift)
    )
    assert together.coarsen(shift) == apart


@NO_DEADLINE
@given(ARRAYS32, st.integers(0, 30), st.integers(0, 30))
def test_coarsening_twice_is_coarsening_once(x: np.ndarray, a: int, b: int) -> None:
    h = histogram_of(x)
    assert h.coarsen(a).coarsen(b) == h.coarsen(a + b)
    assert h.coarsen(a).counts.sum() == h.count - h.zeros


@NO_DEADLINE
@given(ARRAYS32)
def test_merging_nothing_changes_nothing(x: np.ndarray) -> None:
    h = histogram_of(x)
    assert h.merge(EMPTY) == h == EMPTY.merge(h)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-20, 20), st.sampled_from([np.float32, np.float64, np.float16]))
def test_many_blocks_equal_bincount(seed: int, power: float, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(20_000) * rng.choice([1.0, 1e-3], 20_000) * 2.0 ** (power / 2)
    x[rng.random(20_000) < 0.3] = 0.0
    x = x.astype(dtype)
    h = histogram_of(x)
    k = np.floor(np.ldexp(x[x != 0].astype(np.float64), -h.exponent)).astype(np.int64)
    assert h.first == k.min()
    np.testing.assert_array_equal(h.counts, np.bincount(k - k.min()))
    assert BINS_PER_SIDE / 2 < np.ldexp(h.abs_max, -h.exponent) <= BINS_PER_SIDE
    assert (h.min, h.max, h.zeros) == (x.min(), x.max(), np.sum(x == 0))
    assert (h.at_min, h.at_max) == (np.sum(x == x.min()), np.sum(x == x.max()))


def test_growing_batches_coarsen_what_was_counted() -> None:
    parts = [np.float32([scale, -scale / 3, 0.0]) for scale in 10.0 ** np.arange(-40.0, 38.0, 3.0)]
    accumulator = Accumulator()
    for part in parts:
        accumulator.add(part)
    assert accumulator.histogram() == twin(np.concatenate(parts))


def test_non_finite_values_are_counted_and_left_out() -> None:
    x = np.float32([1, np.nan, 2, np.inf, -np.inf, 0, np.nan])
    h = histogram_of(x)
    assert (h.count, h.nans, h.infs, h.zeros, h.min, h.max) == (3, 2, 2, 1, 0.0, 2.0)
    only = histogram_of(np.full(5000, np.nan, np.float32))
    assert (only.count, only.nans, only.counts.size, only.min, only.max) == (0, 5000, 0, 0.0, 0.0)


def test_negative_zero_is_zero() -> None:
    h = histogram_of(np.float32([-0.0, 0.0, -0.0]))
    assert (h.zeros, h.counts.size) == (3, 0)
    assert math.copysign(1.0, h.min) == math.copysign(1.0, h.max) == 1.0


def test_spikes_at_the_extremes_are_counted_exactly() -> None:
    x = np.clip(2 + 3 * np.random.default_rng(0).standard_normal(50_000), 0, 6).astype(np.float32)
    parts = np.split(x, [7, 20_000])
    h = merge(histogram_of(part) for part in parts)
    assert (h.at_max, h.zeros, h.at_min) == (np.sum(x == 6), np.sum(x == 0), np.sum(x == 0))


@pytest.mark.parametrize(
    "layout", ["transposed", "strided", "reversed", "read-only", "big-endian", "unaligned"]
)
def test_memory_layout_does_not_matter(layout: str) -> None:
    x = np.random.default_rng(1).standard_normal((30, 40)).astype(np.float32)
    if layout == "unaligned":
        buffer = np.zeros(x.nbytes + 1, np.uint8)
        odd = buffer[1:].view(np.float32).reshape(x.shape)
        odd[:] = x
        assert histogram_of(odd) == histogram_of(x)
        return
    other = {
        "transposed": x.T,
        "strided": np.repeat(x, 2, axis=1)[:, ::2],
        "reversed": x[::-1, ::-1],
        "read-only": x.copy(),
        "big-endian": x.astype(">f4"),
    }[layout]
    if layout == "read-only":
        other.flags.writeable = False
    assert histogram_of(other) == histogram_of(x)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, bool, np.complex64])
def test_other_types_are_refused(dtype: type) -> None:
    with pytest.raises(TypeError, match="float32"):
        Accumulator().add(np.zeros(3, dtype))


def test_samples_that_set_the_extremes() -> None:
    batches = {4: [1.0, 5.0], 2: [-3.0, 5.0], 7: [-3.0, 2.0], 1: [0.5]}
    accumulator = Accumulator()
    for sample, values in batches.items():
        accumulator.add(np.float32(values), sample)
    h = accumulator.histogram()
    assert (h.min_sample, h.max_sample) == (2, 2)
    other = Accumulator()
    other.add(np.float32([5.0, -1.0]), 0)
    for merged in (h.merge(other.histogram()), other.histogram().merge(h)):
        assert (merged.min_sample, merged.max_sample) == (2, 0)
    anonymous = histogram_of(np.concatenate([np.float32(v) for v in batches.values()]))
    assert anonymous.min_sample == -1
    assert anonymous == h
    assert anonymous.digest() == h.digest()


def test_counters_are_emptied_before_they_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantscope.core.calibration.histogram._CHUNK", 100)
    x = np.random.default_rng(2).standard_normal(1234).astype(np.float32)
    accumulator = Accumulator()
    for part in np.split(x, [50, 90, 500]):
        accumulator.add(part)
    assert accumulator.histogram() == twin(x)


def test_different_data_differ() -> None:
    h = histogram_of(np.float32([1.0, 2.0]))
    for other in (
        [1.0, 2.5],
        [1.0, 2.0, 0.0],
        [1.0, 2.0, np.nan],
        [1.0, 2.0, np.inf],
        [-1.0, 2.0],
        [1.0, 2.0, 2.0],
    ):
        assert histogram_of(np.float32(other)) != h
        assert histogram_of(np.float32(other)).digest() != h.digest()
    assert h != 3
    assert hash(h) == hash(histogram_of(np.float32([2.0, 1.0])))


def test_edges_and_centers_enclose_the_data() -> None:
    h = histogram_of(np.float32([-3.0, 0.25, 5.5]))
    assert h.edges.size == h.centers.size + 1 == h.counts.size + 1
    assert h.edges[0] <= h.min < h.edges[1]
    assert h.edges[-2] <= h.max < h.edges[-1]
    np.testing.assert_array_equal(np.diff(h.edges), h.width)
    np.testing.assert_array_equal(h.centers, (h.edges[:-1] + h.edges[1:]) / 2)


def test_a_histogram_cannot_be_changed_or_refined() -> None:
    counts = np.array([3, 1])
    fields = {"exponent": 0, "first": 0, "count": 4, "zeros": 0, "nans": 0, "infs": 0, "min": 0.5, "max": 1.5}
    h = Histogram(counts=counts, at_min=1, at_max=1, **fields)
    with pytest.raises(ValueError, match="read-only"):
        h.counts[0] = 7
    counts[0] = 3  # the caller's own array stays as it was
    with pytest.raises(ValueError, match="coarser"):
        h.coarsen(-1)
