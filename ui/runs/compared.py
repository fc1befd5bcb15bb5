"""What versions do, measured in the background: layers and scales of each, and its figures."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from quantscope.core.errors import DataError, QuantScopeError
from quantscope.core.evaluate import (
    LayerEncodings,
    LayerError,
    compare,
    layer_encodings,
    preview,
    read_quantized,
)
from quantscope.core.memo import Recent
from quantscope.core.progress import Progress, ProgressFn, report
from quantscope.core.project import Figures, Scope, others
from quantscope.core.words import plural
from quantscope.ui.content.failing_layer import explained
from quantscope.ui.runs import measurement_work, step_figures, versions
from quantscope.ui.runs.measured import NO_DATA, Measured
from quantscope.ui.runs.measurement_work import MOST_SAMPLES, ModelUnderTest, References
from quantscope.ui.runs.versions import Built, Version
from quantscope.ui.session import cached, opening
from quantscope.ui.session.cached import IN_TURN
from quantscope.ui.session.jobs import Job, JobId
from quantscope.ui.session.pool import Measurement, ResultKey, Subscriber
from quantscope.ui.session.state import Session, session_id

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionLayers:
    """What a version does layer by layer, on the samples of the edit loop."""

    figures: Figures
    layers: tuple[LayerError, ...]  # cumulative errors
    encodings: Mapping[str, LayerEncodings]  # by layer of the model as it was opened


LAYERS: Measurement[VersionLayers] = Measurement(name="version, by layer", lane=IN_TURN, keep=24)
FIGURES: Measurement[Figures] = Measurement(name="version", lane=IN_TURN)


def layers(now: Session, version: Version) -> Measured[VersionLayers]:
    """Errors and scales of every layer; measured where they are not there. Not for the float model."""
    return _measured(LAYERS, now, version, measure_layers)


def figures(now: Session, version: Version) -> Measured[Figures]:
    """Figures over the judged samples: those kept in the project, else measured. Not for the float model."""
    kept = versions.figures_of(now.project, version)
    if kept is not None and kept.whole is not None:
        return Measured(value=kept.whole)
    return _measured(FIGURES, now, version, measure_figures)


def float_figures(found: Iterable[Figures | None]) -> Figures | None:
    """Figures of the float model, from those of versions measured beside it; None where there are none."""
    known = next((figures for figures in found if figures is not None), None)
    if known is None:
        return None
    return Figures(
        samples=known.samples,
        evaluation=known.evaluation,
        sqnr_db=None,
        cosine=None,
        top1=known.float_top1,
        float_top1=known.float_top1,
        miou=known.float_miou,
        float_miou=known.float_miou,
        rows=known.rows,
        positions=known.positions,
        size_bytes=known.float_bytes,
        float_bytes=known.float_bytes,
        latency_ms=known.float_latency_ms,
        float_latency_ms=known.float_latency_ms,
    )


def sqnr_of(names: Sequence[str], found: VersionLayers) -> list[float | None]:
    """Cumulative SQNR in dB of layers, by name; None where there is no figure."""
    known = {error.layer: error.cumulative.sqnr_db for error in found.layers if error.cumulative is not None}
    return [known.get(name) for name in names]


# --- files of other tools ---


@dataclass(frozen=True, slots=True, kw_only=True)
class FileGiven:
    """A file that a user wants to compare with: uploaded, or by its path."""

    name: str = ""
    content: bytes = b""
    path: str = ""


def take_file(now: Session, given: FileGiven) -> tuple[Version | None, str]:
    """The version that a file becomes, or why it is none, in a sentence."""
    try:
        if not given.path:
            return versions.add_file(now, given.name, given.content), ""
        path, what = opening.typed_path(given.path)
        if what is not opening.Place.FILE:
            return None, f"{path} is not a file; give the path of an .onnx file on this machine."
        return versions.add_file(now, path.name, path), ""
    except QuantScopeError as error:
        return None, str(error)


def remove_file(now: Session, version: Version) -> str:
    """Compare with a file no more; why that failed, or nothing."""
    assert version.other is not None  # it is a file
    try:
        others.remove_other(now.project, version.other.id)
    except QuantScopeError as error:
        return str(error)
    return ""


# --- what is waited for ---


def ready(now: Session, shown: Iterable[Version]) -> frozenset[str]:
    """Which figures of which versions are there."""
    return frozenset(
        f"{version.key} {kind.name}"
        for version in shown
        for kind in (LAYERS, FIGURES)
        if cached.pool().peek(_key(kind, now, version)) is not None
    )


def waiting(shown: Iterable[Version]) -> bool:
    """Whether figures that this session asked for are on their way; shows that it still wants them."""
    on_their_way = [
        cached.pool().waits(_subscriber(kind, version)) for version in shown for kind in (LAYERS, FIGURES)
    ]
    return any(on_their_way)


def _subscriber(kind: Measurement[object], version: Version) -> Subscriber:
    return Subscriber(session_id(), f"{kind.name} {version.key}")


def _key(kind: Measurement[T], now: Session, version: Version) -> ResultKey[T]:
    """What a figure depends on: the version's content, the model and the data."""
    scope = Scope.WHOLE if kind.name == FIGURES.name else Scope.PREVIEW
    of = step_figures.subject(now.project, now.opened, scope)
    return ResultKey(now.project.id, kind, (of, versions.digest(now, version)))


def _measured(
    kind: Measurement[T], now: Session, version: Version, work: Callable[[Session, Version, ProgressFn], T]
) -> Measured[T]:
    if now.workspace.preview is None:
        return Measured(error=NO_DATA)

    def run(tell: ProgressFn) -> T:
        with cached.measuring_alone(tell):
            return work(now, version, tell)

    key = _key(kind, now, version)
    job = cached.pool().request(_subscriber(kind, version), key, f"{kind.name} {version.key}", run)
    if job is None:
        return Measured(running=True)
    return Measured(value=job.result, error=explained(job.error, now.opened.model))


# --- the work ---


def measure_layers(now: Session, version: Version, tell: ProgressFn) -> VersionLayers:
    """Run a version with its layers as outputs; its figures are kept in the project.

    Layers of a step are held against the float model as the step's fixes leave it, others against the model
    as it was opened.
    """
    built = versions.built(now, version, tell)
    floats = measurement_work.reference(_under_test(now, built), tell)
    report(tell, 0, 0, "running the quantized model")
    found = preview(floats, built.data, progress=tell)
    kept = step_figures.preview_figures(now.opened, found)
    digest = versions.digest(now, version)
    step_figures.keep(now.project, now.opened, digest, Scope.PREVIEW, kept)
    return VersionLayers(
        figures=kept,
        layers=found.layers,
        encodings=layer_encodings(now.opened.model, read_quantized(built.data).proto),
    )


def measure_figures(now: Session, version: Version, tell: ProgressFn) -> Figures:
    """Accuracy, size and latency of a version over the judged samples; kept in the project."""
    judged = now.opened.judged
    if judged is None:
        raise DataError(NO_DATA)
    data, some = versions.quantized_file(now, version, tell), judged.take(MOST_SAMPLES)
    found = compare(now.opened.model, data, some, layers=False, latency=True, progress=tell)
    kept = step_figures.whole_figures(now.opened, found)
    step_figures.keep(now.project, now.opened, versions.digest(now, version), Scope.WHOLE, kept)
    return kept


def _under_test(now: Session, built: Built) -> ModelUnderTest:
    """What the float model's activations are computed of; the encodings are not used for that."""
    samples = now.opened.preview
    if samples is None:
        raise DataError(NO_DATA)
    return ModelUnderTest(
        references=cached.of_project(now.project.id, References),
        original=now.opened.model,
        model=built.model,
        encodings=now.encodings,
        samples=samples,
    )


# --- figures of several steps, asked for at once ---


def measuring(now: Session) -> Job[int] | None:
    """The newest job that measures steps."""
    return cached.registry().get(_job_id(now))


def measure_steps(now: Session, wanted: tuple[Version, ...]) -> Job[int]:
    """Measure steps one after the other, in the background; what is done is kept when it is cancelled.

    The result is the number of those that could not be measured; the reason stands in `refused_steps`.
    """
    refused = cached.results_of_project(now.project.id, RefusedSteps)

    def work(tell: ProgressFn) -> int:
        failed = 0
        for done, version in enumerate(wanted):

            def told(progress: Progress, done: int = done, version: Version = version) -> None:
                part = progress.done / progress.total if progress.total else 0.0
                label = f"step {version.number}, {done + 1} of {len(wanted)}"
                share = round(100 * (done + part))
                tell(Progress(done=share, total=100 * len(wanted), label=label))

            try:
                with cached.measuring_alone(told):
                    _missing(now, version, told)
                refused.put(version.key, "")
            except (QuantScopeError, MemoryError) as error:
                refused.put(version.key, str(error) or "this machine has not enough memory for it")
                failed += 1
        return failed

    title = f"Measuring {plural(len(wanted), 'step')}"
    return cached.registry().restart(_job_id(now), title, work)


def _missing(now: Session, version: Version, tell: ProgressFn) -> None:
    known = versions.figures_of(now.project, version)
    if known is None or known.preview is None:
        measure_layers(now, version, tell)
    if known is None or known.whole is None:
        measure_figures(now, version, tell)


class RefusedSteps(Recent[str]):
    """Why steps could not be measured, by the key of the version; "" where one was."""

    def __init__(self) -> None:
        super().__init__(512)


def refused_steps(now: Session) -> RefusedSteps:
    """Why steps could not be measured."""
    return cached.results_of_project(now.project.id, RefusedSteps)


def _job_id(now: Session) -> JobId[int]:
    return JobId(f"{now.project.id}:figures of steps")
