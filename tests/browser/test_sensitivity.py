"""The Sensitivity page in a browser: the ranking comes by itself, and a bar leads to its layer."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.test_flows import visit
from tests.support import App, at_rest, ready

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def ranked(serve: Callable[..., App]) -> App:
    """A demo of its own."""
    return serve("demo")


def test_a_run_ends_in_a_ranking_and_a_bar_opens_its_layer(page: Any, ranked: App) -> None:
    visit(page, ranked.url, "Sensitivity")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Why, and what helps").wait_for()  # no click needed in between
    page.get_by_text("Where the error gets in:").wait_for()  # nothing is measured any more
    ready(page)
    first = page.locator(".barlayer .point path").first
    first.scroll_into_view_if_needed()
    named = page.locator(".yaxislayer-above .ytick text").first.text_content()
    name = re.split(r"\s{2}", named)[0]  # its SQNR stands beside it
    box = at_rest(first)
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.wait_for_url(re.compile(r"//[^/]+/inspector(\?|$)"))
    ready(page)
    chosen = page.locator("[class*=st-key-layer_box] input")
    chosen.wait_for()
    shown = chosen.input_value() or page.locator("[class*=st-key-layer_box]").inner_text()
    assert re.match(rf"\d+\. {re.escape(name)}\b", shown)


def test_a_remedy_is_measured_and_taken_back(page: Any, ranked: App) -> None:
    visit(page, ranked.url, "Sensitivity")
    if not page.get_by_text("Why, and what helps").count():
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_text("Why, and what helps").wait_for()
    ready(page)
    page.get_by_text("Where the error gets in:").wait_for()
    ready(page)
    page.locator("[class*=st-key-sens_remedy] button:enabled").first.click()
    measured = page.get_by_text(re.compile(r"output SQNR measured [\d.]+ dB → [\d.]+ dB, predicted"))
    measured.wait_for(timeout=240_000)
    page.keyboard.press("Control+z")
    page.get_by_text("output SQNR measured").wait_for(state="detached")
