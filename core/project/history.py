"""The steps of a project on disk: each has a file and a number of its own, and is never written again.

    history/000007-000006.json   step 7, made from step 6
    history/.000008.claim        a process is writing step 8
    head.json                    the step that is shown

They lie in the project's folder, which `core.project.project` describes.
"""

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from quantscope.core.errors import ProjectError
from quantscope.core.files import patiently, read_json, to_json, write_atomic

ROOT = 0  # parent of the first step

_HIDDEN_FILE = re.compile(r"^(\d{6,})\.hidden$")
_STEP_FILE = re.compile(r"^(\d{6,})-(\d{6,})\.json$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One recipe in the history."""

    number: int
    parent: int
    label: str
    time: str  # ISO 8601, UTC
    recipe: str  # YAML, as `recipe_to_yaml` writes it


def steps(folder: Path) -> dict[int, int]:
    """Steps of the project in `folder`, each with the step it was made from; from the file names alone.

    Raises:
        ProjectError: The folder is there, but cannot be read.
    """
    history = folder / "history"
    try:
        names = [path.name for path in history.iterdir()]
    except (FileNotFoundError, NotADirectoryError):  # not there, or removed at this moment
        names = []
    except OSError as error:
        raise ProjectError(f"cannot read {history}: {error.strerror or error}; check the rights") from error
    found = [match for name in names if (match := _STEP_FILE.match(name))]
    return dict(sorted((int(match[1]), int(match[2])) for match in found))


def hidden_steps(folder: Path) -> frozenset[int]:
    """Steps that the user put out of sight (`core.project.marks`); they stay in the history."""
    try:
        names = [path.name for path in (folder / "marks").iterdir()]
    except OSError:  # none was yet, or the project is gone
        return frozenset()
    return frozenset(int(match[1]) for name in names if (match := _HIDDEN_FILE.match(name)))


def step_path(folder: Path, number: int, parent: int) -> Path:
    """Where a step is kept."""
    return folder / "history" / f"{number:06d}-{parent:06d}.json"


def add_step(folder: Path, parent: int, recipe: str, label: str, time: str) -> int:
    """Write a new step; its number. Processes that do so at the same time get different numbers.

    Raises:
        OSError: It cannot be written; FileNotFoundError if the project is not there.
    """
    (folder / "history").mkdir(exist_ok=True)
    body = {"label": label, "time": time, "recipe": recipe, "sha256": _digest(recipe)}
    content = to_json(body)
    number = max(steps(folder), default=ROOT) + 1
    while not _written(folder, number, parent, content):
        number += 1
    return number


def _written(folder: Path, number: int, parent: int, content: bytes) -> bool:
    """Write a step unless its number is taken; whether it was written.

    The number is claimed by creating a file that must not exist, which every file system does at most once.
    """
    claim = folder / "history" / f".{number:06d}.claim"
    try:
        handle = patiently(lambda: os.open(claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    os.close(handle)
    try:
        if number in steps(folder):  # written, and its claim given up, since the folder was listed
            return False
        write_atomic(step_path(folder, number, parent), content)
        return True
    finally:
        with suppress(OSError):  # one that is left over costs a number, no more
            patiently(claim.unlink)


def read_step_file(folder: Path, number: int, parent: int) -> Step | None:
    """What `add_step` wrote; None when it is absent or damaged."""
    body = read_json(step_path(folder, number, parent))
    if body is None or _digest(str(body.get("recipe", ""))) != body.get("sha256"):
        return None
    label, time, recipe = (str(body.get(key, "")) for key in ("label", "time", "recipe"))
    return Step(number=number, parent=parent, label=label, time=time, recipe=recipe)


def write_head(folder: Path, number: int) -> None:
    """Let a step be the shown one.

    Raises:
        OSError: It cannot be written.
    """
    write_atomic(folder / "head.json", to_json({"head": number}))


def read_head(folder: Path) -> tuple[int, dict[int, int], list[str]]:
    """The shown step, or the newest one whose file can be read; all steps; and what had to be repaired."""
    # The head first: whoever moves it has written the step before.
    head = (read_json(folder / "head.json") or {}).get("head")
    parents = steps(folder)
    if not parents:
        return ROOT, parents, []
    notes: list[str] = []
    if not isinstance(head, int) or head not in parents:
        notes.append("The pointer to the shown recipe was damaged; the newest recipe was opened.")
        head = max(parents)
    for number in (head, *sorted((n for n in parents if n != head), reverse=True)):
        if read_step_file(folder, number, parents[number]) is not None:
            if number != head:
                notes.append(f"Recipe version {head} was damaged; version {number} was opened.")
            return number, parents, notes
    return ROOT, parents, [*notes, "No recipe version could be read; the defaults are shown."]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
