"""Two tabs on one project: each edits, each sees its figures, and neither goes on from what is outdated."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.test_flows import card, drag, inspector, saved, saved_anew, tile, visit
from tests.browser.test_polling import rest
from tests.support import App, ready
from tests.wire import Wire

pytestmark = pytest.mark.browser

NEWS = re.compile("changed in another window")


@pytest.fixture
def demo(serve: Callable[..., App]) -> App:
    """A demo of the test's own."""
    return serve("demo")


@pytest.fixture
def second(page: Any) -> Any:
    """Another tab beside `page`."""
    tab = page.context.new_page()
    tab.set_default_timeout(60_000)
    tab.on("pageerror", lambda error: page.errors.append(str(error)))
    tab.wire = Wire()
    tab.on("websocket", tab.wire.listen)
    return tab


def measured(tab: Any) -> None:
    """Wait until the run that was seen to begin is over, and the figures are those of its step."""
    ready(tab)
    tab.locator("#threshold[data-state=exact]").wait_for()
    tab.locator("#network[data-token]:not(.outdated)").wait_for()
    tab.locator("[data-card='Output SQNR']:not(.waiting)").wait_for()
    ready(tab)


def test_two_tabs_edit_one_project_and_see_their_figures(page: Any, second: Any, demo: App) -> None:
    inspector(page, demo.url)
    second.goto(page.url)  # the same layer: which one a page opens with depends on what is measured by then
    second.locator("#threshold[data-state=exact]").wait_for()
    for tab in (page, second):
        rest(tab)  # a page that is drawn by itself shows what the other has made
    step, before = saved(page), tile(page, "range")
    drag(page, -220)
    saved_anew(page, step)
    measured(page)
    range_, sqnr = tile(page, "range"), card(page, "Output SQNR")
    assert range_ != before

    second.get_by_text(NEWS).wait_for()  # by itself
    measured(second)
    assert saved(second) == step + 1
    assert (tile(second, "range"), card(second, "Output SQNR")) == (range_, sqnr)
    assert page.get_by_text(NEWS).count() == 0

    drag(second, -60)  # in view of what is there
    saved_anew(second, step + 1)
    measured(second)
    assert saved(second) == step + 2
    assert second.get_by_text(NEWS).count() == 0
    range_, sqnr = tile(second, "range"), card(second, "Output SQNR")

    page.get_by_text(NEWS).wait_for()
    measured(page)
    assert saved(page) == step + 2
    assert (tile(page, "range"), card(page, "Output SQNR")) == (range_, sqnr)


def test_somebody_elsewhere_sees_the_new_step_too(page: Any, browser: Any, demo: App) -> None:
    """Tabs of another browser cannot be told; they look now and then."""
    inspector(page, demo.url)
    step = saved(page)
    other = browser.new_context().new_page()
    other.set_default_timeout(60_000)
    visit(other, demo.url, "Layers")
    drag(page, -90)
    saved_anew(page, step)
    other.get_by_text(NEWS).wait_for()
    other.get_by_test_id("stSidebar").get_by_text(f"step {step + 1}").wait_for()
    other.context.close()


def test_undo_in_a_text_field_takes_back_the_typing(page: Any, demo: App) -> None:
    inspector(page, demo.url)
    step = saved(page)
    drag(page, -40)
    saved_anew(page, step)
    visit(page, page.url.partition("/inspector")[0] or demo.url, "Layers")
    field = page.get_by_role("textbox", name="Name contains")
    field.click()
    page.keyboard.type("xyz")
    page.keyboard.press("Control+z")
    page.wait_for_function("() => !document.activeElement.value.includes('xyz')")
    ready(page)
    assert saved(page) == step + 1
    page.get_by_role("heading", name="Layers").click()  # the focus leaves the field
    ready(page)
    page.keyboard.press("Control+z")
    page.get_by_test_id("stSidebar").get_by_text(f"step {step}:").wait_for()


def test_a_tab_that_holds_a_line_does_not_keep_the_other_from_its_figures(
    page: Any, second: Any, demo: App
) -> None:
    """Both wait for figures of the same kind and project, of different recipes."""
    inspector(page, demo.url)
    drag(page, -420, release=False)
    page.locator("#threshold[data-state=live]").wait_for()
    visit(second, demo.url, "Overview")
    second.locator("[data-card='Top-1']:not(.waiting)").wait_for()
    second.locator("[data-card='Both']:not(.waiting)").wait_for()
    second.get_by_text("measuring…").first.wait_for(state="hidden")
    page.locator("#network[data-token]:not(.outdated)").wait_for()
    page.locator("[data-card='Output SQNR']:not(.waiting)").wait_for()
    assert page.locator("#threshold[data-state=live]").count() == 1  # still in the hand
    page.keyboard.press("Escape")
    page.mouse.up()


def test_a_tab_whose_project_is_removed_elsewhere_is_led_back(page: Any, second: Any, demo: App) -> None:
    for tab in (page, second):
        inspector(tab, demo.url)
    visit(second, demo.url, "Open")
    second.locator("[class*='st-key-remove_'] button").first.click()
    second.get_by_role("button", name="Remove", exact=True).click()
    second.get_by_role("dialog").wait_for(state="hidden")
    drag(page, -220)
    page.get_by_text("removed in another window").wait_for()
    page.wait_for_url(re.compile(r"/open(\?|$)"))
    assert page.get_by_test_id("stException").count() == 0
    ready(page)
    projects = demo.home / "projects" / "projects"
    assert [folder.name for folder in projects.iterdir() if not folder.name.startswith(".")] == []
