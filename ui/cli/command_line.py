"""The `quantscope` command: its list of commands, and what becomes of errors and interrupts."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from quantscope.core.progress import Cancelled
from quantscope.ui.cli.commands.app.command import app as open_app
from quantscope.ui.cli.commands.calibrate.command import calibrate
from quantscope.ui.cli.commands.compare.command import compare
from quantscope.ui.cli.commands.demo.command import demo
from quantscope.ui.cli.commands.doctor.command import doctor
from quantscope.ui.cli.commands.inspect.command import inspect
from quantscope.ui.cli.commands.quantize.command import quantize
from quantscope.ui.cli.commands.sensitivity.command import sensitivity
from quantscope.ui.cli.commands.thresholds.command import thresholds
from quantscope.ui.cli.commands.tune.command import tune
from quantscope.ui.cli.serving import DEBUG
from quantscope.ui.terminal import console

# Each command imports its work when it is called, so that --help answers at once.
COMMANDS = (
    demo,
    open_app,
    inspect,
    calibrate,
    quantize,
    tune,
    sensitivity,
    compare,
    thresholds,
    doctor,
)
INTERRUPTED = 130

app = typer.Typer(
    name="quantscope",
    help="See what post-training quantization does to an ONNX model, layer by layer, and tune it.",
    epilog="'quantscope MODEL.onnx --data PATH' is short for 'quantscope app MODEL.onnx --data PATH'.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected error happened.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """See what post-training quantization does to an ONNX model, layer by layer, and tune it."""
    if version:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed

        try:
            console.say(f"quantscope {installed('quantscope')}")
        except PackageNotFoundError:
            console.say("quantscope, not installed: run from its source")
        raise typer.Exit


for command in COMMANDS:
    app.command()(command)


def with_command(arguments: Sequence[str]) -> list[str]:
    """The command line, with `app` before it where it begins with a model or with an option of `app`."""
    out = list(arguments) or ["--help"]
    command = typer.main.get_command(app)
    known: Mapping[str, Any] = command.commands  # type: ignore[attr-defined]
    first = out[0]
    if first in known:
        return out
    if first.startswith("-"):
        own, its = ({flag for p in part.params for flag in p.opts} for part in (command, known["app"]))
        return ["app", *out] if first.partition("=")[0] in its - own else out
    is_path = first.lower().endswith(".onnx") or any(c in first for c in "/\\") or Path(first).exists()
    return ["app", *out] if is_path else out


def run(arguments: Sequence[str], *, heed: bool = False) -> int:
    """Carry out one command line, and return its exit code; no exception leaves it.

    Args:
        arguments: As after the program's name.
        heed: Whether Ctrl-C is repeated until it arrives, as Python may drop one; for the main thread only.
    """
    words = list(arguments)
    head = words[: words.index("--")] if "--" in words else words
    debug = "--debug" in head  # wherever it stands, also behind the command
    if debug:
        words.remove("--debug")
    token = DEBUG.set(debug)
    try:
        command = typer.main.get_command(app)
        with console.interruptible() if heed else nullcontext():
            code = command.main(args=with_command(words), prog_name="quantscope", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:  # newer Typer turns Ctrl-C into this code, older raise Abort
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, Cancelled, typer.Abort):
        console.note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # `quantscope inspect … | head`
        # What is still buffered would fail again when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return console.FAILED
    except Exception as error:
        if DEBUG.get():
            import traceback

            traceback.print_exc()
        code, message = console.explain(error)
        console.note(f"error: {message}")
        return code
    finally:
        DEBUG.reset(token)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point of the `quantscope` command."""
    # A stream that the caller closed is None. What would be printed there goes nowhere, and is no error.
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # characters that the terminal lacks become question marks
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:] if arguments is None else arguments, heed=True))
