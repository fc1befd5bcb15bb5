"""History and Compare in a browser: the tree of steps, by mouse and by keys, and what is compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantscope.core.project import project as projects
from quantscope.core.recipe import Recipe, recipe_to_yaml
from quantscope.ui.session import opening
from tests.support import App, ready

pytestmark = pytest.mark.browser


def with_steps(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A project of three steps in the server's home; its id."""
    monkeypatch.setenv("QUANTSCOPE_HOME", str(home / "projects"))
    project = opening.open_sample("digits_mlp")
    for method in ("kl", "mse"):
        recipe = Recipe().with_default(method=method)
        project = projects.record(project, recipe_to_yaml(recipe), f"{method} everywhere")
    return project.id


def test_steps_are_chosen_compared_and_shown_again(
    page: Any, serve: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = serve("app")
    id = with_steps(app.home, monkeypatch)
    page.goto(f"{app.url}/history?project={id}")
    rows = page.locator("#steps tr[data-step]")
    rows.first.wait_for()
    assert [row.get_attribute("data-step") for row in rows.all()] == ["3", "2", "1"]
    ready(page)
    rows.last.click()
    page.get_by_text("the first step").wait_for()
    ready(page)
    rows.last.press("ArrowUp")
    page.locator("#steps tr[data-step='2']:focus").wait_for()
    page.locator("#steps tr[data-step='2']").press("Space")
    page.get_by_role("button", name="Compare with the shown step").and_(page.locator(":enabled")).click()
    page.get_by_role("heading", name="Compare", exact=True).wait_for()
    page.get_by_text("KL → MSE").wait_for()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="History").click()
    page.locator("#steps tr[data-step='2']").click()
    page.get_by_text("Step 2: kl everywhere").wait_for()  # before, the button is that of step 1
    ready(page)
    page.get_by_role("button", name="Go back to this step").click()
    page.get_by_text("Saved · step 2").wait_for()
