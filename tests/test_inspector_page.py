"""The Inspector: which layer it shows, what it offers to set, and what changed since the step before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from streamlit.testing.v1 import AppTest

from quantscope.core.project import Source
from quantscope.core.quantize import resolve
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Precision
from quantscope.core.thresholds import Method
from quantscope.ui.content.kept_float import why_no_range
from quantscope.ui.content.tensor_figures import figures_of
from quantscope.ui.content.tensor_view import view_tensor
from quantscope.ui.runs import first_layer, held_range, measured, step_figures, tensor_before, worst
from quantscope.ui.session import keys, opening, state
from tests.graphs import model, node, randn, value
from tests.pages import Tab, go, healthy, opened, shown, small, start, until
from tests.pages import home as home  # a fixture


def masked(folder: Path) -> AppTest:
    """Attention with a mask that no range can hold."""
    proto = model(
        [
            node("MatMul", ["x", "w"], ["scores"], name="scores"),
            node("Add", ["scores", "mask"], ["masked"], name="masked"),
            node("Softmax", ["masked"], ["chances"], name="chances"),
            node("Erf", ["chances"], ["e"], name="erf"),
            node("MatMul", ["e", "v"], ["y"], name="out"),
        ],
        [value("x", ["N", 4, 8]), value("mask", ["N", 4, 4])],
        [value("y", ["N", 4, 6])],
        {"w": randn(8, 4, seed=1), "v": randn(4, 6, seed=2)},
    )
    onnx.save(proto, folder / "masked.onnx")
    mask = np.where(np.tril(np.ones((4, 4))) > 0, 0.0, -1e9).astype(np.float32)
    np.savez(folder / "data.npz", x=randn(6, 4, 8), mask=np.tile(mask, (6, 1, 1)))
    given = [Source(kind="path", path=str(folder / name)) for name in ("masked.onnx", "data.npz")]
    app = start(opening.open_sources("masked.onnx", *given))
    until(app, lambda a: "recipe" in a.session_state)
    return go(app, "inspector")


@pytest.fixture
def mlp() -> AppTest:
    app = start(opening.open_sample("digits_mlp"))
    until(app, lambda a: "recipe" in a.session_state)
    return app


def test_it_opens_on_the_worst_layer_and_the_address_names_it(mlp: AppTest) -> None:
    app = go(mlp, "inspector")
    name = app.session_state["shown_layer"]
    tab = Tab(opened(app))
    now = tab.session()
    with tab:
        assert measured.effect(now, patience=60).value is not None
        ranged = [found.layer for found in worst.worst(now, 50)]
        assert name == next(n for n in ranged if first_layer.has_range(now, now.encodings, n))
    assert address(app) == name


def test_a_link_to_a_layer_shows_it_and_a_choice_changes_the_link(mlp: AppTest) -> None:
    app = go(mlp, "inspector")
    app.query_params["layer"] = "fc2"
    app.run()
    assert app.session_state["shown_layer"] == "fc2"
    app.button(key="previous").click().run()
    healthy(app)
    before = app.session_state["shown_layer"]
    assert before != "fc2"
    assert address(app) == before
    app.query_params["layer"] = "fc2"  # the browser's way back
    app.run()
    assert app.session_state["shown_layer"] == "fc2"
    app.query_params["layer"] = "no such layer"
    app.run()
    healthy(app)
    assert address(app) == "fc2"


def address(app: AppTest) -> str:
    """The layer that the page's address names; a value that the app has set is not in a list."""
    named = app.query_params["layer"]
    return named if isinstance(named, str) else named[0]


def test_before_anything_is_measured_it_opens_on_a_layer_with_a_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "effect", lambda *_, **__: measured.Measured(running=True))
    tab = Tab(small(tmp_path, 0))
    now = tab.session()
    with tab:
        first_layer.shown(now)
        name = keys.LAYER.get()
        assert now.model.layer(name).kind == "compute"
        assert first_layer.has_range(now, now.encodings, name)
        assert tab.address["layer"] == name


def test_what_stays_float_says_why_and_offers_nothing_that_does_nothing(tmp_path: Path) -> None:
    app = masked(tmp_path)
    kinds = {}
    for _ in range(len(shown(app, "selectbox", "layer_box").options)):
        name = app.session_state["shown_layer"]
        offered = {
            w.key.rpartition("_")[0]
            for kind in ("selectbox", "segmented_control")
            for w in getattr(app, kind)
            if w.key
        }
        kinds[name] = ([i.value for i in app.info], offered)
        options = shown(app, "selectbox", "layer_box").options
        names = [entry.partition(". ")[2].partition("  ·")[0] for entry in options]
        shown(app, "selectbox", "layer_box").set_value(names[(names.index(name) + 1) % len(names)]).run()
        healthy(app)
    assert any("no integer range fits" in words for words in kinds["masked"][0])
    assert "precision" not in kinds["masked"][1]
    assert "method" in kinds["masked"][1]  # a choice of one's own quantizes it all the same
    assert any("because what it reads does" in words for words in kinds["chances"][0])
    assert not {"precision", "method", "scales", "symmetry"} & kinds["chances"][1]
    assert not kinds["out"][0]
    assert {"precision", "method", "scales", "symmetry", "granularity"} <= kinds["out"][1]


def test_a_layer_set_to_float_can_be_set_back(mlp: AppTest) -> None:
    app = go(mlp, "inspector")
    shown(app, "segmented_control", "precision").set_value("float").run()
    healthy(app)
    assert any("you set it so" in i.value for i in app.info)
    assert not [w for w in app.selectbox if (w.key or "").startswith("method_")]
    shown(app, "segmented_control", "precision").set_value("int8").run()
    assert not any("you set it so" in i.value for i in app.info)
    assert shown(app, "selectbox", "method")


def test_every_layer_of_any_choice_is_explained(tmp_path: Path) -> None:
    tab = Tab(small(tmp_path, 1))
    now = tab.session()
    with tab:
        for precision in Precision:
            recipe = Recipe().with_default(precision=precision)
            encodings = resolve(recipe, now.workspace.statistics, now.model)
            for layer in now.model.layers:
                quantized = layer.output in encodings.activations
                assert bool(why_no_range(layer, recipe, encodings)) is not quantized


def test_figures_are_compared_with_the_step_before(tmp_path: Path) -> None:
    tab = Tab(small(tmp_path, 2))
    now = tab.session()
    layer = now.model.layer("conv")
    with tab:
        assert tensor_before.figures(now, layer) is None  # there is no step before
        first = view_tensor(now.model, now.workspace.statistics, now.recipe, now.encodings, layer)
        assert first is not None
        state.edit_layer(layer.name, "KL", method=Method.KL)
    changed = tab.session()
    with tab:
        step, figures = tensor_before.figures(changed, layer) or ("", None)
        assert figures == figures_of(first)
        assert step == f"step {now.project.head}"


def test_a_held_line_does_not_write_into_the_saved_steps_figures(tmp_path: Path) -> None:
    tab = Tab(small(tmp_path, 3))
    tab.session()
    with tab:
        state.edit_layer("conv", "MSE", method=Method.MSE)
    now = tab.session()
    with tab:
        assert measured.effect(now, patience=60).value is not None
        before = step_figures.shown(now)
        assert before is not None
        range_ = now.encodings.searches[now.model.layer("conv").output].range
        held_range.hold(now, "conv", type(range_)(range_.low / 50, range_.high / 50))
        held = held_range.following(now)
        assert held is not now
        found = measured.effect(held, patience=60).value
        assert found is not None
        assert found.output.overall.sqnr_db != before.preview.sqnr_db  # type: ignore[union-attr]
        assert step_figures.shown(now) == before
