"""Sensitivity runs in the background: shown as they finish, kept on cancel, not repeated after an edit."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from quantscope.core.data import Samples
from quantscope.core.progress import Cancelled, Progress, ProgressFn
from quantscope.core.quantize import Encodings
from quantscope.core.sensitivity import (
    SAMPLES,
    Kind,
    Metric,
    RankingRow,
    Run,
    metrics_of,
    plan_runs,
    ranking,
    run_sensitivity,
)
from quantscope.core.tuning.causes import Cause, diagnose, most_to_rank_on, split_parts
from quantscope.ui.content.rows import RangeErrors, layer_rows
from quantscope.ui.runs.exported_encodings import exported_encodings
from quantscope.ui.session import cached
from quantscope.ui.session.jobs import Job, JobId
from quantscope.ui.session.state import Session, recipe_token

DIAGNOSED = 3  # layers, for each metric, where none is flagged
MOST_DIAGNOSED = 12  # flagged ones
KEPT = 20_000  # runs
WHOLE_MODEL = (Kind.ALL, Kind.WEIGHTS, Kind.ACTIVATIONS)  # the whole model: three runs a sample
LAYERS = (Kind.ENABLE, Kind.DISABLE)  # whose rows are layers


@dataclass(slots=True, kw_only=True)
class Sweep:
    """One ranking while it grows; written by its job, read by pages."""

    token: str  # of the recipe
    kind: Kind
    samples: int
    subjects: int
    runs: list[Run] = field(default_factory=list)
    repeated: int = 0  # runs that an earlier sweep had done
    causes: dict[str, tuple[Cause, ...]] = field(default_factory=dict)  # of the layers on top

    @property
    def total(self) -> int:
        """Runs in all."""
        return self.samples * self.subjects

    @property
    def complete(self) -> bool:
        """Whether everything has been run."""
        return len(self.runs) == self.total


@dataclass(slots=True, kw_only=True)
class Sweeps:
    """Rankings of one model, and the runs that they were made of."""

    by_kind: dict[Kind, Sweep] = field(default_factory=dict)
    newest: Sweep | None = None
    runs: dict[str, Run] = field(default_factory=dict)  # by key; written by one job at a time
    pace: float | None = None  # seconds that a run took the last time
    lock: threading.Lock = field(default_factory=threading.Lock)  # while one is started


def job(now: Session) -> Job[Sweep] | None:
    """The newest job of the project."""
    return cached.registry().get(_id(now))


def sweep(now: Session, kind: Kind) -> Sweep | None:
    """What has been run of a kind, with this or an earlier recipe."""
    return _sweeps(now).by_kind.get(kind)


def ranked(now: Session) -> Sweep | None:
    """A whole ranking of the shown recipe's layers, if there is one."""
    token = recipe_token(now.recipe)
    known = (sweep(now, kind) for kind in LAYERS)
    return next((s for s in known if s is not None and s.token == token and s.runs and s.complete), None)


def newest(now: Session) -> Sweep | None:
    """What was started last."""
    return _sweeps(now).newest


def most_samples(now: Session) -> int:
    """Samples that a ranking may use; the others judge remedies."""
    space = now.opened
    counts = (0 if part is None else len(part) for part in (space.samples, space.evaluation))
    return most_to_rank_on(*counts) or (len(space.judged) if space.judged is not None else 0)


def subjects(now: Session, kind: Kind) -> int:
    """Runs that a ranking makes for each sample."""
    return len(plan_runs(now.model, now.encodings, (*WHOLE_MODEL, kind)).subjects)


def pace(now: Session) -> float | None:
    """Seconds that a run took the last time; None before the first."""
    return _sweeps(now).pace


def start(now: Session, kind: Kind, count: int = SAMPLES) -> None:
    """Run a ranking of the shown recipe, on samples that will not judge its remedies."""
    space = now.opened
    if space.judged is None:
        return
    model, sweeps = now.model, _sweeps(now)
    kinds = (*WHOLE_MODEL, kind)
    growing = Sweep(
        token=recipe_token(now.recipe),
        kind=kind,
        samples=min(count, most_samples(now)),
        subjects=subjects(now, kind),
    )
    order, known = _likely(now), sweeps.runs

    def work(tell: ProgressFn) -> Sweep:
        with cached.measuring_alone(tell):
            done = tuple(known.values())
            exported = exported_encodings(now, tell)
            tell(Progress(done=0, total=0, label="reading the data"))
            few = split_parts(space.samples, space.evaluation, growing.samples).ranking
            began = time.monotonic()
            try:
                for run in run_sensitivity(
                    model, exported, few, kinds=kinds, order=order, count=count, done=done, progress=tell
                ):
                    growing.repeated += run.key in known
                    known[run.key] = run
                    growing.runs.append(run)
                    fresh = len(growing.runs) - growing.repeated
                    if fresh >= growing.subjects:  # the first ones also measure the preparation
                        sweeps.pace = (time.monotonic() - began) / fresh
            except Cancelled:
                if sweeps.newest is growing:  # a newer ranking looks for causes itself
                    _explain_later(now, growing, exported, few)
                raise
            finally:
                for key in list(known)[: max(0, len(known) - KEPT)]:
                    del known[key]
            _explain(now, growing, exported, few, tell)
        return growing

    with sweeps.lock:
        running = job(now)
        if running is not None and running.active and not running.stop.is_set():
            return  # another window started it just before
        sweeps.by_kind[kind] = sweeps.newest = growing
        explained = causes_job(now)
        if explained is not None:
            explained.cancel()
        cached.registry().restart(_id(now), "Sensitivity", work)


def causes_job(now: Session) -> Job[None] | None:
    """The job that looks for causes after a cancelled run."""
    return cached.registry().get(_causes_id(now))


def _explain_later(now: Session, growing: Sweep, encodings: Encodings, few: Samples) -> None:
    """Causes of what was ranked by then, in a job of its own: the cancelled one ends at once."""

    def work(tell: ProgressFn) -> None:
        with cached.measuring_alone(tell):
            _explain(now, growing, encodings, few, tell)

    if growing.kind in LAYERS and growing.runs:
        cached.registry().restart(_causes_id(now), "Looking for causes", work)


def _explain(now: Session, growing: Sweep, encodings: Encodings, few: Samples, tell: ProgressFn) -> None:
    """Causes of the layers that any metric puts on top."""
    if growing.kind not in LAYERS:
        return
    found = metrics_of(growing.runs)
    names = [s.name for m in found for s in top(ranking(growing.runs, growing.kind, m))]
    growing.causes = diagnose(
        now.model,
        now.workspace.statistics,
        now.recipe,
        encodings,
        few,
        list(dict.fromkeys(names)),
        progress=tell,
    )


def top(scores: Sequence[RankingRow]) -> list[RankingRow]:
    """The flagged layers, worst first; where none stands out, those that matter most.

    A value that more than half of the layers share, such as no changed class, singles out none of them.
    """
    if flagged := [score for score in scores if score.flagged]:
        return flagged[:MOST_DIAGNOSED]
    values = [score.value for score in scores]
    apart = [score for score in scores if 2 * values.count(score.value) <= len(values)]
    return (apart or list(scores[:1]))[:DIAGNOSED]


def runs_left(now: Session, kind: Kind, count: int) -> int:
    """How many runs a ranking would make: those of the shown recipe that are known are not repeated."""
    total, found = subjects(now, kind) * count, sweep(now, kind)
    if found is None or found.token != recipe_token(now.recipe):
        return total
    return total - sum(run.sample < count for run in found.runs)


def metrics(now: Session, found: Sweep | None) -> tuple[Metric, ...]:
    """What can be ranked by; before the first run, what the data suggest."""
    if found is not None and found.runs:
        return metrics_of(list(found.runs))
    samples = now.workspace.judged
    labelled = samples is not None and samples.labels is not None
    return tuple(m for m in Metric if m is not Metric.TOP1 or labelled)


def _likely(now: Session) -> list[str]:
    """Layers, those first whose ranges the histograms say are bad."""
    found = layer_rows(
        now.model,
        now.workspace.statistics,
        now.recipe,
        now.encodings,
        cache=cached.of_project(now.project.id, RangeErrors, now.model.hash),
    )
    judged = [(row.tensor_sqnr, row.name) for row in found if row.tensor_sqnr is not None]
    return [name for _, name in sorted(judged)]


def _sweeps(now: Session) -> Sweeps:
    return cached.results_of_project(now.project.id, Sweeps, now.model.hash)


def _id(now: Session) -> JobId[Sweep]:
    return JobId(f"{now.project.id}:sensitivity")


def _causes_id(now: Session) -> JobId[None]:
    return JobId(f"{_id(now)}:causes")
