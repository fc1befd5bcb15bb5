"""What the README and the command line's help say, for tests that hold it against the declarations."""

from __future__ import annotations

import re
from typing import Any

import typer

from quantscope.ui.cli import command_line
from tests.support import ROOT


def readme() -> str:
    """The README's text."""
    return (ROOT / "README.md").read_text(encoding="utf-8")


def readme_row(flag: str) -> str:
    """What the README's table of options says about one of them."""
    rows = [line for line in readme().splitlines() if line.startswith(f"| `{flag}")]
    assert len(rows) == 1, f"the README has {len(rows)} rows for {flag}"
    return rows[0].split("|")[3]


def coded(text: str) -> list[str]:
    """The words of a text in Markdown that are set as code."""
    return re.findall(r"`([^`]+)`", text)


def option_help(command: str, flag: str) -> str:
    """The help of an option of a command."""
    app: Any = typer.main.get_command(command_line.app)
    (option,) = [option for option in app.commands[command].params if flag in option.opts]
    return str(option.help)
