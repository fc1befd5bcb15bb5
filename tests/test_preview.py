"""The edit loop: previews against plain runs of the exported model, and the limits of what is kept."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest

from quantscope.core.errors import DataError, ModelError
from quantscope.core.evaluate import (
    compare,
    float_reference,
    fusion_report,
    integer_layers,
    preview,
    tensor_error,
)
from quantscope.core.progress import Cancelled, Progress
from tests.evaluating import case, list_samples, run_plainly, static_quantized
from tests.networks import NETWORKS

ALL = list(NETWORKS)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("form", ["bytes", "proto"])
def test_outputs_are_bit_identical_to_the_exported_file(name: str, form: str) -> None:
    model, quantized, items = case(name)
    reference = float_reference(model, list_samples(items))
    for floats, own in zip(run_plainly(model.float_bytes(), items), reference.outputs, strict=True):
        np.testing.assert_allclose(next(iter(own.values())), floats[0], rtol=1e-5, atol=1e-5)
    result = preview(reference, quantized if form == "proto" else quantized.SerializeToString())
    f = np.concatenate([next(iter(out.values())).ravel() for out in reference.outputs])
    q = np.concatenate([out[0].ravel() for out in run_plainly(quantized, items)])
    expected = tensor_error(f, q)
    assert result.output.overall.max_abs_error == expected.max_abs_error  # the same bits, whatever is summed
    assert result.output.overall.mse == pytest.approx(expected.mse, rel=1e-12)
    assert result.output.overall.cosine == pytest.approx(expected.cosine, rel=1e-12)


def test_outputs_do_not_change_with_what_is_looked_at() -> None:
    # Exposing a tensor in the middle of this float model keeps ONNX Runtime from fusing around it.
    model, _, items = case("mobile_cnn")
    result = preview(float_reference(model, list_samples(items)), model.float_bytes())
    assert result.output.overall.sqnr_db == math.inf


@pytest.mark.parametrize("name", ALL)
def test_preview_and_compare_say_the_same(name: str) -> None:
    model, quantized, items = case(name)
    labels = [0, 1, 2, 3, 4, 5]
    samples = list_samples(items, labels)
    reference = float_reference(model, samples)
    whole = compare(model, quantized, samples, latency=False, threads=1)
    for threads in (1, 3):
        quick = preview(reference, quantized, threads=threads)
        assert quick.output.overall == whole.output
        assert quick.output.outputs == whole.outputs
        assert quick.output.accuracy == whole.accuracy
        assert [e.cumulative for e in quick.layers] == [e.cumulative for e in whole.layers]
        assert [e.layer for e in quick.layers] == [e.layer for e in whole.layers]
        assert quick.size_bytes == whole.quantized_bytes


def test_an_input_that_stays_float_has_no_error() -> None:
    model, _, items = case("residual_cnn")
    quantized = static_quantized(model, items, op_types_to_quantize=["Gemm"])
    samples = list_samples(items)
    whole = compare(model, quantized, samples, latency=False)
    quick = preview(float_reference(model, samples), quantized)
    first = whole.layers[0]
    assert (first.layer, first.type, first.cumulative, first.local) == ("image", "", None, None)
    assert [e.cumulative for e in quick.layers] == [e.cumulative for e in whole.layers]


def test_layers_can_be_left_out() -> None:
    model, quantized, items = case("residual_cnn")
    reference = float_reference(model, list_samples(items))
    full, quick = preview(reference, quantized), preview(reference, quantized, layers=False)
    assert quick.layers == ()
    assert quick.output == full.output


def test_simulated_preview() -> None:
    model, quantized, items = case("transformer")
    reference = float_reference(model, list_samples(items))
    assert preview(reference, quantized, simulate=True).output != preview(reference, quantized).output


def test_reference_takes_the_first_samples() -> None:
    model, quantized, items = case("residual_cnn")
    reference = float_reference(model, list_samples(items, range(6)), count=2)
    assert len(reference) == 2
    result = preview(reference, quantized)
    assert result.samples == 2
    assert result.output.accuracy is not None
    assert result.output.accuracy.rows == 2


def test_reference_keeps_within_its_limit() -> None:
    model, quantized, items = case("residual_cnn")
    samples = list_samples(items)
    full = float_reference(model, samples)
    assert full.size_bytes == sum(a[n].nbytes for a in full.activations for n in a if n != "image")
    assert full.left_out == ()
    one = full.size_bytes // len(full)
    fewer = float_reference(model, samples, max_bytes=3 * one)
    assert (len(fewer), fewer.size_bytes, fewer.left_out) == (3, 3 * one, ())
    partial = float_reference(model, samples, max_bytes=one // 2)
    assert len(partial) >= 1
    assert 0 < partial.size_bytes <= one // 2
    assert "stem_relu" in partial.left_out
    errors = {e.tensor: e for e in preview(partial, quantized).layers}
    assert errors["stem_relu"].cumulative is None
    assert errors["logits"].cumulative is not None


def test_a_reference_of_outputs_alone() -> None:
    model, quantized, items = case("residual_cnn")
    samples = list_samples(items)
    full, light = float_reference(model, samples), float_reference(model, samples, layers=False, max_bytes=0)
    assert (len(light), light.size_bytes) == (6, 0)
    assert preview(light, quantized, layers=False) == preview(full, quantized, layers=False)
    assert all(e.cumulative is None for e in preview(light, quantized).layers if e.layer != "image")


def test_cancelled_by_the_next_edit() -> None:
    model, quantized, items = case("residual_cnn")
    reference = float_reference(model, list_samples(items))
    seen: list[int] = []

    def stop(progress: Progress) -> None:
        seen.append(progress.done)
        raise Cancelled

    with pytest.raises(Cancelled):
        preview(reference, quantized, progress=stop)
    assert seen == [1]


def test_what_does_not_fit_is_refused() -> None:
    model, _, items = case("residual_cnn")
    with pytest.raises(DataError, match="no samples"):
        float_reference(model, list_samples([]))
    reference = float_reference(model, list_samples(items))
    other, _, _ = case("transformer")
    with pytest.raises(ModelError, match="cannot be compared"):
        preview(reference, other.float_bytes())


# ---- what runs as integer kernels ----------------------------------------------------------------------


def test_a_float_model_has_no_integer_kernels() -> None:
    model, _, _ = case("residual_cnn")
    report = fusion_report(model.float_bytes())
    assert (report.integer, report.conversions, report.integer_share) == (0, 0, 0.0)
    assert report.floating > 0
    assert integer_layers(report, model) == frozenset()


def test_convolutions_of_a_quantized_model_are_integer_kernels() -> None:
    model, quantized, _ = case("residual_cnn")
    report = fusion_report(quantized)
    assert report.ops["QLinearConv"] == 5
    assert report.integer_share == 1.0
    running = integer_layers(report, model)
    assert {layer.name for layer in model.layers if layer.op in ("Conv", "Add", "Gemm")} <= running
    assert sum(report.ops.values()) == report.integer + report.floating + report.conversions + report.moves


def test_a_layer_kept_in_float_is_not_counted() -> None:
    # A MatMul: onnxruntime rounds float weights of a Conv or Gemm by itself where the input is quantized.
    model, _, items = case("transformer")
    names = [layer.name for layer in model.layers if layer.op == "MatMul" and layer.weight]
    report = fusion_report(static_quantized(model, items, nodes_to_exclude=names[:1]))
    assert 0.0 < report.integer_share < 1.0
    running = integer_layers(report, model)
    assert names[0] not in running
    assert set(names[1:]) <= running


def test_fusion_report_of_what_does_not_run() -> None:
    _, quantized, _ = case("residual_cnn")
    proto = onnx.ModelProto()
    proto.CopyFrom(quantized)
    proto.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ModelError, match="does not run"):
        fusion_report(proto)
