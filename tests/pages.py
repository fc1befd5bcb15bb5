"""Driving the app without a browser."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from quantscope.core.project import Project, Source
from quantscope.core.project import project as projects
from quantscope.core.recipe import Recipe, recipe_from_yaml
from quantscope.ui.server.launch import SCRIPT as APP
from quantscope.ui.session import jobs, keys, opening, state
from tests.graphs import model, node, randn, value

PAGES = {
    "open": "Open a model",
    "overview": "Overview",
    "layers": "Layers",
    "inspector": "Inspector",
    "sensitivity": "Sensitivity",
    "history": "History",
    "compare": "Compare",
    "playground": "Playground",
    "present": "Present",
    "export": "Export",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Projects and caches of the test's own; what still runs when it ends is stopped."""
    monkeypatch.setenv("QUANTSCOPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("QUANTSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.argv", ["app.py"])
    st.cache_resource.clear()
    yield tmp_path / "home"
    assert jobs.stop_all(60)


def small(folder: Path, number: int) -> Project:
    """A project of two layers, with a model and weights of its own."""
    path = folder / f"net{number}.onnx"
    proto = model(
        [
            node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
            node("Relu", ["c"], ["y"], name="r"),
        ],
        [value("x", ["N", 3, 8, 8])],
        [value("y", ["N", 4, 8, 8])],
        {"w": randn(4, 3, 3, 3, seed=number)},
    )
    onnx.save(proto, path)
    data = folder / "data.npz"
    if not data.exists():
        np.savez(data, x=randn(6, 3, 8, 8))
    given = (Source(kind="path", path=str(path)), Source(kind="path", path=str(data)))
    return opening.open_sources(path.name, *given)


def start(project: Project | None = None) -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=60)
    if project is not None:
        app.query_params["project"] = project.id
    app.run()
    healthy(app)
    return app


def healthy(app: AppTest) -> None:
    assert not app.exception
    assert [e.value for e in app.error] == []


def until(app: AppTest, condition: Callable[[AppTest], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition(app):
        assert time.monotonic() < end, [e.value for e in (*app.title, *app.error, *app.markdown)]
        time.sleep(0.05)
        app.run()


def go(app: AppTest, page: str) -> AppTest:
    app.session_state["go"] = page
    app.run()
    assert app.title[0].value == PAGES[page]
    return app


def opened(app: AppTest) -> Project:
    project: Project = app.session_state["open_project"]
    return project


def recipe(app: AppTest) -> Recipe:
    """What is on disk, not what the session believes."""
    return recipe_from_yaml(projects.read_step(projects.open_project(opened(app).id)).recipe)


def shown(app: AppTest, kind: str, name: str) -> Any:
    """The widget that follows the recipe under that name; a program's change makes it a new one."""
    return next(w for w in getattr(app, kind) if re.fullmatch(rf"{re.escape(name)}_\d+", w.key or ""))


class Tab:
    """A browser tab without a browser: its session, for what lies beneath the pages.

    Inside `with tab:`, the functions of `ui` act for this tab.
    """

    def __init__(self, project: Project | None = None) -> None:
        self.state: dict[str, Any] = {}
        self.address: dict[str, str] = {} if project is None else {keys.PROJECT_IN_ADDRESS.name: project.id}
        self._before = pytest.MonkeyPatch()

    def __enter__(self) -> Tab:
        self._before.setattr(st, "session_state", self.state)
        self._before.setattr(st, "query_params", self.address)
        return self

    def __exit__(self, *_: object) -> None:
        self._before.undo()

    def session(self) -> state.Session:
        """The open project, once it is ready."""
        with self:
            job = state.job()
            while job is not None and job.active:
                assert job.wait(60)
                job = state.job()
            now = state.session()
        assert now is not None
        return now
