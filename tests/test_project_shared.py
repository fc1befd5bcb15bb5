"""Several processes and windows work on one project, and Windows denies what others have open."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantscope.core import files
from quantscope.core.errors import ProjectChanged, ProjectError, ProjectRemoved
from quantscope.core.project import Project, Source, history
from quantscope.core.project import home as folder
from quantscope.core.project import project as projects

ROOT = Path(__file__).resolve().parents[1]
EDITS = 40
EDITOR = """
import json, sys
from quantscope.core.project import project as projects
project, name, edits = projects.open_project(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
done = []
for count in range(edits):
    before = project.head
    project = projects.record(project, f"{name} {count}", "")
    done.append([project.head, before, f"{name} {count}"])
    projects.open_project(project.id)  # steps of others may be half written
print(json.dumps(done))
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUANTSCOPE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses that were made; none takes time."""
    pauses: list[float] = []
    monkeypatch.setattr(files.time, "sleep", pauses.append)
    return pauses


def make(name: str = "net", id: str | None = None) -> Project:
    source = Source(kind="random", options={"seed": 3})
    return projects.record(projects.create(name, source, source, id=id), "start", "Defaults")


def denied(times: int, then: Callable[..., Any]) -> Callable[..., Any]:
    """`then`, refused the first `times` as Windows refuses what is open."""
    left = [times]

    def action(*args: Any, **kwargs: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            raise PermissionError(errno.EACCES, "The process cannot access the file")
        return then(*args, **kwargs)

    return action


def on_disk(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_processes_lose_no_step_of_each_other() -> None:
    project = make()
    editors = [
        subprocess.Popen(
            [sys.executable, "-c", EDITOR, project.id, name, str(EDITS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for name in ("a", "b", "c")
    ]
    for editor in editors:
        assert editor.stdout is not None
        assert editor.stdout.readline() == "ready\n"
    for editor in editors:
        assert editor.stdin is not None
        editor.stdin.write("go\n")
        editor.stdin.flush()
    recorded = [step for editor in editors for step in json.loads(editor.communicate(timeout=120)[0])]
    again = projects.open_project(project.id)
    assert len(recorded) == 3 * EDITS
    assert sorted(again.parents) == sorted([1, *(number for number, _, _ in recorded)])
    for number, parent, recipe in recorded:
        step = projects.read_step(again, number)
        assert (step.parent, step.recipe) == (parent, recipe)
    assert again.notes == ()
    assert {path.suffix for path in (again.folder / "history").iterdir()} == {".json"}  # no claims are left


def test_a_number_that_was_taken_since_the_folder_was_listed_is_not_written_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = make()
    projects.record(first, "theirs", "")  # step 2, of another process
    listing, stale = history.steps, [True]

    def steps(folder: Path) -> dict[int, int]:
        found = listing(folder)
        return {n: p for n, p in found.items() if n < 2} if stale and stale.pop() else found

    monkeypatch.setattr(history, "steps", steps)
    mine = projects.record(first, "ours", "")
    assert mine.head == 3
    assert [projects.read_step(mine, n).recipe for n in (2, 3)] == ["theirs", "ours"]


def test_a_number_that_is_being_written_is_left_alone() -> None:
    project = make()
    (project.folder / "history" / ".000002.claim").touch()
    assert projects.record(project, "ours", "").head == 3


def test_reading_ignores_a_step_that_is_being_written() -> None:
    project = make()
    (project.folder / "history" / ".000002.claim").touch()
    (project.folder / "history" / ".000002-000001.json.abc.tmp").write_text("{", encoding="utf-8")
    again = projects.open_project(project.id)
    assert (again.head, again.parents, again.notes) == (1, {1: 0}, ())


def test_a_head_that_moves_while_it_is_read_is_not_called_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    project, listing = make(), history.steps

    def steps(folder: Path) -> dict[int, int]:
        found = listing(folder)
        monkeypatch.setattr(history, "steps", listing)
        projects.record(project, "theirs", "")  # behind the reader's back
        return found

    monkeypatch.setattr(history, "steps", steps)
    assert projects.open_project(project.id).notes == ()


def test_both_windows_steps_keep_their_parents() -> None:
    first = make()
    left, right = projects.record(first, "left", ""), projects.record(first, "right", "")
    again = projects.open_project(first.id)
    assert again.parents == {1: 0, left.head: 1, right.head: 1}
    assert again.head == right.head
    assert projects.read_step(again, left.head).recipe == "left"
    assert projects.current_head(left) == right.head


def test_a_project_that_another_process_has_just_made_is_taken(home: Path) -> None:
    theirs = make(id="sample-net")
    source = Source(kind="random")
    assert projects.create("net", source, source, id="sample-net") == theirs
    assert list((home / "projects").iterdir()) == [theirs.folder]


def test_a_damaged_description_is_written_anew_and_the_history_stays(home: Path) -> None:
    old = make(id="sample-net")
    (old.folder / "project.json").write_text("{", encoding="utf-8")
    projects.create("net", old.model, old.data, id="sample-net")
    assert projects.read_step(projects.open_project("sample-net")).recipe == "start"
    assert list((home / "projects").iterdir()) == [old.folder]


def test_recipes_beside_a_damaged_description_are_shown(home: Path) -> None:
    old = projects.record(make(id="sample-net"), "mine", "")
    for name in ("project.json", "project.json.bak"):
        (old.folder / name).write_text("{", encoding="utf-8")
    new = projects.create("net", old.model, old.data, id="sample-net")
    assert projects.read_step(new).recipe == "mine"
    assert new == projects.open_project("sample-net")
    assert projects.record(new, "more", "").parents[3] == 2


def test_a_project_from_before_there_were_identities_is_told_by_its_time(home: Path) -> None:
    old = make()
    description = old.folder / "project.json"
    body = json.loads(description.read_text(encoding="utf-8"))
    del body["identity"]
    description.write_text(json.dumps(body), encoding="utf-8")
    again = projects.open_project(old.id)
    assert again.identity == old.created
    projects.save(again)
    projects.record(projects.open_project(old.id), "two", "")
    body["created"] = "2001-01-01T00:00:00+00:00"
    description.write_text(json.dumps(body), encoding="utf-8")
    with pytest.raises(ProjectRemoved):
        projects.save(again)


def failing(monkeypatch: pytest.MonkeyPatch, name: str, error: OSError) -> None:
    """Let a folder of that name be one that cannot be listed."""
    listed = Path.iterdir

    def iterdir(path: Path) -> Any:
        if path.name == name:
            raise error
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)


def test_a_history_that_cannot_be_read_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    project = make()
    failing(monkeypatch, "history", PermissionError(13, "Permission denied"))
    with pytest.raises(ProjectError, match="Permission denied"):
        projects.open_project(project.id)
    with pytest.raises(ProjectError, match="Permission denied"):
        projects.record(project, "two", "")
    (entry,) = projects.list_projects()
    assert (entry.id, entry.model) == (project.id, None)  # listed as damaged
    projects.remove_project_leftovers(refused_for=0.0)
    assert project.folder.is_dir()


def test_a_folder_of_projects_that_cannot_be_read_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    make()
    failing(monkeypatch, "projects", PermissionError(13, "Permission denied"))
    with pytest.raises(ProjectError, match="Permission denied"):
        projects.list_projects()


def test_a_project_removed_while_it_is_opened_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    project = make()
    read = projects.read_head

    def removing(folder: Path) -> Any:
        projects.delete(project.id)
        return read(folder)

    monkeypatch.setattr(projects, "read_head", removing)
    with pytest.raises(ProjectError, match="there is no project"):
        projects.open_project(project.id)


def test_a_project_that_a_program_was_killed_in_making_goes_after_a_day(home: Path) -> None:
    kept = make()
    unfinished = home / "projects" / ".new-0123456789ab"
    (unfinished / "files").mkdir(parents=True)
    projects.remove_project_leftovers()  # it may be in work in another process
    assert unfinished.is_dir()
    old = time.time() - 90_000
    os.utime(unfinished, (old, old))
    projects.remove_project_leftovers()
    assert list((home / "projects").iterdir()) == [kept.folder]


def test_a_folder_that_cannot_be_made_is_a_clear_error(home: Path) -> None:
    home.write_text("a file", encoding="utf-8")
    with pytest.raises(ProjectError, match="cannot create the folder"):
        make()


def test_an_edit_that_expects_another_step_is_refused() -> None:
    left = right = make()
    right = projects.record(right, "right", "", expected_head=right.head)
    before = on_disk(left.folder)
    with pytest.raises(ProjectChanged, match="another window"):
        projects.record(left, "left", "", expected_head=left.head)
    assert on_disk(left.folder) == before
    assert projects.record(right, "more", "", expected_head=right.head).head == 3


def test_the_current_head_is_the_one_that_opening_shows() -> None:
    project = projects.record(make(), "two", "")
    (project.folder / "history" / "000002-000001.json").write_text("damaged", encoding="utf-8")
    assert projects.current_head(project) == projects.open_project(project.id).head == 1


ACTIONS: dict[str, Callable[[Project], object]] = {
    "record": lambda p: projects.record(p, "late", ""),
    "undo": projects.undo,
    "save": projects.save,
    "mark_calibrated": projects.mark_calibrated,
    "store_file": lambda p: projects.store_file(p, "late.npz", b"late"),
    "write_file": lambda p: projects.write_file(p, "late.npz", b"late"),
    "current_head": projects.current_head,
    "read_step": projects.read_step,
}


@pytest.mark.parametrize("action", ACTIONS)
def test_nothing_is_written_to_a_removed_project(action: str, home: Path) -> None:
    project = projects.record(make(), "two", "")
    projects.delete(project.id)
    with pytest.raises(ProjectRemoved, match="removed in another window"):
        ACTIONS[action](project)
    assert list((home / "projects").iterdir()) == []


@pytest.mark.parametrize("action", ["record", "undo", "save", "mark_calibrated", "store_file", "write_file"])
def test_nothing_is_written_to_a_newer_project_of_the_same_id(
    action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projects, "_now", lambda: "2026-01-01T00:00:00+00:00")  # both in the same second
    old = projects.record(make(id="sample-net"), "two", "")
    projects.delete(old.id)
    new = projects.record(make(id="sample-net"), "new", "")
    before = on_disk(new.folder)
    with pytest.raises(ProjectRemoved):
        ACTIONS[action](old)
    assert on_disk(new.folder) == before


def test_a_project_removed_while_a_step_is_written_stays_removed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, write = make(), history.write_atomic

    def late(path: Path, content: bytes) -> None:
        projects.delete(project.id)
        write(path, content)

    monkeypatch.setattr(history, "write_atomic", late)
    with pytest.raises(ProjectRemoved):
        projects.record(project, "late", "")
    assert list((home / "projects").iterdir()) == []


def test_replacing_waits_for_readers(monkeypatch: pytest.MonkeyPatch, waited: list[float]) -> None:
    project = make()
    monkeypatch.setattr(os, "replace", denied(4, os.replace))
    project = projects.record(project, "two", "")
    assert len(waited) == 4
    assert projects.read_step(projects.open_project(project.id)).recipe == "two"


def test_replacing_gives_up_with_a_clear_error(monkeypatch: pytest.MonkeyPatch, waited: list[float]) -> None:
    project = make()
    before = on_disk(project.folder)
    monkeypatch.setattr(os, "replace", denied(10**6, os.replace))
    with pytest.raises(ProjectError, match=r"cannot write .*: The process cannot access the file"):
        projects.record(project, "two", "")
    assert 1.0 <= sum(waited) <= 3.0
    assert on_disk(project.folder) == before


def test_an_error_while_writing_is_not_hidden_by_one_while_tidying_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "unlink", denied(10**6, os.unlink))

    def parts() -> Any:
        yield b"new"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        files.write_atomic(tmp_path / "x", parts())


def test_a_claim_that_cannot_be_given_up_costs_a_number(
    monkeypatch: pytest.MonkeyPatch, waited: list[float]
) -> None:
    project = make()
    with monkeypatch.context() as denying:
        denying.setattr(os, "unlink", denied(10**6, os.unlink))
        project = projects.record(project, "two", "")
    assert sum(waited) > 0
    project = projects.record(project, "three", "")
    assert projects.open_project(project.id).parents == project.parents
    assert projects.read_step(project).recipe == "three"


def test_a_file_being_replaced_is_read_once_it_is_there(
    monkeypatch: pytest.MonkeyPatch, waited: list[float]
) -> None:
    project = projects.mark_calibrated(make())
    monkeypatch.setattr(Path, "read_bytes", denied(2, Path.read_bytes))
    again = projects.open_project(project.id)
    assert len(waited) == 2
    assert again == project


def test_a_project_in_use_is_not_removed_by_half(
    monkeypatch: pytest.MonkeyPatch, waited: list[float]
) -> None:
    project = make()
    projects.store_file(project, "data.npz", b"data")
    before = on_disk(project.folder)
    with monkeypatch.context() as denying:
        denying.setattr(os, "rename", denied(10**6, os.rename))
        denying.setattr(shutil, "rmtree", denied(10**6, shutil.rmtree))
        with pytest.raises(ProjectError, match=r"cannot be removed .* close the programs and windows"):
            projects.delete(project.id)
    assert on_disk(project.folder) == before
    assert 1.0 <= sum(waited) <= 3.0
    monkeypatch.setattr(os, "rename", denied(3, os.rename))  # closed meanwhile
    monkeypatch.setattr(shutil, "rmtree", denied(3, shutil.rmtree))
    projects.delete(project.id)
    assert list(project.folder.parent.iterdir()) == []


def test_what_could_not_be_deleted_goes_at_the_next_start(
    home: Path, monkeypatch: pytest.MonkeyPatch, waited: list[float]
) -> None:
    kept, removed = make("kept"), make("removed")
    with monkeypatch.context() as denying:
        denying.setattr(shutil, "rmtree", denied(10**6, shutil.rmtree))
        projects.delete(removed.id)
        projects.remove_project_leftovers()
    assert waited
    assert [entry.id for entry in projects.list_projects()] == [kept.id]
    with pytest.raises(ProjectError, match="there is no project"):
        projects.open_project(removed.id)
    assert len(list((home / "projects").iterdir())) == 2
    projects.remove_project_leftovers()
    assert list((home / "projects").iterdir()) == [kept.folder]


def test_a_project_removed_while_the_list_is_made_does_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept, gone = make("kept"), make("gone")
    read = folder.read_description

    def removing(path: Path) -> Any:
        found = read(path)
        if path == gone.folder:
            shutil.rmtree(path)
        return found

    monkeypatch.setattr(folder, "read_description", removing)
    assert kept.id in [entry.id for entry in projects.list_projects()]
