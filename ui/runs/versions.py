"""Versions of a model that are held against each other: float, steps of the recipe, other tools' files."""

import threading
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import onnx

from quantscope.core.errors import ModelError, ProjectError, QuantScopeError
from quantscope.core.evaluate import QuantizedFile, check_interface, layer_encodings, read_quantized
from quantscope.core.memo import Recent
from quantscope.core.model import Model
from quantscope.core.progress import ProgressFn, report
from quantscope.core.project import Mark, OtherFile, Project, marks, others
from quantscope.core.project import project as projects
from quantscope.core.recipe import Recipe
from quantscope.core.words import plural
from quantscope.ui.runs import step_figures
from quantscope.ui.runs.exported_encodings import exported_encodings
from quantscope.ui.runs.measurement_work import quantized_bytes
from quantscope.ui.runs.recipe_session import with_recipe
from quantscope.ui.runs.step_figures import StepFigures
from quantscope.ui.session import cached
from quantscope.ui.session.jobs import acquired
from quantscope.ui.session.state import Session

FILES = 4  # quantized files of a project that are kept in memory
MATCHED = 0.5  # share of the layers that a file must have, to be one of the model
STEPS = 4096  # whose labels are kept in memory
FLOAT = "float"  # key of the float model
_STEP, _FILE = "step:", "file:"  # begin the keys of the others


class Kind(StrEnum):
    """What a version is."""

    FLOAT = "float"
    STEP = "step"
    FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of the open model."""

    key: str  # the same in every session, as "step:7"
    label: str  # for people, in a line: "Step 7: Percentile for 23 layers"
    kind: Kind
    number: int = 0  # of the step
    name: str = ""  # that the user gave it, or of the file; "" = none
    note: str = ""
    what: str = ""  # was changed in the step
    time: str = ""  # ISO 8601, UTC; of a step
    other: OtherFile | None = None

    @property
    def short(self) -> str:
        """For heads of columns and legends."""
        return self.name or (f"Step {self.number}" if self.kind is Kind.STEP else self.label)


FLOAT_MODEL = Version(key=FLOAT, label="Float model", kind=Kind.FLOAT)


def versions(now: Session, *, hidden: bool = False) -> tuple[Version, ...]:
    """The float model, all steps in the order they were made, and files of other tools.

    Args:
        now: The open project.
        hidden: Also steps that the user put out of sight.
    """
    return (
        FLOAT_MODEL,
        *steps(now.project, hidden=hidden),
        *map(file_version, others.others(now.project)),
    )


def steps(project: Project, *, hidden: bool = False) -> tuple[Version, ...]:
    """The steps of a project; one whose file is damaged is left out."""
    marked = marks.read_marks(project)
    found = []
    for number in project.parents:
        mark = marked.get(number, Mark())
        if mark.hidden and not hidden:
            continue
        entry = _step(project, number)
        if entry is not None:
            label = f"{mark.name} (step {number})" if mark.name else entry.label
            found.append(replace(entry, name=mark.name, note=mark.note, label=label))
    return tuple(found)


def file_version(other: OtherFile) -> Version:
    """The version that a file of another tool is."""
    return Version(
        key=f"{_FILE}{other.id}", label=f"File {other.name}", kind=Kind.FILE, name=other.name, other=other
    )


def step_key(number: int) -> str:
    """Key of a step."""
    return f"{_STEP}{number}"


def find(now: Session, key: str) -> Version | None:
    """The version of a key; None where it is no longer there."""
    return FLOAT_MODEL if key == FLOAT else quantized_version(now.project, key)


def quantized_version(project: Project, key: str) -> Version | None:
    """The step or file of a key; None where it is no longer there."""
    known = (*steps(project, hidden=True), *map(file_version, others.others(project)))
    return next((version for version in known if version.key == key), None)


class _Steps(Recent[Version]):
    """Steps as they were written, by number; they never change."""

    def __init__(self) -> None:
        super().__init__(STEPS)


def _step(project: Project, number: int) -> Version | None:
    known = cached.results_of_project(project.id, _Steps, project.identity)
    found = known.get(number)
    if found is None:
        try:
            step = projects.read_step(project, number)
        except ProjectError:
            return None
        found = Version(
            key=step_key(number),
            label=f"Step {number}: {step.label}",
            kind=Kind.STEP,
            number=number,
            what=step.label,
            time=step.time,
        )
        known.put(number, found)
    return found


# --- what a version is made of ---


def recipe_of(now: Session, version: Version) -> Recipe | None:
    """The recipe of a step; None of other versions. It may have choices for layers that the model lacks.

    Raises:
        QuantScopeError: It is damaged, or cannot be read.
    """
    if version.kind is not Kind.STEP:
        return None
    if version.number == now.project.head and not now.held:
        return now.recipe
    return step_figures.recipe_of_step(now.project, version.number)


def figures_of(project: Project, version: Version) -> StepFigures | None:
    """What is known of a version without measuring; None where nothing is, and for the float model."""
    if version.kind is Kind.STEP:
        return step_figures.of_step(project, version.number)
    return step_figures.of_digest(project, version.other.sha256) if version.other is not None else None


def digest(now: Session, version: Version) -> str:
    """Stands for what a version consists of, in hex.

    Raises:
        QuantScopeError: A step that is damaged.
    """
    if version.kind is Kind.STEP:
        return step_figures.digest_of_step(now.project, version.number)
    return version.other.sha256 if version.other is not None else now.opened.model.hash


def step_session(now: Session, version: Version, tell: ProgressFn) -> Session:
    """The open project as it is when a step is shown; for background work.

    Raises:
        QuantScopeError: The step is damaged, or its model fixes cannot be applied.
    """
    if version.number == now.project.head and not now.held:
        return now
    recipe = recipe_of(now, version)
    assert recipe is not None  # it is a step
    return replace(with_recipe(now, recipe, tell), project=replace(now.project, head=version.number))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Built:
    """What a version amounts to."""

    data: bytes  # the .onnx file, all weights inside
    model: Model  # float; what its layers are compared with: as the fixes of a step leave it


class _QuantizedFiles:
    """Files of versions, by what they consist of; each is made once, by the first thread that asks."""

    def __init__(self) -> None:
        self.making = threading.Lock()
        self.known: Recent[Built] = Recent(FILES)


def quantized_file(now: Session, version: Version, tell: ProgressFn) -> bytes:
    """The .onnx file of a version, all weights inside; for background work. The float model's for `FLOAT`.

    Raises:
        QuantScopeError: It cannot be made or read; the message says why.
    """
    return built(now, version, tell).data


def built(now: Session, version: Version, tell: ProgressFn) -> Built:
    """A version's file with the float model that it is of; as `quantized_file`."""
    kept = cached.of_project(now.project.id, _QuantizedFiles, now.opened.model.hash)
    key = digest(now, version)
    found = kept.known.get(key)
    if found is not None:
        return found
    with acquired(kept.making, tell, "waiting for another version"):
        found = kept.known.get(key)  # made by the thread that held the lock
        if found is None:
            found = _build(now, version, tell)
            kept.known.put(key, found)
        return found


def _build(now: Session, version: Version, tell: ProgressFn) -> Built:
    model = now.opened.model
    if version.kind is Kind.FLOAT:
        return Built(data=model.float_bytes(), model=model)
    if version.kind is Kind.STEP:
        session = step_session(now, version, tell)
        encodings = exported_encodings(session, tell)
        report(tell, 0, 0, "quantizing")
        return Built(data=quantized_bytes(session.model, encodings), model=session.model)
    assert version.other is not None  # it is a file
    report(tell, 0, 0, "reading the file")
    path = others.path_of_other(now.project, version.other)
    file = read_quantized(path)
    if file.folder is None:
        return Built(data=file.data, model=model)
    try:
        return Built(data=bytes(onnx.load(str(path)).SerializeToString()), model=model)
    except Exception as error:  # protobuf's 2 GB, external data that are gone or damaged
        raise ModelError(f"{path.name} cannot be taken into one piece: {error}") from error


# --- files of other tools ---


def check_other(model: Model, source: str | bytes, name: str) -> QuantizedFile:
    """Make sure that a file is a quantized version of the model.

    Raises:
        ModelError: It is unreadable, of another model, or nothing in it is quantized.
    """
    try:
        file = read_quantized(source)
        check_interface(model, file.proto)
    except QuantScopeError as error:
        raise ModelError(f"{name}: {error}") from error
    found = layer_encodings(model, file.proto)
    weighted = [layer.name for layer in model.layers if layer.weight is not None]
    looked = weighted or [layer.name for layer in model.layers if layer.kind == "compute"]
    what = f"{plural(len(looked), 'layer')}{' with weights' if weighted else ''}"
    there = sum(found[layer].matched for layer in looked)
    if there < len(looked) * MATCHED:
        raise ModelError(
            f"{name}: only {there:,} of the {what} of '{model.name}' are found in it by the names of their "
            "outputs. Inputs and outputs agree, but it is of another model, or its tensors were renamed"
        )
    if not any(entry.type or entry.weight is not None for entry in found.values()):
        raise ModelError(f"{name}: nothing in it is quantized; give the file that the other tool made")
    return file


def add_file(now: Session, name: str, given: Path | bytes) -> Version:
    """Take a quantized file of the model among the versions; an uploaded one is kept in the project.

    Raises:
        QuantScopeError: It is unreadable, of another model, or not quantized; or it cannot be kept.
    """
    check_other(now.opened.model, given if isinstance(given, bytes) else str(given), name)
    return file_version(others.add_other(now.project, name, given))
