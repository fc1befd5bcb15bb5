"""The list of projects on the Open page: alike ones are told apart, and removing one is safe."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from quantscope.core import files
from quantscope.core.project import Project, Source
from quantscope.core.project import project as projects
from quantscope.core.recipe import Recipe, recipe_to_yaml
from quantscope.ui.session import opening
from quantscope.ui.views import sidebar
from quantscope.ui.views.start import RECENT
from tests.pages import healthy, home, opened, start, until

__all__ = ["home"]  # a fixture


def calibrated(name: str, *, seed: int = 0, steps: int = 1) -> Project:
    """A project that counts as calibrated; its model is not there."""
    source = Source(kind="random", options={"seed": seed})
    project = projects.create(name, Source(kind="path", path="/models/net.onnx"), source)
    for _ in range(steps):
        project = projects.record(project, recipe_to_yaml(Recipe()), "Defaults")
    return projects.mark_calibrated(project)


def captions(app: AppTest) -> list[str]:
    return [caption.value for caption in app.caption]


def test_projects_that_look_alike_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    for hour, steps in ((7, 1), (9, 3)):
        stamp = now.replace(hour=hour).isoformat(timespec="seconds")
        monkeypatch.setattr(projects, "_now", lambda stamp=stamp: stamp)
        calibrated("net.onnx", steps=steps)
    calibrated("other.onnx")
    shown = [caption for caption in captions(start()) if "random data" in caption]
    assert len(set(shown)) == len(shown) == 3
    assert sum("begun" in caption for caption in shown) == 2
    assert any(caption.endswith("3 recipe versions") for caption in shown)
    assert any(caption.endswith("1 recipe version") for caption in shown)


def test_all_projects_can_be_reached() -> None:
    made = [calibrated(f"net{i}.onnx") for i in range(RECENT + 2)]
    app = start()

    def listed() -> set[str]:
        return {str(b.key) for b in app.button if str(b.key).startswith("open_")}

    assert len(listed()) == RECENT
    app.toggle(key="all_recent").set_value(True).run()
    assert listed() == {f"open_{project.id}" for project in made}


def removed(app: AppTest, project: Project) -> None:
    app.button(key=f"remove_{project.id}").click().run()
    app.button(key="confirm_removal").click().run()
    healthy(app)


def test_removing_the_open_project_stops_its_work_and_closes_it(home: Path) -> None:
    project = opening.open_sample("digits_mlp")
    app = start(project)
    until(app, lambda a: "recipe" in a.session_state)
    assert opened(app).id == project.id
    app.session_state["go"] = "open"
    app.run()
    removed(app, project)
    assert "open_project" not in app.session_state
    assert list((home / "projects").iterdir()) == []


def test_a_project_that_cannot_be_removed_stays_and_the_page_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = calibrated("net.onnx")
    app = start()

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "The process cannot access the file")

    monkeypatch.setattr(files.time, "sleep", lambda _: None)
    monkeypatch.setattr(os, "rename", denied)
    app.button(key=f"remove_{project.id}").click().run()
    app.button(key="confirm_removal").click().run()
    assert not app.exception
    assert any("cannot be removed" in error.value for error in app.error)
    assert projects.open_project(project.id) == project


def test_refused_projects_do_not_stay_on_disk_for_ever() -> None:
    source = Source(kind="random")
    kept = calibrated("kept.onnx")
    refused = projects.record(projects.create("refused", source, source), "", "Defaults")
    worked_on = projects.record(projects.record(projects.create("edited", source, source), "", ""), "", "")
    projects.remove_project_leftovers()  # they may be in work in another process
    assert refused.folder.is_dir()
    projects.remove_project_leftovers(refused_for=0.0)
    assert not refused.folder.exists()
    assert {entry.id for entry in projects.list_projects()} == {kept.id, worked_on.id}


def test_a_project_that_goes_while_its_page_is_drawn_is_said_to_be_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So goes a new one whose calibration fails at that moment; no poll would come to say why."""
    app = start(opening.open_sample("digits_mlp"))
    until(app, lambda a: "recipe" in a.session_state)
    folder, drawn = opened(app).folder, sidebar.render

    def gone() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        drawn()

    monkeypatch.setattr(sidebar, "render", gone)
    app.run()
    healthy(app)
    assert app.title[0].value == "Open a model"
    assert any("removed in another window" in note.value for note in app.info)
