"""Buttons take what stands in their form when they are pressed, not what stood there when they were drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from quantscope.core.project import project as projects
from quantscope.ui.session import opening, state
from tests.pages import Tab, go, healthy, opened, start, until
from tests.pages import home as home  # a fixture
from tests.test_opening_projects import network, samples


def test_a_model_is_opened_from_the_path_that_came_with_the_click(tmp_path: Path) -> None:
    first, second = network(tmp_path / "first.onnx"), network(tmp_path / "second.onnx", seed=5)
    app = start()
    app.text_input(key="model_path").set_value(str(first))
    app.text_input(key="data_path").set_value(str(samples(tmp_path / "calib.npz"))).run()
    app.text_input(key="model_path").set_value(str(second))
    app.button(key="calibrate").click().run()
    until(app, lambda a: a.title[0].value == "Overview")
    assert opened(app).model.path == str(second)
    assert opened(app).name == "second.onnx"
    healthy(app)


def test_evaluation_data_are_those_of_the_path_that_came_with_the_click(tmp_path: Path) -> None:
    wrong, right = tmp_path / "wrong.npz", samples(tmp_path / "eval.npz", seed=7, count=20)
    np.savez(wrong, x=np.zeros((4, 9), np.float32))
    project = opening.open_paths(str(network(tmp_path / "net.onnx")), str(samples(tmp_path / "calib.npz")))
    app = start(project)
    until(app, lambda a: any(b.key == "evaluation" for b in a.button))
    go(app, "playground")
    app.button(key="evaluation").click().run()
    app.text_input(key="later_path").set_value(str(wrong)).run()
    app.text_input(key="later_path").set_value(str(right))
    app.button(key="later_use").click().run()
    found = projects.open_project(project.id).evaluation
    assert found is not None
    assert found.path == str(right)


def test_a_moved_model_is_looked_for_where_the_click_says(tmp_path: Path) -> None:
    net = network(tmp_path / "net.onnx")
    project = opening.open_paths(str(net), str(samples(tmp_path / "calib.npz")))
    Tab(project).session()
    moved = net.rename(tmp_path / "moved.onnx")
    state.cached.forget(project.id)
    app = start(projects.open_project(project.id))
    until(app, lambda a: any(b.key == "locate" for b in a.button))
    app.text_input(key="locate_path").set_value(str(tmp_path / "nowhere.onnx")).run()
    app.text_input(key="locate_path").set_value(str(moved))
    app.button(key="locate").click().run()
    assert projects.open_project(project.id).model.path == str(moved)
