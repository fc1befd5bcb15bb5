"""Runs that look for a better recipe in the background: one default for all, auto-tune, each fix alone."""

import threading
from dataclasses import dataclass, field, fields

from quantscope.core.errors import QuantScopeError
from quantscope.core.evaluate import Comparison
from quantscope.core.progress import ProgressFn
from quantscope.core.recipe import Choice, Recipe
from quantscope.core.tuning import (
    AutotuneResult,
    AutotuneStep,
    FixTrial,
    MeasuredDefault,
    autotune,
    measured_default,
    try_fixes,
)
from quantscope.ui.runs import measured
from quantscope.ui.runs.recipe_session import with_recipe
from quantscope.ui.session import cached
from quantscope.ui.session.jobs import Job, JobId
from quantscope.ui.session.state import Session, recipe_token


@dataclass(slots=True, kw_only=True)
class AutotuneRun:
    """Auto-tune while it runs; written by its job, read by pages."""

    token: str  # of the recipe that it began with
    steps: list[AutotuneStep] = field(default_factory=list)
    result: AutotuneResult | None = None
    before: Comparison | None = None  # the recipe that it began with, measured as a whole
    after: Comparison | None = None  # the result, on the same samples
    unmeasured: str = ""  # why there is no `after`


@dataclass(slots=True)
class AutotuneRuns:
    """Auto-tune of one project."""

    newest: AutotuneRun | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)  # while one is started


@dataclass(frozen=True, slots=True, kw_only=True)
class FixTrials:
    """What each model fix does to one recipe."""

    token: str  # of the recipe
    trials: tuple[FixTrial, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultTrials:
    """Every method as the default of one recipe."""

    tokens: frozenset[str]  # of the recipe, and of it with what was tried
    found: MeasuredDefault


def with_default(recipe: Recipe, choice: Choice) -> Recipe:
    """The recipe with a default that was tried."""
    return recipe.with_default(**{entry.name: getattr(choice, entry.name) for entry in fields(choice)})


def default_trials(id: str) -> Job[DefaultTrials] | None:
    """The job that tries every method as the default of project `id`, if it was started."""
    return cached.registry().get(_defaults_id(id))


def start_default_trials(now: Session) -> None:
    """Try every method as the default of the shown recipe."""
    space, recipe = now.workspace, now.recipe
    samples = space.samples
    if samples is None:
        return

    def work(tell: ProgressFn) -> DefaultTrials:
        found = measured_default(space.model, space.statistics, samples, recipe, progress=tell)
        tried = (with_default(recipe, trial.choice) for trial in found.trials)
        return DefaultTrials(tokens=frozenset(map(recipe_token, (recipe, *tried))), found=found)

    cached.registry().restart(_defaults_id(now.project.id), "Trying every method", work)


def autotune_run(id: str) -> tuple[Job[AutotuneResult], AutotuneRun] | None:
    """Auto-tune of project `id`, if it was started."""
    job = cached.registry().get(_autotune_id(id))
    found = cached.results_of_project(id, AutotuneRuns).newest
    return (job, found) if job is not None and found is not None else None


def start_tune(now: Session) -> None:
    """Tune from the shown recipe; what layers were set to stays."""
    space, recipe = now.opened, now.recipe
    samples = space.samples
    if samples is None:
        return
    growing = AutotuneRun(token=recipe_token(recipe))

    def work(tell: ProgressFn) -> AutotuneResult:
        found = autotune(
            space.model,
            samples,
            recipe,
            statistics=space.statistics,
            partial=True,
            watch=growing.steps.append,
            progress=tell,
        )
        growing.result = found
        _measure_as_whole(now, growing, found, tell)
        return found

    id, runs = _autotune_id(now.project.id), cached.results_of_project(now.project.id, AutotuneRuns)
    with runs.lock:
        running = cached.registry().get(id)
        if running is not None and running.active and not running.stop.is_set():
            return  # another window started it just before
        runs.newest = growing
        cached.registry().restart(id, "Auto-tune", work)


def _measure_as_whole(now: Session, growing: AutotuneRun, found: AutotuneResult, tell: ProgressFn) -> None:
    """What the result does to all that the cards show, on the samples that they are measured on."""
    try:
        growing.before = measured.await_whole(now, f"{now.project.id}:tune", tell)
        tuned = with_recipe(now, found.recipe, tell)
        growing.after = measured.await_whole(tuned, f"{now.project.id}:tune", tell)
    except QuantScopeError as error:
        growing.unmeasured = str(error)


def fix_trials(id: str) -> Job[FixTrials] | None:
    """The job that tries each fix alone in project `id`, if it was started."""
    return cached.registry().get(_fixes_id(id))


def start_fix_trials(now: Session) -> None:
    """Measure the shown recipe with each fix added, or taken out."""
    space, recipe = now.opened, now.recipe
    samples = space.samples
    if samples is None:
        return

    def work(tell: ProgressFn) -> FixTrials:
        found = try_fixes(space.model, samples, recipe, progress=tell)
        return FixTrials(token=recipe_token(recipe), trials=found)

    cached.registry().restart(_fixes_id(now.project.id), "Trying each fix", work)


def used(recipe: Recipe, found: AutotuneResult) -> bool:
    """Whether the recipe is what auto-tune found."""
    return recipe_token(recipe) == recipe_token(found.recipe)


def _defaults_id(project: str) -> JobId[DefaultTrials]:
    return JobId(f"{project}:trials")


def _autotune_id(project: str) -> JobId[AutotuneResult]:
    return JobId(f"{project}:tune")


def _fixes_id(project: str) -> JobId[FixTrials]:
    return JobId(f"{project}:fixtrials")
