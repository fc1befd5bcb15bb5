"""Float against quantized: sums, outputs, accuracy, sizes, and what cannot be compared."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from core import metrics
from core.errors import DataError, ModelError
from core.evaluate import compare, tensor_error
from core.evaluate.scores import class_scores, count_rows
from core.evaluate.sums import ErrorSums, ErrorTotal, ExactSum, error_sums
from core.model import Model, load_model
from core.progress import Cancelled, Progress
from core.quant import INT8, INT16, UINT8, UINT16, Encoding, QuantType, dequantize
from tests.evaluating import case, list_samples, run_plainly
from tests.networks import Net

FAST: dict[str, Any] = {"latency": False, "layers": False}


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


# ---- compare -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["residual_cnn", "transformer", "shapes_cnn"])
def test_outputs_are_those_of_plain_runs(name: str) -> None:
    model, quantized, items = case(name)
    result = compare(model, quantized, list_samples(items), **FAST)
    f = np.concatenate([out[0].ravel() for out in run_plainly(model.float_bytes(), items)]).astype(np.float64)
    q = np.concatenate([out[0].ravel() for out in run_plainly(quantized, items)]).astype(np.float64)
    noise = ((f - q) ** 2).sum()
    assert noise > 0
    assert result.output.sqnr_db == pytest.approx(10 * np.log10((f**2).sum() / noise), abs=1e-3)
    assert result.output.cosine == pytest.approx(f @ q / np.linalg.norm(f) / np.linalg.norm(q), abs=1e-7)
    assert result.output.max_abs_error == pytest.approx(np.abs(f - q).max(), rel=1e-4)
    assert result.output.count == f.size
    assert result.samples == len(items)
    (single,) = result.outputs
    assert single.error == result.output


def test_accuracy_counts_rows() -> None:
    model, quantized, items = case("residual_cnn")
    f = np.concatenate([out[0] for out in run_plainly(model.float_bytes(), items)])
    q = np.concatenate([out[0] for out in run_plainly(quantized, items)])
    labels = f.argmax(axis=1)
    labels[0] = f[0].argmin()  # one that the float model gets wrong
    a = compare(model, quantized, list_samples(items, labels), **FAST).accuracy
    assert a is not None
    assert a.float_top1 == pytest.approx(5 / 6)
    assert a.quantized_top1 == pytest.approx((q.argmax(axis=1) == labels).mean())
    assert a.agreement == pytest.approx((q.argmax(axis=1) == f.argmax(axis=1)).mean())
    top5 = (np.argsort(-q, axis=1)[:, :5] == labels[:, None]).any(axis=1).mean()
    assert a.quantized_top5 == pytest.approx(top5)
    assert (a.output, a.rows) == ("logits", 6)
    unlabelled = compare(model, quantized, list_samples(items), **FAST).accuracy
    assert unlabelled is not None
    assert (unlabelled.float_top1, unlabelled.quantized_top5) == (None, None)
    assert unlabelled.agreement == a.agreement


def test_dense_outputs_have_no_accuracy() -> None:
    model, quantized, items = case("shapes_cnn")
    assert compare(model, quantized, list_samples(items, [0] * 6), **FAST).accuracy is None


def test_labels_out_of_range() -> None:
    model, quantized, items = case("residual_cnn")
    with pytest.raises(DataError, match=r"labels run from 0 to 10.*10 classes"):
        compare(model, quantized, list_samples(items, [0, 1, 2, 3, 4, 10]), **FAST)


def test_one_label_a_row() -> None:
    model, quantized, items = case("residual_cnn")
    with pytest.raises(DataError, match="5 labels for 6 samples"):
        compare(model, quantized, list_samples(items, [0] * 5), **FAST)


def test_same_to_the_bit_for_any_order_and_thread_count() -> None:
    model, quantized, items = case("residual_cnn")
    labels = [0, 1, 2, 3, 4, 5]
    order = [3, 5, 0, 2, 4, 1]
    one = compare(model, quantized, list_samples(items, labels), threads=1, latency=False)
    samples = list_samples([items[i] for i in order], [labels[i] for i in order])
    other = compare(model, quantized, samples, threads=3, latency=False)
    assert one == other
    assert one.layers


def test_a_model_compared_with_itself_is_perfect() -> None:
    model, _, items = case("mobile_cnn")
    result = compare(model, model.float_bytes(), list_samples(items), latency=False)
    assert result.output.sqnr_db == math.inf
    assert result.accuracy is not None
    assert result.accuracy.agreement == 1.0
    for layer in result.layers:
        assert layer.local is None  # nothing is quantized: no counterpart, not "perfect"
        assert layer.type == ""


def test_padding_rows_do_not_count() -> None:
    net = Net()
    net.add("Gemm", ["x", net.random("w", 4, 3), net.random("b", 3)], "y")
    model = load_model(net.model({"x": [4, 4]}, {"y": [4, 3]}).SerializeToString())
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 4)).astype(np.float32)
    x[6:] = np.nan  # the padding of the last batch, which holds two rows of data
    samples = list_samples([{"x": x[:4]}, {"x": x[4:]}], [0] * 6, batch=4, rows=6)
    changed = _scaled_weights(model, 1.01)
    result = compare(model, changed, samples, **FAST)
    assert result.accuracy is not None
    assert result.accuracy.rows == 6
    assert (result.output.count, result.output.non_finite) == (18, 0)


def _scaled_weights(model: Model, factor: float, name: str = "w") -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model.proto())
    for tensor in changed.graph.initializer:
        if tensor.name == name:
            values = numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
    return changed


def test_nan_outputs_are_flagged() -> None:
    net = Net()
    net.add("MatMul", ["x", net.random("w", 4, 3)], "y")
    model = load_model(net.model({"x": ["N", 4]}, {"y": ["N", 3]}).SerializeToString())
    samples = list_samples([{"x": np.ones((1, 4), np.float32)}] * 2, [0, 0])
    result = compare(model, _scaled_weights(model, math.nan), samples, latency=False)
    assert (result.output.cosine, result.output.sqnr_db, result.output.non_finite) == (None, None, 6)
    assert result.accuracy is not None
    assert (result.accuracy.quantized_top1, result.accuracy.agreement) == (0.0, 0.0)
    assert any("NaN or infinite" in text for text in result.warnings)
    json.dumps(result.as_dict(), allow_nan=False)


def test_integer_outputs_are_compared_by_equality() -> None:
    net = Net()
    net.add("Gemm", ["x", net.random("w", 4, 6), net.random("b", 6)], "scores")
    net.add("ArgMax", ["scores"], "best", axis=1, keepdims=0)
    proto = net.model({"x": ["N", 4]}, {"scores": ["N", 6]})
    proto.graph.output.append(helper.make_tensor_value_info("best", TensorProto.INT64, ["N"]))
    model = load_model(proto.SerializeToString())
    rng = np.random.default_rng(1)
    items = [{"x": rng.standard_normal((1, 4)).astype(np.float32)} for _ in range(8)]
    worse = _scaled_weights(model, -1.0)
    result = compare(model, worse, list_samples(items), **FAST)
    scores, best = result.outputs
    f, q = run_plainly(model.float_bytes(), items), run_plainly(worse, items)
    assert best.error is None
    assert best.equal_share == np.mean([a[1] == b[1] for a, b in zip(f, q, strict=True)])
    assert best.equal_share < 1.0
    assert scores.error == result.output


def test_sizes_count_external_data(tmp_path: Path) -> None:
    model, quantized, items = case("residual_cnn")
    path = tmp_path / "quantized.onnx"
    copy = onnx.ModelProto()
    copy.CopyFrom(quantized)
    onnx.save(copy, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    inside = compare(model, quantized, list_samples(items), latency=False)
    outside = compare(model, path, list_samples(items), latency=False)
    assert inside.quantized_bytes == len(quantized.SerializeToString())
    assert outside.quantized_bytes == path.stat().st_size + (tmp_path / "weights.bin").stat().st_size
    assert inside.float_bytes == model.size_bytes
    assert outside.output == inside.output
    assert outside.layers == inside.layers


def test_weights_used_in_place_give_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    model, quantized, items = case("residual_cnn")
    expected = compare(model, quantized, list_samples(items), latency=False)
    monkeypatch.setattr("core.session._INSIDE_BYTES", 1 << 40)  # all of them in the message
    assert compare(model, quantized, list_samples(items), latency=False) == expected


def test_latency_says_how_it_was_measured() -> None:
    model, quantized, items = case("residual_cnn")
    latency = compare(model, quantized, list_samples(items), layers=False).latency
    assert latency is not None
    assert latency.float_ms > 0
    assert latency.quantized_ms > 0
    assert latency.runs >= 5
    assert latency.threads == 1


def test_as_dict_is_json_with_the_promised_keys() -> None:
    model, quantized, items = case("residual_cnn")
    result = compare(model, quantized, list_samples(items, [0] * 6))
    data = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert data["output"]["cosine"] == result.output.cosine
    assert data["output"]["sqnr_db"] == result.output.sqnr_db
    assert {"float", "quantized", "agreement"} <= set(data["accuracy"])
    assert set(data["size_bytes"]) == {"float", "quantized"}
    assert {"float", "quantized", "runs", "threads"} == set(data["latency_ms"])
    assert [layer["name"] for layer in data["layers"]] == [layer.name for layer in model.layers]
    perfect = compare(model, model.float_bytes(), list_samples(items), **FAST).as_dict()
    assert perfect["output"]["sqnr_db"] is None
    assert perfect["output"]["exact"] is True


def test_simulation_runs_without_integer_kernels() -> None:
    model, quantized, items = case("transformer")
    real = compare(model, quantized, list_samples(items), latency=False)
    simulated = compare(model, quantized, list_samples(items), latency=False, simulate=True)
    assert simulated.output != real.output  # the kernels round elsewhere
    assert simulated.output.sqnr_db == pytest.approx(real.output.sqnr_db, abs=1.5)


def test_other_interfaces_are_refused() -> None:
    model, quantized, items = case("residual_cnn")
    renamed = onnx.ModelProto()
    renamed.CopyFrom(quantized)
    renamed.graph.output[0].name = "other"
    with pytest.raises(ModelError, match="model are 'logits', of the quantized one 'other'"):
        compare(model, renamed, list_samples(items), **FAST)
    other, _, _ = case("transformer")
    with pytest.raises(ModelError, match="inputs of the float model are 'tokens'"):
        compare(other, quantized, list_samples(items), **FAST)


def test_unreadable_and_unrunnable_models_are_refused() -> None:
    model, quantized, items = case("residual_cnn")
    with pytest.raises(ModelError):
        compare(model, b"not a model", list_samples(items), **FAST)
    unknown = onnx.ModelProto()
    unknown.CopyFrom(quantized)
    unknown.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ModelError, match="does not run the quantized model"):
        compare(model, unknown, list_samples(items), **FAST)


def test_data_that_do_not_fit_are_refused() -> None:
    model, quantized, _ = case("residual_cnn")
    with pytest.raises(DataError, match="no samples"):
        compare(model, quantized, list_samples([]), **FAST)
    with pytest.raises(DataError, match="failed"):
        compare(model, quantized, list_samples([{"image": np.zeros((1, 5, 32, 32), np.float32)}]), **FAST)


def test_progress_and_cancel() -> None:
    model, quantized, items = case("residual_cnn")
    seen: list[Progress] = []
    compare(model, quantized, list_samples(items), latency=False, progress=seen.append)
    assert [p.done for p in seen if p.label == "outputs"] == [1, 2, 3, 4, 5, 6]
    assert [p.done for p in seen if p.label == "layers"] == [1, 2, 3, 4, 5, 6]

    def stop(progress: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        compare(model, quantized, list_samples(items), latency=False, progress=stop)
