"""A project on disk: which model and data, and every recipe the user ever had, each written atomically.

    <home>/projects/<id>/project.json           sources; the version before it stays in project.json.bak
    <home>/projects/<id>/history/000007-000006.json   step 7, made from step 6: label, time, recipe, checksum
    <home>/projects/<id>/head.json               the step that is shown (undo and redo move it)
    <home>/projects/<id>/files/                  uploaded model and data
    <home>/projects/<id>/statistics.npz          what calibration found, written by who calibrates

Steps are never rewritten or removed: undo moves the head, and an edit after an undo starts a new
branch from there. A damaged file therefore costs at most itself.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import platformdirs

from core.errors import QuantScopeError
from core.files import write_atomic

FORMAT = 1
ROOT = 0  # parent of the first step

_STEP_FILE = re.compile(r"^(\d{6,})-(\d{6,})\.json$")
_ID = re.compile(r"^[a-z0-9][a-z0-9-]{0,79}$")
_LOCK = threading.Lock()  # step numbers are given out one at a time


class ProjectError(QuantScopeError):
    """A project cannot be read or written; what is left of it stays on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a model or a data set comes from.

    `path` is absolute, except for `stored` (inside the project) and `sample` (name of the sample).
    `options` are what else is needed to open it again: preprocessing, labels, limit, seed.
    """

    kind: Literal["path", "stored", "sample", "random"]
    path: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One recipe in the history."""

    number: int
    parent: int
    label: str
    time: str  # ISO 8601, UTC
    recipe: str  # YAML, as `Recipe.to_yaml` writes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What a project's folder says; functions of this module return changed copies."""

    id: str
    folder: Path
    name: str
    created: str
    model: Source
    data: Source
    evaluation: Source | None = None
    calibrated: bool = False
    head: int = ROOT
    parents: Mapping[int, int] = field(default_factory=dict)  # step -> the step it was made from
    notes: tuple[str, ...] = ()  # what had to be repaired when it was opened

    @property
    def depth(self) -> int:
        """Steps from the first one to the shown one; unlike numbers, they have no gaps after an undo."""
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
        return any(parent == self.head for parent in self.parents.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A project in a list of them."""

    id: str
    name: str
    changed: str  # ISO 8601, UTC
    model: Source | None  # None: the description is damaged
    data: Source | None
    calibrated: bool = False


def home() -> Path:
    """Folder of all projects: $QUANTSCOPE_HOME, else the user's data folder."""
    chosen = os.environ.get("QUANTSCOPE_HOME", "").strip()
    if chosen:
        return Path(chosen).expanduser()
    return Path(platformdirs.user_data_dir("quantscope", appauthor=False))


def create(
    name: str, model: Source, data: Source, evaluation: Source | None = None, *, id: str | None = None
) -> Project:
    """A new project on disk, without recipes.

    Raises:
        ProjectError: the folder cannot be written.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48] or "model"
    id = id or f"{slug}-{secrets.token_hex(3)}"
    project = Project(
        id=id,
        folder=_folder(id),
        name=name,
        created=_now(),
        model=model,
        data=data,
        evaluation=evaluation,
    )
    try:
        (project.folder / "history").mkdir(parents=True, exist_ok=True)
        (project.folder / "files").mkdir(exist_ok=True)
    except OSError as error:
        raise ProjectError(f"cannot create the folder {project.folder}: {error.strerror or error}") from error
    save(project)
    return project


def save(project: Project) -> None:
    """Write the sources of a project; the version before is kept beside it."""
    path = project.folder / "project.json"
    if path.exists() and _read_json(path) is not None:
        _write(path.with_suffix(".json.bak"), path.read_bytes())
    _write_json(
        path,
        {
            "format": FORMAT,
            "id": project.id,
            "name": project.name,
            "created": project.created,
            "calibrated": project.calibrated,
            "model": _source_out(project.model),
            "data": _source_out(project.data),
            "evaluation": _source_out(project.evaluation) if project.evaluation else None,
        },
    )


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
    folder = _folder(id)
    if not folder.is_dir():
        raise ProjectError(f"there is no project '{id}' in {home() / 'projects'}; open the model again")
    notes: list[str] = []
    body = _read_json(folder / "project.json")
    if body is None:
        body = _read_json(folder / "project.json.bak")
        if body is None:
            count = len(_index(folder))
            raise ProjectError(
                f"the description of project '{id}' is damaged ({folder / 'project.json'}); its {count} "
                f"recipe versions are intact in {folder / 'history'}: open the model again"
            )
        notes.append("project.json was damaged; its previous version was used.")
    if not isinstance(body.get("format"), int) or body["format"] > FORMAT:
        raise ProjectError(f"project '{id}' was written by a newer QuantScope; update QuantScope to open it")
    parents = _index(folder)
    head, head_note = _head(folder, parents)
    notes += head_note
    try:
        return Project(
            id=id,
            folder=folder,
            name=str(body["name"]),
            created=str(body["created"]),
            model=_source_in(body["model"]),
            data=_source_in(body["data"]),
            evaluation=_source_in(body["evaluation"]) if body.get("evaluation") else None,
            calibrated=bool(body.get("calibrated")),
            head=head,
            parents=parents,
            notes=tuple(notes),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ProjectError(
            f"the description of project '{id}' is incomplete ({error}); "
            f"its recipe versions are intact in {folder / 'history'}"
        ) from error


def list_projects(limit: int = 20) -> list[Entry]:
    """The projects, the one that was changed last first."""
    root = home() / "projects"
    found = []
    for folder in root.iterdir() if root.is_dir() else ():
        if not folder.is_dir() or not _ID.match(folder.name):
            continue
        body = _read_json(folder / "project.json") or _read_json(folder / "project.json.bak")
        stamps = [p.stat().st_mtime for p in (folder / "head.json", folder / "project.json") if p.exists()]
        changed = datetime.fromtimestamp(max(stamps, default=0.0), UTC).isoformat(timespec="seconds")
        model: Source | None = None
        data: Source | None = None
        with suppress(KeyError, TypeError, ValueError):
            model, data = _source_in((body or {})["model"]), _source_in((body or {})["data"])
        name = str((body or {}).get("name", folder.name))
        done = bool((body or {}).get("calibrated", body is None))  # a damaged one is listed as such
        found.append(
            Entry(id=folder.name, name=name, changed=changed, model=model, data=data, calibrated=done)
        )
    return sorted(found, key=lambda entry: entry.changed, reverse=True)[:limit]


def delete(id: str) -> None:
    """Remove a project and its uploaded files; models and data referenced by path stay."""
    folder = _folder(id)
    if folder.is_dir():
        shutil.rmtree(folder)


def record(project: Project, recipe: str, label: str) -> Project:
    """Add a recipe after the shown step and show it; on disk before this returns."""
    with _LOCK:
        parents = _index(project.folder)
        number = max(parents, default=ROOT) + 1
        body = {"label": label, "time": _now(), "recipe": recipe, "sha256": _digest(recipe)}
        _write_json(project.folder / "history" / f"{number:06d}-{project.head:06d}.json", body)
        _write_json(project.folder / "head.json", {"head": number})
    return replace(project, head=number, parents={**parents, number: project.head})


def undo(project: Project) -> Project:
    """Show the step before; the project itself when there is none."""
    return _show(project, project.parents[project.head]) if project.can_undo else project


def redo(project: Project) -> Project:
    """Show the newest step made from the shown one; the project itself when there is none."""
    after = [number for number, parent in project.parents.items() if parent == project.head]
    return _show(project, max(after)) if after else project


def read_step(project: Project, number: int | None = None) -> Step:
    """The recipe of a step (default: the shown one).

    Raises:
        ProjectError: there is no such step, or its file is damaged.
    """
    number = project.head if number is None else number
    if number not in project.parents:
        raise ProjectError(f"project '{project.id}' has no step {number}")
    path = project.folder / "history" / f"{number:06d}-{project.parents[number]:06d}.json"
    body = _read_json(path)
    if body is None or _digest(str(body.get("recipe", ""))) != body.get("sha256"):
        raise ProjectError(f"recipe version {number} is damaged ({path}); undo to the version before")
    return Step(
        number=number,
        parent=project.parents[number],
        label=str(body.get("label", "")),
        time=str(body.get("time", "")),
        recipe=str(body["recipe"]),
    )


def store_file(project: Project, name: str, content: bytes) -> str:
    """Keep uploaded bytes inside the project; the path to give to `Source(kind="stored")`."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(name.replace("\\", "/")).name).lstrip(".") or "file"
    _write(project.folder / "files" / safe, content)
    return f"files/{safe}"


def resolve_path(project: Project, source: Source) -> Path:
    """File or folder of a `path` or `stored` source; a stored one cannot leave the project.

    Raises:
        ProjectError: it is no longer there.
    """
    if source.kind == "stored":
        path = (project.folder / source.path).resolve()
        if not path.is_relative_to(project.folder.resolve()):
            raise ProjectError(f"project '{project.id}' points outside its folder: {source.path}")
    else:
        path = Path(source.path).expanduser()
    if not path.exists():
        raise ProjectError(f"{path} is no longer there; put it back, or open the model from its new place")
    return path


def _write(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    except OSError as error:
        reason = error.strerror or error
        raise ProjectError(f"cannot write {path}: {reason}; check free space and rights") from error


def _folder(id: str) -> Path:
    """Folder of a project; ids come from URLs, so they are checked."""
    if not _ID.match(id):
        raise ProjectError(f"'{id[:80]}' is not a project id")
    return home() / "projects" / id


def _show(project: Project, number: int) -> Project:
    _write_json(project.folder / "head.json", {"head": number})
    return replace(project, head=number)


def _index(folder: Path) -> dict[int, int]:
    """Steps on disk: number -> parent, from the file names alone."""
    history = folder / "history"
    names = [path.name for path in history.iterdir()] if history.is_dir() else []
    found = [match for name in names if (match := _STEP_FILE.match(name))]
    return dict(sorted((int(match[1]), int(match[2])) for match in found))


def _head(folder: Path, parents: Mapping[int, int]) -> tuple[int, list[str]]:
    """The shown step, or the newest one whose file can be read, and what had to be repaired."""
    if not parents:
        return ROOT, []
    notes: list[str] = []
    body = _read_json(folder / "head.json") or {}
    head = body.get("head")
    if not isinstance(head, int) or head not in parents:
        notes.append("The pointer to the shown recipe was damaged; the newest recipe was opened.")
        head = max(parents)
    order = [head, *sorted((n for n in parents if n != head), reverse=True)]
    for number in order:
        step = _read_json(folder / "history" / f"{number:06d}-{parents[number]:06d}.json")
        if step is not None and _digest(str(step.get("recipe", ""))) == step.get("sha256"):
            if number != head:
                notes.append(f"Recipe version {head} was damaged; version {number} was opened.")
            return number, notes
    return ROOT, [*notes, "No recipe version could be read; the defaults are shown."]


def _source_out(source: Source) -> dict[str, Any]:
    return {"kind": source.kind, "path": source.path, "options": dict(source.options)}


def _source_in(body: Mapping[str, Any]) -> Source:
    if body["kind"] not in ("path", "stored", "sample", "random"):
        raise ValueError(f"kind {body['kind']!r}")
    return Source(kind=body["kind"], path=str(body.get("path", "")), options=dict(body.get("options") or {}))


def _read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None when the file is absent or damaged."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return body if isinstance(body, dict) else None


def _write_json(path: Path, body: Mapping[str, Any]) -> None:
    _write(path, json.dumps(body, indent=1, ensure_ascii=False).encode())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
