"""The app without a browser: every page draws, edits are saved and undone, and bad input is said in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import streamlit as st
from onnx import TensorProto, helper, numpy_helper
from streamlit.testing.v1 import AppTest

import quantscope as qs
from quantscope.core.evaluate import Accuracy
from quantscope.core.project import Source
from quantscope.core.project import project as projects
from quantscope.core.quantize import resolve
from quantscope.core.recipe import Recipe, recipe_to_yaml
from quantscope.core.targets import Precision
from quantscope.core.thresholds import Method
from quantscope.ui.content.rows import layer_rows
from quantscope.ui.runs.measurement_work import guessing
from quantscope.ui.session import opening
from quantscope.ui.session.workspace import prepare
from tests.pages import APP, PAGES, go, healthy, home, opened, recipe, shown, start, until

__all__ = ["home"]  # a fixture

HOSTILE = ["<img src=x onerror=alert(1)>", "**b** $x$ :red[hot]", "=1+1`a`"]


@pytest.fixture
def ready() -> AppTest:
    """A calibrated sample."""
    app = start(opening.open_sample("digits_mlp"))
    until(app, lambda a: "recipe" in a.session_state)
    return app


def network(path: Path, names: list[str]) -> Path:
    """A chain of Conv + Relu with the given layer names."""
    generator = np.random.default_rng(0)
    nodes, weights, current = [], [], "x"
    for i, name in enumerate(names):
        weights.append(
            numpy_helper.from_array(generator.normal(0, 0.4, (4, 4, 3, 3)).astype(np.float32), f"w{i}")
        )
        nodes.append(helper.make_node("Conv", [current, f"w{i}"], [f"c{i}"], name=name, pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], name=f"relu{i}"))
        current = f"r{i}"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 8, 8])],
        [helper.make_tensor_value_info(current, TensorProto.FLOAT, ["N", 4, 8, 8])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def samples(path: Path, count: int = 12) -> Path:
    np.savez(path, x=np.random.default_rng(1).normal(size=(count, 4, 8, 8)).astype(np.float32))
    return path


# --- opening ---


def test_first_page_says_what_to_do() -> None:
    app = start()
    assert app.title[0].value == "Open a model"
    for page in ("overview", "layers", "inspector", "sensitivity", "export"):
        app.session_state["go"] = page
        app.run()
        healthy(app)
        assert app.subheader[0].value == "No model is open"
        assert app.button(key="empty_open")


def test_a_sample_opens_calibrates_and_every_page_draws() -> None:
    app = start()
    app.button(key="sample_digits_mlp").click().run()
    until(app, lambda a: a.title[0].value == "Overview")
    for page in PAGES:
        go(app, page)
        healthy(app)
    assert opened(app).id == "sample-digits-mlp"
    assert projects.open_project("sample-digits-mlp").calibrated


def test_a_local_model_with_random_data_is_flagged(tmp_path: Path) -> None:
    app = start()
    app.text_input(key="model_path").set_value(f' "{network(tmp_path / "n.onnx", ["a", "b"])}" ')
    app.segmented_control(key="data_by").set_value("Random").run()
    assert any("Noise" in w.value for w in app.warning)
    app.button(key="calibrate").click().run()
    until(app, lambda a: a.title[0].value == "Overview")
    healthy(app)
    assert any("random noise" in w.value for w in app.warning)


@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        ("missing.onnx", "data.npz", "not a file"),
        ("text.onnx", "data.npz", "ONNX"),
        ("net.onnx", "missing.npz", "does not exist"),
        ("net.onnx", "wrong.npz", "x"),
        ("net.onnx", "reader.py", "reader"),
    ],
)
def test_bad_input_gets_one_clear_message(tmp_path: Path, model: str, data: str, words: str) -> None:
    network(tmp_path / "net.onnx", ["a"])
    samples(tmp_path / "data.npz")
    (tmp_path / "text.onnx").write_text("not a model", encoding="utf-8")
    (tmp_path / "reader.py").write_text("raise SystemExit('must never run')", encoding="utf-8")
    np.savez(tmp_path / "wrong.npz", x=np.zeros((3, 7), np.float32))
    app = start()
    app.text_input(key="model_path").set_value(str(tmp_path / model))
    app.text_input(key="data_path").set_value(str(tmp_path / data)).run()
    if not app.button(key="calibrate").disabled:  # what is plainly wrong is said before
        app.button(key="calibrate").click().run()
    until(app, lambda a: bool(a.error))
    assert not app.exception
    assert words in app.error[0].value.replace("\\", "")
    assert "Traceback" not in app.error[0].value
    assert not any("Saved" in c.value for c in app.sidebar.caption)
    assert not any("Recent" in s.value for s in start().subheader)


@pytest.mark.parametrize(("content", "words"), [(None, "not a file"), (b"", "empty"), (b"PK", "not an ONNX")])
def test_a_path_is_checked_as_soon_as_it_is_typed(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "m.onnx").write_bytes(content)
    app = start()
    app.text_input(key="model_path").set_value(str(tmp_path / "m.onnx")).run()
    assert words in app.error[0].value.replace("\\", "")
    app.segmented_control(key="data_by").set_value("Random").run()
    assert app.button(key="calibrate").disabled
    network(tmp_path / "m.onnx", ["a"])
    app.run()
    healthy(app)
    assert not app.button(key="calibrate").disabled


def test_an_unknown_project_in_the_address_is_said() -> None:
    app = AppTest.from_file(str(APP), default_timeout=60)
    app.query_params["project"] = "../../etc"
    app.run()
    assert not app.exception
    assert "not a project id" in app.error[0].value.replace("\\", "")


# --- editing ---


def test_inspector_edits_are_on_disk_and_undone(ready: AppTest) -> None:
    app = go(ready, "inspector")
    name = app.session_state["shown_layer"]
    shown(app, "selectbox", "method").set_value("MSE").run()
    healthy(app)
    assert recipe(app).choice(name).method is Method.MSE
    shown(app, "segmented_control", "precision").set_value("int16").run()
    shown(app, "segmented_control", "granularity").set_value("tensor").run()
    assert recipe(app).choice(name).precision is Precision.INT16
    app.button(key="undo").click().run()
    app.button(key="undo").click().run()
    assert recipe(app).choice(name).precision is Precision.INT8
    assert shown(app, "segmented_control", "precision").value == "int8"  # widgets follow
    assert shown(app, "selectbox", "method").value == "MSE"
    app.button(key="redo").click().run()
    assert recipe(app).choice(name).precision is Precision.INT16
    app.button(key="reset_layer").click().run()
    assert name not in recipe(app).layers
    healthy(app)


def test_manual_keeps_the_range_shown(ready: AppTest) -> None:
    app = go(ready, "inspector")
    shown(app, "selectbox", "method").set_value("Percentile").run()
    shown(app, "selectbox", "method").set_value("Manual").run()
    healthy(app)
    choice = recipe(app).choice(app.session_state["shown_layer"])
    assert choice.method is Method.MANUAL
    assert choice.range is not None
    assert choice.range.high > 0


def test_apply_to_similar_layers(ready: AppTest) -> None:
    app = go(ready, "inspector")
    shown(app, "selectbox", "method").set_value("KL").run()
    app.button(key="apply_same").click().run()
    healthy(app)
    kinds = {choice.method for choice in recipe(app).layers.values()}
    assert kinds == {Method.KL}
    assert len(recipe(app).layers) > 1


def test_minmax_clips_nothing(ready: AppTest) -> None:
    project = opened(ready)
    space = prepare(project, lambda _: None)
    encodings = resolve(Recipe(), space.statistics, space.model)
    rows = layer_rows(space.model, space.statistics, Recipe(), encodings)
    assert {row.clipped for row in rows if row.clipped is not None} == {0.0}


def test_how_data_were_read_is_said_every_time(tmp_path: Path) -> None:
    np.savez(tmp_path / "pixels.npz", x=np.random.default_rng(1).integers(0, 256, (12, 4, 8, 8), np.uint8))
    model = Source(kind="path", path=str(network(tmp_path / "n.onnx", ["a"])))
    data = Source(kind="path", path=str(tmp_path / "pixels.npz"))
    project = opening.open_sources("n.onnx", model, data)
    first = prepare(project, lambda _: None).notes
    assert any("without scaling" in note for note in first)
    assert prepare(project, lambda _: None).notes == first  # also with the statistics of before


def test_a_float_model_that_guesses_is_told_from_a_weak_one() -> None:
    def found(share: float | None, rows: int = 1000) -> Accuracy:
        return Accuracy(
            output="y",
            float_top1=share,
            quantized_top1=share,
            float_top5=None,
            quantized_top5=None,
            agreement=1.0,
            rows=rows,
        )

    ten = [n % 10 for n in range(1000)]
    assert guessing(found(0.083), ten)
    assert guessing(found(0.0), ten)
    assert not guessing(found(0.2), ten)
    assert not guessing(found(0.083), list(range(1000)))  # of a thousand classes that is much
    assert not guessing(found(0.083, rows=12), ten)
    assert not guessing(found(None), ten)
    assert not guessing(None, ten)
    assert not guessing(found(0.0), [3] * 1000)


def test_bulk_edit_follows_the_filter(ready: AppTest) -> None:
    app = go(ready, "layers")
    app.multiselect(key="filter_op").set_value(["Gemm"]).run()
    assert app.button(key="bulk_set").disabled  # nothing is chosen yet
    app.selectbox(key="bulk_method").set_value("Cosine").run()
    assert app.button(key="bulk_set").label == "Set for 3 layers"
    app.button(key="bulk_set").click().run()
    healthy(app)
    changed = recipe(app).layers
    assert changed
    assert all(choice.method is Method.COSINE for choice in changed.values())
    app.button(key="bulk_reset").click().run()
    assert not recipe(app).layers


def test_reopened_exactly_as_it_was(ready: AppTest) -> None:
    app = go(ready, "inspector")
    shown(app, "selectbox", "method").set_value("MSE").run()
    before, id = recipe(app), opened(app).id
    st.cache_resource.clear()  # as after a kill: nothing is left in memory
    again = start(projects.open_project(id))
    until(again, lambda a: "recipe" in a.session_state)
    go(again, "inspector")
    healthy(again)
    assert recipe(again) == before
    assert shown(again, "selectbox", "method").value == "MSE"


def test_export_is_verified_and_says_how_to_repeat_it(ready: AppTest) -> None:
    app = go(ready, "export")
    until(app, lambda a: any("Verified" in m.value for m in a.markdown))
    healthy(app)
    assert any("quantscope quantize" in code.value for code in app.code)
    files = {"get_model", "get_recipe", "get_table", "get_encodings"}
    assert {b.key for b in app.get("download_button")} == files


def test_a_recipe_file_replaces_the_choices(ready: AppTest) -> None:
    app = go(ready, "export")
    text = recipe_to_yaml(Recipe().with_default(method=Method.KL))
    app.get("file_uploader")[0].set_value(("mine.yaml", text.encode(), "application/yaml")).run()
    healthy(app)
    assert recipe(app).default.method is Method.KL
    wrong = recipe_to_yaml(Recipe().with_layer("no such layer", method=Method.MSE))
    app.get("file_uploader")[0].set_value(("wrong.yaml", wrong.encode(), "application/yaml")).run()
    assert not app.exception
    assert "no such layer" in app.error[0].value
    assert recipe(app).default.method is Method.KL


def test_a_recipe_goes_from_a_script_to_the_app_and_back(ready: AppTest, tmp_path: Path) -> None:
    made = qs.recipe(method="percentile", percentile=99.9, symmetric=True, passes=["bias_correction"])
    qs.save_recipe(made, tmp_path / "script.yaml")
    app = go(ready, "export")
    content = (tmp_path / "script.yaml").read_bytes()
    app.get("file_uploader")[0].set_value(("script.yaml", content, "application/yaml")).run()
    healthy(app)
    assert recipe(app) == made
    (tmp_path / "app.yaml").write_text(recipe_to_yaml(recipe(app)), encoding="utf-8")  # the download's text
    assert qs.load_recipe(tmp_path / "app.yaml") == made


# --- hostile and odd models ---


def test_names_from_a_model_are_never_markup(tmp_path: Path) -> None:
    model = Source(kind="path", path=str(network(tmp_path / "odd.onnx", HOSTILE)))
    data = Source(kind="path", path=str(samples(tmp_path / "data.npz")))
    app = start(opening.open_sources("<b>odd</b>.onnx", model, data))
    until(app, lambda a: "recipe" in a.session_state)
    for page in PAGES:
        go(app, page)
        healthy(app)
        shown: list[Any] = [*app.markdown, *app.caption, *app.info, *app.warning, *app.subheader]
        for element in shown:
            bare = strip_code(element.value)
            assert "<img" not in bare.replace("\\<", "")
            assert "**b**" not in bare
            assert ":red[hot]" not in bare


def strip_code(markdown: str) -> str:
    """Without code spans, in which nothing is interpreted."""
    out, rest = [], markdown
    while "`" in rest:
        head, _, tail = rest.partition("`")
        fence = "`" * (1 + len(tail) - len(tail.lstrip("`")))
        body, found, after = tail[len(fence) - 1 :].partition(fence)
        out.append(head)
        rest = after if found else ""
        assert body is not None
    return "".join([*out, rest])


def test_a_damaged_recipe_version_is_repaired_and_said(ready: AppTest) -> None:
    app = go(ready, "inspector")
    shown(app, "selectbox", "method").set_value("MSE").run()
    project = opened(app)
    path = next((project.folder / "history").glob("000002-*.json"))
    path.write_text("{", encoding="utf-8")
    st.cache_resource.clear()
    again = start(projects.open_project(project.id))
    until(again, lambda a: "recipe" in a.session_state)
    go(again, "overview")
    assert not again.exception
    assert any("was damaged" in m.value for m in again.markdown)
    assert recipe(again).layers == {}


def following() -> None:
    import streamlit as st

    from quantscope.ui.views import common

    def act(value: str) -> None:
        st.session_state["edits"] = [*st.session_state["edits"], value]
        st.session_state["there"] = value

    there = st.session_state.setdefault("there", "a")
    st.session_state.setdefault("edits", [])
    key, first = common.follow("pick", there)
    options = ["a", "b", "c"]
    st.selectbox("x", options, options.index(first), key=key, on_change=common.changed, args=(key, act))
    st.button("too late", on_click=common.changed, args=("pick_0", act))


def test_a_widget_that_follows_is_new_when_the_program_changes_it() -> None:
    app = AppTest.from_function(following).run()
    app.selectbox[0].set_value("b").run()
    assert (app.selectbox[0].key, app.selectbox[0].value) == ("pick_0", "b")  # so focus stays
    app.session_state["there"] = "c"  # undo, say
    app.run()
    assert (app.selectbox[0].key, app.selectbox[0].value) == ("pick_1", "c")
    app.button[0].click().run()  # the widget before, brought back by polling
    assert app.session_state["edits"] == ["b"]
    app.selectbox[0].set_value("a").run()
    assert app.session_state["edits"] == ["b", "a"]
    assert app.selectbox[0].key == "pick_1"
