"""What a project's folder says of model and data: project.json, and the version before it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from quantscope.core.files import patiently, read_json, to_json, write_atomic

DESCRIPTION = "project.json"
_BEFORE = "project.json.bak"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a model or a data set comes from.

    `path` is absolute, except for `stored` (inside the project) and `sample` (name of the sample).
    `options` are what else is needed to open it again: preprocessing, labels, limit, seed; of a model that is
    quantized already, they say so. `content` tells a file from others of its name; it may be unknown.
    """

    kind: Literal["path", "stored", "sample", "random"]
    path: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    content: str = field(default="", compare=False)  # SHA-256 of the file

    def to_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        body = {"kind": self.kind, "path": self.path, "options": dict(self.options)}
        return {**body, "content": self.content} if self.content else body

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> "Source":
        """What `to_json` gave; KeyError, TypeError or ValueError for anything else."""
        if body["kind"] not in ("path", "stored", "sample", "random"):
            raise ValueError(f"kind {body['kind']!r}")
        path, options = str(body.get("path", "")), dict(body.get("options") or {})
        return Source(kind=body["kind"], path=path, options=options, content=str(body.get("content", "")))

    def same(self, other: "Source") -> bool:
        """Whether both are the same file, read in the same way, wherever it lies."""
        if self.options != other.options:
            return False
        if self.content and other.content:
            return self.content == other.content
        return (self.kind, self.path) == (other.kind, other.path) and self.kind != "stored"


def write_description(folder: Path, body: Mapping[str, Any]) -> None:
    """Write the description; a version that can be read is kept beside it.

    Raises:
        OSError: It cannot be written.
    """
    path = folder / DESCRIPTION
    if read_json(path) is not None:
        write_atomic(folder / _BEFORE, patiently(path.read_bytes))
    write_atomic(path, to_json(body))


def read_description(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The description and what had to be repaired; None where both versions are absent or damaged."""
    body = read_json(folder / DESCRIPTION)
    if body is not None:
        return body, []
    return read_json(folder / _BEFORE), [f"{DESCRIPTION} was damaged; its previous version was used."]
