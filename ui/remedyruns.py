"""Remedies measured in the background, on samples that were used for nothing else; results are kept."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from core.causes.trials import Bench, Effect, RemedyTrial, bench, effect, split_parts, tried
from core.errors import QuantScopeError
from core.progress import Progress, ProgressFn, report
from core.recipe import Recipe
from core.remedies import Remedy
from ui import cached
from ui.jobs import Job
from ui.state import Session, recipe_token

Key = tuple[str, str, str]  # token of the recipe without it, layer ("" where it acts on all), label


@dataclass(slots=True, kw_only=True)
class Board:
    """Trials of one project; written by its job, read by pages."""

    waiting: dict[Key, tuple[Recipe, Remedy]] = field(default_factory=dict)
    trials: dict[Key, RemedyTrial] = field(default_factory=dict)
    refused: dict[Key, str] = field(default_factory=dict)  # why one could not be measured
    plain: dict[str, Effect] = field(default_factory=dict)  # of recipes without remedies
    bench: Bench | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)  # of `waiting`

    @property
    def done(self) -> int:
        """How many have ended, however they ended."""
        return len(self.trials) + len(self.refused)

    def first(self) -> tuple[Key, tuple[Recipe, Remedy]] | None:
        """What has waited longest, if anything waits."""
        with self.lock:
            return next(iter(self.waiting.items()), None)


def board(now: Session) -> Board:
    """What has been measured in the project."""
    return cached.kept(now.project.id, Board, now.opened.model.hash)


def key(token: str, remedy: Remedy) -> Key:
    """Under which a trial is kept: what changes the whole model is one trial for all layers."""
    return token, "" if remedy.fix else remedy.layer, remedy.label


def job(now: Session) -> Job[None] | None:
    """The newest job of the project."""
    return cached.registry().get(_id(now))


def want(now: Session, remedies: Iterable[Remedy]) -> None:
    """Measure remedies of the shown recipe, one after the other."""
    found, token = board(now), recipe_token(now.recipe)
    for remedy in remedies:
        place = key(token, remedy)
        if place not in found.trials:
            found.refused.pop(place, None)
            with found.lock:
                found.waiting.setdefault(place, (now.recipe, remedy))
    pump(now)


def pump(now: Session) -> None:
    """Start the job if something waits and none runs."""
    found, running = board(now), job(now)
    if not found.waiting or (running is not None and running.active):
        return
    space = now.opened

    def work(tell: ProgressFn) -> None:
        with cached.turn(tell):
            if found.bench is None:
                parts = split_parts(space.samples, space.evaluation, 1)
                found.bench = bench(space.model, parts, space.statistics, progress=tell)
            done = 0
            while (first := found.first()) is not None:
                place, (recipe, remedy) = first
                report(tell, done, done + len(found.waiting), remedy.label)
                _measure(found, found.bench, place, recipe, remedy, tell)
                with found.lock:
                    found.waiting.pop(place, None)
                done += 1

    cached.registry().restart(_id(now), "Measuring remedies", work)


def _measure(
    found: Board, ready: Bench, place: Key, recipe: Recipe, remedy: Remedy, tell: ProgressFn
) -> None:
    job_progress = Progress(done=0, total=0, label=remedy.label)

    def alive(_: Progress) -> None:
        tell(job_progress)  # where a cancel is noticed

    token = place[0]
    try:
        if token not in found.plain:
            found.plain[token] = effect(ready, recipe, progress=alive)
        found.trials[place] = tried(ready, recipe, remedy, before=found.plain[token], progress=alive)
    except QuantScopeError as error:
        found.refused[place] = str(error)


def cancel(now: Session) -> None:
    """Stop; what was measured stays."""
    found = board(now)
    with found.lock:
        found.waiting.clear()
    running = job(now)
    if running is not None:
        running.cancel()


def _id(now: Session) -> str:
    return f"{now.project.id}:remedies"
