"""Figures of the shown recipe: those that are there, and the rest measured in the background."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from quantscope.core.errors import DataError
from quantscope.core.evaluate import Comparison, LayerError, Preview
from quantscope.core.memo import Recent
from quantscope.core.progress import ProgressFn, report
from quantscope.core.quantize import masked_tensors
from quantscope.core.sensitivity import Metric, metrics_of, ranking
from quantscope.ui.content.basis import Basis, Data
from quantscope.ui.content.costs import Cost, ranked_costs, suspected_costs
from quantscope.ui.content.failing_layer import explained
from quantscope.ui.content.rows import RangeErrors, Row, flagged, layer_rows
from quantscope.ui.runs import exporting, measurement_work, rankings, step_figures
from quantscope.ui.runs.exported_encodings import exported_encodings
from quantscope.ui.runs.exporting import Verified
from quantscope.ui.runs.measurement_work import LossByPart, ModelUnderTest, References
from quantscope.ui.session import cached
from quantscope.ui.session.cached import AT_ONCE, IN_TURN
from quantscope.ui.session.jobs import LOOK
from quantscope.ui.session.pool import Measurement, ResultKey, Subscriber
from quantscope.ui.session.state import Session, recipe_token, session_id

EFFECT: Measurement[Preview] = Measurement(name="effect", lane=AT_ONCE)
LOCAL: Measurement[dict[str, LayerError]] = Measurement(name="local", lane=IN_TURN)
WHOLE: Measurement[Comparison] = Measurement(name="whole", lane=IN_TURN)
LOSS_BY_PART: Measurement[LossByPart] = Measurement(name="loss by part", lane=IN_TURN)
VERIFIED: Measurement[Verified] = Measurement(name="verified", lane=IN_TURN, keep=2)  # each holds a file
TABLES = 6  # of a model that are kept, each for a recipe and what was measured of it
NO_DATA = "there are no data to measure on: say where the calibration data are now, or put them back"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Generic[T]):
    """A measured figure: there, on its way, or not to be had. Never the figure of another recipe."""

    value: T | None = None
    running: bool = False
    error: str = ""


def effect(now: Session, *, patience: float = 0.0) -> Measured[Preview]:
    """Outputs and cumulative layer errors of the shown recipe, on a few samples.

    Waits for up to `patience` seconds, so that small models need no second drawing.
    """

    def work(tested: ModelUnderTest, tell: ProgressFn) -> Preview:
        found = measurement_work.effect(tested, tell)
        step_figures.keep_preview(now, found)
        return found

    return _measured(EFFECT, now, work, patience)


def local(now: Session) -> Measured[dict[str, LayerError]]:
    """Errors of every layer quantized alone, by layer."""
    return _measured(LOCAL, now, measurement_work.local_errors)


def whole(now: Session) -> Measured[Comparison]:
    """Accuracy, size and latency over the evaluation data."""

    def work(tested: ModelUnderTest, tell: ProgressFn) -> Comparison:
        found = _compared(now, tested, tell)
        step_figures.keep_whole(now, found)
        return found

    return _measured(WHOLE, now, work)


def _compared(now: Session, tested: ModelUnderTest, tell: ProgressFn) -> Comparison:
    return measurement_work.whole(tested, now.workspace.judged or tested.samples, tell)


def loss_by_part(now: Session) -> Measured[LossByPart]:
    """What weights and activations cost alone."""
    return _measured(LOSS_BY_PART, now, measurement_work.loss_by_part)


def await_whole(now: Session, who: str, tell: ProgressFn) -> Comparison:
    """As `whole`, for background work, which waits for it. Using the recipe finds it again.

    Args:
        now: The recipe, which need not be the shown one.
        who: Who waits.
        tell: Told that it waits; may raise `Cancelled`.

    Raises:
        DataError: It cannot be measured; the message says why.
    """

    def work(tested: ModelUnderTest, tell: ProgressFn) -> Comparison:
        found = _compared(now, tested, tell)
        step_figures.keep_whole_of(now, recipe_token(now.recipe), found)  # it may become a step
        return found

    subscriber, key = Subscriber(who, WHOLE.name), key_of(WHOLE, now)
    while True:
        job = cached.pool().request(subscriber, key, WHOLE.name, _in_background(WHOLE, now, work))
        if job is None:
            job = cached.pool().wait(key, 0.5)
        if job is not None and job.result is not None:
            return job.result
        if job is not None and job.error:
            raise DataError(job.error)
        report(tell, 0, 0, f"measuring on {judged_basis(now).words}")


def verified(now: Session) -> Measured[Verified]:
    """The exported bytes, loaded again and compared with the preview."""
    return _measured(VERIFIED, now, exporting.verify)


def with_detail(
    kind: Measurement[T], now: Session, detail: Hashable, work: Callable[[ModelUnderTest, ProgressFn], T]
) -> Measured[T]:
    """A figure of the shown recipe that depends on `detail`, too."""
    return _measured(kind, now, work, detail=detail)


def judged_basis(now: Session) -> Basis:
    """What figures of quality are measured over: accuracy, outputs, size and latency of the whole model."""
    judged = now.workspace.judged
    total = len(judged) if judged is not None else 0
    return Basis(samples=min(total, measurement_work.MOST_SAMPLES), total=total, data=_data(now))


def preview_basis(now: Session) -> Basis:
    """What the edit loop's figures are measured over: the first few of the same samples."""
    few, judged = now.workspace.preview, now.workspace.judged
    return Basis(
        samples=len(few) if few is not None else 0,
        total=len(judged) if judged is not None else 0,
        data=_data(now),
    )


def calibration_basis(now: Session) -> Basis:
    """What ranges come from."""
    statistics = now.workspace.statistics
    data = Data.RANDOM if statistics.synthetic else Data.CALIBRATION
    return Basis(samples=statistics.samples, total=statistics.samples, data=data)


def _data(now: Session) -> Data:
    if now.workspace.evaluation is not None:
        return Data.EVALUATION
    return calibration_basis(now).data


def preview_samples(now: Session) -> str:
    """The edit loop's samples in words."""
    return preview_basis(now).words


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The layer table with what has been measured so far."""

    rows: list[Row]
    costs: tuple[Cost, ...]  # of layers that cost the output anything, worst first
    ranked: bool  # whether that is the order of a whole ranking
    cliff: Cost | None  # where cumulative SQNR falls most, if it does


class Tables(Recent[Table]):
    """Tables of one model, by recipe and by what was measured: pages are drawn again and again."""

    def __init__(self) -> None:
        super().__init__(TABLES)


def rows(now: Session) -> tuple[list[Row], bool]:
    """The rows of the layer table, and whether more figures are on their way."""
    running = effect(now).running or local(now).running  # first: what arrives in between is drawn again
    return table(now).rows, running


def table(now: Session) -> Table:
    """The layer table with what has been measured so far; the rest is asked for."""
    whole = effect(now).value
    alone = local(now).value
    sweep = rankings.ranked(now)
    known = cached.of_project(now.project.id, Tables, now.model.hash)
    ranked_by = None if sweep is None else (sweep.kind, sweep.samples)  # another ranking may follow
    key = (key_of(EFFECT, now).token, whole is None, alone is None, ranked_by)
    return known.get_or_make(key, lambda: _table(now, whole, alone, sweep))


def _table(
    now: Session, whole: Preview | None, alone: Mapping[str, LayerError] | None, sweep: rankings.Sweep | None
) -> Table:
    cumulative = whole.layers if whole is not None else ()
    found = layer_rows(
        now.model,
        now.workspace.statistics,
        now.recipe,
        now.encodings,
        cumulative=cumulative,
        local=alone,
        masked=masked_tensors(now.workspace.statistics, now.model),
        cache=cached.of_project(now.project.id, RangeErrors, now.model.hash),
    )
    suspected = suspected_costs(
        now.model,
        found,
        cumulative,
        alone or {},
        over=preview_basis(now).words,
        calibrated_on=calibration_basis(now).words,
    )
    ranked = () if sweep is None else _ranked_costs(now, sweep)
    costs = ranked or suspected
    flags = {cost.layer: cost.words for cost in costs if cost.flagged}
    return Table(
        rows=flagged(found, flags, now.encodings, now.model),
        costs=costs,
        ranked=bool(ranked),
        cliff=next((cost for cost in suspected if cost.cliff), None),
    )


def masked_layers(now: Session) -> frozenset[str]:
    """Layers without figures of errors: values of a mask make up the energy of what they compute."""
    tensors = masked_tensors(now.workspace.statistics, now.model)
    sources = now.encodings.placement.sources
    found = (layer for layer in now.model.layers if {layer.output, sources.get(layer.output)} & tensors)
    return frozenset(layer.name for layer in found)


def _ranked_costs(now: Session, sweep: rankings.Sweep) -> tuple[Cost, ...]:
    metric = next(iter(metrics_of(sweep.runs)), Metric.SQNR)
    over = Basis(samples=sweep.samples, total=sweep.samples, data=_data(now)).words
    return ranked_costs(ranking(sweep.runs, sweep.kind, metric), sweep.kind, metric, over)


# --- what has been asked for ---


def ready(now: Session, kinds: tuple[Measurement[object], ...]) -> frozenset[str]:
    """Those kinds of figures that are there for the shown recipe."""
    return frozenset(kind.name for kind in kinds if cached.pool().peek(key_of(kind, now)) is not None)


def waiting(kinds: tuple[Measurement[object], ...]) -> bool:
    """Whether figures that this session asked for are on their way; shows that it still wants them."""
    on_their_way = [cached.pool().waits(_subscriber(kind)) for kind in kinds]
    return any(on_their_way)


def key_of(kind: Measurement[T], now: Session, detail: Hashable = None) -> ResultKey[T]:
    """What a figure depends on."""
    token = (now.model.hash, recipe_token(now.recipe), now.known is not None, detail)
    return ResultKey(now.project.id, kind, token)


def _after_effect(now: Session, tell: ProgressFn) -> None:
    """Wait for the figures that follow edits, where they are under way: beside others they take longer."""
    while cached.pool().asked(key_of(EFFECT, now)):
        cached.pool().wait(key_of(EFFECT, now), LOOK)
        report(tell, 0, 0, "waiting for the outputs")


def _subscriber(kind: Measurement[object]) -> Subscriber:
    return Subscriber(session_id(), kind.name)


def _measured(
    kind: Measurement[T],
    now: Session,
    work: Callable[[ModelUnderTest, ProgressFn], T],
    patience: float = 0.0,
    detail: Hashable = None,
) -> Measured[T]:
    """A figure of the shown recipe; it is measured in the background where it is not there."""
    if now.workspace.preview is None:
        return Measured(error=NO_DATA)
    pool, key = cached.pool(), key_of(kind, now, detail)
    job = pool.request(_subscriber(kind), key, kind.name, _in_background(kind, now, work))
    if job is None and patience:
        job = pool.wait(key, patience)
    if job is None:
        return Measured(running=True)
    return Measured(value=job.result, error=explained(job.error, now.model))


def _in_background(
    kind: Measurement[T], now: Session, work: Callable[[ModelUnderTest, ProgressFn], T]
) -> Callable[[ProgressFn], T]:
    """The work of a measurement with what it works on."""
    few = now.workspace.preview
    if few is None:
        raise DataError(NO_DATA)
    samples = few

    def tested(tell: ProgressFn) -> ModelUnderTest:
        return ModelUnderTest(
            references=cached.of_project(now.project.id, References),
            original=now.opened.model,
            model=now.model,
            encodings=exported_encodings(now, tell),
            samples=samples,
            masked=masked_layers(now),
        )

    def run(tell: ProgressFn) -> T:
        if kind.lane == AT_ONCE:  # follows edits; the others can wait
            return work(tested(tell), tell)
        _after_effect(now, tell)
        with cached.measuring_alone(tell):
            return work(tested(tell), tell)

    return run
