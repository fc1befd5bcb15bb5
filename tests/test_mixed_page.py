"""Mixed precision on the Sensitivity page: a front, its cheapest point that is good enough, its recipe."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from quantscope.core.recipe import Recipe, recipe_to_yaml
from quantscope.core.targets import Precision
from quantscope.core.thresholds import Method
from quantscope.core.tuning.mixed import Cost, Front, Point
from quantscope.ui.figures.mixed import front_figure
from quantscope.ui.runs import mixed_precision
from quantscope.ui.session import keys as kept
from quantscope.ui.session import opening, state
from tests.pages import Tab, healthy, home, opened, recipe, start, until

__all__ = ["home"]  # a fixture


@pytest.fixture
def page() -> AppTest:
    app = start(opening.open_sample("digits_mlp"))
    until(app, lambda a: "recipe" in a.session_state)
    app.session_state["go"] = "sensitivity"
    return app.run()


def keys(app: AppTest) -> set[str | None]:
    return {button.key for button in app.button}


def test_the_front_is_found_and_its_cheapest_point_used_and_undone(page: AppTest) -> None:
    before = recipe(page)
    page.button(key="start_mixed").click().run()
    until(page, lambda a: "find_cheapest" in keys(a), 90)
    healthy(page)
    job = mixed_precision.job(opened(page).id)
    assert job is not None
    front = job.result.front
    page.number_input(key="mixed_drop").set_value(1.0).run()
    page.button(key="find_cheapest").click().run()
    point = front.cheapest(max_drop=1.0)
    said = " ".join(m.value for m in page.markdown)
    assert f"{100 * point.size_bytes / front.float_bytes:.0f} % of float" in said
    assert recipe(page) == before  # looking changes nothing
    page.session_state["mixed_point"] = len(front.points) - 1  # as a click in the chart does
    page.run()
    point = front.points[-1]
    page.button(key="use_mixed").click().run()
    healthy(page)
    assert recipe_to_yaml(recipe(page)) == recipe_to_yaml(point.recipe)
    assert page.button(key="use_mixed").label == "In use"
    page.button(key="undo").click().run()
    assert recipe(page) == before


def test_a_goal_that_no_point_reaches_is_said(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    worst = replace(FRONT, points=tuple(replace(point, drop=40.0) for point in FRONT.points))
    monkeypatch.setattr(mixed_precision, "mixed_precision", lambda *_, **__: worst)
    page.button(key="start_mixed").click().run()
    until(page, lambda a: "find_cheapest" in keys(a))
    page.button(key="find_cheapest").click().run()
    assert "the nearest loses 40.00" in page.warning[0].value.replace("\\", "")
    assert "use_mixed" not in keys(page)


def test_a_front_of_an_earlier_recipe_is_said_to_be_one_before_it_replaces_later_choices(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = recipe(page).with_layer("fc1", precision=Precision.FLOAT)
    front = replace(FRONT, points=(FRONT.points[0], replace(FRONT.points[1], recipe=other)), beaten=())
    monkeypatch.setattr(mixed_precision, "mixed_precision", lambda *_, **__: front)
    page.button(key="start_mixed").click().run()
    until(page, lambda a: "find_cheapest" in keys(a))
    page.session_state["mixed_point"] = 1
    page.run()
    assert not earlier(page)
    page.button(key="use_mixed").click().run()
    assert recipe(page) == other
    assert not earlier(page)  # a point of the front is in use: the others are of the same recipe
    with_method(page, Method.MSE)
    assert earlier(page)
    assert any("drops what was changed" in m.value for m in page.markdown)
    page.button(key="undo").click().run()
    assert not earlier(page)
    assert not any("drops what was changed" in m.value for m in page.markdown)


def with_method(app: AppTest, method: Method) -> None:
    """Let that be fc2's method, as another page does."""
    with Tab() as tab:
        tab.address[kept.PROJECT_IN_ADDRESS.name] = opened(app).id
        state.edit_layer("fc2", "a method", method=method)
    app.run()
    until(app, lambda a: a.title[0].value == "Sensitivity" and not a.exception)


def earlier(app: AppTest) -> bool:
    return any("ound for an earlier state of the recipe" in caption.value for caption in app.caption)


def test_one_precision_leaves_nothing_to_choose(page: AppTest) -> None:
    page.session_state["mixed_allowed"] = [Precision.INT8]
    page.run()
    assert page.button(key="start_mixed").disabled


def point(size: int, sqnr: float, *layers: str) -> Point:
    return Point(
        recipe=Recipe(),
        size_bytes=size,
        time=size / 1000,
        sqnr_db=sqnr,
        top1=0.9,
        agreement=0.95,
        drop=1.5,
        layers=tuple((name, Precision.FLOAT) for name in layers),
    )


FRONT = Front(
    kind=Cost.SIZE,
    points=(point(400, 10.0), point(600, 30.0, "a"), point(1000, math.inf, "a", "b")),
    lowest=Precision.INT8,
    layers=2,
    float_bytes=1000,
    float_top1=0.915,
    labelled=True,
    rows=64,
    samples=64,
    held_out=True,
    searched=4,
    notes=(),
    beaten=(point(700, 12.0, "b"),),
)


def test_the_figure_has_every_point_and_none_at_infinity() -> None:
    figure = front_figure(FRONT, chosen=1)
    beaten, best, right = figure.data  # where they meet, a click means the one on top
    assert list(best.x) == [0.4, 0.6, 1.0]
    assert list(best.y)[:2] == [10.0, 30.0]
    assert 30.0 < best.y[2] < 40.0
    assert list(best.marker.size) == [10, 15, 10]
    assert [entry[0] for entry in best.customdata] == [0, 1, 2]
    assert best.customdata[2][2] == "equals float"
    assert [entry[0] for entry in beaten.customdata] == [3]  # after those of the front
    assert "top-1 90.0 % (−1.5 pp" in best.customdata[0][3]
    assert (right.yaxis, list(right.y)) == ("y2", [90.0, 90.0, 90.0])
    assert [entry[0] for entry in right.customdata] == [0, 1, 2]  # a click there means the same point


def test_the_point_in_use_is_marked() -> None:
    assert not any(trace.text for trace in front_figure(FRONT, chosen=None).data)
    ring = next(trace for trace in front_figure(FRONT, chosen=None, used=3).data if trace.text)
    assert (list(ring.x), list(ring.y), list(ring.text)) == ([0.7], [12.0], ["in use"])
    bare = [replace(p, top1=None, agreement=None, drop=None) for p in FRONT.points]
    blind = replace(FRONT, points=tuple(bare))
    assert not any(trace.yaxis == "y2" for trace in front_figure(blind, chosen=None).data)


def test_time_is_drawn_as_a_share_of_the_float_models() -> None:
    figure = front_figure(replace(FRONT, kind=Cost.LATENCY, labelled=False), chosen=None)
    assert list(figure.data[1].x) == list(figure.data[-1].x) == [40.0, 60.0, 100.0]
    assert "change class" in figure.data[1].customdata[0][3]
    assert figure.data[-1].name == "same class as float (right axis)"
    assert figure.layout.shapes[0].x0 == 100.0
