"""Quantized files of other tools that a project compares with: where they are, and what they were.

others/<id>.json       name, where it is, SHA-256
files/other-<id>.onnx  an uploaded one
"""

import hashlib
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from quantscope.core.errors import ProjectError
from quantscope.core.files import patiently, read_json, to_json
from quantscope.core.project.description import Source
from quantscope.core.project.project import Project, resolve_path, write_file

_ID = re.compile(r"^[0-9a-f]{16}$")
_PART = 1 << 24  # bytes read at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherFile:
    """A quantized file of another tool."""

    id: str
    name: str  # for people
    source: Source
    sha256: str  # of the file, without external data


def add_other(project: Project, name: str, given: Path | bytes) -> OtherFile:
    """Let the project compare with a file; one that it has already stays as it is.

    Args:
        project: The project.
        name: For people.
        given: Where it is, or its content, which is kept in the project then.

    Raises:
        ProjectError: It cannot be read or written.
    """
    digest = _digest([given] if isinstance(given, bytes) else _parts(given))
    place = "" if isinstance(given, bytes) else str(given.resolve())
    id = hashlib.sha256(f"{digest}|{place}".encode()).hexdigest()[:16]
    source = Source(kind="path", path=place)
    if isinstance(given, bytes):
        source = Source(kind="stored", path=f"files/other-{id}.onnx")
        write_file(project, source.path, given)
    body = {"name": name, "source": source.to_json(), "sha256": digest}
    write_file(project, f"others/{id}.json", to_json(body))
    return OtherFile(id=id, name=name, source=source, sha256=digest)


def others(project: Project) -> tuple[OtherFile, ...]:
    """Files that the project compares with, by name; a damaged entry is left out."""
    found = []
    try:
        paths = sorted((project.folder / "others").glob("*.json"))
    except OSError:
        paths = []
    for path in paths:
        body = read_json(path)
        if body is None or not _ID.match(path.stem):
            continue
        with suppress(KeyError, TypeError, ValueError):
            source = Source.from_json(body["source"])
            entry = OtherFile(id=path.stem, name=str(body["name"]), source=source, sha256=str(body["sha256"]))
            found.append(entry)
    return tuple(sorted(found, key=lambda entry: (entry.name, entry.id)))


def remove_other(project: Project, id: str) -> None:
    """Compare with a file no more; one that was uploaded is deleted, others stay where they are.

    Raises:
        ProjectError: It cannot be removed.
    """
    if not _ID.match(id):
        raise ProjectError(f"'{id[:80]}' stands for no file")
    try:
        for path in (project.folder / "others" / f"{id}.json", project.folder / f"files/other-{id}.onnx"):
            with suppress(FileNotFoundError):
                patiently(path.unlink)
    except OSError as error:
        raise ProjectError(f"cannot remove the file: {error.strerror or error}; check the rights") from error


def path_of_other(project: Project, other: OtherFile) -> Path:
    """Where the file is.

    Raises:
        ProjectError: It is no longer there, or is another one by now.
    """
    try:
        path = resolve_path(project, other.source)
    except ProjectError as error:
        where = other.source.path if other.source.kind == "path" else f"the uploaded file {other.name}"
        raise ProjectError(f"{where} is no longer there; put it back, or take it off the list") from error
    if _digest(_parts(path)) != other.sha256:
        raise ProjectError(f"{path} is another file by now; take it off the list and add it again")
    return path


def _parts(path: Path) -> Iterable[bytes]:
    try:
        with path.open("rb") as file:
            while part := file.read(_PART):
                yield part
    except OSError as error:
        raise ProjectError(f"cannot read {path}: {error.strerror or error}") from error


def _digest(parts: Iterable[bytes]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()
