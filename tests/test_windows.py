"""Two windows on one project: neither branches off in silence, nor writes what the other removed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.runtime.scriptrunner import RerunException
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData
from streamlit.testing.v1 import AppTest

from quantscope.core.project import project as projects
from quantscope.core.thresholds import Method
from quantscope.ui.runs import measured
from quantscope.ui.session import cached, keys, opening, others, state
from quantscope.ui.session.memory import Key, uninterrupted
from tests.pages import Tab, go, healthy, opened, recipe, shown, start, until
from tests.pages import home as home  # a fixture

NEWS = "changed in another window"


@pytest.fixture
def windows() -> tuple[AppTest, AppTest]:
    """Two windows in the Inspector of one project, at the same step and layer."""
    project = opening.open_sample("digits_mlp")
    found = []
    for _ in range(2):
        app = start(projects.open_project(project.id))
        until(app, lambda a: "recipe" in a.session_state)
        found.append(go(app, "inspector"))
    return found[0], found[1]


def choose(app: AppTest, method: str) -> None:
    shown(app, "selectbox", "method").set_value(method).run()
    healthy(app)


def news(app: AppTest) -> list[str]:
    return [info.value for info in app.info if NEWS in info.value]


def steps(app: AppTest) -> dict[int, int]:
    """What is on disk: each step and the one that it was made from."""
    return dict(projects.open_project(opened(app).id).parents)


def test_an_edit_at_an_older_step_shows_what_the_other_window_made(windows: tuple[AppTest, AppTest]) -> None:
    first, second = windows
    name = first.session_state["shown_layer"]
    choose(first, "MSE")
    assert news(first) == []
    before = steps(first)
    choose(second, "KL")
    assert len(news(second)) == 1
    assert "was not applied" in news(second)[0]
    assert steps(second) == before  # no branch
    assert shown(second, "selectbox", "method").value == "MSE"
    choose(second, "KL")  # now in view of what is there
    assert news(second) == []
    assert recipe(second).choice(name).method is Method.KL
    assert steps(second) == {**before, 3: 2}
    second.button(key="undo").click().run()
    assert recipe(second).choice(name).method is Method.MSE  # nothing was lost


@pytest.mark.parametrize("key", ["undo", "redo"])
def test_undo_and_redo_do_not_move_what_is_not_shown(windows: tuple[AppTest, AppTest], key: str) -> None:
    first, second = windows
    for app in windows:
        choose(first, "MSE" if app is first else "KL")
        second.run()
    first.button(key="undo").click().run()
    second.run()
    assert opened(first).head == opened(second).head == 2
    choose(first, "Cosine")
    second.button(key=key).click().run()
    assert len(news(second)) == 1
    assert opened(second).head == opened(first).head == 4
    assert projects.open_project(opened(first).id).head == 4
    assert shown(second, "selectbox", "method").value == "Cosine"


def test_a_window_that_is_drawn_again_shows_the_step_on_disk(windows: tuple[AppTest, AppTest]) -> None:
    first, second = windows
    choose(first, "MSE")
    second.run()
    assert len(news(second)) == 1
    assert "was not applied" not in news(second)[0]
    assert shown(second, "selectbox", "method").value == "MSE"
    second.run()
    assert len(news(second)) == 1  # still: a page is drawn again by itself when its figures are there
    words, until = second.session_state[keys.NEWS.name]
    second.session_state[keys.NEWS.name] = keys.News(words, until - state.NEWS_SECONDS)
    second.run()
    assert news(second) == []
    first.button(key="undo").click().run()
    second.run()
    assert shown(second, "selectbox", "method").value != "MSE"
    assert not second.button(key="redo").disabled


def test_steps_that_another_window_left_can_be_had_again(windows: tuple[AppTest, AppTest]) -> None:
    """The shown step is the same in both, so that there is nothing to say; redo is there all the same."""
    first, second = windows
    choose(first, "MSE")
    first.button(key="undo").click().run()
    second.run()
    assert news(second) == []
    second.button(key="redo").click().run()
    assert news(second) == []
    assert shown(second, "selectbox", "method").value == "MSE"


class Interrupt(BaseException):
    """What Streamlit raises where session state is used while another run is asked for."""


class Interrupted(dict[str, Any]):
    """Session state that is interrupted at one access, however it is made."""

    left: int | None = None  # accesses before it

    def _access(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Interrupt

    def __contains__(self, key: object) -> bool:
        self._access()
        return super().__contains__(key)

    def __getitem__(self, key: str) -> Any:
        self._access()
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self._access()
        super().__setitem__(key, value)

    def get(self, key: str, default: Any = None) -> Any:
        self._access()
        return super().get(key, default)

    def pop(self, key: str, default: Any = None) -> Any:
        self._access()
        return super().pop(key, default)


def interrupted(tab: Tab, act: Callable[[], object]) -> Iterator[None]:
    """Do it again and again, interrupted at the first access, the second, and so on until there is none."""
    for count in range(100):
        tab.state = busy = Interrupted(tab.state)
        busy.left = count
        with tab:
            try:
                act()
            except Interrupt:
                assert busy.left is None
            else:
                assert busy.left is not None
                assert count > 3
                return
        yield
    raise AssertionError("interrupted for ever")


METHODS = [Method.KL, Method.MSE, Method.COSINE]


def method(tab: Tab, chosen: Method) -> None:
    """Let that be the default, in that tab."""
    with tab:
        state.edit(lambda recipe: recipe.with_default(method=chosen), "a method")


def test_an_edit_that_another_run_interrupts_is_made_once_all_the_same() -> None:
    tab = Tab(opening.open_sample("digits_mlp"))
    turns = itertools.cycle(METHODS)
    wanted = [tab.session().recipe.default.method]

    def edit() -> None:
        wanted.append(next(turns))
        state.edit(lambda recipe: recipe.with_default(method=wanted[-1]), "a method")

    for count, _ in enumerate(interrupted(tab, edit), 1):
        with tab:
            assert not state.follow()  # it is this window's own
            assert state.news() == ""
        now = tab.session()
        assert now.project.head == 1 + count
        assert now.recipe.default.method is wanted[-1]
        assert projects.open_project(now.project.id).head == 1 + count


@pytest.mark.parametrize("act", ["undo", "redo"])
def test_undo_and_redo_that_are_interrupted_are_done_once(act: str) -> None:
    tab, edits = Tab(opening.open_sample("digits_mlp")), 30
    tab.session()
    for chosen in METHODS * (edits // 3):
        method(tab, chosen)
    if act == "redo":
        for _ in range(edits):
            with tab:
                state.undo()
    steps = iter(range(edits, 0, -1) if act == "undo" else range(2, edits + 2))
    drawn = tab.state.get("editor_rev", 0)
    for _ in interrupted(tab, getattr(state, act)):
        assert tab.session().project.head == next(steps)
        assert tab.state["editor_rev"] == drawn + 1  # tables are drawn anew
        drawn += 1


def test_news_of_another_window_survive_an_interruption() -> None:
    tab, other = (Tab(opening.open_sample("digits_mlp")) for _ in range(2))
    tab.session()
    turns = itertools.cycle(METHODS)

    def theirs() -> None:
        other.session()
        with other:
            state.follow()
        method(other, next(turns))

    theirs()
    for _ in interrupted(tab, lambda: state.edit(lambda recipe: recipe.with_layer("no"), "ours")):
        with tab:
            assert state.AGAIN in state.news()
        assert tab.session().recipe == other.session().recipe
        theirs()


def test_every_interruption_is_heard_where_several_come() -> None:
    asked: list[RerunData] = []

    class Busy(dict[str, Any]):
        def __setitem__(self, key: str, value: Any) -> None:
            if coming:
                raise coming.pop(0)
            super().__setitem__(key, value)

    first, second, both = (RerunException(RerunData(query_string=name)) for name in ("a", "b", "ab"))
    coming = [first, second, both]
    tab = Tab()
    tab.state = Busy()

    @uninterrupted
    def act() -> None:
        Key("key", 0).set(1)

    context = SimpleNamespace(script_requests=SimpleNamespace(request_rerun=asked.append))
    with tab, pytest.MonkeyPatch.context() as patched:
        patched.setattr("quantscope.ui.session.memory.get_script_run_ctx", lambda suppress_warning: context)
        with pytest.raises(RerunException) as raised:
            act()
    assert raised.value is both
    assert asked == [first.rerun_data, second.rerun_data]
    assert tab.state == {"key": 1}


def test_a_session_that_ends_is_not_waited_for() -> None:
    class Ended(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            raise Interrupt

    tab = Tab()
    tab.state = Ended()
    with tab, pytest.raises(Interrupt):
        state.edit(lambda recipe: recipe, "")
    tab.state = {"key": 1}
    with tab:  # of another session in the same thread
        assert Key("key", 0).get() == 1


def test_a_project_that_was_removed_and_opened_anew_is_another_one() -> None:
    """Its steps have the same numbers, and it was made in the same second."""
    tab, other = Tab(opening.open_sample("digits_mlp")), Tab()
    tab.session()
    method(tab, Method.KL)
    removed = tab.session().project
    remove(removed.id)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(projects, "_now", lambda: removed.created)
        other.address = {keys.PROJECT_IN_ADDRESS.name: opening.open_sample("digits_mlp").id}
    other.session()
    method(other, Method.MSE)
    there = other.session()
    assert (there.project.id, there.project.head) == (removed.id, removed.head)
    layer = there.model.layers[1].name

    def edit() -> None:
        with tab:
            state.edit(lambda recipe: recipe.with_layer(layer, method=Method.COSINE), "ours")

    edit()
    with tab:
        for words in ("removed in another window", "opened anew", state.AGAIN):
            assert words in state.news()
    assert tab.session().recipe == there.recipe
    assert projects.open_project(removed.id).head == there.project.head  # nothing was written
    edit()
    with other:
        state.follow()
    assert (
        other.session().recipe == tab.session().recipe == there.recipe.with_layer(layer, method=Method.COSINE)
    )


def test_a_recipe_with_layers_that_the_model_lacks_is_the_same_each_time() -> None:
    tab = Tab(opening.open_sample("digits_mlp"))
    tab.session()
    with tab:
        state.edit(lambda recipe: recipe.with_layer("gone", method=Method.MSE), "gone")
    now = tab.session()
    assert "gone" not in now.recipe.layers
    assert tab.session().recipe is now.recipe


def remove(id: str) -> None:
    """What another window's Open page does."""
    cached.forget(id)
    projects.delete(id)


@pytest.mark.parametrize("act", ["edit", "undo", "draw"])
def test_a_project_that_another_window_removed_is_left_and_not_written(
    windows: tuple[AppTest, AppTest], act: str
) -> None:
    _, app = windows
    choose(app, "MSE")
    project = opened(app)
    remove(project.id)
    if act == "edit":
        shown(app, "selectbox", "method").set_value("KL").run()
    elif act == "undo":
        app.button(key="undo").click().run()
    else:
        app.run()
    assert not app.exception
    assert app.title[0].value == "Open a model"
    assert ["removed in another window" in info.value for info in app.info] == [True]
    healthy(app)
    assert not project.folder.exists()
    app.run()
    healthy(app)
    assert not project.folder.exists()


def test_a_poll_does_not_open_again_what_was_removed() -> None:
    tab = Tab(opening.open_sample("digits_mlp"))
    now = tab.session()
    remove(now.project.id)
    with tab:
        assert state.session() is None
        assert not measured.waiting((measured.EFFECT,))
        assert tab.state["go"] == "open"
    assert cached.registry().get(now.project.id) is None
    assert not now.project.folder.exists()


def test_a_damaged_project_is_left_with_a_reason(windows: tuple[AppTest, AppTest]) -> None:
    _, app = windows
    choose(app, "MSE")
    for name in ("project.json", "project.json.bak"):
        (opened(app).folder / name).write_text("{", encoding="utf-8")
    app.run()
    assert not app.exception
    assert app.title[0].value == "Open a model"
    assert "damaged" in app.error[0].value


def test_removing_from_the_list_stops_what_runs(windows: tuple[AppTest, AppTest]) -> None:
    first, second = windows
    project = opened(first)
    go(first, "open")
    first.button(key=f"remove_{project.id}").click().run()
    first.button(key="confirm_removal").click().run()
    assert not first.exception
    assert cached.registry().get(project.id) is None
    second.run()
    assert second.title[0].value == "Open a model"
    assert not project.folder.exists()


def test_a_look_tells_what_others_did() -> None:
    tab, other = (Tab(opening.open_sample("digits_mlp")) for _ in range(2))
    tab.session()
    other.session()
    with tab:
        assert others.changed() is None
        before = others.step_token(projects.open_project("sample-digits-mlp"))
    method(other, Method.KL)
    with tab:
        assert others.changed() == "2"
        assert state.follow()
        assert others.changed() is None
        assert others.step_token(projects.open_project("sample-digits-mlp")) != before
        projects.delete("sample-digits-mlp")
        assert others.changed() == "removed"


def test_other_evaluation_data_given_by_another_process_are_taken_over() -> None:
    tab = Tab(opening.open_sample("digits_mlp"))
    assert tab.session().workspace.evaluation is not None
    with tab:
        first = state.start(projects.open_project("sample-digits-mlp"))
        opening.drop_evaluation(projects.open_project("sample-digits-mlp"))  # nobody here is told
        assert others.changed() == "1 of other data"
        state.edit_layer("fc1", "fc1: KL", method=Method.KL)  # it does not depend on them
        assert others.changed() is None
        assert state.OTHER_DATA in state.news()
        anew = state.start(projects.open_project("sample-digits-mlp"))
        assert anew is not first
        assert anew.wait(60)
        assert anew.result is not None
        assert anew.result.evaluation is None
        assert projects.open_project("sample-digits-mlp").head == 2
        state.follow()
        assert state.start(projects.open_project("sample-digits-mlp")) is anew


def test_a_callback_is_done_as_a_whole_and_the_run_behind_it_is_interrupted() -> None:
    """A click that only starts something: it is not lost where another run is asked for at that moment."""
    done: list[int] = []
    tab, key = Tab(), Key("key", 0)
    interruption = RerunException(RerunData(query_string="next"))
    coming = [interruption]

    class Busy(dict[str, Any]):
        def get(self, name: str, default: Any = None) -> Any:
            if coming:
                raise coming.pop()
            return super().get(name, default)

    tab.state = Busy(key=7)
    context = SimpleNamespace(script_requests=None, has_script_started=False)
    with tab, pytest.MonkeyPatch.context() as patched:
        patched.setattr("quantscope.ui.session.memory.get_script_run_ctx", lambda suppress_warning: context)
        done.append(key.get())
        assert done == [7]
        context.has_script_started = True
        with pytest.raises(RerunException) as raised:
            key.get()
        assert raised.value is interruption
        assert key.get() == 7
