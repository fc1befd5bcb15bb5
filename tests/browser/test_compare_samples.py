"""Compare, sample by sample, in a browser: the gallery, its pages, the file of samples, classes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.browser.test_flows import visit
from tests.support import App, ready

pytestmark = pytest.mark.browser
LONG = 120_000  # milliseconds, for both models over 1,000 samples


@pytest.fixture(scope="module")
def demo(serve: Callable[..., App]) -> App:
    """A demo of its own."""
    return serve("demo")


def titles(page: Any) -> list[str]:
    return [re.sub(r"\s+", " ", text) for text in page.locator("article.card h4").all_inner_texts()]


def test_samples_are_looked_through_and_taken_along(page: Any, demo: App) -> None:
    visit(page, demo.url, "Compare")
    page.locator("article.card").first.wait_for(timeout=LONG)
    page.get_by_text(
        re.compile("answers otherwise than float on [0-9]+ of 1,000 evaluation samples")
    ).wait_for()
    first = titles(page)
    assert len(first) == 12
    assert all(re.fullmatch(r"Sample [0-9,]+ · label \d", title) for title in first)
    shown = page.locator("article.card").first
    assert shown.locator("img").first.get_attribute("alt") == f"{first[0].split(' · ')[0]}: image"
    assert shown.locator(".badge.good").first.inner_text().startswith("float: ")

    larger = page.get_by_role("button", name=f"Enlarge {first[0]}")
    larger.focus()
    page.keyboard.press("Enter")
    page.locator("article.card.large").wait_for()
    assert larger.get_attribute("aria-pressed") == "true"

    page.get_by_role("button", name="Next").first.click()
    page.get_by_text("13–24 of").wait_for()
    page.locator("article.card h4", has_text=first[0]).wait_for(state="detached")
    assert not set(first) & set(titles(page))

    with page.expect_download(timeout=LONG) as download:
        page.get_by_role("button", name=re.compile("Download [0-9]+ samples")).click()
    with np.load(download.value.path()) as arrays:
        assert {"image", "labels", "index", "float/logits"} <= set(arrays)
        assert len(arrays["index"]) == len(arrays["image"])


def test_classes_that_lose_are_shown(page: Any, demo: App) -> None:
    visit(page, demo.url, "Compare")
    page.locator("article.card").first.wait_for(timeout=LONG)
    page.get_by_role("radio", name="Classes").click()
    page.get_by_text("Of the samples with each label").wait_for()
    page.locator("[class*=st-key-samples_matrix] .js-plotly-plot").wait_for()
    ready(page)
    page.get_by_role("radio", name="Samples", exact=True).click()
    page.locator("article.card").first.wait_for()
