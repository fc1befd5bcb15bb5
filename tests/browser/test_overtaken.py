"""A component that is called once more, at whatever moment, works as any other.

Streamlit calls a component for each new value, and with the same one where the page is drawn anew. A call
that the next one overtakes while the script still loads has its cleanup run at once, and that is after the
next call. Here every call is overtaken like that, or comes again and again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.test_flows import drag, inspector, saved, saved_anew, tile, visit
from tests.support import App, outdated, ready, watch_figures
from tests.wire import wrapping

pytestmark = pytest.mark.browser
OVERTAKEN = wrapping(
    "export default ",  # all of them
    """(shown) => (component) => {
  window.overtaken = (window.overtaken || 0) + 1;
  const first = shown(component), second = shown(component);
  Promise.resolve().then(first);
  return second;
}""",
)
AGAIN = wrapping(
    "export default ",
    """(shown) => (component) => {
  const at = component.parentElement;
  clearInterval(at.again);
  let last = shown(component);
  const mine = (at.again = setInterval(() => {
    last = shown(component);
    window.again = (window.again || 0) + 1;
  }, 60));
  return () => {
    if (at.again === mine) clearInterval(mine);
    last?.();
  };
}""",
)


@pytest.fixture(scope="module")
def demo(serve: Callable[..., App]) -> App:
    return serve("demo")


def test_a_drag_is_followed_and_answered(page: Any, demo: App) -> None:
    page.add_init_script(OVERTAKEN)
    inspector(page, demo.url)
    assert page.evaluate("window.overtaken") > 3
    before, step = tile(page, "sqnr"), saved(page)
    watch_figures(page)
    drag(page, -200, release=False)
    live = tile(page, "sqnr")
    assert live not in ("", before)
    outdated(page)
    page.mouse.up()
    saved_anew(page, step)
    page.locator("#network:not(.busy):not(.outdated)").wait_for()
    assert tile(page, "sqnr") == live


def test_what_is_measured_arrives_and_the_graph_opens_a_layer(page: Any, demo: App) -> None:
    page.add_init_script(OVERTAKEN)
    visit(page, demo.url, "Overview")
    page.get_by_text("measuring…").first.wait_for(state="detached")
    graph = page.locator("#graph")
    graph.locator("[data-layer]").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/inspector?*")


def test_slides_are_turned(page: Any, demo: App) -> None:
    page.add_init_script(OVERTAKEN)
    visit(page, demo.url, "Present")
    page.get_by_role("button", name="Download as one HTML file", disabled=False).wait_for()
    ready(page)
    page.get_by_role("button", name="Present", exact=True).click()
    page.locator("dialog.deck.presenting").wait_for()
    page.keyboard.press("End")
    page.locator(".stage .slide[data-slide=words]").wait_for()


def test_what_keys_have_moved_is_not_taken_back_before_it_is_saved(page: Any, demo: App) -> None:
    page.add_init_script(AGAIN)
    inspector(page, demo.url)
    step, slider = saved(page), page.get_by_role("slider", name=re.compile("High end|threshold"))
    before = float(slider.get_attribute("aria-valuenow"))
    slider.focus()
    for _ in range(4):
        page.keyboard.press("PageDown")
        page.wait_for_timeout(150)
    live = float(slider.get_attribute("aria-valuenow"))
    assert live < before
    saved_anew(page, step)
    page.locator("#threshold[data-state=exact]").wait_for()
    assert float(slider.get_attribute("aria-valuenow")) == live
    assert page.evaluate("window.again") > 20


def test_an_enlarged_sample_stays_so_and_keeps_the_focus(page: Any, demo: App) -> None:
    page.add_init_script(AGAIN)
    visit(page, demo.url, "Compare")
    page.locator("article.card").first.wait_for(timeout=120_000)  # both models over 1,000 samples
    ready(page)
    page.locator("article.card .larger").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(400)
    assert page.locator("article.card.large").count() == 1
    page.keyboard.press("Enter")
    page.wait_for_timeout(400)
    assert page.locator("article.card.large").count() == 0
