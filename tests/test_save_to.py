"""Export to a path of this machine: what is written, and what is never written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantscope.core.errors import ExportError
from quantscope.core.recipe import recipe_from_yaml
from quantscope.ui.runs import saving
from quantscope.ui.session import opening
from tests.pages import go, healthy, recipe, start, until
from tests.pages import home as home  # a fixture


def test_places(tmp_path: Path) -> None:
    assert saving.places(f' "{tmp_path}" ', "m.onnx", "r.yaml") == (tmp_path / "m.onnx", tmp_path / "r.yaml")
    named = tmp_path / "mine.onnx"
    assert saving.places(str(named), "m.onnx", "r.yaml") == (named, tmp_path / "r.yaml")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("out", "does not say where"),
        ("{}/absent", "is not a folder"),
        ("{}/net.tflite", "does not end in"),
        ("{}/no/net.onnx", "there is no folder"),
        ("~nobody-of-that-name/net.onnx", "does not say where"),
        ("{}/" + "n" * 300, "is not a folder"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path, typed: str, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        saving.places(typed.format(tmp_path), "m.onnx", "r.yaml")


def test_files_of_other_content_are_kept_unless_asked_otherwise(tmp_path: Path) -> None:
    one, other = tmp_path / "a.onnx", tmp_path / "b.yaml"
    contents = {one: b"new", other: b"recipe"}
    assert saving.save(contents, keep=None, replace=False) == (one, other)
    assert saving.save(contents, keep=None, replace=False) == ()  # there already
    other.write_bytes(b"mine")
    one.unlink()
    with pytest.raises(ExportError, match="is there already"):
        saving.save(contents, keep=None, replace=False)
    assert not one.exists()  # both or none
    assert saving.save(contents, keep=None, replace=True) == (one, other)
    assert other.read_bytes() == b"recipe"
    with pytest.raises(ExportError, match="the float model"):
        saving.save(contents, keep=one, replace=True)
    assert one.read_bytes() == b"new"


def test_the_page_saves_model_and_recipe(tmp_path: Path) -> None:
    app = start(opening.open_sample("digits_mlp"))
    until(app, lambda a: "recipe" in a.session_state)
    go(app, "export")
    app.text_input(key="save_path").set_value(str(tmp_path / "nowhere" / "x.onnx")).run()
    until(app, lambda a: not a.button(key="save_to").disabled)
    app.button(key="save_to").click().run()
    assert any("There is no folder" in error.value for error in app.error)
    app.text_input(key="save_path").set_value(str(tmp_path)).run()
    healthy(app)  # nothing stale
    app.button(key="save_to").click().run()
    healthy(app)
    assert any("Saved" in success.value for success in app.success)
    saved = tmp_path / "digits_mlp_recipe.yaml"
    assert recipe_from_yaml(saved.read_text(encoding="utf-8")) == recipe(app)
    assert (tmp_path / "digits_mlp_int8.onnx").stat().st_size > 10_000
