"""What a user does in a browser: drag a range, move it by keys, undo, find a layer, export, come back."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support import App, at_rest, outdated, ready, watch_figures

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def demo(serve: Callable[..., App]) -> App:
    """A demo that the tests of this file change."""
    return serve("demo")


def visit(page: Any, url: str, name: str) -> None:
    """Open a page of the project that is shown."""
    page.goto(url)
    ready(page)
    link(page, name)


def link(page: Any, name: str) -> None:
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()
    path = "(overview)?" if name == "Overview" else name.lower()  # the first page has no path of its own
    page.wait_for_url(re.compile(rf"//[^/]+/{path}(\?|$)"))
    ready(page)


def inspector(page: Any, url: str) -> Any:
    """The Inspector's chart, drawn and at rest."""
    visit(page, url, "Inspector")
    chart = page.locator("#threshold[data-state=exact]")
    chart.wait_for()
    page.locator("[data-card='Output SQNR']:not(.waiting)").wait_for()
    ready(page)  # what polled for the figures is drawn once more when they are there
    at_rest(chart.locator(".plot"))
    return chart


def tile(page: Any, key: str) -> str:
    return str(page.locator(f"#figures .tile[data-key={key}] .value").inner_text())


def drag(page: Any, dx: float, *, side: str = "high", release: bool = True) -> None:
    box = at_rest(page.locator(f"g.handle[data-side={side}] .grip"))
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 7):
        page.mouse.move(x + dx * step / 6, y)
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    if release:
        page.mouse.up()


def use_mark(page: Any, method: str) -> None:
    """Choose a method by its flag, alone or among those that agree with it."""
    flag = page.locator(f"#threshold .flag[data-methods~={method}]").first
    flag.hover()
    entry = flag.locator(f".menu [data-method={method}]")
    entry.wait_for()  # first: a click that has to wait scrolls the page, and the list would close
    entry.click()


def card(page: Any, name: str) -> str:
    return str(page.locator(f"[data-card='{name}'] .value").inner_text())


def saved(page: Any) -> int:
    """Number of the step that the sidebar says is saved."""
    found = re.search(r"step (\d+)", page.get_by_test_id("stSidebar").get_by_text("Saved").inner_text())
    assert found is not None
    return int(found[1])


def saved_anew(page: Any, before: int) -> None:
    """Wait until another step than `before` is shown as saved."""
    page.wait_for_function(
        "before => !document.querySelector('[data-testid=stSidebar]').innerText.includes(before)",
        arg=f"step {before}:",
    )


def test_demo_is_usable_at_once(page: Any, serve: Callable[..., App]) -> None:
    started = time.monotonic()
    app = serve("demo")
    page.goto(app.url)
    page.locator("[data-card='Layers in int8']").wait_for()
    assert time.monotonic() - started < 25  # the goal of 5 s is measured on a quiet machine
    page.locator("[data-card='Top-1']:not(.waiting)").wait_for()
    assert card(page, "Top-1").endswith("%")
    assert page.get_by_test_id("stException").count() == 0


def test_drag_changes_everything_and_undo_brings_it_back(page: Any, demo: App) -> None:
    inspector(page, demo.url)
    before = tile(page, "range"), tile(page, "sqnr"), card(page, "Output SQNR"), saved(page)
    watch_figures(page)
    drag(page, -220, release=False)
    page.locator("#threshold[data-state=live]").wait_for()
    assert tile(page, "range") != before[0]  # follows the cursor
    outdated(page)  # the network's figures are not these any more
    live = tile(page, "range")
    page.mouse.up()
    page.locator("#threshold[data-state=exact]").wait_for()
    page.locator("#network[data-token]:not(.outdated)").wait_for()
    page.locator("[data-card='Output SQNR']:not(.waiting)").wait_for()
    assert tile(page, "range") == live  # the line stays where it was left
    assert tile(page, "sqnr") != before[1]
    saved_anew(page, before[3])
    page.locator("body").press("Control+z")
    page.wait_for_function("wanted => document.body.innerText.includes(wanted)", arg=f"step {before[3]}:")
    page.wait_for_timeout(300)
    ready(page)
    assert (tile(page, "range"), tile(page, "sqnr"), card(page, "Output SQNR")) == before[:3]


def test_escape_takes_a_drag_back(page: Any, demo: App) -> None:
    inspector(page, demo.url)
    before = tile(page, "range"), saved(page)
    drag(page, -150, release=False)
    page.locator("#threshold[data-state=live]").wait_for()
    page.keyboard.press("Escape")
    page.locator("#threshold[data-state=exact]").wait_for()
    page.mouse.up()
    page.wait_for_timeout(400)
    assert (tile(page, "range"), saved(page)) == before
    assert page.locator("#network.outdated").count() == 0


def test_a_held_line_shows_what_the_network_makes_of_it(page: Any, demo: App) -> None:
    inspector(page, demo.url)
    before = card(page, "Output SQNR"), saved(page), tile(page, "range")
    watch_figures(page)
    drag(page, -420, release=False)
    page.locator("#threshold[data-state=live]").wait_for()
    outdated(page)
    page.locator("#network[data-token]:not(.outdated)").wait_for()
    page.locator("[data-card='Output SQNR']:not(.waiting)").wait_for()
    held, shown = card(page, "Output SQNR"), tile(page, "range")
    assert held != before[0]
    assert shown != before[2]
    assert page.locator("#threshold[data-state=live]").count() == 1  # still in the hand
    assert saved(page) == before[1]
    page.keyboard.press("Escape")
    page.locator("#threshold[data-state=exact]").wait_for()
    page.wait_for_function(
        """wanted => {
          const find = (root) => root.querySelector("[data-card='Output SQNR'] .value")
            || [...root.querySelectorAll("*")].map((e) => e.shadowRoot && find(e.shadowRoot)).find(Boolean);
          return find(document)?.textContent === wanted;
        }""",
        arg=before[0],
    )
    page.mouse.up()
    assert (tile(page, "range"), saved(page)) == (before[2], before[1])
    assert page.locator("#network.outdated").count() == 0


def test_keys_move_the_line(page: Any, demo: App) -> None:
    inspector(page, demo.url)
    slider = page.get_by_role("slider", name=re.compile("High end|threshold"))
    step = saved(page)
    before = float(slider.get_attribute("aria-valuenow"))
    slider.focus()
    for key in ("ArrowLeft", "ArrowLeft", "PageDown"):
        page.keyboard.press(key)
    page.locator("#threshold[data-state=live]").wait_for()
    page.locator("#threshold[data-state=exact]").wait_for()
    after = float(slider.get_attribute("aria-valuenow"))
    assert after < before
    assert "SQNR" in slider.get_attribute("aria-valuetext")
    saved_anew(page, step)
    assert slider.evaluate("node => node === node.getRootNode().activeElement")  # focus survives
    page.wait_for_timeout(700)
    first = saved(page)
    page.locator("body").press("Control+z")
    saved_anew(page, first)
    assert saved(page) == step  # one step for the whole movement
    slider.focus()
    page.keyboard.press("ArrowLeft")
    slider.evaluate("node => node.blur()")  # who goes on at once loses nothing
    saved_anew(page, step)


def test_a_mark_uses_its_method(page: Any, demo: App) -> None:
    inspector(page, demo.url)
    use_mark(page, "mse")
    page.locator("g.mark.used[data-method=mse]").wait_for(state="attached")
    ready(page)
    assert page.get_by_test_id("stSidebar").get_by_text("MSE").count() == 1


STOPWATCH = """() => {
  const find = (root) => {
    for (const e of root.querySelectorAll("*")) {
      const hit = e.shadowRoot && (e.shadowRoot.querySelector("#threshold") || find(e.shadowRoot));
      if (hit) return hit;
    }
  };
  const chart = find(document);
  window.answered = null;
  window.addEventListener("pointerup", () => {
    const begin = performance.now();
    const look = () => {
      if (chart.dataset.state === "exact") window.answered = performance.now() - begin;
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }, { once: true, capture: true });
}"""


def test_drags_are_answered_quickly(page: Any, demo: App) -> None:
    """The goal is 150 ms on a quiet machine; here a bound that only a blocked page breaks."""
    inspector(page, demo.url)
    times = []
    for number in range(6):
        drag(page, -30 if number % 2 else 24, release=False)
        page.locator("#threshold[data-state=live]").wait_for()
        page.evaluate(STOPWATCH)
        page.mouse.up()
        page.wait_for_function("window.answered !== null")
        times.append(page.evaluate("window.answered"))
        page.locator("[data-card='Output SQNR']:not(.waiting)").wait_for()
        page.wait_for_timeout(250)
    assert sorted(times)[len(times) // 2] < 1500, times


@pytest.mark.parametrize("path", ["open", "overview", "layers", "sensitivity", "playground"])
def test_every_page_has_an_address(page: Any, demo: App, path: str) -> None:
    page.goto(f"{demo.url}/{path}")
    ready(page)
    page.wait_for_url(re.compile(rf"/{path}\?project="))
    assert page.get_by_text("Page not found").count() == 0


def test_graph_opens_a_layer_by_click_and_by_key(page: Any, demo: App) -> None:
    visit(page, demo.url, "Overview")
    node = page.locator("g.node").nth(4)
    name = node.get_attribute("data-layer")
    node.click()
    page.wait_for_url(re.compile("/inspector"))
    ready(page)
    page.wait_for_function(
        "wanted => document.querySelector('input[role=combobox]')?.value.includes(wanted)", arg=name
    )
    link(page, "Overview")
    page.locator("g.node").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/inspector"))


def test_table_opens_a_layer(page: Any, demo: App) -> None:
    visit(page, demo.url, "Layers")
    canvas = page.locator("[data-testid=stDataFrame] canvas").first
    canvas.wait_for()
    page.wait_for_timeout(500)  # the grid sizes its columns once more
    box = at_rest(canvas)
    page.mouse.click(box["x"] + 204 + 32, box["y"] + 36 + 35 * 2 + 17)
    page.wait_for_url(re.compile("/inspector"))


def test_export_gives_the_verified_file(page: Any, demo: App) -> None:
    visit(page, demo.url, "Export")
    page.get_by_text("Verified.").wait_for()
    digest = page.get_by_text(re.compile("SHA-256 [0-9a-f]{64}")).inner_text().split()[-1]
    with page.expect_download() as download:
        page.get_by_role("button", name=re.compile("Model, ")).click()
    content = Path(download.value.path()).read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest
    assert download.value.suggested_filename.endswith("_int8.onnx")
    ops = {node.op_type for node in onnx.load_from_string(content).graph.node}
    assert "QuantizeLinear" in ops
    with page.expect_download() as download:
        page.get_by_role("button", name="Recipe", exact=True).click()
    assert "target" in Path(download.value.path()).read_text(encoding="utf-8")


CUT_OFF = """() => {
  const out = [], watched = ".value, .note, .name, [data-testid=stMarkdownContainer] p";
  const walk = (root) => {
    for (const e of root.querySelectorAll("*")) {
      const text = e.matches(watched) && e.clientWidth && getComputedStyle(e).display !== "inline";
      if (text && e.scrollWidth > e.clientWidth + 1) out.push(e.textContent);
      if (e.shadowRoot) walk(e.shadowRoot);
    }
  };
  walk(document);
  return out;
}"""


@pytest.mark.parametrize(
    "name", ["Overview", "Layers", "Inspector", "Sensitivity", "Playground", "Export", "Open"]
)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_fits_1280_pixels(browser: Any, demo: App, name: str, theme: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme=theme)
    tab = context.new_page()
    visit(tab, demo.url, name)
    tab.wait_for_timeout(1200)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 1280
    cut = tab.evaluate(CUT_OFF)
    assert cut == []
    assert tab.get_by_test_id("stException").count() == 0
    context.close()


def test_killed_and_started_again_it_is_as_it_was(page: Any, serve: Callable[..., App]) -> None:
    app = serve("demo")
    inspector(page, app.url)
    drag(page, -180)
    page.locator("#threshold[data-state=exact]").wait_for()
    page.get_by_text("step 2:").wait_for()
    shown, address = tile(page, "range"), page.url
    app.kill()
    app.stop()  # closes its log
    app.start()
    page.goto(address)
    page.locator("#threshold[data-state=exact]").wait_for(timeout=30_000)
    assert tile(page, "range") == shown
    assert saved(page) == 2


def slow_model(folder: Path) -> tuple[Path, Path]:
    """A model and data whose calibration takes some seconds."""
    generator = np.random.default_rng(0)
    nodes, weights, current = [], [], "x"
    for i in range(12):
        shape = (24, 3 if i == 0 else 24, 3, 3)
        weights.append(numpy_helper.from_array(generator.normal(0, 0.1, shape).astype(np.float32), f"w{i}"))
        nodes.append(helper.make_node("Conv", [current, f"w{i}"], [f"c{i}"], name=f"conv{i}", pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], name=f"relu{i}"))
        current = f"r{i}"
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, 112, 112])
        for name, channels in (("x", 3), (current, 24))
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        folder / "slow.onnx",
    )
    np.savez(folder / "slow.npz", x=generator.normal(size=(300, 3, 112, 112)).astype(np.float32))
    return folder / "slow.onnx", folder / "slow.npz"


def test_calibration_survives_reload_and_is_cancelled(
    page: Any, serve: Callable[..., App], tmp_path: Path
) -> None:
    model, data = slow_model(tmp_path)
    app = serve("app", model, "--data", data)
    page.goto(app.url)
    progress = page.get_by_test_id("stProgress")
    progress.wait_for()
    page.get_by_text(re.compile(r"\d+ of 300")).first.wait_for()
    link(page, "Layers")
    progress.wait_for()  # goes on, on another page
    page.reload()
    progress.wait_for()
    count = int(re.search(r"([\d,]+) of 300", progress.inner_text())[1].replace(",", ""))  # type: ignore[index]
    assert count > 0
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("was cancelled").wait_for()
    page.get_by_role("button", name="Try again").click()
    progress.wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("was cancelled").wait_for()
    assert page.get_by_test_id("stException").count() == 0


def test_a_lost_connection_is_said(page: Any, serve: Callable[..., App]) -> None:
    app = serve("demo")
    page.goto(app.url)
    ready(page)
    said = """() => {
      const style = getComputedStyle(document.querySelector("[data-testid=stApp]"), "::after");
      return style.content.includes("Connection lost") && style.opacity === "1";
    }"""
    assert not page.evaluate(said)
    app.kill()
    page.wait_for_function(said)
