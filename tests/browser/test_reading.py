"""Every page reads: contrast in both themes, names without codes of icons, and a focus that is seen."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.contrast import texts, too_faint
from tests.support import ready

pytestmark = pytest.mark.browser

ICON_CODES = re.compile(r"\b[a-z]+(_[a-z]+)* icon\b|\b(chevron|arrow|keyboard|expand|play)_[a-z_]+\b")


def pages(page: Any, url: str) -> Iterator[str]:
    """Each page of the sidebar in turn, drawn."""
    page.goto(url)
    links = page.get_by_test_id("stSidebarNavLink")
    links.first.wait_for()
    ready(page)
    for path in [str(link.get_attribute("href")).rsplit("/", 1)[-1] for link in links.all()]:
        page.locator(f"[data-testid=stSidebarNavLink][href$='{path}']").click()
        page.wait_for_url(re.compile(rf"/{path.partition('?')[0]}(\?|$)"))
        ready(page)
        page.locator("h1").first.wait_for()
        yield path


def settled(look: Callable[[], list[str]], seconds: float = 20.0) -> list[str]:
    """What `look` finds, once that is nothing, or what it still finds after that time."""
    end = time.monotonic() + seconds
    while (found := look()) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def unnamed(page: Any) -> list[str]:
    """Names of controls that are empty, or hold the code of an icon."""
    snapshot = page.locator("body").aria_snapshot()
    names = re.findall(r"(?:button|link|tab|radio|checkbox|slider) \"([^\"]*)\"", snapshot)
    return [name for name in names if not name or ICON_CODES.search(name)]


# How numbers and words are not written on pages, outside of code.
WRONG = {
    "not ∞": re.compile(r"\b(Infinity|inf|NaN|nan)\b"),
    "not −": re.compile(r"(?<![\w.)\]/–-])-\d"),
    "no comma": re.compile(r"(?<![\w.,#/:×-])\d{4,}(?![\w.]|,\d)"),
    "no space before %": re.compile(r"\d%"),
    "plural": re.compile(r"\w\(s\)|\b1 (layers|samples|values|steps|points|runs|notes|outputs|rows)\b"),
    "a method's key": re.compile(r"\b(kl_v2|minmax|moving_average|aciq|octav|per_tensor|per_channel)\b"),
}


def misspelt(page: Any) -> list[str]:
    """Texts with a number or a word that pages write otherwise."""
    said = [t["text"] for t in texts(page) if not t["code"]]
    return [f"{what}: {words}" for words in said for what, wrong in WRONG.items() if wrong.search(words)]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_read_and_numbers_are_written_one_way(page: Any, app_url: str, theme: str) -> None:
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": 1280, "height": 720})
    for path in pages(page, app_url):
        # What is being drawn anew is faint for a moment.
        left = settled(
            lambda: too_faint(page) + misspelt(page) if len(texts(page)) > 20 else ["hardly any text"]
        )
        assert not left, f"{path}, {theme}:\n" + "\n".join(left)


def test_names_are_words_and_the_focus_is_seen(page: Any, app_url: str) -> None:
    for path in pages(page, app_url):
        left = settled(lambda: unnamed(page))
        assert not left, f"{path}: {left}"
    link = page.get_by_test_id("stSidebarNavLink").first
    page.keyboard.press("Tab")
    link.focus()
    assert "2px" in link.evaluate("e => getComputedStyle(e).outlineWidth")
