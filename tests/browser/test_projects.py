"""The list of recent projects in a browser, and the command line that Export shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from quantscope.ui.content import shells
from tests.support import App, ready

pytestmark = pytest.mark.browser


def test_a_removed_project_leaves_the_list_and_the_page(page: Any, serve: Callable[..., App]) -> None:
    app = serve("demo", "digits_mlp")
    page.goto(app.url)
    ready(page)
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Export").click()
    tabs = page.get_by_role("tab")
    tabs.first.wait_for()
    assert tabs.all_inner_texts() == [shell.name for shell in shells.shells()]
    page.get_by_role("tab", name="Windows, cmd").click()
    page.get_by_role("tabpanel").get_by_text("--recipe digits_mlp_recipe.yaml ^").wait_for()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Open").click()
    page.get_by_text("Recent projects").wait_for()
    page.locator(".st-key-remove_sample-digits-mlp button").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    page.get_by_text("Recent projects").wait_for(state="detached")
    page.get_by_role("dialog").wait_for(state="detached")
    assert page.get_by_text("Open a model").is_visible()
