"""The Layers page: what is shown of each layer, which rows a filter leaves, one choice for all of these."""

from __future__ import annotations

import math
import re
from pathlib import Path

import onnx
import pytest
from streamlit.testing.v1 import AppTest

from quantscope.core.project import Project
from quantscope.core.project import project as projects
from quantscope.core.quant import ScaleRule
from quantscope.core.recipe import Choice
from quantscope.core.targets import Granularity, Precision
from quantscope.core.thresholds import Method
from quantscope.ui.content.tensor_view import RULES
from quantscope.ui.session import opening
from quantscope.ui.session.workspace import Source
from quantscope.ui.views.layers_table import sortable
from tests.graphs import model, node, randn, value
from tests.pages import go, healthy, opened, recipe, start, until
from tests.pages import home as home  # a fixture

LONG = "stage/with/a/name/that/nobody/can/read/at/once/conv"


def project(folder: Path) -> Project:
    """Convolutions with long names that begin and end alike, a layer without any error, and a float one."""
    nodes = [
        node("Conv", ["x", "w0"], ["a"], name=f"{LONG}_1/Conv2D", pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"], name="act"),
        node("Conv", ["b", "w1"], ["c"], name=f"{LONG}_2/Conv2D", pads=[1, 1, 1, 1]),
        node("Cos", ["c"], ["y"], name="wave"),
    ]
    weights = {"w0": randn(3, 3, 3, 3, seed=1), "w1": randn(3, 3, 3, 3, seed=2)}
    proto = model(nodes, [value("x", ["N", 3, 8, 8])], [value("y", ["N", 3, 8, 8])], weights)
    path = folder / "net.onnx"
    onnx.save(proto, path)
    return opening.open_sources("net.onnx", Source(kind="path", path=str(path)), Source(kind="random"))


@pytest.fixture
def layers(tmp_path: Path) -> AppTest:
    """The page with all figures."""
    app = go(start(project(tmp_path)), "layers")
    until(app, lambda a: bool(a.dataframe) and not any("measuring" in c.value for c in a.caption))
    healthy(app)
    return app


def table(app: AppTest) -> dict[str, list[object]]:
    """The table by column, without Markdown."""
    return {name: list(column) for name, column in app.dataframe[0].value.items()}


def test_every_row_tells_range_scale_and_errors(layers: AppTest) -> None:
    shown = table(layers)
    assert len(set(shown["name"])) == len(shown["name"]) >= 4
    assert all(len(str(name)) <= 27 for name in shown["name"])
    assert any("_1" in str(name) for name in shown["name"])
    quantized = [i for i, scale in enumerate(shown["scale"]) if isinstance(scale, float) and scale > 0]
    assert quantized
    for i in quantized:
        assert isinstance(shown["zero"][i], float)
        assert "…" in str(shown["range"][i])
    for name in ("local", "cumulative"):
        assert any(re.fullmatch(r" *\d+\.\d", str(figure)) for figure in shown[name])


def test_figures_are_sorted_by_their_value() -> None:
    figures = [-math.inf, -41.26, -10.0, -9.9, -0.1, 0.0, 0.3, 9.9, 10.0, 41.7, 99.9, 123.0, math.inf]
    texts = [sortable(figure) for figure in figures]
    assert all(isinstance(shown, str) for shown in texts)
    assert sorted(texts, key=str) == texts
    assert [str(shown).strip() for shown in texts[1:4]] == ["−41.3", "−10.0", "−9.9"]
    assert [str(shown).strip() for shown in (texts[0], texts[-1])] == ["−∞", "∞"]
    assert sortable(-0.04) == sortable(0.0)
    assert sortable(None) is sortable(math.nan) is None


def test_what_was_chosen_together_is_one_step(layers: AppTest) -> None:
    app = layers
    head = opened(app).head
    assert app.button(key="bulk_set").disabled
    app.text_input(key="filter_name").set_value("conv").run()
    app.selectbox(key="bulk_method").set_value("MSE").run()
    app.selectbox(key="bulk_weights").set_value("per tensor").run()
    app.selectbox(key="bulk_scales").set_value(RULES[ScaleRule.POWER_OF_TWO_UP]).run()
    assert app.button(key="bulk_set").label == "Set for 2 layers"
    app.button(key="bulk_set").click().run()
    healthy(app)
    wanted = Choice(method=Method.MSE, weights=Granularity.PER_TENSOR, scale_rule=ScaleRule.POWER_OF_TWO_UP)
    assert recipe(app).layers == {f"{LONG}_1/Conv2D": wanted, f"{LONG}_2/Conv2D": wanted}
    assert opened(app).head == head + 1
    step = projects.read_step(projects.open_project(opened(app).id))
    assert step.label.startswith("MSE, weights per tensor, scales")
    assert step.label.endswith("for 2 layers")
    assert app.button(key="bulk_set").disabled  # chosen anew for the next layers
    app.button(key="bulk_reset").click().run()
    assert not recipe(app).layers


def test_scales_of_all_are_the_default_and_other_choices_are_each_layers(layers: AppTest) -> None:
    app = layers
    app.selectbox(key="bulk_precision").set_value("int16").run()
    app.selectbox(key="bulk_scales").set_value(RULES[ScaleRule.POWER_OF_TWO_UP]).run()
    app.button(key="bulk_set").click().run()
    healthy(app)
    found = recipe(app)
    assert found.default.scale_rule is ScaleRule.POWER_OF_TWO_UP
    assert {choice.precision for choice in found.layers.values()} == {Precision.INT16}
    assert all(choice.scale_rule is None for choice in found.layers.values())


def test_the_worst_come_first_where_that_is_asked_for(layers: AppTest) -> None:
    app = layers
    before = table(app)
    app.selectbox(key="layer_order").set_value("Worst for the output first").run()
    healthy(app)
    after = table(app)
    assert sorted(map(str, after["name"])) == sorted(map(str, before["name"]))
    assert after["flag"][0] == "⚑"  # what stands out is the worst
    assert list(before["name"]) == table_in_order(app)


def table_in_order(app: AppTest) -> list[object]:
    """Names as they are executed."""
    app.selectbox(key="layer_order").set_value("As executed").run()
    return table(app)["name"]


@pytest.mark.parametrize(
    ("name", "show", "said"),
    [
        ("zz", "All", "The name of no layer contains `zz`."),
        ("", "Changed", "No layer has a choice of its own yet."),
        ("$x$ *y*", "All", "The name of no layer contains `$x$ *y*`."),
    ],
)
def test_a_filter_that_leaves_nothing_says_why(layers: AppTest, name: str, show: str, said: str) -> None:
    app = layers
    app.text_input(key="filter_name").set_value(name).run()
    app.segmented_control(key="filter_flag").set_value(show).run()
    healthy(app)
    assert said in [m.value for m in app.markdown]
    assert not app.get("plotly_chart")  # no chart of nothing
    assert not app.dataframe
    app.button(key="filter_clear").click().run()
    healthy(app)
    assert app.get("plotly_chart")
    assert app.button(key="bulk_set").label == f"Set for all {len(table(app)['name'])} layers"
