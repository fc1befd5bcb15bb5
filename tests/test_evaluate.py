"""Float against quantized: outputs, accuracy, sizes, and what cannot be compared."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantscope.core.errors import DataError, ModelError
from quantscope.core.evaluate import compare
from quantscope.core.model import Model, load_model
from quantscope.core.progress import Cancelled, Progress
from tests.evaluating import case, list_samples, run_plainly
from tests.networks import Net

FAST: dict[str, Any] = {"latency": False, "layers": False}


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
    with pytest.raises(DataError, match=r"labels go from 0 to 10, .* classes 0 to 9 .*--ignore-label"):
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
    monkeypatch.setattr("quantscope.core.model.session._INSIDE_BYTES", 1 << 40)  # all of them in the message
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
    assert {"float", "quantized", "default_session", "runs", "threads"} == set(data["latency_ms"])
    assert set(data["default_session"] or ["none"]) <= {
        "none",
        "equal",
        "output",
        "outputs",
        "accuracy",
        "layers",
    }
    assert set(data["may_saturate"]) <= {layer.name for layer in model.layers}
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
