"""The list of recent projects in a browser, and the command line that Export shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantscope.sample_data import SAMPLES
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


def test_a_model_is_refused_beside_the_button_and_opened_when_that_is_put_right(
    page: Any, serve: Callable[..., App], tmp_path: Path
) -> None:
    """Also: evaluation data given later; a sample that starts fresh."""
    sample = SAMPLES["digits_mlp"]
    broken, fine = tmp_path / "broken.onnx", tmp_path / "fine.onnx"
    fine.write_bytes(sample.model.read_bytes())
    broken.write_bytes(sample.model.read_bytes()[:-500])
    app = serve("app")
    page.goto(app.url)
    ready(page)

    def fill(label: str, words: Path) -> None:
        ready(page)  # a field that is being drawn anew takes no words
        field = page.get_by_label(label, exact=True)
        field.fill(str(words))
        field.press("Enter")
        ready(page)
        assert field.input_value() == str(words)

    fill("Path of the model", broken)
    fill("Path of the data", sample.calibration)
    page.locator(".st-key-calibrate button:enabled").wait_for()  # both paths have been looked at
    ready(page)
    calibrate = page.get_by_role("button", name="Calibrate")
    calibrate.click()
    refusal = page.get_by_text("is truncated")
    refusal.wait_for()
    assert refusal.bounding_box()["y"] > calibrate.bounding_box()["y"]
    assert refusal.bounding_box()["y"] < page.viewport_size["height"]  # where the user looks
    fill("Path of the model", fine)
    refusal.wait_for(state="detached")
    ready(page)
    calibrate.click()
    page.wait_for_url(re.compile("/overview"))
    page.get_by_role("button", name="Add evaluation data").click()
    dialog = page.get_by_role("dialog")
    fill("Path of the evaluation data", sample.evaluation)
    dialog.get_by_role("button", name="Judge on these").click()
    dialog.wait_for(state="detached")
    page.get_by_test_id("stSidebar").get_by_text("Judged on: 1,000 samples").wait_for()
    page.get_by_role("button", name="Change evaluation data").click()
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    ready(page)
    assert page.get_by_role("dialog").count() == 0


def test_the_server_gone_is_said_once(page: Any, serve: Callable[..., App]) -> None:
    app = serve("app")
    page.goto(app.url)
    ready(page)
    app.kill()
    lost = "[data-testid=stApp]:not([data-test-connection-state=CONNECTED])"
    page.locator(lost).wait_for()
    page.locator(".stDialog").wait_for(state="attached")
    assert not page.locator(".stDialog").is_visible()
