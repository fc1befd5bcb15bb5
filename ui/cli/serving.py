"""The app, started by a command."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import NoReturn

import typer

from quantscope.ui.cli.options import Serving

DEBUG: ContextVar[bool] = ContextVar("debug", default=False)  # whether --debug stands on the command line


def serve(arguments: Sequence[str], where: Serving) -> NoReturn:
    """Serve the app until it is ended, and leave with its exit code.

    Args:
        arguments: Of the app: what it opens.
        where: Address, port, and whether to open a browser.
    """
    from quantscope.ui.server.launch import serve as run

    code = run(
        list(arguments),
        host=where.host,
        port=where.port,
        browser=not where.no_browser,
        debug=DEBUG.get(),
        allow=where.allow_host,
    )
    raise typer.Exit(code)
