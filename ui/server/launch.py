"""Start the app's server: one local process, reachable from this machine only unless asked otherwise."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from quantscope.core.errors import QuantScopeError
from quantscope.ui.terminal.console import note

FIRST_PORT = 8501
PATIENCE = 3.0  # seconds that background work is given to end with the server
TRIES = 100  # ports looked at where none was asked for
LOOPBACK = ("127.0.0.1", "localhost", "::1")
WILDCARD = ("0.0.0.0", "::")
SCRIPT = Path(__file__).with_name("page") / "quantscope_page.py"


class LaunchError(QuantScopeError):
    """The app cannot be served as asked."""


def listens(host: str, port: int) -> OSError | None:
    """What keeps a server from listening on `host` and `port`; None when nothing does."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            if os.name != "nt":  # there, the option would let two servers share a port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        return error
    return None


def choose_port(host: str, wanted: int | None) -> int:
    """The port to serve on: `wanted`, or the first free one from 8501 on.

    Raises:
        LaunchError: the port wanted is taken or not allowed, or the host is not one of this machine.
    """
    if wanted is not None and not 1 <= wanted <= 65535:
        raise LaunchError(f"--port takes a number from 1 to 65535, not {wanted}")
    candidates = [wanted] if wanted is not None else range(FIRST_PORT, FIRST_PORT + TRIES)
    for port in candidates:
        problem = listens(host, port)
        if problem is None:
            return port
        if isinstance(problem, socket.gaierror) or problem.errno == errno.EADDRNOTAVAIL:
            raise LaunchError(f"--host {host} is not an address of this machine; try 127.0.0.1 or 0.0.0.0")
        if isinstance(problem, PermissionError) and wanted is not None:
            raise LaunchError(f"port {wanted} is reserved by the system; choose one above 1023 with --port")
    if wanted is not None:
        raise LaunchError(
            f"port {wanted} is already in use; stop what uses it, or choose another with --port"
        )
    raise LaunchError(
        f"the ports {FIRST_PORT} to {FIRST_PORT + TRIES - 1} are all in use; name one with --port"
    )


def allowed_hosts(host: str, more: Sequence[str] = ()) -> list[str]:
    """Names under which a browser may ask for the app; others are refused, against DNS rebinding."""
    names = {*LOOPBACK, *more}
    if host in WILDCARD:
        names |= {socket.gethostname(), socket.getfqdn()}
        with suppress(OSError):  # a machine that does not know its own name
            names |= {str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None)}
        names |= _outward_address()
    else:
        names.add(host)
    return sorted(filter(None, names))


def _outward_address() -> set[str]:
    """This machine's address on its network; connecting a datagram socket sends nothing."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation, so nobody's
            return {str(probe.getsockname()[0])}
    except OSError:
        return set()


def has_display() -> bool:
    """Whether a browser could show itself: on a server, one in the terminal would get in the way."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def streamlit_arguments(
    *, host: str, port: int, browser: bool, debug: bool, hosts: Sequence[str], app_arguments: Sequence[str]
) -> list[str]:
    """The `streamlit run` command line that serves the app."""
    options: dict[str, str | int] = {
        "server.address": host,
        "server.port": port,
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": "false",
        "server.maxUploadSize": 2048,  # MB, the limit of a protobuf file
        "browser.gatherUsageStats": "false",
        "runner.magicEnabled": "false",
        # A run is ended for the next one, not left behind while that begins beside it: both would write.
        "runner.fastReruns": "false",
        "runner.postScriptGC": "false",  # after every poll, a full one; Python collects by itself
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "full" if debug else "none",
        "client.showErrorLinks": "false",
        "logger.hideWelcomeMessage": "true",
        "logger.level": "info" if debug else "warning",
        "global.developmentMode": "false",
        # Large messages go by reference to what the browser had when it asked. By itself it drops what two
        # runs have not used, those of a part that polls included, and gives up on a late answer to that.
        "global.maxCachedMessageAge": 50,
    }
    options["server.headless"] = "false" if browser else "true"
    flags = [f"--{name}={value}" for name, value in options.items()]
    flags += [f"--server.allowedHosts={name}" for name in hosts]
    return ["streamlit", "run", str(SCRIPT), *flags, "--", *app_arguments]


def serve(
    app_arguments: Sequence[str],
    *,
    host: str,
    port: int | None,
    browser: bool,
    debug: bool,
    allow: Sequence[str] = (),
) -> int:
    """Serve the app until it is stopped; returns the exit code.

    Raises:
        LaunchError: host or port cannot be used.
    """
    chosen = choose_port(host, port)
    if host not in LOOPBACK:
        note(
            f"warning: whoever can reach {host}:{chosen} can read your models and data; there is no password"
        )
    shown = "localhost" if host in WILDCARD else f"[{host}]" if ":" in host else host
    note(f"QuantScope is at http://{shown}:{chosen} (Ctrl-C stops it)")
    sys.argv = streamlit_arguments(
        host=host,
        port=chosen,
        browser=browser and has_display(),
        debug=debug,
        hosts=allowed_hosts(host, allow),
        app_arguments=app_arguments,
    )
    from streamlit.web import cli

    from quantscope.ui.server import callbacks, warm
    from quantscope.ui.session import jobs

    callbacks.keep_whole()
    warm.start()
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    if not jobs.stop_all(PATIENCE):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # recipes are on disk; work that does not stop must not end in a crash
    return code
