"""The Inspector's chart: fitted densities on demand, and what a rule for scales makes of a drag."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.test_flows import drag, inspector, tile
from tests.support import App, at_rest, ready

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def demo(serve: Callable[..., App]) -> App:
    return serve("demo")


def test_fitted_densities_are_drawn_on_demand_and_say_what_they_expect(page: Any, demo: App) -> None:
    chart = inspector(page, demo.url)
    assert chart.locator("path.fit").count() == 0
    assert not chart.locator(".legend").is_visible()
    page.get_by_role("button", name="Gauss / Laplace").click()
    assert chart.locator("path.fit.best").count() == 1
    assert chart.locator("path.fit.other").count() == 1
    legend = chart.locator(".legend").inner_text()
    assert "fits better" in legend
    assert "mean deviation" in legend
    assert "standard deviation" in legend
    log = chart.locator("path.fit.best").get_attribute("d")
    page.get_by_role("button", name="Linear", exact=True).click()
    assert chart.locator("path.fit.best").get_attribute("d") != log
    box = at_rest(chart.locator(".plot"))
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 250)
    assert "expects" in chart.locator(".hover").inner_text()


def test_a_drag_shows_the_threshold_and_the_range_that_it_becomes(page: Any, demo: App) -> None:
    chart = inspector(page, demo.url)
    assert not chart.locator("text.snaplabel").is_visible()
    page.locator("[class*=st-key-scales] input").first.click()
    page.get_by_role("option", name="2ᵏ, next larger").click()
    page.locator("#figures .tile[data-key=range] .note", has_text="scale 2").wait_for()
    ready(page)
    drag(page, -150, release=False)
    live = tile(page, "range")
    asked = chart.page.locator("#threshold .handle[data-side=high] .label").text_content()
    kept = chart.page.locator("#threshold text.snaplabel").text_content()
    assert kept.removeprefix("kept to ") == live.split(" … ")[1]
    assert float(asked) < float(live.split(" … ")[1])
    page.mouse.up()
    page.locator("#threshold[data-state=exact]").wait_for()
    ready(page)
    assert tile(page, "range") == live
    assert chart.page.locator("#threshold text.snaplabel").text_content() == kept
