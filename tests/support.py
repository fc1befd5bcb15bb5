"""What several test files need: a running app to talk to, and waits for it to come to rest."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
WORKERS = 16  # at most, of one test run
BROWSER_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def browser_path() -> str | None:
    """The system's Chromium, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


PORTS = range(16_000, 32_000)  # below those that systems give to connections, which come and go
RANDOM = random.SystemRandom()  # hypothesis sets the seed of the usual one, in every worker to the same


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on right now, and no other worker of this run is given."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for port in RANDOM.sample(PORTS[worker % WORKERS :: WORKERS], 50):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def ready(page: Any, timeout: float = 60_000) -> None:
    """Wait until the app's script has finished (milliseconds)."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=timeout)


def at_rest(element: Any) -> Any:
    """Where an element is (`x`, `y`, `width`, `height`), once it stands still.

    One that is drawn anew at that moment has no place, and one that is pushed down by what grows above it has
    another soon: both are looked at again, before a pointer is moved to where nothing is.
    """
    before, found = None, element.bounding_box()
    end = time.monotonic() + 60
    while found is None or found != before:
        assert time.monotonic() < end, f"it is still drawn or moved: {element}"
        element.page.wait_for_timeout(60)  # some frames of the screen
        before, found = found, element.bounding_box()
    return found


def watch_figures(page: Any) -> None:
    """Let `outdated` know: a line that is held gets figures of its own, perhaps before a test has looked."""
    page.evaluate(
        """() => {
          const find = (root) => [
            ...root.querySelectorAll("#network.outdated"),
            ...[...root.querySelectorAll("*")].flatMap((e) => (e.shadowRoot ? find(e.shadowRoot) : [])),
          ];
          const look = () => { window.outdatedSeen ||= find(document).length > 0; };
          window.addEventListener("quantscope-edited", () => setTimeout(look));
        }"""
    )


def outdated(page: Any) -> None:
    """Wait until the network's figures have been shown as outdated."""
    page.wait_for_function("window.outdatedSeen === true")


def command_env(home: Path, **extra: str) -> dict[str, str]:
    """The environment for a `quantscope` process that keeps its projects and caches below `home`."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "QUANTSCOPE_HOME": str(home / "projects"),
        "QUANTSCOPE_CACHE": str(home / "cache"),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONIOENCODING": "utf-8",
        **extra,
    }


class Outcome:
    """Exit code and output of one command line."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        """Stdout, which must be one strict JSON document."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        return json.loads(self.out, parse_constant=refuse)


Run = Callable[..., Outcome]


def process(
    *arguments: object, home: Path, options: Sequence[str] = (), **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command line as users do, as a process of its own; `options` are the interpreter's."""
    command = [sys.executable, *options, "-m", "quantscope.ui.cli", *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=command_env(home),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **more,
    )


class App:
    """A `quantscope` server process on a free port; started by `start`, ended by its own process handle."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.home, self.arguments = home, arguments
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home / "app.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._sink: IO[bytes] | None = None

    def start(self, timeout: float = 60.0) -> App:
        """Start the server and return when it answers; also used to start it again on the same port."""
        command = [sys.executable, "-m", "quantscope.ui.cli", *self.arguments]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--no-browser"]
        self.home.mkdir(parents=True, exist_ok=True)
        self._sink = self.log.open("ab")
        self.process = subprocess.Popen(
            command, cwd=self.home, env=command_env(self.home), stdout=self._sink, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.process.poll() is None:
            if self._healthy():
                return self
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"{' '.join(command)} did not come up:\n{self.output()}")

    def stop(self) -> None:
        """End the process, gently first."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None
        if self._sink is not None:
            self._sink.close()
            self._sink = None

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def output(self) -> str:
        """All that the server has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
