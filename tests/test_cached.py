"""What the app keeps in memory: for the projects used last, and nothing of those that were removed."""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantscope.core.evaluate import FloatReference
from quantscope.core.model import Model
from quantscope.core.progress import Progress, ProgressFn
from quantscope.core.quantize import Encodings
from quantscope.core.recipe import Recipe
from quantscope.core.thresholds import Method
from quantscope.ui.runs import measured, measurement_work
from quantscope.ui.runs.measurement_work import References
from quantscope.ui.session import cached, fixes, state
from quantscope.ui.session.cached import PROJECTS, VARIANTS, ProjectStore
from quantscope.ui.session.jobs import State
from tests.pages import Tab, small
from tests.pages import home as home  # a fixture
from tests.support import until

CORE = 8  # models that core may keep beside, of those resolved last


def figures(tab: Tab) -> None:
    """Ask for every figure, as the pages do, until all are there."""
    now = tab.session()
    kinds = (measured.EFFECT, measured.LOCAL, measured.WHOLE, measured.LOSS_BY_PART, measured.VERIFIED)
    asked = (measured.effect, measured.local, measured.whole, measured.loss_by_part, measured.verified)

    def there() -> bool:
        with tab:
            found = [ask(now) for ask in asked]
            assert [live.error for live in found] == [""] * len(found)
            return all(live.value is not None for live in found)

    until(there, 60)
    with tab:
        rows, running = measured.rows(now)
        assert (len(rows), running) == (2, False)
        assert measured.ready(now, kinds) == {kind.name for kind in kinds}


def references() -> list[FloatReference]:
    return [thing for thing in gc.get_objects() if isinstance(thing, FloatReference)]


@pytest.fixture
def tab() -> Tab:
    return Tab()


@pytest.mark.slow
def test_memory_is_given_back_by_projects_that_were_left(tmp_path: Path, tab: Tab) -> None:
    models: list[weakref.ref[Model]] = []
    others = references()  # of tests that ran before, in fixtures that outlive them
    for number in range(20):
        with tab:
            state.show(small(tmp_path, number))
        figures(tab)
        models.append(weakref.ref(tab.session().model))
    gc.collect()
    alive = [number for number, known in enumerate(models) if known() is not None]
    assert alive[-1] == 19
    assert set(alive) <= set(range(20 - max(PROJECTS, CORE), 20))
    assert len([one for one in references() if not any(one is other for other in others)]) <= PROJECTS
    with tab:  # a project that was left is read again
        state.show(None)


def test_a_project_left_is_the_same_when_it_comes_back(tmp_path: Path, tab: Tab) -> None:
    every = [small(tmp_path, number) for number in range(PROJECTS + 1)]
    first = every[0]
    with tab:
        state.show(first)
    before = tab.session()
    for other in every[1:]:
        with tab:
            state.show(other)
        tab.session()
    assert cached.registry().get(first.id) is None
    with tab:
        state.show(first)
    after = tab.session()
    assert after.model is not before.model
    assert after.encodings.activations == before.encodings.activations
    figures(tab)


def test_a_removed_project_is_forgotten_with_what_runs_for_it(tmp_path: Path, tab: Tab) -> None:
    with tab:
        state.show(small(tmp_path, 0))
    figures(tab)
    now = tab.session()

    def work(tell: ProgressFn) -> None:
        while True:
            tell(Progress(done=0, total=0))
            time.sleep(0.005)

    job = cached.registry().submit(f"{now.project.id}:tune", "Auto-tune", work)
    key = measured.key_of(measured.EFFECT, now)
    assert cached.pool().peek(key) is not None
    cached.forget(now.project.id)
    assert job.state is State.CANCELLED
    assert cached.pool().peek(key) is None
    assert cached.registry().get(now.project.id) is None
    with tab:
        state.show(None)
    del now, key
    gc.collect()
    assert references() == []


def test_what_runs_keeps_its_project_in_memory(tmp_path: Path, tab: Tab) -> None:
    """Somebody who starts a long search and looks at other projects meanwhile finds it when it is done."""
    first, *others = (small(tmp_path, number) for number in range(PROJECTS + 2))
    with tab:
        state.show(first)
    tab.session()
    go = threading.Event()
    job = cached.registry().submit(f"{first.id}:mixed", "Mixed precision", lambda _tell: go.wait(20))
    for other in others:
        with tab:
            state.show(other)
        tab.session()
    assert cached.registry().get(f"{first.id}:mixed") is job
    go.set()
    assert job.wait(20)
    with tab:  # the next look at any project finds it just used
        state.show(others[-1])
    tab.session()
    assert cached.registry().get(f"{first.id}:mixed") is job


def test_encodings_that_are_there_need_not_wait_for_others(tmp_path: Path, tab: Tab) -> None:
    with tab:
        state.show(small(tmp_path, 0))
    now, finished = tab.session(), fixes.FinishedByRecipe()
    recipe = now.recipe.with_passes("bias_correction")

    def final() -> Encodings:
        def impatient(_: Progress) -> None:
            assert not finished.making.locked()

        return fixes.final(finished, now.workspace, recipe, now.encodings, "token", impatient)

    finished.known.put("token", fixes.Finished(encodings=now.encodings, records=()))
    with finished.making:  # held for minutes by what another recipe needs
        assert final() is now.encodings


def test_a_store_keeps_what_was_used_last() -> None:
    store = ProjectStore(2)
    first = store.get("a", list, "x")
    first.append(1)
    assert store.get("a", list, "x") is first
    assert store.get("a", list, "y") == []
    assert store.get("a", dict, "x") == {}
    assert store.use("a", set()) == []
    assert store.use("b", set()) == []
    assert store.use("c", {"a"}) == ["b"]  # what is busy counts as used
    assert store.projects() == {"a", "c"}
    assert store.get("a", list, "x") is first
    store.drop("a")
    assert store.get("a", list, "x") == []


def test_of_a_projects_variants_the_last_are_kept() -> None:
    store = ProjectStore(1)
    first = store.get("a", list, 0)
    for key in range(1, VARIANTS):
        store.get("a", list, key)
    assert store.get("a", list, 0) is first
    store.get("a", list, VARIANTS)
    store.get("a", list, VARIANTS + 1)
    assert store.get("a", list, 0) is first
    for key in range(1, VARIANTS + 1):
        store.get("a", list, -key)
    assert store.get("a", list, 0) is not first


def test_a_float_model_is_run_once_for_all_who_need_it(
    tmp_path: Path, tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tab:
        state.show(small(tmp_path, 0))
    now = tab.session()
    runs, meeting = [], threading.Barrier(2)
    plain = measurement_work.float_reference

    def counted(*args: Any, **kwargs: Any) -> FloatReference:
        runs.append(1)
        time.sleep(0.05)  # long enough for the other to arrive
        return plain(*args, **kwargs)

    monkeypatch.setattr(measurement_work, "float_reference", counted)
    assert now.workspace.preview is not None
    tested = measurement_work.ModelUnderTest(
        references=References(),
        original=now.opened.model,
        model=now.model,
        encodings=now.encodings,
        samples=now.workspace.preview,
    )
    found: list[FloatReference] = []

    def ask() -> None:
        meeting.wait(10)
        found.append(measurement_work.reference(tested, lambda _: None))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert runs == [1]
    assert found[0] is found[1]


def together(ask: Callable[[int], None], threads: int = 6) -> None:
    """Call it in threads that take turns as often as they can; what goes wrong in one is raised."""
    wrong: list[BaseException] = []

    def run(part: int) -> None:
        try:
            ask(part)
        except BaseException as error:
            wrong.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        running = [threading.Thread(target=run, args=(part,)) for part in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join(120)
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def test_tokens_may_be_asked_for_from_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages and background work ask at the same time, for more recipes than are remembered."""
    recipes: list[Any] = [(f"recipe {number}",) for number in range(20)]
    monkeypatch.setattr(state, "recipe_to_yaml", lambda recipe: recipe[0])  # in no time
    tokens = [state.recipe_token(recipe) for recipe in recipes]
    assert len(set(tokens)) == len(recipes)

    def ask(part: int) -> None:
        for turn in range(4000):
            number = (turn * (part + 1)) % len(recipes)
            assert state.recipe_token(recipes[number]) == tokens[number]

    together(ask)


def test_encodings_of_more_steps_than_are_kept_may_be_asked_for_at_once(tmp_path: Path, tab: Tab) -> None:
    with tab:
        state.show(small(tmp_path, 0))
    now = tab.session()
    recipes = [Recipe().with_default(method=Method.PERCENTILE, percentile=90 + n) for n in range(8)]
    found = [state.resolved(now.project, now.workspace, recipe).activations for recipe in recipes]

    def ask(part: int) -> None:
        for turn in range(40):
            number = (turn * (part + 1)) % len(recipes)
            known = state.resolved(now.project, now.workspace, recipes[number])
            assert known.activations == found[number]

    together(ask)


def test_what_follows_from_a_key_is_computed_once() -> None:
    computed: list[int] = []

    def compute() -> tuple[int, ...]:
        computed.append(1)
        return ()  # nothing is an answer too

    assert cached.computed(("draws", 1), compute) == ()
    assert cached.computed(("draws", 1), compute) == ()
    assert len(computed) == 1
    for other in range(cached.COMPUTED):
        cached.computed(("draws", other + 2), compute)
    cached.computed(("draws", 1), compute)
    assert len(computed) == cached.COMPUTED + 2
