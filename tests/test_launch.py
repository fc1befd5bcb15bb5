"""Serving the app: on this machine only, on a free port, and for the names it is known by."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import AF_INET

import psutil
import pytest
from streamlit.config import get_config_options

from quantscope.sample_data import SAMPLES
from quantscope.ui.server import launch
from tests.support import ROOT, App, Run, command_env, free_port


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        yield int(busy.getsockname()[1])


def test_a_taken_port_is_refused_if_it_was_asked_for(taken: int) -> None:
    with pytest.raises(launch.LaunchError, match=f"port {taken} is already in use"):
        launch.choose_port("127.0.0.1", taken)


def test_a_taken_port_is_passed_over_if_none_was_asked_for(
    taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "FIRST_PORT", taken)
    assert taken < launch.choose_port("127.0.0.1", None) < taken + launch.TRIES


def test_only_taken_ports_are_an_error(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "FIRST_PORT", taken)
    monkeypatch.setattr(launch, "TRIES", 1)
    with pytest.raises(launch.LaunchError, match="all in use"):
        launch.choose_port("127.0.0.1", None)


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
def test_a_foreign_host_is_refused(host: str) -> None:
    with pytest.raises(launch.LaunchError, match="is not an address of this machine"):
        launch.choose_port(host, free_port())


def test_names_the_app_answers_to() -> None:
    assert launch.allowed_hosts("127.0.0.1") == ["127.0.0.1", "::1", "localhost"]
    assert "box.lan" in launch.allowed_hosts("127.0.0.1", ["box.lan"])
    everywhere = launch.allowed_hosts("0.0.0.0")
    assert socket.gethostname() in everywhere
    assert "*" not in everywhere


def test_streamlit_is_told_to_stay_at_home() -> None:
    arguments = launch.streamlit_arguments(
        host="127.0.0.1",
        port=1234,
        browser=False,
        debug=False,
        hosts=["a", "b"],
        app_arguments=["--model", "m"],
    )
    assert arguments[:3] == ["streamlit", "run", str(launch.SCRIPT)]
    for flag in (
        "--server.address=127.0.0.1",
        "--server.port=1234",
        "--server.headless=true",
        "--server.allowedHosts=a",
        "--server.allowedHosts=b",
        "--browser.gatherUsageStats=false",
        "--client.showErrorDetails=none",
        "--runner.fastReruns=false",  # else two runs of one session write at a time
        "--runner.postScriptGC=false",  # else whatever polls brings all background work to a halt
    ):
        assert flag in arguments
    known = get_config_options()
    for flag in arguments[3 : arguments.index("--")]:
        assert flag.removeprefix("--").split("=")[0] in known
    assert arguments[arguments.index("--") :] == ["--", "--model", "m"]


@pytest.mark.parametrize(
    ("asked", "display", "opens"), [(True, ":0", True), (True, "", False), (False, ":0", False)]
)
def test_a_browser_opens_where_one_can(
    monkeypatch: pytest.MonkeyPatch, asked: bool, display: str, opens: bool
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr("streamlit.web.cli.main", lambda: seen.append(list(sys.argv)))
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert launch.serve([], host="127.0.0.1", port=None, browser=asked, debug=False) == 0
    assert f"--server.headless={str(not opens).lower()}" in seen[0]


def test_the_app_gets_absolute_paths(
    quantscope: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def serve(arguments: list[str], **_: object) -> int:
        seen.append(arguments)
        return 0

    monkeypatch.setattr(launch, "serve", serve)
    monkeypatch.chdir(tmp_path)
    shutil.copy(SAMPLES["digits_mlp"].model, tmp_path / "net.onnx")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "data").mkdir()
    assert quantscope("empty.onnx", "--data", "data").code == 2  # before a page is served
    assert not seen
    assert quantscope("net.onnx", "--data", "data").code == 0
    assert quantscope("demo", "digits_vit").code == 0
    for words in (("--no-browser",), ("--port=8600",), ("--no-browser", "net.onnx")):
        assert quantscope(*words).code == 0  # short for `quantscope app …`
    assert seen == [
        ["--model", str(tmp_path / "net.onnx"), "--data", str(tmp_path / "data")],
        ["--demo", "digits_vit"],
        [],
        [],
        ["--model", str(tmp_path / "net.onnx")],
    ]


@pytest.fixture(scope="module")
def app(serve: Callable[..., App]) -> App:
    """A running app without a model."""
    return serve("app")


def test_the_address_is_printed(app: App) -> None:
    assert f"QuantScope is at {app.url} " in app.output()
    assert "warning" not in app.output()


def test_other_machines_cannot_connect(app: App) -> None:
    """Nothing listens on this machine's other addresses, of which the loopback interface has many itself."""
    cards = (card for found in psutil.net_if_addrs().values() for card in found)
    others = {card.address for card in cards if card.family == AF_INET} - {"127.0.0.1"}
    for address in others | {"127.0.0.2"}:
        with socket.socket() as probe:
            probe.settimeout(5)
            assert probe.connect_ex((address, app.port)) != 0


@pytest.mark.parametrize(
    ("host", "accepted"), [("127.0.0.1", True), ("localhost", True), ("evil.example", False)]
)
def test_foreign_names_are_refused(app: App, host: str, accepted: bool) -> None:
    """A web page that got its name to point here (DNS rebinding) may not open the app's WebSocket."""
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET /_stcore/stream HTTP/1.1\r\nHost: {host}:{app.port}\r\nOrigin: http://{host}:{app.port}\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", app.port), timeout=10) as connection:
        connection.sendall(request.encode())
        status = int(connection.recv(64).split()[1])
    assert (status == 101) is accepted


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX systems")
def test_control_c_stops_the_app(tmp_path: Path) -> None:
    app = App(tmp_path, "app").start()
    assert app.process is not None
    app.process.send_signal(signal.SIGINT)
    assert app.process.wait(60) in (0, 130)
    assert "Traceback" not in app.output()
    app.stop()


def test_a_taken_port_is_one_line(taken: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "quantscope.ui.cli", "app", "--port", str(taken), "--no-browser"]
    done = subprocess.run(
        command, cwd=ROOT, env=command_env(tmp_path), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"port {taken} is already in use" in done.stderr


def test_the_app_is_given_all_that_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from quantscope.sample_data import SAMPLES
    from quantscope.ui.app import arguments
    from quantscope.ui.cli.command_line import run

    sample, given = SAMPLES["digits_mlp"], list[str]()

    def serve(words: list[str], **_: object) -> int:
        given.extend(words)
        return 0

    monkeypatch.setattr(launch, "serve", serve)
    words = ["app", sample.model, "--data", sample.calibration, "--eval", sample.evaluation]
    assert run([str(word) for word in words]) == 0
    monkeypatch.setattr("sys.argv", ["page.py", *given])
    found = arguments()
    assert [found.model, found.data, found.eval] == list(
        map(str, (sample.model, sample.calibration, sample.evaluation))
    )
