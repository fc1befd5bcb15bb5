"""The Overview of a model with thousands of layers, in a real browser: when which of its figures is there.

    python -m benchmarks.bench_overview                 an encoder of 96 thin blocks, 2,788 nodes
    python -m benchmarks.bench_overview --blocks 24     fewer
    python -m benchmarks.bench_overview --reopen        also a second visit, with statistics and code warm

A server is started in folders of its own, and Chromium opens its first page. Times are seconds from then on:
they hold calibration as well. "Held up" is the time in which the browser's one thread was busy for more than
50 ms at a stretch: nothing can be clicked meanwhile.
"""

import argparse
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from playwright.sync_api import sync_playwright

from benchmarks.networks import encoder
from tests.support import BROWSER_ARGS, App, browser_path

WATCH = """() => {
  window.heldUp = 0;
  new PerformanceObserver((list) => { for (const task of list.getEntries()) window.heldUp += task.duration; })
    .observe({ type: "longtask", buffered: true });
}"""
MILESTONES = {  # what must be there, and what must not
    "first drawing": (("[data-card='Layers in int8']",), ()),
    "graph": (("#graph [data-layer]", "[data-card='Layers in int8']"), ()),
    "cumulative errors in the graph": (('#graph .figure:text-matches(" dB$")',), ()),
    "figures over the judged samples": (("[data-card='Output SQNR']:not(.waiting)",), ()),
    "loss by part": (("[data-card='Both']:not(.waiting)",), ()),
}


def main() -> None:
    """Run it and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--blocks", type=int, default=96)
    parser.add_argument("--reopen", action="store_true", help="visit the page twice")
    parser.add_argument("--timeout", type=float, default=240.0, help="seconds")
    given = parser.parse_args()
    path = browser_path()
    if path is None:
        print("no Chromium was found; nothing is measured")
        return
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        model, data = write(Path(folder), given.blocks)
        app = App(Path(folder) / "home", "app", str(model), "--data", str(data)).start()
        browser = playwright.chromium.launch(executable_path=path, args=list(BROWSER_ARGS))
        try:
            address = visit(browser, app, app.url, "first visit", given.timeout)
            if given.reopen:
                app.stop()
                app.arguments = ("app",)
                app.start()
                visit(browser, app, address, "a new server, calibrated before", given.timeout)
                visit(browser, app, address, "same server", given.timeout)
        finally:
            browser.close()
            app.stop()


def write(folder: Path, blocks: int) -> tuple[Path, Path]:
    """The model and its calibration data, as files."""
    model, data = folder / "encoder.onnx", folder / "encoder.npz"
    onnx.save(encoder(blocks), model)
    ids = np.random.default_rng(0).integers(0, 1000, (32, 32))
    np.savez(data, input_ids=ids.astype(np.int64))
    return model, data


def visit(browser: Any, app: App, url: str, title: str, timeout: float) -> str:
    """Open the Overview in a new window and tell when it has what; its address is returned."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.add_init_script(f"({WATCH})()")
    assert app.process is not None
    server = app.process.pid
    before = processor_time(server)
    begin, missing = time.monotonic(), dict(MILESTONES)
    page.goto(url)
    print(f"\n{title}")
    while missing or not complete(page):
        if time.monotonic() - begin > timeout:
            raise SystemExit(f"not there after {timeout:.0f} s: {', '.join(missing) or 'all figures'}")
        for name, (there, gone) in list(missing.items()):
            if all(has(page, one) for one in there) and not any(has(page, one) for one in gone):
                print(f"  {time.monotonic() - begin:7.1f} s  {name}", flush=True)
                del missing[name]
        time.sleep(0.05)
    held = page.evaluate("() => window.heldUp")
    print(f"  {time.monotonic() - begin:7.1f} s  complete\n  {held / 1000:7.1f} s  held up", flush=True)
    print(f"  {processor_time(server) - before:7.1f} s  of processors, used by the server", flush=True)
    address = str(page.url)
    page.close()
    return address


def processor_time(process: int) -> float:
    """Seconds of processors that a process has used so far, where Linux tells."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return math.nan
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def has(page: Any, selector: str) -> bool:
    """Whether the page shows such an element."""
    return bool(page.locator(selector).first.count())


def complete(page: Any) -> bool:
    """Whether nothing is on its way any more."""
    busy = has(page, "[data-card].waiting") or has(page, "text=measuring…")
    return not busy and has(page, "[data-testid=stApp][data-test-script-state=notRunning]")


if __name__ == "__main__":
    main()
