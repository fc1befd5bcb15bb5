"""Overview: which layers it says to look at first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from streamlit.testing.v1 import AppTest

from core.project import Source
from core.targets import Precision
from tests.graphs import model, value
from tests.heads import HEADS, samples_for
from tests.pages import go, healthy, recipe, shown, start, until
from tests.pages import home as home  # a fixture
from ui import opening


@pytest.fixture
def overview() -> AppTest:
    app = start(opening.open_sample("digits_mlp"))
    until(app, lambda a: "recipe" in a.session_state)
    return go(app, "overview")


def first(app: AppTest) -> list[str]:
    """Names of the layers to look at first."""
    keys = [str(button.key) for button in app.button]
    return [key.removeprefix("worst_") for key in keys if key.startswith("worst_")]


def captions(app: AppTest) -> str:
    return "\n".join(caption.value for caption in app.caption)


def test_layers_are_judged_by_their_own_error_until_a_ranking_knows_better(overview: AppTest) -> None:
    app = overview
    until(app, lambda a: " dB alone" in captions(a))
    assert sorted(first(app)) == ["fc1", "fc2", "fc3"]
    assert "errors that layers make by themselves" in captions(app)
    go(app, "sensitivity")
    app.button(key="start_sens").click().run()
    until(app, lambda a: any("Why, and what helps" in s.value for s in a.subheader))
    ranked = [m.value.split("`")[1] for m in app.markdown if m.value.startswith("**1.** ")]
    go(app, "overview")
    healthy(app)
    assert "as ranked on *Sensitivity*" in captions(app)
    assert first(app)[:1] == ranked
    assert "dB with it alone quantized" in captions(app)
    app.button(key=f"worst_{ranked[0]}").click().run()
    assert app.title[0].value == "Inspector"


def test_an_edit_makes_a_ranking_old(overview: AppTest) -> None:
    app = go(overview, "sensitivity")
    app.button(key="start_sens").click().run()
    until(app, lambda a: any("Why, and what helps" in s.value for s in a.subheader))
    go(app, "overview")
    assert "as ranked on *Sensitivity*" in captions(app)
    shown(app, "toggle", "fix_equalize").set_value(True).run()
    until(app, lambda a: "errors that layers make by themselves" in captions(a))
    app.button(key="undo").click().run()
    until(app, lambda a: "as ranked on *Sensitivity*" in captions(a))


def test_where_nothing_is_quantized_there_is_nothing_to_tune(tmp_path: Path) -> None:
    onnx.save(
        model([helper.make_node("Erf", ["x"], ["y"])], [value("x", [1, 8])], [value("y", [1, 8])]),
        tmp_path / "erf.onnx",
    )
    source = Source(kind="path", path=str(tmp_path / "erf.onnx"))
    app = start(opening.open_sources("erf.onnx", source, Source(kind="random", path="")))
    until(app, lambda a: "recipe" in a.session_state)
    go(app, "overview")
    healthy(app)
    assert any(warning.value.startswith("No layer is quantized: ") for warning in app.warning)
    assert "No layer is quantized, so there is nothing to tune." in [info.value for info in app.info]
    assert "start_tune" not in {button.key for button in app.button}


def test_outputs_that_became_constant_are_a_banner_with_the_change_that_helps(tmp_path: Path) -> None:
    onnx.save(HEADS["joined_first"](), tmp_path / "m.onnx")
    images = np.concatenate([item["image"] for item in samples_for("joined_first")])
    np.savez(tmp_path / "d.npz", image=images)
    sources = (Source(kind="path", path=str(tmp_path / name)) for name in ("m.onnx", "d.npz"))
    app = start(opening.open_sources("m.onnx", *sources))
    until(app, lambda a: "recipe" in a.session_state)
    go(app, "overview")
    until(app, lambda a: bool(a.error))
    (banner,) = app.error
    said = banner.value.replace("\\", "")
    assert "3 of 7 channels of output 'y' (axis 1: 4, 5, 6)" in said
    assert "Leave 'cat_Concat' in float" in said
    app.button(key="spare_y").click().run()
    until(app, lambda a: not a.error)
    healthy(app)
    assert recipe(app).choice("cat_Concat").precision is Precision.FLOAT
    assert "spare_y" not in {button.key for button in app.button}
