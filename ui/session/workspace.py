"""What a project needs in memory: its model, data and statistics, made in the background by `prepare`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quantscope.core.calibration import Statistics, calibrate
from quantscope.core.data import Samples, check_samples, open_samples
from quantscope.core.data.sources import DEFAULT_COUNT, preprocessing, random_samples
from quantscope.core.errors import DataError, QuantScopeError
from quantscope.core.model import Model, load_model
from quantscope.core.progress import Progress, ProgressFn
from quantscope.core.project import Project, Source, resolve_path, write_file
from quantscope.sample_data import SAMPLES, Sample
from quantscope.ui.session.chosen_samples import chosen_samples

STATISTICS = "statistics.npz"  # a copy inside the project: reopening needs neither data nor cache
READERS: set[str] = set()  # programs named on this process's command line; no others are ever run
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
    statistics = _known_statistics(path, model)
    notes = [*project.notes, *model.notes]
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
    if statistics is None:
        assert samples is not None
        statistics = calibrate(model, samples, progress=progress)
        write_file(project, STATISTICS, statistics.to_bytes())
        calibrated(project)
    evaluation = _evaluation(project, model, notes)
    return Workspace(
        model=model,
        statistics=statistics,
        samples=samples,
        evaluation=evaluation,
        notes=tuple(dict.fromkeys(notes)),
    )


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
    found = open_samples(
        path,
        model,
        preprocessing=preprocessing(how) if how else None,
        labels=str(labels) if labels else None,
        limit=limit,
        allow_reader=str(path) in READERS,
        labels_needed=False,
    )
    return chosen_samples(project, found, options, model)


def _evaluation(project: Project, model: Model, notes: list[str]) -> Samples | None:
    """Evaluation data, if they were given and can be opened; what fails is noted."""
    if project.evaluation is None:
        return None
    try:
        return open_data(project, project.evaluation, model)
    except QuantScopeError as error:
        notes.append(f"The evaluation data cannot be used: {error}")
        return None


def _known_statistics(path: Path, model: Model) -> Statistics | None:
    """Statistics saved with the project, if they can be read and belong to this model."""
    if not path.exists():
        return None
    try:
        statistics = Statistics.load(path)
    except QuantScopeError:
        return None  # calibrated again
    return statistics if statistics.model_hash == model.hash else None


def _sample(name: str) -> Sample:
    if name not in SAMPLES:
        raise DataError(f"there is no sample called '{name}'; the samples are: {', '.join(SAMPLES)}")
    return SAMPLES[name]
