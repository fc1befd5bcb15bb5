"""Two windows on one project: neither branches off in silence, nor writes what the other removed."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core import project as projects
from core.recipe import Recipe
from core.thresholds import Method
from tests.pages import Tab, go, healthy, opened, recipe, shown, start, until
from tests.pages import home as home  # a fixture
from ui import cached, measured, opening, state

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
    words, until = second.session_state[state.NEWS]
    second.session_state[state.NEWS] = words, until - state.NEWS_SECONDS
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
    """Session state that is interrupted once, as soon as it is armed."""

    armed = False

    def __setitem__(self, key: str, value: Any) -> None:
        if self.armed:
            self.armed = False
            raise Interrupt
        super().__setitem__(key, value)


def test_a_rerun_in_the_middle_of_an_edit_is_not_taken_for_another_window() -> None:
    tab = Tab(opening.open_sample("digits_mlp"))
    tab.state = interrupted = Interrupted()
    before = tab.session()

    def change(recipe: Recipe) -> Recipe:
        interrupted.armed = True
        return recipe.with_default(method=Method.KL)

    with tab, pytest.raises(Interrupt):
        state.edit(change, "default KL")
    with tab:
        assert not state.follow()
        assert state.news() == ""
    after = tab.session()
    assert after.project.head == before.project.head + 1
    assert after.recipe.default.method is Method.KL


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
    assert len(app.error) == 1
    assert "removed in another window" in app.error[0].value
    assert "Traceback" not in app.error[0].value
    assert not project.folder.exists()
    app.run()
    healthy(app)  # said once
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
    first.button(key="remove_now").click().run()
    assert not first.exception
    assert cached.registry().get(project.id) is None
    second.run()
    assert second.title[0].value == "Open a model"
    assert not project.folder.exists()
