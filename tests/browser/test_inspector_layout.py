"""The Inspector on a laptop: line, histogram, curve and the network's answer on one screen; flags by keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.test_flows import card, drag, inspector, saved, saved_anew, tile
from tests.support import App, ready

pytestmark = pytest.mark.browser

BOXES = """() => {
  const boxes = {};
  const walk = (root) => {
    for (const e of root.querySelectorAll("*")) {
      if (e.matches("#figures, #network, #threshold .plot, .flag")) {
        const { top, bottom, left, right } = e.getBoundingClientRect(), key = e.id || e.classList[0];
        (boxes[key] ||= []).push({ top, bottom, left, right });
      }
      if (e.shadowRoot) walk(e.shadowRoot);
    }
  };
  walk(document);
  return boxes;
}"""


@pytest.fixture(scope="module")
def demo(serve: Callable[..., App]) -> App:
    """A demo that the tests of this file change."""
    return serve("demo")


@pytest.fixture
def laptop(browser: Any) -> Any:
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    yield context.new_page()
    context.close()


def test_line_curve_and_the_networks_answer_share_a_laptops_screen(laptop: Any, demo: App) -> None:
    inspector(laptop, demo.url)
    for _ in range(3):  # some layers of the network, with one clip line and with two
        boxes = laptop.evaluate(BOXES)
        for name in ("figures", "network", "plot"):
            (box,) = boxes[name]
            assert box["top"] >= 0
            assert box["bottom"] <= 720, (name, box)
        assert len({round(flag["top"]) for flag in boxes["flag"]}) <= 2
        for a in boxes["flag"]:
            assert a["right"] <= 1280
            for b in boxes["flag"]:
                assert a is b or a["right"] <= b["left"] or b["right"] <= a["left"] or a["top"] != b["top"]
        name = laptop.url
        laptop.keyboard.press("Alt+ArrowRight")
        laptop.wait_for_function("before => window.location.href !== before", arg=name)
        ready(laptop)
        laptop.locator("#threshold[data-state=exact]").wait_for()


def test_figures_stay_on_the_screen_while_the_page_scrolls(laptop: Any, demo: App) -> None:
    inspector(laptop, demo.url)
    laptop.get_by_test_id("stMain").evaluate("main => main.scrollTo(0, 500)")
    laptop.wait_for_function("() => document.querySelector('[data-testid=stMain]').scrollTop > 100")
    boxes = laptop.evaluate(BOXES)
    assert 0 <= boxes["figures"][0]["top"] < 20
    assert boxes["network"][0]["bottom"] < 120


def test_live_figures_are_those_of_the_server(laptop: Any, demo: App) -> None:
    """What is shown while the line is in the hand is what stands there once it is let go."""
    inspector(laptop, demo.url)
    step = saved(laptop)
    drag(laptop, -90, release=False)
    laptop.locator("#threshold[data-state=live]").wait_for()
    keys = ("range", "share", "sqnr", "cosine", "mse", "kl")
    live = [tile(laptop, key) for key in keys]
    laptop.mouse.up()
    laptop.locator("#threshold[data-state=exact]").wait_for()
    saved_anew(laptop, step)
    assert [tile(laptop, key) for key in keys] == live
    laptop.locator("[data-card='Output SQNR']:not(.waiting)").wait_for()
    assert card(laptop, "Output SQNR").endswith("dB")
    for row in ("#figures", "#network"):
        assert f"change since step {step}" in laptop.locator(f"{row} .heading").inner_text()


def test_a_flag_lists_its_methods_and_keys_choose_one(laptop: Any, demo: App) -> None:
    inspector(laptop, demo.url)
    flag = laptop.locator("#threshold .flag:has(button[aria-haspopup])").first
    flag.locator("> button").focus()
    laptop.keyboard.press("ArrowDown")
    entries = flag.locator(".menu button")
    assert entries.count() == len(str(flag.get_attribute("data-methods")).split()) > 1
    entries.first.wait_for()
    laptop.keyboard.press("Escape")
    entries.first.wait_for(state="hidden")
    wanted = flag.locator(".menu button:not(.used)").first.get_attribute("data-method")
    step = saved(laptop)
    while True:
        laptop.keyboard.press("ArrowDown")
        at = laptop.evaluate(
            """() => {
              let e = document.activeElement;
              while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;
              return e?.dataset?.method;
            }"""
        )
        if at == wanted:
            break
    laptop.keyboard.press("Enter")
    saved_anew(laptop, step)
    laptop.locator(f"g.mark.used[data-method={wanted}]").wait_for(state="attached")


def test_far_values_are_counted_and_a_zoom_has_bins_of_its_own(laptop: Any, demo: App) -> None:
    laptop.goto(f"{demo.url}/inspector?project=sample-digits-mobilenet&layer=image")
    ready(laptop)
    laptop.locator("#threshold[data-state=exact]").wait_for()
    laptop.locator("[data-card='Output SQNR']:not(.waiting)").wait_for()
    ready(laptop)
    said = laptop.locator("#threshold .outlier text").text_content()
    assert re.fullmatch(r"\d+ values at 64", said)
    whole = laptop.locator("#threshold path.hist").get_attribute("d")
    drag(laptop, -400)
    laptop.locator("#threshold[data-state=exact]").wait_for()
    assert laptop.locator("#threshold .outlier text").text_content() == said  # also where it is cut off
    laptop.get_by_role("button", name="Fit range").click()
    assert laptop.locator("#threshold path.hist").get_attribute("d") != whole
    assert "layer=image" in laptop.url
