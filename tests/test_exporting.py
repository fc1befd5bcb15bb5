"""What the export page says of layers that stay float."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from quantscope.core.evaluate import size_breakdown
from quantscope.core.model import load_model
from quantscope.core.passes import change_model
from quantscope.core.quantize import resolve
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Precision
from quantscope.ui.content import size_parts
from quantscope.ui.content.snippet import Feed, feeds_of, run_in_python
from quantscope.ui.runs.exporting import changes, encodings_json, float_groups, stays_float
from tests.evaluating import list_samples
from tests.networks import feeds, masked_attention
from tests.quantizing import network, quantized, statistics_of


def test_masked_scores_are_named_with_their_mask() -> None:
    model = load_model(masked_attention(-1e4).SerializeToString())
    samples = [{"x": np.random.default_rng(i).standard_normal((4, 8)).astype(np.float32)} for i in range(8)]
    encodings = resolve(Recipe(), statistics_of(model, samples), model)
    reasons = dict(stays_float(model, Recipe(), encodings))
    assert any("-1e+04" in reason and "far from the others" in reason for reason in reasons.values())


def test_a_layer_set_to_float_is_named_and_others_are_not() -> None:
    model = network("residual_cnn")
    recipe = Recipe().with_layer("b0.c1_Conv", precision=Precision.FLOAT)
    encodings = resolve(recipe, statistics_of(model, feeds("residual_cnn", 2)), model)
    assert stays_float(model, recipe, encodings) == [("b0.c1_Conv", "set to float in the recipe")]


def test_layers_that_stay_float_are_grouped_by_reason() -> None:
    model = network("residual_cnn")
    recipe = Recipe()
    for layer in model.layers:
        recipe = recipe.with_layer(layer.name, precision=Precision.FLOAT)
    recipe = recipe.with_layer("logits_Gemm", precision=Precision.INT8)
    encodings = resolve(recipe, statistics_of(model, feeds("residual_cnn", 2)), model)
    first, *_ = float_groups(model, recipe, encodings)
    assert first.why == "set to float in the recipe"
    assert dict(first.operators)["Conv"] == 5
    assert sum(count for _, count in first.operators) == len(first.names)
    assert sum(len(g.names) for g in float_groups(model, recipe, encodings)) == len(
        stays_float(model, recipe, encodings)
    )


def test_an_exported_file_runs_with_the_lines_that_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = feeds("residual_cnn", 2)
    proto, encodings = quantized(network("residual_cnn"), samples)
    monkeypatch.chdir(tmp_path)
    name = 'it\'s "quoted".onnx'
    Path(name).write_bytes(proto.SerializeToString())
    for exact in (True, False):
        code = run_in_python(name, feeds_of(samples[0]), exact=exact)
        exec(compile(code, "snippet", "exec"), {})
        assert capsys.readouterr().out == "logits (1, 10)\n"
        assert ("x64quantprecision" in code) == exact
    stored = json.loads(encodings_json(proto.SerializeToString()))["quantizers"]
    by_name = {entry["name"]: entry for entry in stored}
    assert set(encodings.activations) <= set(by_name)
    assert by_name["image"]["scale"] == [float(encodings.activations["image"].scale)]
    assert by_name["image"]["zero_point"] == [int(encodings.activations["image"].zero_point)]


@pytest.mark.parametrize("kind", ["float16", "int64", "bool", "object"])
def test_lines_to_copy_name_every_type(kind: str) -> None:
    feed = Feed(name="tokens\n'", dtype=kind, shape=(1, 3))
    code = run_in_python("m.onnx", (feed,), exact=False)
    start = code.index("inputs = ")
    given: dict[str, object] = {}
    exec(code[start : code.index("for info")], {"np": np}, given)
    value = given["inputs"]["tokens\n'"]  # type: ignore[index]
    assert (value.dtype.name, value.shape) == (kind, (1, 3))


def test_model_fixes_are_among_what_was_changed() -> None:
    model = network("residual_cnn")
    recipe = Recipe().with_passes("equalize")
    assert any("equalization: in use" in sentence for sentence in changes(model, recipe, ()))
    _, records = change_model(model, recipe, list_samples(feeds("residual_cnn", 4)))
    said = changes(model, recipe, records)
    assert list(model.notes) == said[: len(model.notes)]
    assert "equalization: Equalization rescaled" in " ".join(said)


def test_what_the_bytes_are_is_said_and_why_they_are_more() -> None:
    found = size_breakdown(quantized(network("residual_cnn"), feeds("residual_cnn", 2))[0])
    said = size_parts.sentence(found, 100_000)
    assert said.startswith("The file holds ")
    assert "weights 2.67 kB" in said
    assert "no smaller" not in said
    assert "no smaller than the float model (1 kB)" in size_parts.sentence(found, 1000)
