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
from quantscope.ui.session.jobs import Job, JobId, reason
from quantscope.ui.session.state import Session, recipe_token, session_id

TrialKey = tuple[str, str, str]  # token of the recipe without it, layer ("" where it acts on all), label


@dataclass(slots=True)
class RequestedTrial:
    """A trial that has been asked for and has not ended."""

    recipe: Recipe  # without the remedy
    remedy: Remedy
    sessions: set[str]  # that asked


@dataclass(slots=True, kw_only=True)
class RemedyTrials:
    """Trials of one project; written by its job, read by pages."""

    waiting: dict[TrialKey, RequestedTrial] = field(default_factory=dict)
    trials: dict[TrialKey, RemedyTrial] = field(default_factory=dict)
    refused: dict[TrialKey, str] = field(default_factory=dict)  # why one could not be measured
    plain: dict[str, RemedyEffect] = field(default_factory=dict)  # of recipes without remedies
    lock: threading.Lock = field(default_factory=threading.Lock)  # of `waiting`

    @property
    def done(self) -> int:
        """How many have ended, however they ended."""
        return len(self.trials) + len(self.refused)

    def first(self) -> tuple[TrialKey, RequestedTrial] | None:
        """What has waited longest, if anything waits."""
        with self.lock:
            return next(iter(self.waiting.items()), None)

    def give_up(self) -> None:
        """Nothing waits any more."""
        with self.lock:
            self.waiting.clear()


@dataclass(slots=True)
class TrialBench:
    """What the trials of one model need."""

    bench: TrialSetup | None = None


def trials_of(now: Session) -> RemedyTrials:
    """What has been measured in the project."""
    return cached.results_of_project(now.project.id, RemedyTrials, now.opened.model.hash)


def key(token: str, remedy: Remedy) -> TrialKey:
    """Under which a trial is kept: what changes the whole model is one trial for all layers."""
    return token, "" if remedy.fix else remedy.layer, remedy.label


def job(now: Session) -> Job[None] | None:
    """The newest job of the project."""
    return cached.registry().get(_id(now))


def request(now: Session, remedies: Iterable[Remedy]) -> None:
    """Measure remedies of the shown recipe, one after the other."""
    known, token, session = trials_of(now), recipe_token(now.recipe), session_id()
    for remedy in remedies:
        trial = key(token, remedy)
        if trial not in known.trials:
            known.refused.pop(trial, None)
            with known.lock:
                known.waiting.setdefault(trial, RequestedTrial(now.recipe, remedy, set())).sessions.add(
                    session
                )
    start_waiting(now)


def start_waiting(now: Session) -> None:
    """Start the job if something waits and none runs."""
    known, running = trials_of(now), job(now)
    if not known.waiting or (running is not None and running.active):
        return
    space, own = now.opened, cached.of_project(now.project.id, TrialBench, now.opened.model.hash)

    def work(tell: ProgressFn) -> None:
        try:
            with cached.measuring_alone(tell):
                if own.bench is None:
                    parts = split_parts(space.samples, space.evaluation, 1)
                    own.bench = prepare_trials(space.model, parts, space.statistics, progress=tell)
                _measure_all(known, own.bench, tell)
        except Cancelled:
            raise  # what other windows asked for still waits, and is started again
        except BaseException:
            known.give_up()  # with requests waiting, the page would start the failed job again at once
            raise

    cached.registry().restart(_id(now), "Measuring remedies", work)


def _measure_all(known: RemedyTrials, ready: TrialSetup, tell: ProgressFn) -> None:
    done = 0
    while (first := known.first()) is not None:
        trial, asked = first
        report(tell, done, done + len(known.waiting), asked.remedy.label)
        _measure(known, ready, trial, asked, tell)
        with known.lock:
            known.waiting.pop(trial, None)
        done += 1


def _measure(
    known: RemedyTrials, ready: TrialSetup, trial: TrialKey, asked: RequestedTrial, tell: ProgressFn
) -> None:
    job_progress = Progress(done=0, total=0, label=asked.remedy.label)

    def alive(_: Progress) -> None:
        tell(job_progress)  # where a cancel is noticed

    token = trial[0]
    try:
        if token not in known.plain:
            known.plain[token] = measure_effect(ready, asked.recipe, progress=alive)
        before = known.plain[token]
        known.trials[trial] = try_remedy(ready, asked.recipe, asked.remedy, before=before, progress=alive)
    except Cancelled:
        raise
    except Exception as error:
        known.refused[trial] = reason(error, f"remedy {asked.remedy.label}")


def cancel(now: Session) -> None:
    """Give up what this window asked for; what was measured stays, and what others wait for goes on.

    A window that was reloaded is another one: where it waits for nothing itself, all is given up.
    """
    known, session, running = trials_of(now), session_id(), job(now)
    with known.lock:
        measured = next(iter(known.waiting), None)
        own = {trial for trial, asked in known.waiting.items() if session in asked.sessions}
        for trial in own or set(known.waiting):
            known.waiting[trial].sessions.discard(session)
            if not known.waiting[trial].sessions or not own:
                del known.waiting[trial]
        stop = measured not in known.waiting
    if running is not None and stop:
        running.cancel()


def _id(now: Session) -> JobId[None]:
    return JobId(f"{now.project.id}:remedies")
