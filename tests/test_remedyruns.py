"""Remedies in the background: what fails is said once, and no window takes another's trials away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from quantscope.core.errors import DataError
from quantscope.core.progress import Progress
from quantscope.core.thresholds import Method
from quantscope.core.tuning import Remedy
from quantscope.core.tuning.causes import RemedyEffect, RemedyTrial
from quantscope.ui.runs import remedy_trials
from quantscope.ui.session import cached, opening, state
from quantscope.ui.session.jobs import Job, State
from quantscope.ui.views import common, remedies
from tests.pages import Tab
from tests.pages import home as home  # a fixture


def remedy(layer: str, method: Method = Method.MSE) -> Remedy:
    return Remedy(layer=layer, label=f"{layer} with {method}", changes={"method": method}, gain_db=1.0)


@pytest.fixture
def tabs() -> tuple[Tab, Tab]:
    project = opening.open_sample("digits_mlp")
    return Tab(project), Tab(project)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Trials that take until they are let go, and then win nothing."""
    go = threading.Event()

    def tried(*_args: Any, progress: Any, **_kwargs: Any) -> RemedyTrial:
        while not go.wait(0.01):
            progress(Progress(done=0, total=0))
        effect = RemedyEffect(sqnr_db=1.0, agreement=None, top1=None)
        return RemedyTrial(before=effect, after=effect, rows=1, unseen=True)

    monkeypatch.setattr(remedy_trials, "try_remedy", tried)
    yield go
    go.set()


def drawn(tab: Tab, now: state.Session) -> Job[None]:
    """The job, as drawing the page leaves it, when it has ended."""
    with tab:
        remedy_trials.start_waiting(now)
    job = remedy_trials.job(now)
    assert job is not None
    assert job.wait(30)
    return job


def test_what_cannot_be_measured_is_not_started_with_every_drawing(
    tabs: tuple[Tab, Tab], monkeypatch: pytest.MonkeyPatch
) -> None:
    tab, _ = tabs
    now, runs = tab.session(), []

    def bench(*_args: Any, **_kwargs: Any) -> Any:
        runs.append(1)
        raise DataError("the data file is no longer there")

    monkeypatch.setattr(remedy_trials, "prepare_trials", bench)
    with tab:
        remedy_trials.request(now, [remedy("fc1"), remedy("fc2")])
    for _ in range(5):
        job = drawn(tab, now)
        assert (job.state, job.error) == (State.FAILED, "the data file is no longer there")  # what is shown
    assert len(runs) == 1
    assert not remedy_trials.trials_of(now).waiting
    with tab:
        remedy_trials.request(now, [remedy("fc1")])
    drawn(tab, now)
    assert len(runs) == 2  # who asks again has it tried again


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DataError("it cannot be had"), "it cannot be had"),
        (MemoryError(), "not enough memory"),
        (KeyError("x"), "unexpected KeyError"),
    ],
)
def test_one_that_fails_does_not_keep_the_others_from_being_measured(
    tabs: tuple[Tab, Tab], monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    tab, _ = tabs
    now, plain = tab.session(), remedy_trials.try_remedy
    first, second = [layer.name for layer in now.model.layers if layer.kind == "compute"][:2]
    bad, good = remedy(first), remedy(second)

    def tried(ready: Any, recipe: Any, asked: Remedy, **more: Any) -> RemedyTrial:
        if asked is bad:
            raise type(error)(*error.args)  # a new one: its traceback keeps all that was in use alive
        return plain(ready, recipe, asked, **more)

    monkeypatch.setattr(remedy_trials, "try_remedy", tried)
    with tab:
        remedy_trials.request(now, [bad, good])
    assert drawn(tab, now).state is State.DONE
    found, token = remedy_trials.trials_of(now), state.recipe_token(now.recipe)
    assert words in found.refused[remedy_trials.key(token, bad)]
    assert remedy_trials.key(token, good) in found.trials
    assert not found.waiting


def test_cancel_leaves_what_another_window_waits_for(tabs: tuple[Tab, Tab], held: threading.Event) -> None:
    here, there = tabs
    now, token = here.session(), state.recipe_token(here.session().recipe)
    ours, both, theirs = (remedy_trials.key(token, remedy(name)) for name in ("ours", "both", "theirs"))
    with here:
        remedy_trials.request(now, [remedy("ours"), remedy("both")])
    with there:
        remedy_trials.request(there.session(), [remedy("both"), remedy("theirs")])
    board, job = remedy_trials.trials_of(now), remedy_trials.job(now)
    assert list(board.waiting) == [ours, both, theirs]
    with here:
        remedy_trials.cancel(now)
    assert list(board.waiting) == [both, theirs]
    assert job is not None
    assert job.wait(30)  # it was measuring what nobody wants any more
    with there:
        remedy_trials.start_waiting(there.session())
    running = remedy_trials.job(now)
    assert running is not None
    with here:
        remedy_trials.request(now, [remedy("ours")])
        remedy_trials.cancel(now)
    assert not running.stop.is_set()  # it measures what the other waits for
    held.set()
    assert running.wait(30)
    assert set(board.trials) == {both, theirs}
    assert not board.waiting


def test_a_window_that_was_reloaded_can_cancel(tabs: tuple[Tab, Tab], held: threading.Event) -> None:
    before, after = tabs
    now = before.session()
    with before:
        remedy_trials.request(now, [remedy("one"), remedy("two")])
    with after:
        remedy_trials.cancel(after.session())
    job = remedy_trials.job(now)
    assert job is not None
    assert job.wait(30)
    assert job.state is State.CANCELLED
    assert not remedy_trials.trials_of(now).waiting
    assert not held.is_set()


def test_a_page_that_measures_is_drawn_anew_when_its_project_is_removed(
    tabs: tuple[Tab, Tab], held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab, _ = tabs
    now, asked = tab.session(), []
    for module in (common, remedies):
        monkeypatch.setattr(module, "signal", lambda *words: asked.append(words))
    with tab:
        remedy_trials.request(now, [remedy("one")])
    cached.forget(now.project.id)
    opening.projects.delete(now.project.id)
    with tab:
        remedies._measuring(0)
    assert asked
    assert tab.state["go"] == "open"
