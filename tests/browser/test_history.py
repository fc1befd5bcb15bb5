"""History and Compare in a browser: the tree of steps, by mouse and by keys, and what is compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support import App, ready

pytestmark = pytest.mark.browser


def test_steps_are_chosen_compared_and_shown_again(page: Any, serve: Callable[..., App]) -> None:
    app = serve("demo", "digits_mlp")
    page.goto(app.url)
    ready(page)
    page.get_by_text("Saved · step 1").wait_for()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Layers").click()
    page.get_by_role("heading", name="Layers").wait_for()
    for method in ("KL", "MSE"):
        page.get_by_role("combobox", name="Strategy").first.click()
        page.get_by_role("option", name=method, exact=True).click()
        page.locator(".st-key-bulk_set button").click()
        page.get_by_text(f": {method} for").first.wait_for()
        ready(page)
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="History").click()
    rows = page.locator("#steps tr[data-step]")
    rows.first.wait_for()
    assert [row.get_attribute("data-step") for row in rows.all()] == ["3", "2", "1"]
    rows.last.click()
    page.get_by_text("the first step", exact=False).wait_for()
    ready(page)
    rows.last.press("ArrowUp")
    page.keyboard.press("Space")
    page.get_by_role("button", name="Compare with the shown step").and_(page.locator(":enabled")).click()
    page.get_by_role("heading", name="Compare", exact=True).wait_for()
    page.get_by_text("KL → MSE").wait_for()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="History").click()
    page.locator("#steps tr[data-step='2']").click()
    page.get_by_role("button", name="Go back to this step").click()
    page.get_by_text("Saved · step 2").wait_for()
