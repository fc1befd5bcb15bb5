"""Sample by sample: figures against plain runs, who loses and who brings back, and sums over all rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from quantscope.core.errors import DataError, ModelError
from quantscope.core.evaluate import (
    NOBODY,
    BySample,
    by_sample,
    by_sample_from_bytes,
    by_sample_to_bytes,
    class_numbers,
    compare,
    recovery,
    swaps,
    together,
)
from quantscope.core.evaluate.confusions import PairCounter, pairs_of
from quantscope.core.model import Model, load_model
from tests.evaluating import case, list_samples, run_plainly
from tests.networks import Net

CLASSES = st.integers(-1, 5)


def figures(found: BySample) -> list[tuple[str, bytes]]:
    """All that is kept, to the bit."""
    parts = [found.floats.top, found.floats.scores, found.floats.right]
    for one in found.versions:
        parts += [one.answers.top, one.answers.scores, one.answers.right]
        parts += [one.errors.sqnr_db, one.errors.max_abs, one.errors.equal, one.errors.same]
    return [(str(part.shape), part.tobytes()) for part in parts]


def noisy(model: Model, scale: float) -> onnx.ModelProto:
    """The model with other weights: a version whose answers differ as much as wanted."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model.proto())
    rng = np.random.default_rng(3)
    for tensor in changed.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            shifted = values + scale * rng.standard_normal(values.shape).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(shifted.astype(np.float32), tensor.name))
    return changed


def classifier(rows: int = 60) -> tuple[Model, list[dict[str, Any]]]:
    net = Net()
    net.add("Gemm", ["x", net.random("w", 6, 9), net.random("b", 9)], "y")
    model = load_model(net.model({"x": ["N", 6]}, {"y": ["N", 9]}).SerializeToString())
    rng = np.random.default_rng(0)
    return model, [{"x": rng.standard_normal((1, 6)).astype(np.float32)} for _ in range(rows)]


def test_figures_are_those_of_plain_runs() -> None:
    model, quantized, items = case("residual_cnn")
    labels = [0, 1, 2, 3, 4, 5]
    found = by_sample(model, [quantized], list_samples(items, labels))
    f = np.concatenate([out[0] for out in run_plainly(model.float_bytes(), items)]).astype(np.float64)
    q = np.concatenate([out[0] for out in run_plainly(quantized, items)]).astype(np.float64)
    (version,) = found.versions
    assert (found.rows, found.outputs, found.scored, found.classes) == (6, ("logits",), "logits", 10)
    np.testing.assert_array_equal(found.floats.top, np.argsort(-f, axis=1, kind="stable")[:, :5])
    np.testing.assert_array_equal(version.answers.first, q.argmax(axis=1))
    np.testing.assert_allclose(version.answers.scores, -np.sort(-q, axis=1)[:, :5])
    np.testing.assert_array_equal(version.answers.right, q.argmax(axis=1) == labels)
    np.testing.assert_array_equal(version.errors.same, q.argmax(axis=1) == f.argmax(axis=1))
    noise = ((f - q) ** 2).sum(axis=1)
    np.testing.assert_allclose(version.errors.sqnr_db[:, 0], 10 * np.log10((f**2).sum(axis=1) / noise))
    np.testing.assert_allclose(version.errors.max_abs[:, 0], np.abs(f - q).max(axis=1))
    assert np.isnan(version.errors.equal).all()


def test_sums_over_rows_are_the_accuracy_of_the_whole() -> None:
    model, items = classifier()
    labels = np.random.default_rng(1).integers(0, 9, len(items))
    quantized = noisy(model, 0.3)
    found = by_sample(model, [quantized], list_samples(items, labels))
    whole = compare(model, quantized, list_samples(items, labels), layers=False, latency=False).accuracy
    assert whole is not None
    (version,) = found.versions
    assert float(version.answers.right.mean()) == pytest.approx(whole.quantized_top1)
    assert float(found.floats.right.mean()) == pytest.approx(whole.float_top1)
    assert float(version.errors.same.mean()) == pytest.approx(whole.agreement)
    assert 0 < whole.agreement < 1


def test_same_to_the_bit_for_any_thread_count_and_one_version_at_a_time() -> None:
    model, items = classifier()
    labels = [at % 9 for at in range(len(items))]
    both = [noisy(model, 0.3), noisy(model, 0.1)]
    samples = list_samples(items, labels)
    at_once = by_sample(model, both, samples, threads=3)
    apart = together([by_sample(model, [one], samples, threads=1) for one in both])
    assert figures(at_once) == figures(apart)
    assert len(at_once.label_pairs) == len(apart.label_pairs) == 3


def test_only_the_same_samples_are_put_together() -> None:
    model, items = classifier()
    parts = [by_sample(model, [noisy(model, 0.1)], list_samples(items[:count])) for count in (4, 5)]
    with pytest.raises(ValueError, match="same samples"):
        together(parts)


@pytest.mark.parametrize("labelled", [True, False])
def test_what_is_lost_and_brought_back(labelled: bool) -> None:
    model, items = classifier()
    f = np.concatenate([out[0] for out in run_plainly(model.float_bytes(), items)])
    versions = [noisy(model, 0.4), noisy(model, 0.15)]
    a, b = (np.concatenate([out[0] for out in run_plainly(v, items)]).argmax(axis=1) for v in versions)
    truth = f.argmax(axis=1)
    labels = truth.copy()
    labels[::3] = (labels[::3] + 1) % 9  # wrong already in float
    found = by_sample(model, versions, list_samples(items, labels if labelled else None))
    got = recovery(found)
    assert got is not None
    assert got.labelled is labelled
    right = (truth == labels) if labelled else np.ones(len(items), bool)
    known = labels if labelled else truth
    lost = right & (a != known)
    np.testing.assert_array_equal(got.lost, np.flatnonzero(lost))
    np.testing.assert_array_equal(got.back, np.flatnonzero(lost & (b == known)))
    np.testing.assert_array_equal(got.broken, np.flatnonzero(right & (a == known) & (b != known)))
    assert got.lost
    assert got.back


def test_the_float_model_loses_nothing_against_itself() -> None:
    model, items = classifier()
    found = by_sample(model, [model.float_bytes(), noisy(model, 0.4)], list_samples(items))
    assert np.all(found.versions[0].errors.sqnr_db == math.inf)
    assert np.all(found.versions[0].errors.same == 1.0)
    got, backwards = recovery(found), recovery(found, 1, 0)
    assert got is not None
    assert backwards is not None
    assert (got.lost, got.back) == ((), ())
    assert backwards.lost == backwards.back == got.broken
    assert not backwards.broken


def test_positions_are_counted_and_have_no_single_answer() -> None:
    net = Net()
    net.conv("image", "scores", 3, 5)
    model = load_model(net.model({"image": [1, 3, 6, 6]}, {"scores": [1, 5, 6, 6]}).SerializeToString())
    rng = np.random.default_rng(0)
    items = [{"image": rng.standard_normal((1, 3, 6, 6)).astype(np.float32)} for _ in range(4)]
    quantized = noisy(model, 0.1)
    f = np.concatenate([out[0] for out in run_plainly(model.float_bytes(), items)]).argmax(axis=1)
    q = np.concatenate([out[0] for out in run_plainly(quantized, items)]).argmax(axis=1)
    labels = f.copy()
    labels[:, 0] = -100
    labels[:, 1] = (labels[:, 1] + 1) % 5
    found = by_sample(model, [quantized], list_samples(items, labels))
    (version,) = found.versions
    known = labels >= 0
    assert found.positions
    assert found.labels is None
    assert recovery(found, 0, 0) is None
    np.testing.assert_allclose(found.floats.right, ((f == labels) & known).sum((1, 2)) / known.sum((1, 2)))
    np.testing.assert_allclose(version.answers.right, ((q == labels) & known).sum((1, 2)) / known.sum((1, 2)))
    np.testing.assert_allclose(version.errors.same, ((q == f) & known).sum((1, 2)) / known.sum((1, 2)))
    assert version.pairs is not None
    assert version.pairs.counts.sum() == f.size
    table = np.zeros((5, 5), int)
    np.add.at(table, (f.ravel(), q.ravel()), 1)
    np.testing.assert_array_equal(table[version.pairs.first, version.pairs.second], version.pairs.counts)
    truth = found.label_pairs[1]
    assert truth is not None
    assert truth.counts.sum() == known.sum()


def test_rows_of_a_batch_stand_alone_and_padding_does_not_count() -> None:
    net = Net()
    net.add("Gemm", ["x", net.random("w", 4, 3), net.random("b", 3)], "y")
    model = load_model(net.model({"x": [4, 4]}, {"y": [4, 3]}).SerializeToString())
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 4)).astype(np.float32)
    x[6:] = np.nan
    samples = list_samples([{"x": x[:4]}, {"x": x[4:]}], [0] * 6, batch=4, rows=6)
    found = by_sample(model, [noisy(model, 0.2)], samples)
    assert found.rows == 6
    assert not np.isnan(found.versions[0].errors.sqnr_db).any()
    assert len(set(found.versions[0].errors.sqnr_db[:, 0])) == 6
    assert np.all(found.floats.first != NOBODY)


def test_scores_that_are_not_finite_are_nobodys() -> None:
    net = Net()
    net.add("MatMul", ["x", net.random("w", 4, 3)], "y")
    model = load_model(net.model({"x": ["N", 4]}, {"y": ["N", 3]}).SerializeToString())
    broken = noisy(model, math.nan)
    found = by_sample(model, [broken], list_samples([{"x": np.ones((1, 4), np.float32)}], [0]))
    (version,) = found.versions
    assert version.answers.first.tolist() == [NOBODY]
    assert version.answers.right.tolist() == [0.0]
    assert version.errors.same.tolist() == [0.0]
    assert math.isnan(version.errors.sqnr_db[0, 0])


def test_what_cannot_be_compared_is_said() -> None:
    model, items = classifier(2)
    other, _ = case("residual_cnn")[:2]
    with pytest.raises(ModelError, match="cannot be compared"):
        by_sample(model, [other.float_bytes()], list_samples(items))
    with pytest.raises(DataError, match="no samples"):
        by_sample(model, [model.float_bytes()], list_samples(items).take(0))


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.int64, st.tuples(st.just(2), st.integers(0, 30)), elements=CLASSES))
def test_pairs_are_what_a_table_counts(both: np.ndarray) -> None:
    first, second = both
    known = (first >= 0) & (second >= 0)
    table = np.zeros((6, 6), int)
    np.add.at(table, (first[known], second[known]), 1)
    pairs = pairs_of(first, second)
    rebuilt = np.zeros((6, 6), int)
    rebuilt[pairs.first, pairs.second] = pairs.counts
    np.testing.assert_array_equal(rebuilt, table)
    counter = PairCounter(6)
    for part in np.array_split(np.arange(len(first)), 3):
        counter.add(first[part], second[part])
    counted = counter.pairs()
    assert counted is not None
    assert counted.first.tolist() == pairs.first.tolist()
    assert counted.counts.tolist() == pairs.counts.tolist()
    found = swaps(pairs)
    assert sum(swap.count for swap in found) == table.sum() - np.trace(table)
    assert [swap.count for swap in found] == sorted((swap.count for swap in found), reverse=True)
    assert swaps(pairs, 2) == found[:2]
    assert set(class_numbers([pairs])) == set(first[known].tolist()) | set(second[known].tolist())
    for number in range(6):
        assert pairs.total(number) == table[number].sum()
        assert pairs.kept(number) == table[number, number]


def test_a_measure_of_the_callers_own_sees_each_row_of_both_models() -> None:
    net = Net()
    net.add("Gemm", ["x", net.random("w", 4, 3), net.random("b", 3)], "y")
    model = load_model(net.model({"x": [4, 4]}, {"y": [4, 3]}).SerializeToString())
    x = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    samples = list_samples([{"x": x[:4]}, {"x": x[4:]}], batch=4, rows=6)
    quantized = noisy(model, 0.2)

    def apart(f: Mapping[str, Any], q: Mapping[str, Any]) -> float:
        assert f["y"].shape == q["y"].shape == (3,)
        return float(np.abs(f["y"] - q["y"]).max())

    errors = by_sample(model, [quantized], samples, differing=apart).versions[0].errors
    np.testing.assert_allclose(errors.differing, errors.max_abs[:, 0], rtol=1e-6)
    assert np.isnan(by_sample(model, [quantized], samples).versions[0].errors.differing).all()


@pytest.mark.parametrize("name", ["residual_cnn", "shapes_cnn"])
def test_figures_come_back_from_a_file(name: str) -> None:
    model, quantized, items = case(name)
    labels = [0, 1, 2, 3, 4, 5] if name == "residual_cnn" else None
    found = by_sample(model, [quantized, model.float_bytes()], list_samples(items, labels))
    again = by_sample_from_bytes(by_sample_to_bytes(found))
    assert figures(again) == figures(found)
    assert (again.outputs, again.scored, again.classes) == (found.outputs, found.scored, found.classes)
    assert len(again.label_pairs) == len(found.label_pairs)
    for ours, theirs in zip(again.versions, found.versions, strict=True):
        assert (ours.pairs is None) == (theirs.pairs is None)
        if ours.pairs is not None and theirs.pairs is not None:
            np.testing.assert_array_equal(ours.pairs.counts, theirs.pairs.counts)


def test_damaged_files_are_said_to_be() -> None:
    model, items = classifier(4)
    content = by_sample_to_bytes(by_sample(model, [noisy(model, 0.1)], list_samples(items)))
    for broken in (b"", b"text", content[: len(content) // 2], content.replace(b"about", b"other")):
        with pytest.raises(DataError, match="damaged"):
            by_sample_from_bytes(broken)
