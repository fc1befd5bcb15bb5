"""Sensitivity runs in the background: shown as they finish, kept on cancel, not repeated after an edit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.causes import Cause, diagnose
from core.evaluate import LayerError
from core.model import Model
from core.progress import Progress, ProgressFn
from core.samples import Samples
from core.sensitivity import SAMPLES, Kind, Run, plan, stream
from core.sensitivity.ranking import Metric, Score, metrics_of, ranking
from core.sensitivity.turning import Turn, first_bad
from ui import cached
from ui.jobs import Job
from ui.state import Session, final, recipe_token, rows

DIAGNOSED = 3  # layers, for each metric
KEPT = 20_000  # runs
HALVES = (Kind.ALL, Kind.WEIGHTS, Kind.ACTIVATIONS)  # the whole model: three runs a sample
RANKINGS = (Kind.ENABLE, Kind.DISABLE, Kind.OP_TYPE)
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


def job(now: Session) -> Job | None:
    """The newest job of the project."""
    return cached.registry().get(_id(now))


def sweep(now: Session, kind: Kind) -> Sweep | None:
    """What has been run of a kind, with this or an earlier recipe."""
    found: Sweep | None = _place(now).get(kind)
    return found


def newest(now: Session) -> Sweep | None:
    """What was started last."""
    kind = _place(now).get("newest")
    return None if kind is None else sweep(now, kind)


def start(now: Session, kind: Kind, count: int = SAMPLES) -> None:
    """Run a ranking of the shown recipe, on the data that quality is judged on."""
    samples = now.workspace.judged
    running = job(now)
    if samples is None or (running is not None and running.active):
        return
    model, encodings, place = now.model, now.encodings, _place(now)
    few = samples.take(count)
    kinds = (*HALVES, kind)
    growing = Sweep(
        token=recipe_token(now.recipe),
        kind=kind,
        samples=len(few),
        subjects=len(plan(model, encodings, kinds).subjects),
    )
    order = _likely(now)
    known: dict[str, Run] = place.setdefault("runs", {})

    def work(tell: ProgressFn) -> Sweep:
        turn = cached.turn()
        while not turn.acquire(timeout=0.2):
            tell(Progress(done=0, total=0, label="waiting for another measurement"))
        try:
            done = tuple(known.values())
            exported = final(now, tell)
            for run in stream(
                model, exported, few, kinds=kinds, order=order, count=count, done=done, progress=tell
            ):
                growing.repeated += run.key in known
                known[run.key] = run
                growing.runs.append(run)
            _explain(now, growing, few, tell)
        finally:
            turn.release()
            for key in list(known)[: max(0, len(known) - KEPT)]:
                del known[key]
        return growing

    place[kind], place["newest"] = growing, kind
    cached.registry().forget(_id(now))
    cached.registry().submit(_id(now), "Sensitivity", work)


def _explain(now: Session, growing: Sweep, few: Samples, tell: ProgressFn) -> None:
    """Causes of the layers that any metric puts on top."""
    if growing.kind not in LAYERS:
        return
    found = metrics_of(growing.runs)
    names = [s.name for m in found for s in top(ranking(growing.runs, growing.kind, m))]
    growing.causes = diagnose(
        now.model,
        now.workspace.statistics,
        now.recipe,
        now.encodings,
        few,
        list(dict.fromkeys(names)),
        progress=tell,
    )


def top(scores: Sequence[Score]) -> list[Score]:
    """The flagged layers, worst first; where none stands out, those that matter most."""
    flagged = [score for score in scores if score.flagged]
    return (flagged or list(scores))[:DIAGNOSED]


def metrics(now: Session, found: Sweep | None) -> tuple[Metric, ...]:
    """What can be ranked by; before the first run, what the data suggest."""
    if found is not None and found.runs:
        return metrics_of(list(found.runs))
    samples = now.workspace.judged
    labelled = samples is not None and samples.labels is not None
    return tuple(m for m in Metric if m is not Metric.TOP1 or labelled)


def turn(model: Model, whole: Sequence[LayerError], alone: Mapping[str, LayerError]) -> Turn | None:
    """The first layer that turns bad, from errors measured in two ways."""
    return first_bad(
        model, [replace(e, local=alone[e.layer].local if e.layer in alone else None) for e in whole]
    )


def _likely(now: Session) -> list[str]:
    """Layers, those first whose ranges the histograms say are bad."""
    found, _ = rows(now, with_local=False)
    judged = [(row.tensor_sqnr, row.name) for row in found if row.tensor_sqnr is not None]
    return [name for _, name in sorted(judged)]


def _place(now: Session) -> dict[Any, Any]:
    place: dict[Any, Any] = cached.keep(("sensitivity", now.project.id, now.model.hash))
    return place


def _id(now: Session) -> str:
    return f"{now.project.id}:sensitivity"
