"""Auto-tune, model fixes and mixed precision in a browser: results come by themselves, all can be undone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.test_flows import card, visit
from tests.support import App, at_rest, ready

pytestmark = pytest.mark.browser


LONG = 240_000  # milliseconds, for what tries dozens of models


@pytest.fixture(scope="module")
def tuned(serve: Callable[..., App]) -> App:
    """A demo of its own, of the network that tuning helps most."""
    return serve("demo")


@pytest.fixture(scope="module")
def small(serve: Callable[..., App]) -> App:
    """A demo of the network that is measured soonest."""
    return serve("demo", "digits_mlp")


def measured(page: Any) -> float:
    """Output SQNR of the shown recipe, when it is there."""
    page.locator("[data-card='Output SQNR']:not(.waiting)").wait_for(timeout=60_000)
    return float(card(page, "Output SQNR").split()[0])


def test_auto_tune_wins_and_is_undone(page: Any, tuned: App) -> None:
    visit(page, tuned.url, "Overview")
    before = measured(page)
    page.get_by_role("button", name="Auto-tune").click()
    page.get_by_role("button", name="Stop and keep what was found").wait_for()
    use = page.get_by_role("button", name="Use the tuned recipe")
    use.wait_for(timeout=LONG)
    use.click()
    page.get_by_role("button", name="In use").wait_for()
    page.get_by_text("step 2: auto-tune").wait_for()
    ready(page)
    assert measured(page) > before + 15
    page.keyboard.press("Control+z")
    page.get_by_text("step 1: Defaults").wait_for()
    ready(page)
    assert measured(page) == before


def test_a_fix_is_switched_on_and_its_tab_stays(page: Any, small: App) -> None:
    visit(page, small.url, "Overview")
    page.get_by_role("tab", name="Model fixes").click()
    page.locator("[class*=st-key-fix_equalize] label").first.click()
    said = page.get_by_text(re.compile("Equalization rescaled"))
    said.first.wait_for()
    page.get_by_text("step 2: Cross-layer equalization on").wait_for()  # the sidebar comes last
    ready(page)
    assert page.get_by_role("tab", name="Model fixes").get_attribute("aria-selected") == "true"
    page.keyboard.press("Control+z")
    page.get_by_text("step 1: Defaults").wait_for()
    ready(page)
    assert said.count() == 0


def test_a_point_of_the_front_is_clicked_and_used(page: Any, small: App) -> None:
    visit(page, small.url, "Sensitivity")
    page.get_by_role("button", name="Find the front").click()
    points = page.locator(".st-key-mixed_chart .scatterlayer .trace").last.locator(".point")
    points.first.wait_for(timeout=LONG)
    ready(page)
    last = points.last
    last.scroll_into_view_if_needed()
    box = at_rest(last)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.get_by_role("button", name="Use this recipe").click()
    page.get_by_text(re.compile(r"step \d+: mixed precision")).wait_for()
    page.get_by_role("button", name="In use").wait_for()
