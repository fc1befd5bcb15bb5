"""The folder of all projects: where it is, what is in it, and what nobody needs any more."""

import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import platformdirs

from quantscope.core.errors import ProjectError
from quantscope.core.files import remove_folder
from quantscope.core.files import remove_leftovers as remove_folders
from quantscope.core.project.description import DESCRIPTION, Source, read_description
from quantscope.core.project.history import steps

UNFINISHED = ".new-"  # begins the name of a folder in which a project is being made
_ID = re.compile(r"^[a-z0-9][a-z0-9-]{0,79}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectEntry:
    """A project in a list of them."""

    id: str
    name: str
    changed: str  # ISO 8601, UTC
    model: Source | None  # None: the description is damaged
    data: Source | None
    calibrated: bool = False
    created: str = ""  # ISO 8601, UTC
    steps: int = 0  # recipe versions


def home() -> Path:
    """Folder of all projects: $QUANTSCOPE_HOME, else the user's data folder."""
    chosen = os.environ.get("QUANTSCOPE_HOME", "").strip()
    if chosen:
        return Path(chosen).expanduser()
    return Path(platformdirs.user_data_dir("quantscope", appauthor=False))


def folder_of(id: str) -> Path:
    """Folder of a project; ids come from URLs, so they are checked.

    Raises:
        ProjectError: It is no id.
    """
    if not _ID.match(id):
        raise ProjectError(f"'{id[:80]}' is not a project id")
    return home() / "projects" / id


def list_projects(limit: int = 20) -> list[ProjectEntry]:
    """The projects, the one that was changed last first.

    Raises:
        ProjectError: The folder of all projects is there, but cannot be read.
    """
    found = []
    for folder in _folders(home() / "projects"):
        if not _ID.match(folder.name):
            continue
        body, _notes = read_description(folder)
        try:
            count = len(steps(folder))
        except ProjectError:
            body, count = None, 0  # listed as damaged
        changed = datetime.fromtimestamp(_touched(folder), UTC).isoformat(timespec="seconds")
        model: Source | None = None
        data: Source | None = None
        with suppress(KeyError, TypeError, ValueError):
            model, data = Source.from_json((body or {})["model"]), Source.from_json((body or {})["data"])
        name = str((body or {}).get("name", folder.name))
        done = bool((body or {}).get("calibrated", body is None))  # a damaged one is listed as such
        found.append(
            ProjectEntry(
                id=folder.name,
                name=name,
                changed=changed,
                model=model,
                data=data,
                calibrated=done,
                created=str((body or {}).get("created", "")),
                steps=count,
            )
        )
    return sorted(found, key=lambda entry: entry.changed, reverse=True)[:limit]


def _folders(root: Path) -> list[Path]:
    try:
        return [path for path in root.iterdir() if path.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ProjectError(f"cannot read {root}: {error.strerror or error}; check the rights") from error


def remove_project_leftovers(*, refused_for: float = 86_400.0) -> None:
    """Delete what nobody sees any more; for the start of a program.

    That is what was left of removed projects whose files were open, projects that a program was killed in
    making, and projects that were never calibrated since their model or data were of no use, with the files
    that were uploaded for them.

    Args:
        refused_for: Seconds since such a project was changed; others may be in work in another process.

    Raises:
        ProjectError: The folder of all projects is there, but cannot be read.
    """
    root = home() / "projects"
    remove_folders(root)
    now = datetime.now(UTC).timestamp()
    for folder in _folders(root):
        with suppress(OSError):  # finished, or removed by another process
            if folder.name.startswith(UNFINISHED) and now - folder.stat().st_mtime >= refused_for:
                remove_folder(folder)
    for entry in list_projects(limit=sys.maxsize):
        unused = not entry.calibrated and entry.steps <= 1
        if unused and now - datetime.fromisoformat(entry.changed).timestamp() >= refused_for:
            with suppress(OSError):
                remove_folder(folder_of(entry.id))


def _touched(folder: Path) -> float:
    """When a project was changed last, in seconds since the epoch."""
    latest = 0.0
    for name in ("head.json", DESCRIPTION):
        with suppress(OSError):  # not written yet, or removed meanwhile
            latest = max(latest, (folder / name).stat().st_mtime)
    return latest
