"""The README's pictures, taken of the app as it is: `make screenshots`, or `python -m tests.pictures`.

A demo is started with folders of its own, and driven as a user would. The pictures are the same each time but
for the time of one run, which is that of the machine.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support import BROWSER_ARGS, ROOT, App, browser_path, ready

FOLDER = ROOT / "docs" / "pictures"
SIZE = (1280, 800)
WAITING = "[data-card].waiting"


def overview(page: Any) -> None:
    """The first page as it is after opening the sample."""
    link(page, "Overview")
    page.locator("[data-card='Top-1']:not(.waiting)").wait_for()
    page.get_by_text("Where the loss comes from").wait_for()


def inspector(page: Any) -> None:
    """The input of the sample network, whose outliers set the range."""
    page.goto(page.url.split("?")[0].rsplit("/", 1)[0] + f"/inspector?{project(page)}&layer=image")
    ready(page)
    page.locator("#threshold[data-state=exact]").wait_for()


def sensitivity(page: Any) -> None:
    """Layers ranked by what they cost."""
    link(page, "Sensitivity")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Why, and what helps").wait_for()
    page.get_by_text("Where the error gets in:").wait_for()


def compare(page: Any) -> None:
    """The tuned recipe beside the first one."""
    link(page, "Overview")
    page.locator(".st-key-start_tune button").click()
    page.locator(".st-key-use_tuned button").click(timeout=300_000)
    page.get_by_test_id("stSidebar").get_by_text("step 2").wait_for()
    page.locator("[data-card='Top-1']:not(.waiting)").wait_for()
    link(page, "Compare")
    page.get_by_text("Sample by sample").wait_for()


def present(page: Any) -> None:
    """The story of what was done, for people who do not know quantization."""
    link(page, "Present")
    page.get_by_role("button", name="Next slide").wait_for()


PICTURES: dict[str, Callable[[Any], None]] = {
    "overview.png": overview,
    "inspector.png": inspector,
    "sensitivity.png": sensitivity,
    "compare.png": compare,
    "present.png": present,
}


def link(page: Any, name: str) -> None:
    """Go to a page by the sidebar."""
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True).click()
    page.wait_for_url(re.compile(rf"/{name.lower()}(\?|$)"))
    ready(page)


def project(page: Any) -> str:
    """The part of the address that names the open project."""
    found = re.search(r"project=[^&]+", page.url)
    assert found is not None
    return found[0]


def settle(page: Any) -> None:
    """Wait until all figures are there, and nothing moves any more."""
    page.wait_for_function(
        "waiting => !document.querySelector(waiting) && !document.body.innerText.includes('measuring…')",
        arg=WAITING,
    )
    ready(page)
    before = b""
    for _ in range(60):
        now = page.screenshot()
        if now == before:
            return
        before = now
        page.wait_for_timeout(500)


def smaller(png: bytes) -> bytes:
    """The picture with a palette, as small as it gets."""
    drawn = Image.open(io.BytesIO(png)).convert("RGB")
    packed = io.BytesIO()
    few = drawn.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(packed, "PNG", optimize=True)
    return packed.getvalue()


def main() -> int:
    """Take all pictures."""
    from playwright.sync_api import sync_playwright

    executable = browser_path()
    if executable is None:
        sys.stderr.write("A Chromium is needed on PATH (chromium, chromium-browser, google-chrome).\n")
        return 2
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="quantscope-pictures-") as folder:
        app = App(Path(folder), "demo").start()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=executable, args=list(BROWSER_ARGS))
                context = browser.new_context(
                    viewport={"width": SIZE[0], "height": SIZE[1]},
                    color_scheme="light",
                    reduced_motion="reduce",
                )
                page = context.new_page()
                page.set_default_timeout(120_000)
                page.goto(app.url)
                ready(page)
                for name, arrange in PICTURES.items():
                    arrange(page)
                    page.mouse.move(0, 0)
                    settle(page)
                    (FOLDER / name).write_bytes(smaller(page.screenshot()))
                    sys.stdout.write(f"{(FOLDER / name).relative_to(ROOT)}\n")
                browser.close()
        finally:
            app.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
