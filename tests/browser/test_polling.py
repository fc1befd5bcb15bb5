"""The page asks for new runs by itself, and never in the way of what the user has just done."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.test_flows import visit

pytestmark = pytest.mark.browser

ENDED = "window.dispatchEvent(new Event('quantscope-ready'))"  # a background measurement has ended
KEY = f"""(() => {{
  const send = WebSocket.prototype.send;
  const glance = (data) => new TextDecoder().decode(data).includes("glance_");  // a look now and then
  WebSocket.prototype.send = function (data) {{
    if (!glance(data)) window.asked ??= Date.now();
    return send.call(this, data);
  }};
  window.addEventListener("keydown", () => {{ window.pressed = Date.now(); setTimeout(() => {ENDED}); }});
}})()"""  # a background measurement ends right after a key, and the page notes when it asks
BUSY = """const later = window.setTimeout, due = [];
window.setTimeout = (run, wait, ...args) => (wait ? later(run, wait, ...args) : due.push(() => run(...args)));
window.addEventListener("click", () => {
  window.setTimeout = later;
  later(() => due.forEach((run) => run()), 1);
}, { capture: true, once: true })"""
STALL = """window.addEventListener("click", (event) => {
  event.preventDefault();
  event.stopImmediatePropagation();
}, { capture: true, once: true })"""


def rest(page: Any) -> int:
    """Wait until no part of the page is asked for any more; how often the whole was, so far."""
    before = None
    while before != (before := [page.wire.asked(key) for key in ("refresh", "tick")]):
        page.wait_for_timeout(1200)
    return int(before[0])


def until_asked(page: Any, count: int, named: str = "") -> None:
    """Wait until the whole page was asked for that often, by the name of one page if it is given."""
    for _ in range(600):
        if page.wire.asked("refresh", named) >= count:
            break
        page.wait_for_timeout(50)
    assert page.wire.asked("refresh", named) == count


def test_a_key_is_answered_before_the_page_asks(page: Any, app_url: str) -> None:
    visit(page, app_url, "Layers")
    before = rest(page)
    page.evaluate(KEY)
    page.keyboard.press("Shift")
    until_asked(page, before + 1)
    assert page.evaluate("window.asked - window.pressed") > 450
    assert rest(page) == before + 1


def test_a_page_on_its_way_is_not_turned_back(page: Any, app_url: str) -> None:
    visit(page, app_url, "Layers")
    before = rest(page)
    page.evaluate(STALL)  # as if the server took its time
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Export").click()
    page.evaluate(ENDED)
    page.wait_for_timeout(2500)
    assert page.wire.asked("refresh") == before
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Export").click()
    page.wait_for_url("**/export?*")


def test_what_was_asked_before_a_click_is_not_sent_after_it(page: Any, app_url: str) -> None:
    """Else it would name the page that was left, and lead back to it."""
    visit(page, app_url, "Layers")
    rest(page)
    layers = page.wire.page
    before = page.wire.asked("refresh", layers)
    page.evaluate(BUSY)  # what is due at once comes after the next click
    page.evaluate(ENDED)
    until_asked(page, before + 1, layers)
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Export").click()
    page.wait_for_url("**/export?*")
    page.wait_for_timeout(2500)
    rest(page)
    assert page.wire.page != layers
    assert page.wire.asked("refresh", layers) == before + 1
    assert "/export" in page.url


def test_a_dialog_stays_until_it_is_answered(page: Any, app_url: str) -> None:
    """A run of the whole page would put another in its place, and lose what is done to it meanwhile."""
    visit(page, app_url, "Open")
    page.locator("[class*='st-key-remove_'] button").first.click()
    page.get_by_role("dialog").wait_for()
    before = rest(page)
    page.evaluate("document.querySelector('[role=dialog]').first = true")
    page.evaluate(ENDED)
    page.wait_for_timeout(2000)
    assert page.wire.asked("refresh") == before
    assert page.evaluate("document.querySelector('[role=dialog]').first")
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    until_asked(page, before + 1)
    assert page.get_by_role("dialog").count() == 0
