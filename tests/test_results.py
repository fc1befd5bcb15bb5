"""What took minutes to find: small, kept for many projects, and found anew when it is asked for again."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import onnx
import pytest

from quantscope.core.calibration import Statistics
from quantscope.core.data import Samples
from quantscope.core.model import Model
from quantscope.core.sensitivity import Kind
from quantscope.core.thresholds import Method
from quantscope.core.tuning import Remedy
from quantscope.core.tuning.causes import TrialSetup
from quantscope.core.tuning.mixed import Cost
from quantscope.ui.runs import (
    easyquant_layer,
    easyquant_model,
    mixed_precision,
    rankings,
    recipe_search,
    remedy_trials,
)
from quantscope.ui.session import cached, state
from quantscope.ui.session.cached import PROJECTS
from quantscope.ui.session.jobs import Job, State
from quantscope.ui.session.workspace import Workspace
from tests.pages import Tab, small
from tests.pages import home as home  # a fixture


@pytest.fixture
def tab() -> Tab:
    return Tab()


def reachable(thing: object, kinds: tuple[type, ...]) -> list[object]:
    """What a thing holds of some kinds, through whatever it refers to."""
    seen, left, found = {id(thing)}, [thing], []
    while left:
        one = left.pop()
        if isinstance(one, kinds):
            found.append(one)
        for other in gc.get_referents(one):
            if id(other) not in seen and not isinstance(other, type | ModuleType | FunctionType):
                seen.add(id(other))
                left.append(other)
    return found


def long_jobs(tab: Tab) -> dict[str, Job[Any]]:
    """Every long search and measurement of a project, each done."""
    now = tab.session()
    first = next(layer.name for layer in now.model.layers if layer.kind == "compute")
    remedy = Remedy(layer=first, label="MSE", changes={"method": Method.MSE}, gain_db=1.0)
    with tab:
        recipe_search.start_tune(now)
        recipe_search.start_default_trials(now)
        recipe_search.start_fix_trials(now)
        mixed_precision.start(now, Cost.SIZE, ("int8", "int16"))
        easyquant_layer.start_easy(now, first)
        easyquant_model.start_whole(now)
        rankings.start(now, Kind.ENABLE, 2)
        remedy_trials.request(now, [remedy])
    names = (
        "tune",
        "trials",
        "fixtrials",
        "mixed",
        f"easyquant:{first}",
        "easymodel",
        "sensitivity",
        "remedies",
    )
    found = {}
    for name in names:
        job = found[name] = cached.registry().get(f"{now.project.id}:{name}")
        assert job is not None
        assert job.wait(120)
        assert (job.state, job.error) == (State.DONE, "")
    return found


def test_what_took_minutes_is_there_after_a_look_at_other_projects(tmp_path: Path, tab: Tab) -> None:
    """It is small: nothing of it holds a model, samples or what was computed from them."""
    heavy = (Model, Samples, Statistics, Workspace, TrialSetup, onnx.ModelProto)
    first, *others = (small(tmp_path, number) for number in range(PROJECTS + 2))
    with tab:
        state.show(first)
    before = long_jobs(tab)
    now = tab.session()
    assert reachable(now, heavy)
    makers = (recipe_search.AutotuneRuns, rankings.Sweeps, remedy_trials.RemedyTrials)
    kept = [remedy_trials.trials_of(now), rankings.newest(now), recipe_search.autotune_run(first.id)]
    assert all(kept)
    for thing in (*before.values(), *kept):
        assert reachable(thing, heavy) == []
    for other in others:
        with tab:
            state.show(other)
        tab.session()
    assert cached.registry().get(first.id) is None
    for name, job in before.items():
        assert cached.registry().get(f"{first.id}:{name}") is job
    with tab:
        state.show(first)
    again = tab.session()
    assert again.model is not now.model
    assert [
        remedy_trials.trials_of(again),
        rankings.newest(again),
        recipe_search.autotune_run(first.id),
    ] == kept
    cached.forget(first.id)
    assert all(cached.registry().get(job.id) is None for job in before.values())
    assert recipe_search.autotune_run(first.id) is None
    assert not any(getattr(cached.results_of_project(first.id, make), "newest", None) for make in makers[:2])


def test_of_very_many_projects_no_results_are_kept() -> None:
    for number in range(cached.PROJECTS_WITH_RESULTS + 1):
        cached.use(f"p{number}")
        cached.results_of_project(f"p{number}", list).append(number)
        assert cached.registry().submit(f"p{number}:tune", "Auto-tune", lambda _tell: None).wait(5)
    cached.use("last")
    assert cached.results_of_project("p2", list) == [2]
    assert cached.registry().get("p2:tune") is not None
    assert [cached.registry().get(f"p{n}:tune") for n in (0, 1)] == [None, None]


@pytest.mark.parametrize("stopped", ["tune", "sensitivity"])
def test_what_is_started_while_the_run_before_it_stops_is_started(
    tmp_path: Path, tab: Tab, stopped: str
) -> None:
    with tab:
        state.show(small(tmp_path, 0))
    now, go = tab.session(), threading.Event()
    id = f"{now.project.id}:{stopped}"
    before = cached.registry().submit(id, "x", lambda _tell: go.wait(20))

    def begin() -> Job[Any] | None:
        with tab:
            if stopped == "tune":
                recipe_search.start_tune(now)
            else:
                rankings.start(now, Kind.ENABLE, 2)
        return cached.registry().get(id)

    assert begin() is before  # another window was faster
    before.cancel()
    after = begin()
    assert after is not None
    assert after is not before
    go.set()
    assert after.wait(60)
    assert after.result is not None
    kept = recipe_search.autotune_run(now.project.id) if stopped == "tune" else rankings.newest(now)
    assert kept is not None
    assert after.result is (kept[1].result if isinstance(kept, tuple) else kept)
