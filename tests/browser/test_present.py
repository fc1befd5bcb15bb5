"""The presentation in a browser: keys turn its slides, nothing is edited, and it can be sent as one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_flows import saved, visit
from tests.support import App, at_rest, ready

pytestmark = pytest.mark.browser
# Whether a slide shows all that is on it; one drawn for another size of the window is given time to follow.
FITS = """(slide) => new Promise((done) => {
  const end = performance.now() + 20000;
  const look = () => {
    const fits = slide.scrollHeight <= slide.clientHeight + 1 && slide.scrollWidth <= slide.clientWidth + 1;
    if (fits || performance.now() > end) done(fits);
    else requestAnimationFrame(look);
  };
  look();
})"""


@pytest.fixture(scope="module")
def demo(serve: Callable[..., App]) -> App:
    """A demo of its own."""
    return serve("demo")


def slide(page: Any, key: str) -> None:
    """Wait until a slide is shown."""
    page.locator(f".stage .slide[data-slide={key}]").wait_for()


def complete(page: Any, url: str) -> Any:
    """The page with all its figures there; the button that downloads the story."""
    visit(page, url, "Present")
    slide(page, "opening")
    button = page.get_by_role("button", name="Download as one HTML file", disabled=False)
    button.wait_for()
    ready(page)
    return button


def test_keys_turn_the_slides_and_escape_leaves(page: Any, demo: App) -> None:
    complete(page, demo.url)
    page.get_by_role("button", name="Present", exact=True).click()
    deck = page.locator("dialog.deck.presenting")
    deck.wait_for()
    for key, shown in (
        ("ArrowRight", "idea"),
        (" ", "values"),
        ("PageDown", "steps"),
        ("ArrowLeft", "values"),
        ("End", "words"),
        ("Home", "opening"),
    ):
        page.keyboard.press(key)
        slide(page, shown)
    page.keyboard.press("n")
    page.get_by_text("Speaker's notes").wait_for()
    page.keyboard.press("n")
    page.get_by_text("Speaker's notes").wait_for(state="hidden")
    page.get_by_role("button", name="Slide 2:").click()
    slide(page, "idea")
    box = at_rest(page.locator(".stage"))
    page.mouse.click(box["x"] + 0.7 * box["width"], box["y"] + 0.5 * box["height"])
    slide(page, "values")
    page.mouse.click(box["x"] + 0.1 * box["width"], box["y"] + 0.5 * box["height"])
    slide(page, "idea")
    page.keyboard.press("Escape")
    deck.wait_for(state="detached")
    slide(page, "idea")
    assert saved(page) == 1


@pytest.mark.parametrize(("width", "height"), [(1024, 768), (1280, 720), (1920, 1080)])
def test_nothing_is_cut_on_any_slide(page: Any, demo: App, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    complete(page, demo.url)
    page.get_by_role("button", name="Present", exact=True).click()
    page.locator("dialog.deck.presenting").wait_for()
    count = page.locator(".rail button").count()
    assert count >= 10
    for _ in range(count):
        assert page.locator(".stage .slide").evaluate(FITS)
        page.keyboard.press("ArrowRight")


def test_the_story_is_sent_as_one_file_and_printed(page: Any, demo: App, tmp_path: Path) -> None:
    button = complete(page, demo.url)
    with page.expect_download() as download:
        button.click()
    path = tmp_path / "story.html"
    download.value.save_as(path)
    page.goto("about:blank")
    page.set_content(path.read_text(encoding="utf-8"))
    slide(page, "opening")
    page.keyboard.press("ArrowRight")
    slide(page, "idea")
    printed = page.pdf(prefer_css_page_size=True)
    assert printed.count(b"/Type /Page\n") == page.locator(".rail button").count()
    assert page.locator(".quantscope-sheets").count() == 0
