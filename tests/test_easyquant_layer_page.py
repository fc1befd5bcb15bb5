"""EasyQuant in the Inspector: nothing changes before it is used, and one undo takes it back."""

from __future__ import annotations

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from quantscope.core.evaluate import OutputCurve
from quantscope.core.quant import Range
from quantscope.ui.figures.output_curve import output_curve_figure
from quantscope.ui.session import opening
from tests.pages import go, healthy, recipe, shown, start, until
from tests.pages import home as home  # a fixture


@pytest.fixture
def inspector() -> AppTest:
    app = start(opening.open_sample("digits_mlp"))
    until(app, lambda a: "recipe" in a.session_state)
    app.session_state["part"] = "Layer output"
    return go(app, "inspector")


def keys(app: AppTest) -> set[str | None]:
    return {button.key for button in app.button}


@pytest.mark.slow
def test_scales_are_found_and_used_in_one_step(inspector: AppTest) -> None:
    app, before = inspector, recipe(inspector)
    app.button(key="start_easy").click()
    until(app, lambda a: "use_easy" in keys(a), 60)
    assert recipe(app) == before
    assert any("Output cosine" in entry.value for entry in app.markdown)
    button = app.button(key="use_easy")
    if not button.disabled:
        button.click().run()
        healthy(app)
        assert recipe(app) != before
        assert app.button(key="use_easy").disabled
        app.button(key="undo").click().run()
        assert recipe(app) == before


def test_an_input_has_readers_only(inspector: AppTest) -> None:
    app = inspector
    app.session_state["shown_layer"] = (
        shown(app, "selectbox", "layer_box").options[0].split(". ")[1].split("  ·")[0]
    )
    app.run()
    app.button(key="start_easy").click()
    until(app, lambda a: any("Outputs of the layers that read" in entry.value for entry in a.markdown), 60)
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
    assert figure.layout.yaxis.title.text == "cosine of the output, against float"
