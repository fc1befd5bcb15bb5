"""The Playground and the table of tools in a browser: drag, link, choose a row, use its range."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from quantscope.core.thresholds import AUTOMATIC
from tests.browser.test_flows import drag, inspector, saved, saved_anew, tile, use_mark
from tests.support import App, at_rest, ready

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def tools_demo(serve: Callable[..., App]) -> App:
    """A demo that the tests of this file change."""
    return serve("demo")


def playground(page: Any, url: str, query: str = "") -> None:
    page.goto(f"{url}/playground{query}")
    ready(page)
    page.locator("#threshold[data-state=exact]").wait_for()
    page.get_by_text("Every method, and other tools").wait_for()


def staircase_step(page: Any) -> str:
    found = re.search(r"s = (\S+)", page.get_by_text("Every input x leaves").inner_text())
    assert found is not None
    return found[1]


def test_a_drag_redraws_the_figures_and_is_in_the_link(page: Any, tools_demo: App) -> None:
    playground(page, tools_demo.url, "?distribution=laplace&bits=4")
    before = tile(page, "range"), tile(page, "sqnr"), staircase_step(page)
    drag(page, -120, release=False)
    page.locator("#threshold[data-state=live]").wait_for()
    live = tile(page, "range")
    assert live != before[0]
    page.mouse.up()
    page.wait_for_url(re.compile("method=manual"))
    page.wait_for_function("before => !document.body.innerText.includes(before)", arg=f"s = {before[2]}")
    page.locator("#threshold[data-state=exact]").wait_for()
    assert tile(page, "range") == live  # the line stays where it was left
    assert tile(page, "sqnr") != before[1]
    # Whoever gets the link sees the same.
    step, url = staircase_step(page), page.url
    page.goto("about:blank")
    page.goto(url)
    ready(page)
    page.locator("#threshold[data-state=exact]").wait_for()
    assert (tile(page, "range"), staircase_step(page)) == (live, step)


def test_a_mark_is_used_and_all_follows_quickly(page: Any, tools_demo: App) -> None:
    from playwright.sync_api import expect

    playground(page, tools_demo.url, "?distribution=outliers&method=minmax")
    times = []
    for method in ("mse", "minmax", "mse"):
        before = tile(page, "sqnr")
        started = time.monotonic()
        use_mark(page, method)
        expect(page.locator("#figures .tile[data-key=sqnr] .value")).not_to_have_text(before, timeout=30_000)
        times.append(time.monotonic() - started)
        page.locator(f"g.mark.used[data-method={method}]").wait_for(state="attached")
        ready(page)
    assert min(times) < 4, times  # well below a second on a quiet machine; other work may delay one of them
    assert page.get_by_test_id("stException").count() == 0


def test_a_tools_range_is_drawn_and_used(page: Any, tools_demo: App) -> None:
    from playwright.sync_api import expect

    inspector(page, tools_demo.url)
    before = saved(page)
    page.get_by_text("Why do tools disagree?").click()
    page.get_by_role("button", name="Add other tools").click()
    page.get_by_text("The tools were given all").wait_for(timeout=120_000)  # may compile
    ready(page)
    marks = page.locator("#threshold g.mark[data-method]").count()
    table = page.get_by_test_id("stDataFrame")
    table.scroll_into_view_if_needed()
    page.wait_for_timeout(500)  # the grid sizes its columns once more
    box = at_rest(table)
    row = len(AUTOMATIC) + 1.5  # the header is one; then the methods
    page.mouse.click(box["x"] + 18, box["y"] + 33 * row)
    chosen = page.get_by_test_id("stMarkdownContainer").get_by_text("onnxruntime entropy")
    chosen.first.wait_for()
    expect(page.locator("#threshold g.mark[data-method]")).to_have_count(marks + 1)
    page.get_by_role("button", name="Use this range").first.click()
    saved_anew(page, before)
    assert "range of onnxruntime entropy" in page.get_by_test_id("stSidebar").inner_text()
    assert page.get_by_test_id("stException").count() == 0
