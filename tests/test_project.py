"""A project on disk: reopened exactly as it was left, repaired where it can be, and never losing a recipe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantscope.core.errors import ProjectError, QuantScopeError
from quantscope.core.project import Source
from quantscope.core.project import project as projects


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUANTSCOPE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def make(tmp_path: Path, name: str = "Net <b>1</b>") -> projects.Project:
    (tmp_path / "net.onnx").write_bytes(b"onnx")
    model = Source(kind="path", path=str(tmp_path / "net.onnx"))
    return projects.create(name, model, Source(kind="random", options={"n": 8, "seed": 3}))


def test_reopened_as_it_was(tmp_path: Path, home: Path) -> None:
    project = make(tmp_path)
    for text in ("a: 1", "a: 2", "a: 3"):
        project = projects.record(project, text, f"set {text}")
    project = projects.mark_calibrated(projects.undo(project))
    again = projects.open_project(project.id)
    assert again == project
    assert again.folder.is_relative_to(home)
    assert projects.read_step(again).recipe == "a: 2"
    assert again.can_undo
    assert again.can_redo
    assert projects.read_step(projects.redo(again)).recipe == "a: 3"


def test_an_edit_after_undo_keeps_the_other_branch(tmp_path: Path) -> None:
    project = make(tmp_path)
    for text in ("first", "second"):
        project = projects.record(project, text, text)
    project = projects.record(projects.undo(project), "third", "third")
    assert [projects.read_step(project, n).recipe for n in (1, 2, 3)] == ["first", "second", "third"]
    assert projects.read_step(project).parent == 1
    assert not project.can_redo
    assert projects.read_step(projects.redo(projects.undo(project))).recipe == "third"  # the newest branch


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["edit", "undo", "redo"]), max_size=25))
def test_undo_redo_is_a_walk_on_what_was_recorded(actions: list[str]) -> None:
    project = projects.create("p", Source(kind="sample", path="s"), Source(kind="sample", path="s"))
    project = projects.record(project, "0", "start")
    past, future = ["0"], []
    for count, action in enumerate(actions, start=1):
        if action == "edit":
            project, future = projects.record(project, str(count), ""), []
            past.append(str(count))
        elif action == "undo":
            project = projects.undo(project)
            if len(past) > 1:
                future.append(past.pop())
        elif future:
            project = projects.redo(project)
            past.append(future.pop())
        assert projects.read_step(project).recipe == past[-1]
        assert projects.open_project(project.id).head == project.head
        assert project.can_undo == (len(past) > 1)


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe\x00", b"[1]", b'{"head": "x"}'])
def test_a_damaged_head_opens_the_newest_recipe_and_says_so(tmp_path: Path, damage: bytes) -> None:
    project = make(tmp_path)
    project = projects.record(projects.record(project, "one", ""), "two", "")
    (project.folder / "head.json").write_bytes(damage)
    again = projects.open_project(project.id)
    assert projects.read_step(again).recipe == "two"
    assert "newest" in again.notes[0]


def test_a_damaged_step_costs_only_itself(tmp_path: Path) -> None:
    project = make(tmp_path)
    for text in ("one", "two", "three"):
        project = projects.record(project, text, "")
    path = project.folder / "history" / "000003-000002.json"
    path.write_bytes(path.read_bytes().replace(b"three", b"throw"))
    again = projects.open_project(project.id)
    assert projects.read_step(again).recipe == "two"
    assert "version 3 was damaged" in again.notes[0]
    with pytest.raises(ProjectError, match="damaged"):
        projects.read_step(again, 3)


def test_undo_and_redo_lead_past_a_damaged_step(tmp_path: Path) -> None:
    project = make(tmp_path)
    for text in ("one", "two", "three"):
        project = projects.record(project, text, "")
    path = project.folder / "history" / "000002-000001.json"
    path.write_bytes(path.read_bytes().replace(b"two", b"owt"))
    with pytest.raises(ProjectError, match="damaged"):
        projects.show_step(project, 2)
    first = projects.undo(projects.undo(project))
    assert projects.read_step(first).recipe == "one"
    assert projects.read_step(projects.redo(projects.redo(first))).recipe == "three"


def test_a_damaged_description_falls_back_then_speaks_clearly(tmp_path: Path) -> None:
    project = projects.mark_calibrated(projects.record(make(tmp_path), "one", ""))
    (project.folder / "project.json").write_text("{oops", encoding="utf-8")
    again = projects.open_project(project.id)
    assert again.name == project.name
    assert again.notes
    projects.save(again)  # a damaged file must not overwrite the good copy
    (project.folder / "project.json").write_text("{oops", encoding="utf-8")
    assert projects.open_project(project.id).name == project.name
    (project.folder / "project.json.bak").unlink()
    with pytest.raises(ProjectError, match="1 recipe versions are intact"):
        projects.open_project(project.id)
    assert (project.folder / "history" / "000001-000000.json").exists()
    assert projects.list_projects()[0].model is None


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make(tmp_path)
    projects.write_file(project, "file.json", b"old")

    def fail(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ProjectError, match="No space left"):
        projects.write_file(project, "file.json", b"new")
    assert (project.folder / "file.json").read_bytes() == b"old"
    assert list(project.folder.glob(".*.tmp")) == []


@pytest.mark.parametrize(
    "name", ["../../evil.onnx", "..\\..\\evil.onnx", "/etc/passwd", "....", "a b?.onnx", "n" * 250 + ".onnx"]
)
def test_uploads_stay_inside_the_project(tmp_path: Path, name: str) -> None:
    project = make(tmp_path)
    stored = projects.store_file(project, name, b"bytes")
    path = projects.resolve_path(project, Source(kind="stored", path=stored))
    assert path.read_bytes() == b"bytes"
    assert path.parent == (project.folder / "files").resolve()


@pytest.mark.parametrize("id", ["", "..", "../x", "a/b", "A", "x" * 81, "a\x00"])
def test_ids_from_the_address_bar_are_checked(id: str) -> None:
    with pytest.raises(ProjectError, match="not a project id"):
        projects.open_project(id)


def test_a_stored_path_that_leaves_the_project_is_refused(tmp_path: Path) -> None:
    project = make(tmp_path)
    with pytest.raises(ProjectError, match="outside"):
        projects.resolve_path(project, Source(kind="stored", path="../../secret"))
    with pytest.raises(QuantScopeError, match="no longer there"):
        projects.resolve_path(project, Source(kind="path", path=str(tmp_path / "moved.onnx")))


def test_a_newer_format_is_not_guessed(tmp_path: Path) -> None:
    project = make(tmp_path)
    path = project.folder / "project.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"format": 1', '"format": 99'), encoding="utf-8")
    with pytest.raises(ProjectError, match="update QuantScope"):
        projects.open_project(project.id)


def test_recent_projects_come_newest_first(tmp_path: Path) -> None:
    first, second = make(tmp_path, "first"), make(tmp_path, "second")
    projects.record(first, "x", "")
    os.utime(second.folder / "project.json", (1, 1))
    assert [entry.name for entry in projects.list_projects()] == ["first", "second"]
    projects.delete(second.id)
    assert [entry.name for entry in projects.list_projects()] == ["first"]
