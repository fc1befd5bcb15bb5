"""Remedies measured in the background, on samples that were used for nothing else; results are kept."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from quantscope.core.progress import Cancelled, Progress, ProgressFn, report
from quantscope.core.recipe import Recipe
from quantscope.core.tuning import Remedy
from quantscope.core.tuning.causes import (
    RemedyEffect,
    RemedyTrial,
    TrialSetup,
    measure_effect,
    prepare_trials,
    split_parts,
    try_remedy,
)
from quantscope.ui.session import cached
from quantscope.ui.session.jobs import Job, reason
from quantscope.ui.session.state import Session, recipe_token, session_id

Key = tuple[str, str, str]  # token of the recipe without it, layer ("" where it acts on all), label


@dataclass(slots=True)
class Waiting:
    """A trial that has been asked for and has not ended."""

    recipe: Recipe  # without the remedy
    remedy: Remedy
    sessions: set[str]  # that asked


@dataclass(slots=True, kw_only=True)
class Board:
    """Trials of one project; written by its job, read by pages."""

    waiting: dict[Key, Waiting] = field(default_factory=dict)
    trials: dict[Key, RemedyTrial] = field(default_factory=dict)
    refused: dict[Key, str] = field(default_factory=dict)  # why one could not be measured
    plain: dict[str, RemedyEffect] = field(default_factory=dict)  # of recipes without remedies
    lock: threading.Lock = field(default_factory=threading.Lock)  # of `waiting`

    @property
    def done(self) -> int:
        """How many have ended, however they ended."""
        return len(self.trials) + len(self.refused)

    def first(self) -> tuple[Key, Waiting] | None:
        """What has waited longest, if anything waits."""
        with self.lock:
            return next(iter(self.waiting.items()), None)

    def give_up(self) -> None:
        """Nothing waits any more."""
        with self.lock:
            self.waiting.clear()


@dataclass(slots=True)
class Benches:
    """What the trials of one model need."""

    bench: TrialSetup | None = None


def board(now: Session) -> Board:
    """What has been measured in the project."""
    return cached.results(now.project.id, Board, now.opened.model.hash)


def key(token: str, remedy: Remedy) -> Key:
    """Under which a trial is kept: what changes the whole model is one trial for all layers."""
    return token, "" if remedy.fix else remedy.layer, remedy.label


def job(now: Session) -> Job[None] | None:
    """The newest job of the project."""
    return cached.registry().get(_id(now))


def want(now: Session, remedies: Iterable[Remedy]) -> None:
    """Measure remedies of the shown recipe, one after the other."""
    found, token, session = board(now), recipe_token(now.recipe), session_id()
    for remedy in remedies:
        place = key(token, remedy)
        if place not in found.trials:
            found.refused.pop(place, None)
            with found.lock:
                found.waiting.setdefault(place, Waiting(now.recipe, remedy, set())).sessions.add(session)
    pump(now)


def pump(now: Session) -> None:
    """Start the job if something waits and none runs."""
    found, running = board(now), job(now)
    if not found.waiting or (running is not None and running.active):
        return
    space, benches = now.opened, cached.kept(now.project.id, Benches, now.opened.model.hash)

    def work(tell: ProgressFn) -> None:
        try:
            with cached.turn(tell):
                if benches.bench is None:
                    parts = split_parts(space.samples, space.evaluation, 1)
                    benches.bench = prepare_trials(space.model, parts, space.statistics, progress=tell)
                _measure_all(found, benches.bench, tell)
        except Cancelled:
            raise  # what others wait for goes on
        except BaseException:
            found.give_up()  # else the page starts it again as soon as it has shown why
            raise

    cached.registry().restart(_id(now), "Measuring remedies", work)


def _measure_all(found: Board, ready: TrialSetup, tell: ProgressFn) -> None:
    done = 0
    while (first := found.first()) is not None:
        place, asked = first
        report(tell, done, done + len(found.waiting), asked.remedy.label)
        _measure(found, ready, place, asked, tell)
        with found.lock:
            found.waiting.pop(place, None)
        done += 1


def _measure(found: Board, ready: TrialSetup, place: Key, asked: Waiting, tell: ProgressFn) -> None:
    job_progress = Progress(done=0, total=0, label=asked.remedy.label)

    def alive(_: Progress) -> None:
        tell(job_progress)  # where a cancel is noticed

    token = place[0]
    try:
        if token not in found.plain:
            found.plain[token] = measure_effect(ready, asked.recipe, progress=alive)
        before = found.plain[token]
        found.trials[place] = try_remedy(ready, asked.recipe, asked.remedy, before=before, progress=alive)
    except Cancelled:
        raise
    except Exception as error:
        found.refused[place] = reason(error, f"remedy {asked.remedy.label}")


def cancel(now: Session) -> None:
    """Give up what this window asked for; what was measured stays, and what others wait for goes on.

    A window that was reloaded is another one: where it waits for nothing itself, all is given up.
    """
    found, session, running = board(now), session_id(), job(now)
    with found.lock:
        measured = next(iter(found.waiting), None)
        own = {place for place, asked in found.waiting.items() if session in asked.sessions}
        for place in own or set(found.waiting):
            found.waiting[place].sessions.discard(session)
            if not found.waiting[place].sessions or not own:
                del found.waiting[place]
        stop = measured not in found.waiting
    if running is not None and stop:
        running.cancel()


def _id(now: Session) -> str:
    return f"{now.project.id}:remedies"
