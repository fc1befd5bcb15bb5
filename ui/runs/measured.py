"""Figures of the shown recipe: those that are there, and the rest measured in the background."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from quantscope.core.evaluate import Comparison, LayerError, Preview
from quantscope.core.memo import Recent
from quantscope.core.progress import ProgressFn
from quantscope.core.thresholds import RangeError
from quantscope.ui.content import text
from quantscope.ui.content.failing_layer import explained
from quantscope.ui.content.rows import Row, layer_rows
from quantscope.ui.runs import exporting, measurement_work, step_figures
from quantscope.ui.runs.exported_encodings import exported_encodings
from quantscope.ui.runs.exporting import Verified
from quantscope.ui.runs.measurement_work import LossByPart, ModelUnderTest, References
from quantscope.ui.session import cached
from quantscope.ui.session.cached import AT_ONCE, IN_TURN
from quantscope.ui.session.pool import Measurement, ResultKey, Subscriber
from quantscope.ui.session.state import Session, recipe_token, session_id

EFFECT: Measurement[Preview] = Measurement(name="effect", lane=AT_ONCE)
LOCAL: Measurement[dict[str, LayerError]] = Measurement(name="local", lane=IN_TURN)
WHOLE: Measurement[Comparison] = Measurement(name="whole", lane=IN_TURN)
LOSS_BY_PART: Measurement[LossByPart] = Measurement(name="loss by part", lane=IN_TURN)
VERIFIED: Measurement[Verified] = Measurement(name="verified", lane=IN_TURN, keep=2)  # each holds a file
RANGE_ERRORS = 20_000  # a few for every layer and range that was tried
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
        found = measurement_work.whole(tested, now.workspace.judged or tested.samples, tell)
        step_figures.keep_whole(now, found)
        return found

    return _measured(WHOLE, now, work)


def loss_by_part(now: Session) -> Measured[LossByPart]:
    """What weights and activations cost alone."""
    return _measured(LOSS_BY_PART, now, measurement_work.loss_by_part)


def verified(now: Session) -> Measured[Verified]:
    """The exported bytes, loaded again and compared with the preview."""
    return _measured(VERIFIED, now, exporting.verify)


def preview_samples(now: Session) -> str:
    """How many samples the edit loop's figures come from, in words."""
    few = now.workspace.preview
    return text.plural(len(few) if few is not None else 0, "sample")


class RangeErrors(Recent[RangeError]):
    """Errors read off histograms."""

    def __init__(self) -> None:
        super().__init__(RANGE_ERRORS)


def rows(now: Session, *, with_local: bool = True) -> tuple[list[Row], bool]:
    """The layer table with what has been measured so far, and whether more is on its way."""
    outcome = effect(now)
    alone: Measured[dict[str, LayerError]] = local(now) if with_local else Measured()
    found = layer_rows(
        now.model,
        now.workspace.statistics,
        now.recipe,
        now.encodings,
        cumulative=outcome.value.layers if outcome.value is not None else (),
        local=alone.value,
        cache=cached.of_project(now.project.id, RangeErrors, now.model.hash),
    )
    return found, outcome.running or alone.running


# --- what has been asked for ---


def ready(now: Session, kinds: tuple[Measurement[object], ...]) -> frozenset[str]:
    """Those kinds of figures that are there for the shown recipe."""
    return frozenset(kind.name for kind in kinds if cached.pool().peek(key_of(kind, now)) is not None)


def waiting(kinds: tuple[Measurement[object], ...]) -> bool:
    """Whether figures that this session asked for are on their way; shows that it still wants them."""
    on_their_way = [cached.pool().waits(_subscriber(kind)) for kind in kinds]
    return any(on_their_way)


def key_of(kind: Measurement[T], now: Session) -> ResultKey[T]:
    """What a figure depends on."""
    return ResultKey(now.project.id, kind, (now.model.hash, recipe_token(now.recipe), now.known is not None))


def _subscriber(kind: Measurement[object]) -> Subscriber:
    return Subscriber(session_id(), kind.name)


def _measured(
    kind: Measurement[T], now: Session, work: Callable[[ModelUnderTest, ProgressFn], T], patience: float = 0.0
) -> Measured[T]:
    """A figure of the shown recipe; it is measured in the background where it is not there."""
    few = now.workspace.preview
    if few is None:
        return Measured(error="there are no data to measure on; give calibration data on the Open page")

    def tested(tell: ProgressFn) -> ModelUnderTest:
        return ModelUnderTest(
            references=cached.of_project(now.project.id, References),
            original=now.opened.model,
            model=now.model,
            encodings=exported_encodings(now, tell),
            samples=few,
        )

    def run(tell: ProgressFn) -> T:
        if kind.lane == AT_ONCE:  # follows edits; the others can wait
            return work(tested(tell), tell)
        with cached.measuring_alone(tell):
            return work(tested(tell), tell)

    pool, key = cached.pool(), key_of(kind, now)
    job = pool.request(_subscriber(kind), key, kind.name, run)
    if job is None and patience:
        job = pool.wait(key, patience)
    if job is None:
        return Measured(running=True)
    return Measured(value=job.result, error=explained(job.error, now.model))
