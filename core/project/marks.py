"""What the user says of steps: names, notes, which are out of sight, the baseline; steps stay as they are.

    marks/000007.json      name and note of step 7
    marks/000007.hidden    step 7 is out of sight
    baseline.json          what other versions are held against

Each is a file of its own, so that two programs that mark different steps do not overwrite each other.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from quantscope.core.errors import ProjectError
from quantscope.core.files import patiently, read_json, to_json
from quantscope.core.project.project import Project, read_step, show_step, write_file

NAME_LENGTH, NOTE_LENGTH = 60, 2000  # characters, at most
_FILE = re.compile(r"^(\d{6,})\.(json|hidden)$")
_BASELINE = "baseline.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What the user says of a step."""

    name: str = ""  # "" = none
    note: str = ""
    hidden: bool = False


def read_marks(project: Project) -> dict[int, Mark]:
    """Marked steps; a damaged file costs its name and note."""
    names: dict[int, tuple[str, str]] = {}
    hidden = set()
    try:
        found = [match for path in (project.folder / "marks").iterdir() if (match := _FILE.match(path.name))]
    except OSError:  # nothing was marked yet, or the project is gone
        return {}
    for match in found:
        number = int(match[1])
        if match[2] == "hidden":
            hidden.add(number)
        elif (body := read_json(project.folder / "marks" / match[0])) is not None:
            names[number] = (str(body.get("name", "")), str(body.get("note", "")))
    out = {}
    for number in sorted((names.keys() | hidden) & project.parents.keys()):
        name, note = names.get(number, ("", ""))
        if name or note or number in hidden:
            out[number] = Mark(name=name, note=note, hidden=number in hidden)
    return out


def call(project: Project, number: int, name: str, note: str = "") -> None:
    """Give a step a name and a note; both empty takes them away.

    Raises:
        ProjectError: There is no such step, another one has that name, or it cannot be written.
    """
    name, note = " ".join(name.split())[:NAME_LENGTH], note.strip()[:NOTE_LENGTH]
    read_step(project, number)
    taken = [
        other for other, mark in read_marks(project).items() if name and mark.name == name and other != number
    ]
    if taken:
        raise ProjectError(f"step {taken[0]} has the name '{name}' already; choose another one")
    write_file(project, f"marks/{number:06d}.json", to_json({"name": name, "note": note}))


def hide(project: Project, numbers: set[int]) -> None:
    """Put steps out of sight; they stay on disk, and `bring_back` shows them again.

    Raises:
        ProjectError: One of them is the shown step or one that this was made from, or it cannot be written.
    """
    needed = numbers & {project.head, *ancestors(project.parents, project.head)}
    if needed:
        raise ProjectError(
            f"step {max(needed)} is the shown one, or one it was made from; show another step first"
        )
    for number in sorted(numbers & project.parents.keys()):
        write_file(project, f"marks/{number:06d}.hidden", b"")


def bring_back(project: Project, numbers: set[int]) -> None:
    """Show steps again that were put out of sight.

    Raises:
        ProjectError: It cannot be done.
    """
    for number in sorted(numbers):
        path = project.folder / "marks" / f"{number:06d}.hidden"
        try:
            with suppress(FileNotFoundError):
                patiently(path.unlink)
        except OSError as error:
            raise ProjectError(
                f"cannot remove {path}: {error.strerror or error}; check the rights"
            ) from error


def go_to(project: Project, number: int) -> Project:
    """Show a step; it comes back into sight with those it was made from, where another window deleted them.

    Raises:
        ProjectError: As `show_step`, or it cannot be brought back.
    """
    shown = show_step(project, number)
    gone = frozenset({number, *ancestors(project.parents, number)})
    bring_back(shown, set(gone))
    return replace(shown, hidden=shown.hidden - gone)


def pin(project: Project, version: str) -> None:
    """Let a version be what others are held against; "" = none.

    Args:
        project: The project.
        version: Stands for it, as "step:7".

    Raises:
        ProjectError: It cannot be written.
    """
    write_file(project, _BASELINE, to_json({"version": version}))


def pinned(project: Project) -> str:
    """The version that others are held against; "" where there is none."""
    return str((read_json(project.folder / _BASELINE) or {}).get("version", ""))


def ancestors(parents: Mapping[int, int], number: int) -> list[int]:
    """Steps that a step was made from, the nearest first."""
    found: list[int] = []
    while (number := parents.get(number, 0)) and number not in found:
        found.append(number)
    return found


def made_from(parents: Mapping[int, int], number: int) -> set[int]:
    """A step and all that were made from it, in however many steps."""
    found = {number}
    for other in sorted(parents):  # a step is made after the one it is made from
        if parents[other] in found:
            found.add(other)
    return found
