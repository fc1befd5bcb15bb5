"""A project on disk: which model and data, and every recipe the user ever had, each written atomically.

    <home>/projects/<id>/project.json           sources; the version before it stays in project.json.bak
    <home>/projects/<id>/history/000007-000006.json   step 7, made from step 6: label, time, recipe, checksum
    <home>/projects/<id>/head.json               the step that is shown (undo and redo move it)
    <home>/projects/<id>/marks/                  names and notes of steps, see `core.project.marks`
    <home>/projects/<id>/figures/                what was measured, see `core.project.figures`
    <home>/projects/<id>/files/                  uploaded model and data
    <home>/projects/<id>/statistics.npz          what calibration found, written by who calibrates
    <home>/projects/.new-<random>/               being made
    <home>/projects/.trash-<random>/             removed, while its files are being deleted

Steps are never rewritten or removed: undo moves the head, and an edit after an undo starts a new
branch from there. A damaged file therefore costs at most itself. Several processes may work on one
project: each of their steps gets a number of its own (`core.project.history`).
"""

import json
import re
import secrets
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quantscope.core.errors import ProjectChanged as ProjectChanged
from quantscope.core.errors import ProjectError as ProjectError
from quantscope.core.errors import ProjectRemoved as ProjectRemoved
from quantscope.core.files import patiently, remove_folder, safe_file_name, write_atomic
from quantscope.core.project.description import DESCRIPTION, read_description, write_description
from quantscope.core.project.description import Source as Source
from quantscope.core.project.history import (
    ROOT,
    Step,
    add_step,
    hidden_steps,
    read_head,
    step_path,
    write_head,
)
from quantscope.core.project.history import read_step_file as step_of
from quantscope.core.project.history import steps as steps_of
from quantscope.core.project.home import UNFINISHED, folder_of
from quantscope.core.project.home import ProjectEntry as ProjectEntry
from quantscope.core.project.home import home as home
from quantscope.core.project.home import list_projects as list_projects
from quantscope.core.project.home import remove_project_leftovers as remove_project_leftovers

FORMAT = 1
CHANGED = "this project was changed in another window or program"
REMOVED = "this project was removed in another window or program; open its model again"

_LOCK = threading.RLock()  # within a process, edits and removals come one after the other


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What a project's folder says; functions of this module return changed copies."""

    id: str
    folder: Path
    name: str
    created: str
    identity: str  # random; tells it from others that had its id before or get it later
    model: Source
    data: Source
    evaluation: Source | None = None
    calibrated: bool = False
    head: int = ROOT
    parents: Mapping[int, int] = field(default_factory=dict)  # step -> the step it was made from
    hidden: frozenset[int] = frozenset()  # steps that the user put out of sight
    notes: tuple[str, ...] = ()  # what had to be repaired when it was opened

    @property
    def depth(self) -> int:
        """Steps from the first one to the shown one."""
        count, step = 0, self.head
        while step != ROOT and count <= len(self.parents):
            count, step = count + 1, self.parents.get(step, ROOT)
        return count

    @property
    def can_undo(self) -> bool:
        """True when the shown step was made from another."""
        return self.parents.get(self.head, ROOT) != ROOT

    @property
    def can_redo(self) -> bool:
        """True when an undone step can come back."""
        return bool(self._after)

    @property
    def sources(self) -> str:
        """Where model and data lie and how the data are read, to be compared with those of another time."""
        data = [replace(source, content="").to_json() for source in (self.data, self.evaluation) if source]
        return json.dumps([self.model.kind, self.model.path, *data], sort_keys=True)

    @property
    def _after(self) -> list[int]:
        """Steps made from the shown one, without those out of sight."""
        made = (number for number, parent in self.parents.items() if parent == self.head)
        return [number for number in made if number not in self.hidden]


def create(
    name: str, model: Source, data: Source, evaluation: Source | None = None, *, id: str | None = None
) -> Project:
    """A new project on disk, without recipes; it is there as a whole or not at all.

    One of that id that another process has just made is taken instead. Where there is one whose description
    is damaged, that is written anew, and its recipe history stays.

    Raises:
        ProjectError: the folder cannot be written.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48] or "model"
    id = id or f"{slug}-{secrets.token_hex(3)}"
    project = Project(
        id=id,
        folder=folder_of(id),
        name=name,
        created=_now(),
        identity=secrets.token_hex(8),
        model=model,
        data=data,
        evaluation=evaluation,
    )
    new = project.folder.with_name(f"{UNFINISHED}{secrets.token_hex(6)}")
    try:
        (new / "history").mkdir(parents=True)
        (new / "files").mkdir()
        write_description(new, _description(project))
        patiently(lambda: new.rename(project.folder))
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        if not project.folder.is_dir():
            reason = error.strerror or error
            raise ProjectError(f"cannot create the folder {project.folder}: {reason}") from error
        if read_description(project.folder)[0] is not None:
            return open_project(id)
        _describe(project)
        return open_project(id)  # with the recipes that are there
    return project


def save(project: Project) -> None:
    """Write the sources of a project; the version before is kept beside it.

    Raises:
        ProjectRemoved: It is no longer there.
        ProjectError: It cannot be written.
    """
    with _LOCK:
        _check_there(project)
        _describe(project)


def _describe(project: Project) -> None:
    with _writing(project.folder / DESCRIPTION):
        write_description(project.folder, _description(project))


def _description(project: Project) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "id": project.id,
        "name": project.name,
        "created": project.created,
        "identity": project.identity,
        "calibrated": project.calibrated,
        "model": project.model.to_json(),
        "data": project.data.to_json(),
        "evaluation": project.evaluation.to_json() if project.evaluation else None,
    }


def mark_calibrated(project: Project) -> Project:
    """The project with statistics in the cache; saved."""
    changed = replace(project, calibrated=True)
    save(changed)
    return changed


def open_project(id: str) -> Project:
    """Read a project as it was left; what had to be repaired is in `notes`.

    Raises:
        ProjectError: there is none, it was written by a newer version, or both copies of its
            description are damaged. The recipe history is never touched.
    """
    folder = folder_of(id)
    absent = f"there is no project '{id}' in {home() / 'projects'}; open the model again"
    if not _is_there(folder):
        raise ProjectError(absent)
    body, notes = read_description(folder)
    if body is None:
        count = len(steps_of(folder))
        raise ProjectError(
            f"the description of project '{id}' is damaged ({folder / DESCRIPTION}); its {count} "
            f"recipe versions are intact in {folder / 'history'}: open the model again"
        )
    if not isinstance(body.get("format"), int) or body["format"] > FORMAT:
        raise ProjectError(f"project '{id}' was written by a newer QuantScope; update QuantScope to open it")
    head, parents, head_notes = read_head(folder)
    if not parents and not _is_there(folder):
        raise ProjectError(absent)  # removed meanwhile
    notes += head_notes
    try:
        return Project(
            id=id,
            folder=folder,
            name=str(body["name"]),
            created=str(body["created"]),
            identity=_identity(body),
            model=Source.from_json(body["model"]),
            data=Source.from_json(body["data"]),
            evaluation=Source.from_json(body["evaluation"]) if body.get("evaluation") else None,
            calibrated=bool(body.get("calibrated")),
            head=head,
            parents=parents,
            hidden=hidden_steps(folder),
            notes=tuple(notes),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ProjectError(
            f"the description of project '{id}' is incomplete ({error}); "
            f"its recipe versions are intact in {folder / 'history'}"
        ) from error


def delete(id: str) -> None:
    """Remove a project and its uploaded files as a whole; models and data referenced by path stay.

    Raises:
        ProjectError: A program has a file of it open, or it may not be removed; nothing has changed then.
    """
    folder = folder_of(id)
    with _LOCK:
        try:
            remove_folder(folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ProjectError(
                f"project '{id}' cannot be removed ({error.strerror or error}), and nothing was: close the "
                f"programs and windows that have files in {folder} open, and remove it again"
            ) from error


def record(project: Project, recipe: str, label: str, *, expected_head: int | None = None) -> Project:
    """Add a recipe after the shown step and show it; on disk before this returns.

    Args:
        project: The recipe's parent is the step that this shows, whatever others show by now.
        recipe: As YAML.
        label: What was changed, for people.
        expected_head: The step that has to be the shown one on disk; None = any. Exact among threads; where
            another process goes on at the very moment, both steps are kept, as branches.

    Raises:
        ProjectRemoved: The project is no longer there.
        ProjectChanged: The shown step is not the expected one.
        ProjectError: It cannot be written.
    """
    with _LOCK:
        _check_there(project)
        if expected_head is not None and current_head(project) != expected_head:
            raise ProjectChanged(
                f"{CHANGED}, so what you just did was not applied: look at what it shows now, and do it "
                "again if you still want it"
            )
        with _writing(project.folder / "history"):
            number = add_step(project.folder, project.head, recipe, label, _now())
        with _writing(project.folder / "head.json"):
            write_head(project.folder, number)
    return replace(project, head=number, parents={**steps_of(project.folder), number: project.head})


def current_head(project: Project) -> int:
    """The step that is shown by now, by whatever window or process; cheap.

    Raises:
        ProjectRemoved: The project is no longer there.
    """
    _check_there(project)
    return read_head(project.folder)[0]


def undo(project: Project) -> Project:
    """Show the step before; the project itself when there is none."""
    return _show(project, project.parents[project.head]) if project.can_undo else project


def redo(project: Project) -> Project:
    """Show the newest step made from the shown one; the project itself when there is none."""
    after = project._after
    return _show(project, max(after)) if after else project


def read_step(project: Project, number: int | None = None) -> Step:
    """The recipe of a step (default: the shown one).

    Raises:
        ProjectError: there is no such step, or its file is damaged.
    """
    number = project.head if number is None else number
    if number not in project.parents:
        raise ProjectError(f"project '{project.id}' has no step {number}")
    step = step_of(project.folder, number, project.parents[number])
    if step is None:
        _check_there(project)
        path = step_path(project.folder, number, project.parents[number])
        raise ProjectError(f"recipe version {number} is damaged ({path}); undo to the version before")
    return step


def store_file(project: Project, name: str, content: bytes) -> str:
    """Keep uploaded bytes inside the project; the path to give to `Source(kind="stored")`."""
    safe = safe_file_name(name)
    write_file(project, f"files/{safe}", content)
    return f"files/{safe}"


def write_file(project: Project, path: str, content: bytes) -> None:
    """Write a file of the project as a whole or not at all; `path` is relative to its folder.

    Raises:
        ProjectRemoved: The project is no longer there.
        ProjectError: It cannot be written.
    """
    target = project.folder / path
    with _LOCK:
        _check_there(project)
        with _writing(target):
            target.parent.mkdir(exist_ok=True)
            write_atomic(target, content)


def resolve_path(project: Project, source: Source) -> Path:
    """File or folder of a `path` or `stored` source; a stored one cannot leave the project.

    Raises:
        ProjectError: it is no longer there, or cannot be read.
    """
    if source.kind == "stored":
        path = (project.folder / source.path).resolve()
        if not path.is_relative_to(project.folder.resolve()):
            raise ProjectError(f"project '{project.id}' points outside its folder: {source.path}")
    else:
        path = Path(source.path).expanduser()
    if not _is_there(path):
        raise ProjectError(f"{path} is no longer there; put it back, or say where it is now")
    return path


def _check_there(project: Project) -> None:
    """Raises `ProjectRemoved` where the folder is gone, or is that of a newer project of the same id."""
    body, _notes = read_description(project.folder)
    if not _is_there(project.folder) or (body is not None and _identity(body) != project.identity):
        raise ProjectRemoved(REMOVED)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise ProjectError(f"cannot read {path}: {error.strerror or error}; check the rights") from error


def _identity(body: Mapping[str, Any]) -> str:
    """What tells a project from others of its id; descriptions of old have only the time."""
    return str(body.get("identity") or body.get("created"))


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say what is wrong where something below cannot be written."""
    try:
        yield
    except FileNotFoundError as error:
        raise ProjectRemoved(REMOVED) from error
    except OSError as error:
        reason = error.strerror or error
        raise ProjectError(f"cannot write {path}: {reason}; check free space and rights") from error


def show_step(project: Project, number: int) -> Project:
    """Show a step, wherever it stands in the history; an edit then starts a new branch from it.

    Raises:
        ProjectRemoved: The project is no longer there.
        ProjectError: There is no such step, its file is damaged, or the folder cannot be written.
    """
    read_step(project, number)
    return _show(project, number)


def _show(project: Project, number: int) -> Project:
    """As `show_step`, also for a damaged step: undo has to lead past one."""
    with _LOCK:
        _check_there(project)
        with _writing(project.folder / "head.json"):
            write_head(project.folder, number)
    return replace(project, head=number)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
