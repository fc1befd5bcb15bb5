"""How long the Inspector takes to follow a hand, in a browser: `python benchmarks/bench_drag.py`.

Two times, each against what it cannot be faster than, measured in the same run:

    line      the mouse lets go of a clip line → the chart shows the server's figures; beside a bare Streamlit
              page whose component sends a number and gets it back
    network   the line is let go → the network's figures are shown; beside one run of the preview, which is
              building the integer model and running it over the preview samples

The goals are the bare round trip plus 60 ms, and one run of the preview plus 150 ms, both as p95. Networks:
the sample, MobileNetV2 (`--models` names the folder that holds it; without it random weights are taken), and
one of 300 layers that is made here. Needs playwright and a Chromium. Everything listens on 127.0.0.1 and
writes into a temporary folder.
"""

import argparse
import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from playwright.sync_api import Page, sync_playwright

from benchmarks.networks import mobilenet_v2
from quantscope.core.evaluate import float_reference, preview
from quantscope.core.project import Source
from quantscope.core.project import project as projects
from quantscope.core.quantize import resolve
from quantscope.core.recipe import Recipe
from quantscope.core.thresholds import Method
from quantscope.ui.runs.measurement_work import quantized_bytes
from quantscope.ui.session import opening
from quantscope.ui.session.workspace import Workspace, prepare

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
BARE = '''
import streamlit as st
echo = st.components.v2.component("echo", html="<button>0</button>", js="""
export default ({ data, parentElement, setTriggerValue }) => {
  const button = parentElement.querySelector("button");
  button.textContent = data.count;
  button.onclick = () => setTriggerValue("edit", { count: Number(button.textContent) + 1 });
}""")
def edited():
    st.session_state["count"] = st.session_state["echo"].edit["count"]
echo(key="echo", data={"count": st.session_state.get("count", 0)}, on_edit_change=edited)
'''
FIND = """const find = (root, wanted) => {
  for (const e of root.querySelectorAll("*")) {
    const hit = e.shadowRoot && (e.shadowRoot.querySelector(wanted) || find(e.shadowRoot, wanted));
    if (hit) return hit;
  }
};"""
STOPWATCH = f"""() => {{
  {FIND}
  window.times = {{}};
  window.addEventListener("pointerup", () => {{
    const begin = performance.now(), chart = find(document, "#threshold");
    const look = () => {{
      const network = find(document, "#network"), now = performance.now() - begin;
      if (!window.times.line && chart.dataset.state === "exact") window.times.line = now;
      const fresh = network && !network.classList.contains("outdated") && !network.querySelector(".waiting");
      if (window.times.line && fresh) window.times.network = now;
      else requestAnimationFrame(look);
    }};
    requestAnimationFrame(look);
  }}, {{ once: true, capture: true }});
}}"""
ECHO = f"""() => new Promise((done) => {{
  {FIND}
  const button = find(document, "button"), before = button.textContent, begin = performance.now();
  button.click();
  const changed = () => button.textContent !== before;
  const look = () => changed() ? done(performance.now() - begin) : requestAnimationFrame(look);
  requestAnimationFrame(look);
}})"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def server(command: list[str], port: int, log: Path) -> Iterator[str]:
    """A server process that answers on a port, ended when it is no longer needed."""
    with log.open("ab") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + 60
            while not answers(port):
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{command[0]} did not come up:\n{log.read_text()}")
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def answers(port: int) -> bool:
    health = f"http://127.0.0.1:{port}/_stcore/health"
    with (
        contextlib.suppress(urllib.error.URLError, OSError),
        urllib.request.urlopen(health, timeout=1) as found,
    ):
        return bool(found.status == 200)
    return False


def chain(layers: int) -> onnx.ModelProto:
    """`layers` layers of Conv + Relu on 16 channels of 16 × 16."""
    generator = np.random.default_rng(0)
    nodes, weights, current = [], [], "x"
    for i in range(layers):
        shape = (16, 16 if i else 3, 3, 3)
        drawn = generator.normal(0, np.sqrt(2 / (9 * shape[1])), shape).astype(np.float32)
        weights.append(numpy_helper.from_array(drawn, f"w{i}"))
        nodes.append(helper.make_node("Conv", [current, f"w{i}"], [f"c{i}"], name=f"conv{i}", pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], name=f"relu{i}"))
        current = f"r{i}"
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, 16, 16])
        for name, channels in (("x", 3), (current, 16))
    ]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def projects_to_measure(folder: Path, models: Path | None) -> dict[str, str]:
    """Project ids by the names of their networks."""
    found = {"sample": opening.open_sample("digits_mobilenet").id}
    known = models / "mobilenet_v2_0.35_cifar10head_128.onnx" if models is not None else None
    size = 128 if known is not None and known.is_file() else 224
    if known is None or not known.is_file():
        known = folder / "mobilenet_v2.onnx"
        onnx.save(mobilenet_v2(), known)
    onnx.save(chain(300), folder / "chain300.onnx")
    for name, path, edge in (("MobileNetV2", known, size), ("300 layers", folder / "chain300.onnx", 16)):
        model = onnx.load(path, load_external_data=False)
        data = folder / f"{path.stem}.npz"
        images = np.random.default_rng(1).normal(size=(32, 3, edge, edge)).astype(np.float32)
        np.savez(data, **{model.graph.input[0].name: images})
        given = (Source(kind="path", path=str(path)), Source(kind="path", path=str(data)))
        found[name] = opening.open_sources(path.name, *given).id
    return found


def preview_ms(id: str, rounds: int) -> float:
    """What one run of the preview costs after an edit, everything else being there: the median, in ms."""
    space: Workspace = prepare(projects.open_project(id), lambda _: None)
    assert space.preview is not None
    floats = float_reference(space.model, space.preview, count=len(space.preview))
    layer = next(e for e in space.model.layers if e.kind == "compute")
    encodings = resolve(Recipe(), space.statistics, space.model)
    times = []
    for i in range(rounds):
        range_ = encodings.searches[layer.output].range
        moved = type(range_)(range_.low, range_.high * (0.9 - 0.01 * i))
        recipe = Recipe().with_layer(layer.name, method=Method.MANUAL, range=moved)
        begin = time.perf_counter()
        changed = resolve(recipe, space.statistics, space.model, previous=encodings)
        preview(floats, quantized_bytes(space.model, changed))
        times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times)


def drags(page: Page, rounds: int) -> dict[str, list[float]]:
    """Times of dragging the high line to and fro, in ms."""
    out: dict[str, list[float]] = {"line": [], "network": []}
    for number in range(rounds + 2):
        box = page.locator("g.handle[data-side=high] .grip").bounding_box()
        assert box is not None
        x, y, way = (
            box["x"] + box["width"] / 2,
            box["y"] + box["height"] / 2,
            36 if number % 2 else -41,
        )  # never the same range
        page.mouse.move(x, y)
        page.mouse.down()
        for step in range(1, 6):
            page.mouse.move(x + way * step / 5, y)
        page.locator("#threshold[data-state=live]").wait_for()
        page.evaluate(STOPWATCH)
        page.mouse.up()
        page.wait_for_function("window.times.network", timeout=120_000)
        if number >= 2:  # the first ones make caches warm
            for name in out:
                out[name].append(page.evaluate(f"window.times.{name}"))
        page.wait_for_timeout(300)
    return out


def shown(times: list[float]) -> str:
    ordered = sorted(times)
    return (
        f"{statistics.median(ordered):.0f} / {ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]:.0f}"
    )


def measure(folder: Path, rounds: int, models: Path | None) -> None:
    found = projects_to_measure(folder, models)
    runs = {name: preview_ms(id, 5) for name, id in found.items()}
    (folder / "bare.py").write_text(BARE, encoding="utf-8")
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    ports = free_port(), free_port()
    streamlit = [sys.executable, "-m", "streamlit", "run", str(folder / "bare.py"), "--server.headless=true"]
    streamlit += [
        "--server.address=127.0.0.1",
        f"--server.port={ports[0]}",
        "--browser.gatherUsageStats=false",
    ]
    app = [sys.executable, "-m", "quantscope.ui.cli", "app", "--host", "127.0.0.1", "--port", str(ports[1])]
    with contextlib.ExitStack() as stack:
        bare_url = stack.enter_context(server(streamlit, ports[0], folder / "bare.log"))
        app_url = stack.enter_context(server([*app, "--no-browser"], ports[1], folder / "app.log"))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        stack.callback(browser.close)
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        print(
            "| network | bare p50 / p95 | line p50 / p95 | p95 over bare | one preview | network p50 / p95 |"
        )
        print("|---|---|---|---|---|---|")
        for name, id in found.items():
            bare = echoes(page, bare_url, rounds)
            times = follow(page, f"{app_url}/inspector?project={id}", rounds)
            over = float(shown(times["line"]).split("/")[1]) - float(shown(bare).split("/")[1])
            print(
                f"| {name} | {shown(bare)} ms | {shown(times['line'])} ms | {over:+.0f} ms | "
                f"{runs[name]:.0f} ms | {shown(times['network'])} ms |",
                flush=True,
            )


def echoes(page: Page, url: str, rounds: int) -> list[float]:
    """Round trips of the bare page, in ms."""
    page.goto(url)
    page.get_by_role("button", name="0", exact=True).wait_for()
    times: list[float] = []
    for _ in range(rounds + 2):
        times.append(page.evaluate(ECHO))
        page.wait_for_timeout(150)
    return times[2:]


def follow(page: Page, url: str, rounds: int) -> dict[str, list[float]]:
    """Times of the Inspector, once everything there is measured."""
    page.goto(url)
    page.locator("#threshold[data-state=exact]").wait_for(timeout=120_000)
    page.locator("[data-card='Output SQNR']:not(.waiting)").wait_for(timeout=120_000)
    page.wait_for_timeout(3000)
    return drags(page, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--models", type=Path, help="folder with mobilenet_v2_0.35_cifar10head_128.onnx")
    options: Any = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"QUANTSCOPE_HOME": f"{name}/home", "QUANTSCOPE_CACHE": f"{name}/cache"}
        measure(Path(name), options.rounds, options.models)


if __name__ == "__main__":
    main()
