"""EasyQuant in the Inspector: nothing changes before it is used, and one undo takes it back."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from core import project as projects
from core.outputcurve import OutputCurve
from core.quant import Range
from core.recipe import Recipe
from ui import opening
from ui.figures.output_curve import output_curve_figure

APP = Path(__file__).resolve().parents[1] / "ui" / "app.py"


@pytest.fixture
def inspector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("QUANTSCOPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("QUANTSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.argv", ["app.py"])
    st.cache_resource.clear()
    app = AppTest.from_file(str(APP), default_timeout=60)
    app.query_params["project"] = opening.open_sample("digits_mlp").id
    wait(app, lambda: "recipe" in app.session_state)
    app.session_state["go"] = "inspector"
    app.session_state["part"] = "Layer output"
    return app.run()


def wait(app: AppTest, condition: object) -> None:
    end = time.monotonic() + 60
    app.run()
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, [e.value for e in app.error]
        time.sleep(0.1)
        app.run()
    assert not app.exception


def recipe(app: AppTest) -> Recipe:
    """What is on disk."""
    opened = projects.open_project(app.session_state["open_project"].id)
    return Recipe.from_yaml(projects.read_step(opened).recipe)


def keys(app: AppTest) -> set[str | None]:
    return {button.key for button in app.button}


def test_scales_are_found_and_used_in_one_step(inspector: AppTest) -> None:
    app, before = inspector, recipe(inspector)
    app.button(key="start_easy").click()
    wait(app, lambda: "use_easy" in keys(app))
    assert recipe(app) == before
    assert any("Output cosine" in entry.value for entry in app.markdown)
    button = app.button(key="use_easy")
    if not button.disabled:
        button.click().run()
        assert not app.exception
        assert recipe(app) != before
        assert app.button(key="use_easy").disabled
        app.button(key="undo").click().run()
        assert recipe(app) == before


def test_an_input_has_readers_only(inspector: AppTest) -> None:
    app = inspector
    app.session_state["shown_layer"] = (
        app.selectbox(key="layer_box").options[0].split(". ")[1].split("  ·")[0]
    )
    app.run()
    app.button(key="start_easy").click()
    wait(app, lambda: any("Outputs of the layers that read" in entry.value for entry in app.markdown))
    assert "use_easy" not in keys(app)


def test_the_curve_shows_each_reader_and_what_is_kept() -> None:
    curve = OutputCurve(
        tensor="x",
        readers=("a", "<b>"),
        lows=np.array([-1.0, -2.0, -4.0]),
        highs=np.array([0.5, 1.0, 2.0]),
        cosine=np.array([[0.9, 0.8], [0.99, 0.98], [0.95, 0.94]]),
        samples=3,
    )
    figure = output_curve_figure(curve, Range(-3.0, 1.0))
    assert [trace.name for trace in figure.data] == ["a", "&lt;b&gt;"]
    assert list(figure.data[0].x) == [1.0, 2.0, 4.0]  # the farther end
    assert list(figure.data[1].y) == [0.8, 0.98, 0.94]
    assert figure.layout.shapes[0].x0 == 3.0
    assert figure.layout.yaxis.title.text == "cosine of the output"
