"""What the command line prints: tables and strict JSON on stdout, progress and errors on stderr."""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import sys
import threading
import time
from _thread import interrupt_main
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from enum import Enum
from itertools import zip_longest
from typing import Any, Protocol, TypeVar, runtime_checkable

from quantscope.core.errors import QuantScopeError
from quantscope.core.progress import Progress, ProgressFn
from quantscope.ui.terminal.columns import (
    cells,
    column_widths,
    columns,
    cut,
    fold,
    head_lines,
    width_is_known,
)

FAILED, BAD_INPUT = 1, 2  # exit codes
INSIST_SECONDS = 3.0  # after which an interrupt that nothing came of is repeated
SPARSE_SECONDS = 10.0  # time between progress lines where stderr is not a terminal


# What JSON makes of a field of a record: `field(metadata=INLINE)`.
INLINE = {"json": "inline"}  # the value's own keys stand in place of one key
OPTIONAL = {"json": "optional"}  # the key is left out where the value is None
T = TypeVar("T")


class BadInput(QuantScopeError):
    """A command line asks for something that does not exist, or contradicts itself."""


@runtime_checkable
class Jsonable(Protocol):
    """A record with a form of its own in JSON."""

    def to_json(self) -> Any:
        """What stands for it in JSON."""


def plain(value: Any) -> Any:
    """`value` as JSON can carry it: dataclasses and mappings as objects, NaN and infinities as null.

    The keys of a dataclass are its fields, without the underscore that ends a field named like a builtin.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Jsonable):
        return plain(value.to_json())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _object(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy arrays and scalars
        return plain(value.tolist())
    if isinstance(value, float):
        return value + 0.0 if math.isfinite(value) else None  # -0.0 becomes 0
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def _object(record: Any) -> dict[str, Any]:
    """A dataclass as a JSON object."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if field.metadata == INLINE:
            found |= plain(value)
        elif value is not None or field.metadata != OPTIONAL:
            found[field.name.removesuffix("_")] = plain(value)
    return found


def print_json(value: Any) -> None:
    """Strict JSON, alone on stdout."""
    sys.stdout.write(json.dumps(plain(value), indent=2, allow_nan=False) + "\n")


def clean(text: object) -> str:
    """One printable line: names come from model files, and must not steer the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def say(text: str = "") -> None:
    """A line of the command's result."""
    sys.stdout.write(text + "\n")


def show(work: Callable[[], T], as_text: Callable[[T], str], json: bool) -> None:
    """Do the work and print its result, and then its `warnings`, if it has any, on stderr.

    What else prints, as a user's own reader may, goes to stderr.
    """
    with redirect_stdout(sys.stderr):
        result = work()
    if json:
        print_json(result)
    else:
        for line in as_text(result).split("\n"):
            # A program that reads the name of the file from this line needs it in one piece.
            apart = line.startswith("wrote ") and not width_is_known()
            say(line if apart else "\n".join(fold(line, columns())))
    sys.stdout.flush()
    for warning in getattr(result, "warnings", ()):  # at the end, where a person sees them
        note(f"warning: {warning}")


def note(text: str) -> None:
    """A line beside the result: what was left out, assumed or warned about."""
    sys.stderr.write(clean(text) + "\n")
    sys.stderr.flush()


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[object]],
    numeric: Sequence[str] = (),
    whole: Sequence[str] = (),
    folded: Sequence[str] = (),
) -> str:
    """Columns of text, no wider than the terminal.

    Args:
        headers: Of the columns.
        rows: What is in them.
        numeric: Columns that are flush right.
        whole: Columns that, like those, are cut last of all where the table would be too wide.
        folded: Columns whose text goes on in the next line rather than being cut in the middle.
    """
    texts = [[clean(cell) for cell in row] for row in rows]
    widths = column_widths(headers, texts, {*numeric, *whole})

    def line(row: Sequence[str]) -> str:
        parts = []
        for header, full, width in zip(headers, row, widths, strict=True):
            text = cut(full, width)
            pad = " " * (width - cells(text))
            parts.append(pad + text if header in numeric else text + pad)
        return "  ".join(parts).rstrip()

    def lines(row: Sequence[str]) -> list[str]:
        parts = [
            fold(text, width) if header in folded else [text]
            for header, text, width in zip(headers, row, widths, strict=True)
        ]
        return [line(part) for part in zip_longest(*parts, fillvalue="")]

    rule = ["-" * width for width in widths]
    body = [part for row in texts for part in lines(row)]
    return "\n".join([*map(line, head_lines(headers, widths)), line(rule), *body])


def number(value: float | None, digits: int = 4, unit: str = "") -> str:
    """A number with `digits` significant digits; a dash where there is none."""
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return ("inf" if value > 0 else "-inf") + unit
    return f"{value or 0.0:.{digits}g}{unit}"  # -0.0 is falsy too, and shown as 0


def percent(share: float | None) -> str:
    """A share in percent; a dash where there is none."""
    return number(None if share is None else 100.0 * share, 4, " %")


def size(count: int) -> str:
    """Bytes in the unit a person would choose."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


@contextmanager
def progress_bar(label: str, quiet: bool = False) -> Iterator[ProgressFn]:
    """A progress callback that draws on stderr: a bar in a terminal, otherwise a line now and then."""
    if quiet:
        yield lambda progress: None
    elif sys.stderr.isatty():
        with _bar(label) as report:
            yield report
    else:
        yield _sparse(label)


@contextmanager
def _bar(label: str) -> Iterator[ProgressFn]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)

        def report(progress: Progress) -> None:
            text = clean(progress.label or label)
            bar.update(task, completed=progress.done, total=progress.total or None, description=text)

        yield report


def _sparse(label: str, clock: Callable[[], float] = time.monotonic) -> ProgressFn:
    last = clock()

    def report(progress: Progress) -> None:
        nonlocal last
        if clock() - last >= SPARSE_SECONDS:
            last = clock()
            note(f"{progress.label or label}: {progress.done} of {progress.total}")

    return report


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, Ctrl-C raises `KeyboardInterrupt` until that arrives; for the main thread.

    Python drops an exception where none can be passed on, as in a finalizer or in a callback from C, and the
    interrupt with it: then it is raised once more.
    """
    answered, insisting = threading.Event(), False

    def insist() -> None:
        while not answered.wait(INSIST_SECONDS):
            interrupt_main()

    def interrupt(signum: int, frame: object) -> None:
        nonlocal insisting
        if not insisting:
            insisting = True
            threading.Thread(target=insist, daemon=True).start()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        answered.set()
        signal.signal(signal.SIGINT, before)


def explain(error: Exception) -> tuple[int, str]:
    """Exit code and the one line that a user gets to see."""
    if isinstance(error, QuantScopeError):
        return BAD_INPUT, " ".join(str(error).split())
    if hasattr(error, "format_message"):  # a mistake on the command line; Typer has no public base for these
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context is not None else ""
        return BAD_INPUT, " ".join(error.format_message().split()).rstrip(".") + hint
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return BAD_INPUT, f"{where}{error.strerror or error}"
    if isinstance(error, MemoryError):
        return FAILED, "not enough memory; try fewer --threads, or a machine with more"
    detail = " ".join(str(error).split())
    remedy = "run it again with --debug for the details, and report them"
    return FAILED, f"unexpected {type(error).__name__}: {detail}; {remedy}"
