"""Make a project from what a user picked: a sample, uploaded files, or local paths.

The same model with the same data is one project, however often it is opened and wherever the files lie.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from enum import Enum
from pathlib import Path

from quantscope.core.errors import DataError, ModelError, QuantScopeError
from quantscope.core.model.loading import foreign_format
from quantscope.core.project import Project, Source, go_on, start_over
from quantscope.core.project import project as projects
from quantscope.core.recipe import Recipe, recipe_to_yaml
from quantscope.sample_data import SAMPLES

Given = Source | tuple[str, bytes]  # where it lies, or an uploaded file: its name and content
HASHED = 1 << 28  # bytes of a file that is read to be known again; larger ones are known by their place
QUANTIZED = "quantized"  # the option of a model's source that says so
_EXTERNAL = b"location"  # in every model whose weights lie in files of their own


def open_sample(name: str) -> Project:
    """The project of a sample: as it was left, or a new one.

    Raises:
        DataError: there is no such sample.
    """
    known = known_sample(name)
    if known is None:
        source = Source(kind="sample", path=name)
        evaluation = Source(kind="sample", path=name, options={"part": "evaluation"})
        known = projects.create(SAMPLES[name].title, source, source, evaluation, id=_sample_id(name))
    return known if known.head else _begin(known)


def known_sample(name: str) -> Project | None:
    """The project of a sample, if there is one.

    Raises:
        DataError: there is no such sample.
    """
    if name not in SAMPLES:
        raise DataError(f"there is no sample called '{name}'; the samples are: {', '.join(SAMPLES)}")
    try:
        return projects.open_project(_sample_id(name))
    except projects.ProjectError:
        return None


def _sample_id(name: str) -> str:
    return "sample-" + re.sub(r"[^a-z0-9]+", "-", name.lower())


def fresh_sample(name: str) -> Project:
    """The project of a sample with its defaults shown; what was done with it before stays in its history.

    Raises:
        DataError: there is no such sample.
    """
    return start_over(open_sample(name), recipe_to_yaml(Recipe()), "Defaults")


def continued_sample(name: str) -> Project:
    """The project of a sample where it was left.

    Raises:
        DataError: there is no such sample.
    """
    return go_on(open_sample(name))


def open_paths(model: str, data: str | None, evaluation: str | None = None) -> Project:
    """The project of local files: as it was left, or a new one; without data, of random ones.

    Raises:
        ModelError, DataError: nothing is there.
    """
    ours = model_source(model)
    judged = data_source(evaluation) if evaluation is not None else None
    return open_sources(Path(ours.path).name, ours, data_source(data), evaluation=judged)


def model_source(model: str) -> Source:
    """Where a model lies.

    Raises:
        ModelError: nothing is there.
    """
    path, what = typed_path(model)
    if what is not Place.FILE:
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
    path, what = typed_path(data)
    if what is Place.NOTHING:
        raise DataError(f"{path} does not exist; give an .npz, .npy, a folder or a .zip on this machine")
    return Source(kind="path", path=str(path.resolve()))


def open_sources(
    name: str,
    model: Given,
    data: Given,
    *,
    options: Mapping[str, object] | None = None,
    evaluation: Given | None = None,
    evaluation_options: Mapping[str, object] | None = None,
) -> Project:
    """The project of a model and data: as it was left, or a new one; uploaded files are kept inside it.

    Args:
        name: Of a new project.
        model: The float model.
        data: To calibrate with.
        options: How the data are read.
        evaluation: What quality is judged on; None leaves that as it is, or to the calibration data.
        evaluation_options: How these are read.

    Raises:
        DataError: A file is empty, or the evaluation data are the calibration data.
    """
    ours, theirs = described(model, {}, external=True), described(data, options or {})
    judged = described(evaluation, evaluation_options or {}) if evaluation is not None else None
    _check_unseen(theirs, judged)
    known = _known(ours, theirs)
    if known is not None:
        if evaluation is not None and judged is not None and not _same(known.evaluation, judged):
            known = give_evaluation(known, evaluation, evaluation_options or {})
        return known
    nothing = Source(kind="random")
    project = projects.create(name, nothing, nothing)
    try:
        project = replace(
            project,
            model=stored(project, "model", model, ours),
            data=stored(project, "data", data, theirs),
            evaluation=stored(project, "evaluation", evaluation, judged) if evaluation and judged else None,
        )
        projects.save(project)
        return _begin(project)
    except QuantScopeError:
        with suppress(QuantScopeError):
            projects.delete(project.id)
        raise


def give_evaluation(
    project: Project,
    given: Given,
    options: Mapping[str, object],
    check: Callable[[Project, Source], object] = lambda *_: None,
) -> Project:
    """Let the quality of a project be judged on these data; saved.

    Args:
        project: Whose quality.
        given: The data.
        options: How they are read.
        check: Raises a `QuantScopeError` where they are of no use; nothing is changed then.

    Raises:
        DataError: The file is empty, or these are the calibration data.
    """
    judged = described(given, options)
    _check_unseen(project.data, judged)
    kept = stored(project, "evaluation", given, judged)
    try:
        check(project, kept)
    except QuantScopeError:
        if kept.kind == "stored" and not _same(project.evaluation, kept):
            _unlink(project, kept)
        raise
    return _with_evaluation(project, kept)


def drop_evaluation(project: Project) -> Project:
    """Let the quality of a project be judged on its calibration data; saved."""
    return _with_evaluation(project, None)


def _with_evaluation(project: Project, source: Source | None) -> Project:
    changed = replace(project, evaluation=source)
    projects.save(changed)
    before = project.evaluation
    if before is not None and before.kind == "stored" and (source is None or source.path != before.path):
        _unlink(project, before)
    return changed


def _unlink(project: Project, source: Source) -> None:
    with suppress(OSError):  # in use; it goes with the project
        (project.folder / source.path).unlink()


def _check_unseen(data: Source, evaluation: Source | None) -> None:
    if evaluation is not None and replace(data, options={}).same(replace(evaluation, options={})):
        raise DataError("the evaluation data are the calibration data: give other samples, or none")


def _known(model: Source, data: Source) -> Project | None:
    """The project of that model and these data; where its files were moved, it learns where they are now."""
    for entry in projects.list_projects(limit=100_000):
        if not _same(entry.model, model) or not _same(entry.data, data):
            continue
        try:
            known = projects.open_project(entry.id)
            if not known.head:
                known = _begin(known)
            moved = {
                role: replace(source, options={**there.options, **source.options})
                for role, source, there in (("model", model, known.model), ("data", data, known.data))
                if source.kind == there.kind == "path" and place_of(Path(there.path)) is Place.NOTHING
            }
            if moved:
                known = replace(
                    known, model=moved.get("model", known.model), data=moved.get("data", known.data)
                )
                projects.save(known)
        except projects.ProjectError:
            continue  # removed at this moment, or damaged
        return known
    return None


def _same(there: Source | None, source: Source) -> bool:
    return there is not None and replace(there, options=_reading(there)).same(source)


def _reading(source: Source) -> dict[str, object]:
    return {key: value for key, value in source.options.items() if key != QUANTIZED}


def described(given: Given, options: Mapping[str, object], *, external: bool = False) -> Source:
    """Where something lies and what it holds; that of an uploaded file has no place yet.

    Raises:
        DataError: The uploaded file is empty.
    """
    if isinstance(given, Source):
        return replace(
            given, options={**given.options, **options}, content=content_of(given, external=external)
        )
    name, uploaded = given
    if not uploaded:
        raise DataError(f"the uploaded file {name} is empty")
    return Source(kind="stored", options=options, content=hashlib.sha256(uploaded).hexdigest())


def content_of(source: Source, *, external: bool = False) -> str:
    """SHA-256 of a local file; nothing for folders, large files, and models with weights in other files."""
    if source.kind != "path":
        return ""
    path = Path(source.path)
    try:
        if not path.is_file() or path.stat().st_size > HASHED:
            return ""
        content = path.read_bytes()
    except OSError:
        return ""  # said when it is read
    return "" if external and _EXTERNAL in content else hashlib.sha256(content).hexdigest()


def stored(project: Project, role: str, given: Given, source: Source) -> Source:
    """What `described` gave, with the place of an uploaded file, which is written into the project."""
    if isinstance(given, Source):
        return source
    name, content = given
    path = projects.store_file(project, f"{role}-{source.content[:8]}-{name}", content)
    return replace(source, path=path)


def _begin(project: Project) -> Project:
    return projects.record(project, recipe_to_yaml(Recipe()), "Defaults")


class Place(Enum):
    """What is at a path."""

    NOTHING = "nothing"  # also where it may not be looked at, or no such path can be
    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"  # a pipe, a device


def typed_path(typed: str) -> tuple[Path, Place]:
    """A path that a user typed or pasted, with `~` resolved, and what is there. Never fails."""
    path = Path(unquoted(typed))
    with suppress(RuntimeError):  # the home of nobody
        path = path.expanduser()
    return path, place_of(path)


def place_of(path: Path) -> Place:
    """What is at a path. Never fails."""
    try:
        if path.is_file():
            return Place.FILE
        if path.is_dir():
            return Place.FOLDER
        return Place.OTHER if path.exists() else Place.NOTHING
    except (OSError, ValueError):  # a name too long, a folder that may not be read
        return Place.NOTHING


def unquoted(path: str) -> str:
    """A path as pasted from a file manager: without quotes and blanks around it."""
    return path.strip().strip("\"'").strip()
