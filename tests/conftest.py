"""Fixtures for all tests: where things are, and a real app in a real browser."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import pytest

from quantscope.sample_data import SAMPLES
from quantscope.ui.cli import command_line
from tests.support import BROWSER_ARGS, ROOT, App, Outcome, Run, browser_path, command_env, process
from tests.wire import CALLS, Wire, seen

# The first example of a test may compile a loop; how long that takes says nothing. Examples are the same in
# every run, so that a failure is the change's; QUANTSCOPE_EXPLORE=1 looks for new ones.
EXPLORE = os.environ.get("QUANTSCOPE_EXPLORE") == "1"
hypothesis.settings.register_profile("quantscope", deadline=None, derandomize=not EXPLORE)
hypothesis.settings.load_profile("quantscope")

REQUIRE_BROWSER = os.environ.get("QUANTSCOPE_REQUIRE_BROWSER") == "1"


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference models and data that may lie beside the checkout; skips where it does not."""
    folder = ROOT.parent / "shared"
    if not (folder / "models").is_dir():
        pytest.skip("no ../shared folder with reference models beside the checkout")
    return folder


@pytest.fixture
def quantscope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process, with a cache of its own."""
    for name, value in command_env(tmp_path).items():
        if name.startswith("QUANTSCOPE_"):
            monkeypatch.setenv(name, value)

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = command_line.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., App]]:
    """Start `quantscope` with the given arguments: `serve("demo")`, `serve("app", model, "--data", data)`.

    Every server gets its own folder for projects and caches (`app.home`), listens on 127.0.0.1 only, and is
    ended after the last test.
    """
    running: list[App] = []
    # On a fresh machine the numeric kernels are compiled first, so that no page has to wait for them.
    home = tmp_path_factory.mktemp("first")
    sample = SAMPLES["digits_mobilenet"].model
    process("quantize", sample, "--random", 2, "--method", "auto", "-o", home / "q.onnx", home=home)

    def start(*arguments: str | Path, home: Path | None = None) -> App:
        app = App(home or tmp_path_factory.mktemp("quantscope"), *map(str, arguments))
        running.append(app)
        return app.start()

    yield start
    for app in running:
        app.stop()


@pytest.fixture(scope="session")
def app_url(serve: Callable[..., App]) -> str:
    """The address of a `quantscope demo` that all browser tests share."""
    return serve("demo").url


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The system's Chromium under Playwright."""
    executable = browser_path()
    if executable is None:
        reason = "no Chromium on PATH (chromium, chromium-browser, google-chrome)"
        if REQUIRE_BROWSER:
            pytest.fail(f"{reason}, and QUANTSCOPE_REQUIRE_BROWSER=1")
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=list(BROWSER_ARGS))
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A fresh tab; the test fails if a script on the page fails, or if anything is asked of another machine.

    `page.errors` and `page.foreign` hold what went wrong.
    """
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    tab = context.new_page()
    tab.set_default_timeout(60_000)
    tab.errors, tab.foreign = [], []
    tab.on("pageerror", lambda error: tab.errors.append(str(error)))
    tab.on("request", lambda request: _local(request.url) or tab.foreign.append(request.url))
    tab.wire = Wire()
    tab.on("websocket", tab.wire.listen)
    tab.add_init_script(CALLS)
    yield tab
    errors, foreign = list(tab.errors), list(tab.foreign)
    context.close()
    assert not errors, f"the page's scripts failed: {errors}"
    assert not foreign, f"requests left this machine: {foreign}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A browser test that fails shows its page, and what was said on the wire last."""
    outcome: Any = yield
    report = outcome.get_result()
    tab = getattr(item, "funcargs", {}).get("page") if item.get_closest_marker("browser") else None
    if report.when == "call" and report.failed and tab is not None:
        report.sections.append(("page", f"{tab.url}\n{seen(tab)}"))
        report.sections.append(("wire", str(tab.wire)))


def _local(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in {"data", "blob", "about"} or parts.hostname in {"127.0.0.1", "localhost", "::1"}


def pytest_configure(config: pytest.Config) -> None:
    """Keep what tests write out of the user's folders and out of the way of other processes."""
    home = Path(tempfile.mkdtemp(prefix="quantscope-tests-"))
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    os.environ["QUANTSCOPE_HOME"] = str(home / "projects")
    os.environ["QUANTSCOPE_CACHE"] = str(home / "cache")
    for name in ("COLUMNS", "LINES"):  # readline, which pytest loads, sets them for every process it starts
        os.environ.pop(name, None)


@pytest.hookimpl(hookwrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Mark what drives a browser before `-m` chooses, and put what was chosen in order."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    yield
    items[:] = ordered(items, getattr(config, "workerinput", {"workercount": 1})["workercount"])


def ordered(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """The items in equal parts, one a worker, each of which has quick tests before long ones.

    `--dist worksteal` hands out equal parts of the list; a worker that is done takes from another's end.
    Browser tests are all in the first part: they share servers, and two browsers would slow each other down.
    """
    quick, slow, browser = (
        [item for item in items if kind(item) == wanted] for wanted in ("", "slow", "browser")
    )
    long = (
        [browser, *(slow[n :: workers - 1] for n in range(workers - 1))] if workers > 1 else [browser + slow]
    )
    found: list[pytest.Item] = []
    for left, part in zip(range(workers, 0, -1), long, strict=True):
        fill = max(0, (len(items) - len(found)) // left - len(part))
        found += quick[:fill] + part
        del quick[:fill]
    return found + quick


def kind(item: pytest.Item) -> str:
    """`browser` or `slow` where a test is marked so, or nothing."""
    return next((mark for mark in ("browser", "slow") if item.get_closest_marker(mark)), "")
