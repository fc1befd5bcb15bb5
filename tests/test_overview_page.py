"""Overview: which layers it says to look at first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from streamlit.testing.v1 import AppTest

from quantscope.core.project import Source
from quantscope.core.project import project as projects
from quantscope.core.recipe import Recipe, recipe_to_yaml
from quantscope.core.targets import Precision
from quantscope.core.thresholds import Method
from quantscope.ui.components import Card
from quantscope.ui.session import opening
from quantscope.ui.session.workspace import prepare
from quantscope.ui.views import overview as overview_page
from tests.graphs import model, value
from tests.heads import HEADS, samples_for
from tests.networks import Net
from tests.pages import go, healthy, opened, recipe, shown, start, until
from tests.pages import home as home  # a fixture
from tests.sessions import session


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
    assert "as far as one run tells" in captions(app)
    go(app, "sensitivity")
    app.button(key="start_sens").click().run()
    until(app, lambda a: any("Why, and what helps" in s.value for s in a.subheader))
    ranked = [m.value.split("`")[1] for m in app.markdown if m.value.startswith("**1.** ")]
    go(app, "overview")
    healthy(app)
    assert "as ranked on *Sensitivity*" in captions(app)
    assert first(app)[:1] == ranked
    assert "quantized alone leaves" in captions(app)
    app.button(key=f"worst_{ranked[0]}").click().run()
    assert app.title[0].value == "Inspector"


def test_an_edit_makes_a_ranking_old(overview: AppTest) -> None:
    app = go(overview, "sensitivity")
    app.button(key="start_sens").click().run()
    until(app, lambda a: any("Why, and what helps" in s.value for s in a.subheader))
    go(app, "overview")
    assert "as ranked on *Sensitivity*" in captions(app)
    shown(app, "toggle", "fix_equalize").set_value(True).run()
    until(app, lambda a: "as far as one run tells" in captions(a))
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


def test_labels_of_pixels_have_cards_of_their_own(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = Net(3)
    n.add("Relu", [n.conv("x", "c1", 3, 5)], "y")
    onnx.save(n.model({"x": ["N", 3, 8, 8]}, {"y": ["N", 5, 8, 8]}), tmp_path / "map.onnx")
    x = np.random.default_rng(0).standard_normal((12, 3, 8, 8)).astype(np.float32)
    labels = session(tmp_path / "map.onnx").run(None, {"x": x})[0].argmax(axis=1).astype(np.uint8)
    np.savez(tmp_path / "map.npz", x=x, labels=labels)
    seen: dict[str, Card] = {}
    monkeypatch.setattr(overview_page, "cards", lambda shown, **_: seen.update((c.name, c) for c in shown))
    source, data = (Source(kind="path", path=str(tmp_path / f"map.{end}")) for end in ("onnx", "npz"))
    app = start(opening.open_sources("map.onnx", source, data))
    until(app, lambda a: "recipe" in a.session_state)
    go(app, "overview")
    until(app, lambda _: "Mean IoU" in seen)
    healthy(app)
    assert seen["Top-1"].note == "float 100.0 %, over positions"
    assert "768 labelled positions" in seen["Top-1"].tip
    assert seen["Mean IoU"].note == "float 100.0 %"
    assert 50.0 < float(seen["Mean IoU"].value.removesuffix(" %")) <= 100.0


def test_labels_that_do_not_fit_do_not_keep_data_out(home: Path, tmp_path: Path) -> None:
    onnx.save(
        model([helper.make_node("Relu", ["x"], ["y"])], [value("x", ["N", 8])], [value("y", ["N", 8])]),
        tmp_path / "relu.onnx",
    )
    np.savez(tmp_path / "x.npz", x=np.eye(8, dtype=np.float32), labels=np.zeros((8, 3, 5), np.int64))
    source, data = (Source(kind="path", path=str(tmp_path / name)) for name in ("relu.onnx", "x.npz"))
    app = start(opening.open_sources("relu.onnx", source, data))
    until(app, lambda a: "recipe" in a.session_state)
    notes = prepare(opened(app), lambda _: None).notes
    assert any(note.startswith("labels not used: x.npz: labels have the shape (8, 3, 5)") for note in notes)


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


def test_choices_for_layers_that_became_part_of_others_are_said_and_kept_on_disk(tmp_path: Path) -> None:
    n = Net(3)
    n.add("Relu", [n.conv("x", "c1", 3, 5)], "y")
    onnx.save(n.model({"x": ["N", 3, 8, 8]}, {"y": ["N", 5, 8, 8]}), tmp_path / "m.onnx")
    source = Source(kind="path", path=str(tmp_path / "m.onnx"))
    opened_as = opening.open_sources("m.onnx", source, Source(kind="random", path=""))
    old = Recipe().with_layer("gone", precision=Precision.FLOAT).with_layer("c1_Conv", method=Method.MSE)
    projects.record(opened_as, recipe_to_yaml(old), "of an older version")
    app = start(projects.open_project(opened_as.id))
    until(app, lambda a: "recipe" in a.session_state)
    go(app, "overview")
    healthy(app)
    assert any(
        "1 layer that the model does not have" in str(m.value) and "gone" in str(m.value)
        for m in app.markdown
    )
    assert recipe(app).layers["gone"].precision is Precision.FLOAT


@pytest.mark.slow
def test_what_helps_is_measured_at_the_output_and_used_by_its_button() -> None:
    """The worst layer of the MobileNet needs its channels evened out, not 16 bits."""
    app = start(opening.open_sample("digits_mobilenet"))
    until(app, lambda a: "recipe" in a.session_state)
    go(app, "overview")
    until(app, lambda a: "apply_features.1.expand" in {b.key for b in a.button}, 120)
    healthy(app)
    assert first(app)[:2] == ["features.1.expand", "image"]
    said = "\n".join(entry.value for entry in app.markdown)
    assert "**Cross\\-layer equalization**: output" in said
    assert "Range by Percentile 99\\.9 %" in said
    assert "16-bit" not in said.replace("\\", "")
    assert "cumulative SQNR falls" in captions(app)
    assert "16 of 1,000 evaluation samples" in captions(app).replace("\\", "")
    app.button(key="apply_features.1.expand").click().run()
    assert [entry.name for entry in recipe(app).passes] == ["equalize"]
    until(app, lambda a: "features.1.expand" not in first(a)[:1], 120)
    app.button(key="undo").click().run()
    assert recipe(app) == Recipe()
