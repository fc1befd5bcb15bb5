"""A look at an already quantized model: its quantizers, and their values over the data that were given."""

from collections.abc import Mapping
from dataclasses import dataclass

from quantscope.core.calibration import Histogram
from quantscope.core.errors import QuantScopeError
from quantscope.core.evaluate import StoredQuantizers, observe, stored_quantizers, weight_histogram
from quantscope.core.model import Model, load_model
from quantscope.core.progress import Progress, ProgressFn
from quantscope.core.project import Project, resolve_path
from quantscope.ui.content.stored_rows import StoredRow, stored_row
from quantscope.ui.session import cached, workspace
from quantscope.ui.session.jobs import Job, JobId


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """What there is to see."""

    model: Model
    stored: StoredQuantizers
    rows: tuple[StoredRow, ...]  # one a quantizer
    histograms: Mapping[int, Histogram]  # by the quantizer's number
    samples: int  # that the model was run over; 0 = it was not
    source: str  # of the samples
    notes: tuple[str, ...]


def look_job(project: Project) -> Job[Look]:
    """The job that looks at a project's model; it is started where there is none."""
    id: JobId[Look] = JobId(f"{project.id}:look")
    cached.use(project.id)
    known = cached.registry().get(id)
    return known or cached.registry().submit(id, "Looking", lambda tell: _look(project, tell), heavy=True)


def look_again(project: Project) -> None:
    """Start it over."""
    cached.registry().forget(f"{project.id}:look")
    look_job(project)


def _look(project: Project, tell: ProgressFn) -> Look:
    tell(Progress(done=0, total=0, label="reading the model"))
    path = resolve_path(project, project.model)
    model = load_model(path, name=project.name, allow_quantized=True)
    stored = stored_quantizers(model)
    notes, seen, count, source = list(model.notes), {}, 0, ""
    if project.data.kind != "random":  # noise would show nothing of the model
        try:
            samples = workspace.open_data(project, project.data, model)
            notes += samples.warnings
            seen = observe(model, samples, stored.quantizers, tell)
            count, source = len(samples), samples.source
        except QuantScopeError as error:
            notes.append(f"Activations are shown without values, since the data cannot be used: {error}")
    histograms: dict[int, Histogram] = {}
    for number, entry in enumerate(stored.quantizers):
        found = seen.get(entry.observed) if entry.observed else weight_histogram(entry)
        if found is not None and found.count:
            histograms[number] = found
    rows = tuple(stored_row(entry, histograms.get(n)) for n, entry in enumerate(stored.quantizers))
    return Look(
        model=model,
        stored=stored,
        rows=rows,
        histograms=histograms,
        samples=count,
        source=source,
        notes=tuple(dict.fromkeys(notes)),
    )
