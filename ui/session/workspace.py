"""What a project needs in memory: its model, data and statistics, made in the background by `prepare`."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from quantscope.core.calibration import Statistics, calibrate
from quantscope.core.data import Samples, check_samples, open_samples
from quantscope.core.data.sources import DEFAULT_COUNT, preprocessing, random_samples
from quantscope.core.errors import AlreadyQuantized, DataError, QuantScopeError
from quantscope.core.model import Model, load_model
from quantscope.core.progress import Cancelled, Progress, ProgressFn
from quantscope.core.project import Project, Source, resolve_path, write_file
from quantscope.core.project import project as projects
from quantscope.sample_data import SAMPLES, Sample
from quantscope.ui.session.opening import QUANTIZED

STATISTICS = "statistics.npz"  # a copy inside the project: reopening needs neither data nor cache
READERS: set[str] = set()  # programs named on this process's command line; no others are ever run
UNUSABLE = "The evaluation data cannot be used"
PREVIEW_SAMPLES = 16  # the edit loop compares float and quantized outputs on these


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A project's model, data and statistics."""

    model: Model
    statistics: Statistics
    samples: Samples | None  # calibration data; None where they are no longer there
    evaluation: Samples | None  # held-out data with labels, where there are any
    notes: tuple[str, ...]  # what the user should know about model and data

    @property
    def judged(self) -> Samples | None:
        """What quality is measured on: evaluation data, else the calibration data."""
        return self.evaluation or self.samples

    @property
    def preview(self) -> Samples | None:
        """The few samples of the edit loop."""
        return self.judged.take(PREVIEW_SAMPLES) if self.judged is not None else None


def prepare(
    project: Project, progress: ProgressFn, calibrated: Callable[[Project], object] = lambda _: None
) -> Workspace:
    """Load a project's model, open its data, and calibrate unless that was done before.

    Args:
        project: Says where everything is.
        progress: Told how far it is; may raise `Cancelled`.
        calibrated: Told when the statistics have been written into the project.

    Raises:
        QuantScopeError: Model or data are missing, broken, or do not fit each other.
    """
    progress(Progress(done=0, total=0, label="reading the model"))
    model = open_model(project)
    path = project.folder / STATISTICS
    notes = [*project.notes, *model.notes]
    statistics = _known_statistics(path, model, notes)
    samples: Samples | None = None
    try:
        progress(Progress(done=0, total=0, label="opening the data"))
        samples = open_data(project, project.data, model)
        notes += samples.warnings  # how the data were read matters as long as there are figures of them
        if statistics is None:
            progress(Progress(done=0, total=0, label="looking at the data"))
            notes += check_samples(samples, model)
    except QuantScopeError as error:
        if statistics is None:
            raise
        notes.append(
            f"The calibration data cannot be opened ({error}); nothing can be measured without them."
        )
    evaluation = _evaluation(project, model, notes, first=statistics is None)
    if statistics is None:
        assert samples is not None
        statistics = calibrate(model, samples, progress=progress)
        write_file(project, STATISTICS, statistics.to_bytes())
        calibrated(project)
    return Workspace(
        model=model,
        statistics=statistics,
        samples=samples,
        evaluation=evaluation,
        notes=tuple(dict.fromkeys(notes)),
    )


def prepare_first(
    project: Project, progress: ProgressFn, calibrated: Callable[[Project], object] = lambda _: None
) -> Workspace:
    """As `prepare`; a project whose model or data turn out to be of no use leaves nothing behind on disk.

    One whose model is quantized already stays, and says so from then on.

    Raises:
        QuantScopeError: As `prepare`.
    """
    try:
        return prepare(project, progress, calibrated)
    except AlreadyQuantized:
        marked = replace(project.model, options={**project.model.options, QUANTIZED: True})
        projects.save(replace(project, model=marked))
        raise
    except Cancelled:
        raise
    except Exception:
        with suppress(QuantScopeError):
            there = projects.open_project(project.id)
            if not there.calibrated and len(there.parents) <= 1:
                projects.delete(project.id)
        raise


def open_model(project: Project) -> Model:
    """The model of a project."""
    if project.model.kind == "sample":
        return load_model(_sample(project.model.path).model)
    return load_model(resolve_path(project, project.model), name=project.name)


def open_data(project: Project, source: Source, model: Model) -> Samples:
    """Samples of a source, as its options say.

    Raises:
        DataError: They are unusable or do not fit the model.
    """
    options = source.options
    limit = int(options["limit"]) if options.get("limit") else None
    if source.kind == "random":
        return random_samples(model, limit or DEFAULT_COUNT, seed=int(options.get("seed", 0)))
    path: Path
    if source.kind == "sample":
        sample = _sample(source.path)
        path = sample.evaluation if options.get("part") == "evaluation" else sample.calibration
    else:
        path = resolve_path(project, source)
    how = options.get("preprocessing")
    labels = options.get("labels")
    return open_samples(
        path,
        model,
        preprocessing=preprocessing(how) if how else None,
        labels=str(labels) if labels else None,
        limit=limit,
        allow_reader=str(path) in READERS,
        labels_needed=False,
    )


def _evaluation(project: Project, model: Model, notes: list[str], *, first: bool) -> Samples | None:
    """Evaluation data, if they were given and can be opened; what fails is noted, or refused at `first`."""
    if project.evaluation is None:
        return None
    try:
        found = open_evaluation(project, project.evaluation, model, check=first)
    except QuantScopeError as error:
        if first:
            raise
        notes.append(str(error))
        return None
    notes += (f"Evaluation data: {said}" for said in found.warnings)
    return found


def open_evaluation(project: Project, source: Source, model: Model, *, check: bool = True) -> Samples:
    """Evaluation samples; with `check`, a few of them are looked at.

    Raises:
        DataError: They are unusable or do not fit the model.
    """
    try:
        found = open_data(project, source, model)
        if check:
            check_samples(found, model)
    except QuantScopeError as error:
        raise DataError(f"{UNUSABLE}: {error}") from error
    return found


def _known_statistics(path: Path, model: Model, notes: list[str]) -> Statistics | None:
    """Statistics saved with the project, if they can be read and belong to this model."""
    statistics = saved_statistics(path.parent)
    if statistics is None or statistics.model_hash == model.hash:
        return statistics
    notes.append("The model's file has changed since it was calibrated, so it was calibrated anew.")
    return None


def saved_statistics(folder: Path) -> Statistics | None:
    """Statistics in a project's folder, whatever its model is by now; None if they cannot be read."""
    try:
        return Statistics.load(folder / STATISTICS) if (folder / STATISTICS).exists() else None
    except QuantScopeError:
        return None  # calibrated again


def _sample(name: str) -> Sample:
    if name not in SAMPLES:
        raise DataError(f"there is no sample called '{name}'; the samples are: {', '.join(SAMPLES)}")
    return SAMPLES[name]
