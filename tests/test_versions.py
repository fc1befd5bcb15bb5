"""Versions of a model: float, every step, and files of other tools; the file of each, and what is in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantFormat

from quantscope.core.errors import ModelError, ProjectError
from quantscope.core.evaluate import layer_encodings
from quantscope.core.model import load_model
from quantscope.core.pipeline import quantize
from quantscope.core.project import marks, others
from quantscope.core.project import project as projects
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.thresholds import Method
from quantscope.ui.runs import versions
from quantscope.ui.runs.versions import Kind
from quantscope.ui.session import state
from tests.evaluating import static_quantized
from tests.graphs import model, node, value
from tests.networks import feeds
from tests.pages import Tab, small
from tests.pages import home as home  # a fixture
from tests.quantizing import MINMAX, network, statistics_of


def silent(_: object) -> None:
    """Progress that nobody looks at."""


# --- what is in a file ---


@pytest.mark.parametrize("name", ["residual_cnn", "mobile_cnn", "transformer"])
def test_scales_in_a_file_of_ours_are_those_that_were_resolved(name: str) -> None:
    net = network(name)
    encodings = resolve(MINMAX, statistics_of(net, feeds(name)), net)
    found = layer_encodings(net, quantize_model(net, encodings))
    assert list(found) == [layer.name for layer in net.layers]
    for layer in net.layers:
        ours = encodings.activations.get(layer.output)
        theirs = found[layer.name].output
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            assert theirs.scale == ours.scale
            assert theirs.zero_point == ours.zero_point
        weight = next((encodings.weights[n] for n in layer.nodes if n in encodings.weights), None)
        if layer.op in ("Conv", "Gemm", "MatMul") and weight is not None:
            assert np.array_equal(found[layer.name].weight.scale, weight.scale)


@pytest.mark.parametrize("integer_operators", [False, True])
def test_scales_of_another_tool_are_found_by_layer(integer_operators: bool) -> None:
    net = network("residual_cnn")
    file = static_quantized(
        net,
        feeds("residual_cnn"),
        quant_format=QuantFormat.QOperator if integer_operators else QuantFormat.QDQ,
        per_channel=not integer_operators,
    )
    found = layer_encodings(net, file)
    convolutions = [layer for layer in net.layers if layer.op == "Conv"]
    assert convolutions
    for layer in convolutions:
        assert found[layer.name].matched
        weight = found[layer.name].weight
        assert weight is not None
        values = dict(
            zip((t.name for t in net.proto().graph.initializer), net.proto().graph.initializer, strict=True)
        )
        largest = np.abs(onnx.numpy_helper.to_array(values[layer.weight])).max()
        assert np.isclose(weight.scale.max() * 127, largest, rtol=0.02)


# --- files of steps ---


def test_the_file_of_a_step_is_what_its_recipe_gives(tmp_path: Path) -> None:
    tab = Tab(small(tmp_path, 1))
    now = tab.session()
    with tab:
        state.edit_layer("conv", "KL", method=Method.KL)
        state.edit(lambda r: r.with_passes("equalize", "bias_correction"), "fixes")
    now = tab.session()
    with tab:
        found = versions.versions(now)
        assert [v.key for v in found] == ["float", "step:1", "step:2", "step:3"]
        assert [v.kind for v in found] == [Kind.FLOAT, Kind.STEP, Kind.STEP, Kind.STEP]
        assert found[2].label == "Step 2: KL"
        base = now.opened
        for version, recipe in ((found[1], Recipe()), (found[3], now.recipe)):
            made = quantize(base.model, recipe, base.samples, statistics=base.statistics)
            data = versions.quantized_file(now, version, silent)
            assert data == made.proto.SerializeToString()
            assert versions.quantized_file(now, version, silent) is data  # kept
        assert load_model(versions.quantized_file(now, found[0], silent)).hash == base.model.hash


def test_names_notes_and_what_is_out_of_sight(tmp_path: Path) -> None:
    tab = Tab(small(tmp_path, 2))
    tab.session()
    with tab:
        state.edit_layer("conv", "KL", method=Method.KL)
        state.edit_layer("conv", "MSE", method=Method.MSE)
        state.undo()
    now = tab.session()
    with tab:
        before = {path.name: path.read_bytes() for path in (now.project.folder / "history").iterdir()}
        marks.call(now.project, 2, "  for the  customer ", "note\nof two lines")
        with pytest.raises(ProjectError, match="step 2 has the name"):
            marks.call(now.project, 1, "for the customer")
        named = next(v for v in versions.versions(now) if v.number == 2)
        assert (named.short, named.label) == ("for the customer", "for the customer (step 2)")
        assert named.note == "note\nof two lines"
        marks.hide(now.project, {3})
        assert [v.number for v in versions.steps(now.project)] == [1, 2]
        assert [v.number for v in versions.steps(now.project, hidden=True)] == [1, 2, 3]
        with pytest.raises(ProjectError, match="shown one"):
            marks.hide(now.project, {1})
        there = projects.open_project(now.project.id)
        assert not there.can_redo  # what would come back is out of sight
        assert projects.redo(there).head == 2
        marks.bring_back(now.project, {3})
        assert projects.redo(projects.open_project(now.project.id)).head == 3
        assert {path.name: path.read_bytes() for path in (now.project.folder / "history").iterdir()} == before


def test_a_step_and_all_that_were_made_from_it() -> None:
    parents = {1: 0, 2: 1, 3: 2, 4: 2, 5: 1, 6: 4}
    assert marks.made_from(parents, 2) == {2, 3, 4, 6}
    assert marks.ancestors(parents, 6) == [4, 2, 1]


def test_damaged_marks_cost_only_themselves(tmp_path: Path) -> None:
    project = small(tmp_path, 3)
    marks.call(project, 1, "first")
    project = projects.record(project, projects.read_step(project).recipe, "again")
    marks.call(project, 2, "second")
    (project.folder / "marks" / "000001.json").write_bytes(b"{")
    assert {n: m.name for n, m in marks.read_marks(project).items()} == {2: "second"}


# --- files of other tools ---


def test_a_file_of_another_tool_is_a_version(tmp_path: Path) -> None:
    tab = Tab(small(tmp_path, 4))
    now = tab.session()
    data = static_quantized(now.model, [{"x": s["x"]} for s in now.workspace.samples]).SerializeToString()
    with tab:
        versions.check_other(now.model, data, "theirs.onnx")
        added = others.add_other(now.project, "theirs.onnx", data)
        assert others.add_other(now.project, "theirs.onnx", data) == added
        version = versions.versions(now)[-1]
        assert (version.kind, version.short) == (Kind.FILE, "theirs.onnx")
        assert versions.find(now, version.key) == version
        assert versions.quantized_file(now, version, silent) == data
        others.remove_other(now.project, added.id)
        assert versions.find(now, version.key) is None


def test_a_file_that_was_changed_since_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    tab = Tab(small(tmp_path, 5))
    now = tab.session()
    path = tmp_path / "theirs.onnx"
    path.write_bytes(b"one")
    added = others.add_other(now.project, "theirs.onnx", path)
    path.write_bytes(b"two")
    with pytest.raises(ProjectError, match="another file by now"):
        others.path_of_other(now.project, added)
    path.unlink()
    with pytest.raises(ProjectError, match="no longer there"):
        others.path_of_other(now.project, added)


def test_files_of_other_models_are_refused_in_a_sentence(tmp_path: Path) -> None:
    net = network("residual_cnn")
    other = static_quantized(network("mobile_cnn"), feeds("mobile_cnn"))
    with pytest.raises(ModelError, match=r"only 1 of the 6 layers with weights of"):
        versions.check_other(net, other.SerializeToString(), "other.onnx")
    with pytest.raises(ModelError, match="nothing in it is quantized"):
        versions.check_other(net, net.float_bytes(), "float.onnx")
    with pytest.raises(ModelError, match=r"junk\.onnx"):
        versions.check_other(net, b"junk", "junk.onnx")
    info = net.inputs[0], net.outputs[0]
    stranger = model(
        [node("Identity", [info[0].name], [info[1].name], name="n")],
        [value(info[0].name, list(info[0].shape))],
        [value(info[1].name, list(info[0].shape))],
    )
    with pytest.raises(ModelError):
        versions.check_other(net, stranger.SerializeToString(), "stranger.onnx")
