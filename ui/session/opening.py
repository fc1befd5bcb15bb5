"""Make a project from what a user picked: a sample, uploaded files, or local paths."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from quantscope.core.errors import DataError, ModelError
from quantscope.core.model.loading import foreign_format
from quantscope.core.project import Project, Source
from quantscope.core.project import project as projects
from quantscope.core.recipe import Recipe, recipe_to_yaml
from quantscope.sample_data import SAMPLES


def open_sample(name: str) -> Project:
    """The project of a sample: as it was left, or a new one.

    Raises:
        DataError: there is no such sample.
    """
    if name not in SAMPLES:
        raise DataError(f"there is no sample called '{name}'; the samples are: {', '.join(SAMPLES)}")
    id = "sample-" + re.sub(r"[^a-z0-9]+", "-", name.lower())
    try:
        known = projects.open_project(id)
    except projects.ProjectError:
        source = Source(kind="sample", path=name)
        evaluation = Source(kind="sample", path=name, options={"part": "evaluation"})
        known = projects.create(SAMPLES[name].title, source, source, evaluation, id=id)
    return known if known.head else _begin(known)


def open_paths(model: str, data: str | None) -> Project:
    """The project of local files: as it was left, or a new one; without data, of random ones.

    Raises:
        ModelError, DataError: nothing is there.
    """
    ours, theirs = model_source(model), data_source(data)
    for entry in projects.list_projects(limit=1000):
        if entry.model == ours and entry.data == theirs:
            return projects.open_project(entry.id)
    return open_sources(Path(ours.path).name, ours, theirs)


def model_source(model: str) -> Source:
    """Where a model lies.

    Raises:
        ModelError: nothing is there.
    """
    path = Path(unquoted(model)).expanduser()
    if not path.is_file():
        raise ModelError(f"{path} is not a file; give the path of an .onnx model on this machine")
    return Source(kind="path", path=str(path.resolve()))


# What a model's file can begin with: the numbers of ModelProto's fields, as protobuf writes them.
_FIRST_BYTES = (b"\x08", b"\x12", b"\x1a", b"\x22", b"\x28", b"\x32", b"\x3a", b"\x42", b"\x72")


def check_model(model: str) -> Source:
    """Where a model lies, after a look at its first byte; the whole file is read later.

    Raises:
        ModelError: nothing is there, it cannot be read, or it is plainly something else.
    """
    source = model_source(model)
    try:
        with Path(source.path).open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise ModelError(f"{source.path} cannot be read: {error.strerror or error}") from error
    if head[:1] not in _FIRST_BYTES:
        known = "" if head.startswith(b"PK") else foreign_format(head, Path(source.path).name)
        what = "is not an ONNX model" if head else "is empty"
        raise ModelError(known or f"{source.path} {what}; give the path of an .onnx file")
    return source


def data_source(data: str | None) -> Source:
    """Where calibration data lie; None for random ones.

    Raises:
        DataError: nothing is there.
    """
    if data is None:
        return Source(kind="random")
    path = Path(unquoted(data)).expanduser()
    if not path.exists():
        raise DataError(f"{path} does not exist; give an .npz, .npy, a folder or a .zip on this machine")
    return Source(kind="path", path=str(path.resolve()))


def open_sources(
    name: str,
    model: Source | tuple[str, bytes],
    data: Source | tuple[str, bytes],
    *,
    options: Mapping[str, object] | None = None,
) -> Project:
    """A new project; uploaded files, given as (name, bytes), are kept inside it."""
    nothing = Source(kind="random")
    project = projects.create(name, nothing, nothing)
    project = replace(
        project,
        model=_stored(project, "model", model, {}),
        data=_stored(project, "data", data, options or {}),
    )
    projects.save(project)
    return _begin(project)


def _stored(
    project: Project, role: str, given: Source | tuple[str, bytes], options: Mapping[str, object]
) -> Source:
    if isinstance(given, Source):
        return replace(given, options={**given.options, **options})
    name, content = given
    if not content:
        raise DataError(f"the uploaded file {name} is empty")
    return Source(
        kind="stored", path=projects.store_file(project, f"{role}-{name}", content), options=options
    )


def _begin(project: Project) -> Project:
    return projects.record(project, recipe_to_yaml(Recipe()), "Defaults")


def unquoted(path: str) -> str:
    """A path as pasted from a file manager: without quotes and blanks around it."""
    return path.strip().strip("\"'").strip()
