"""Progress as a bar: in a terminal, in a notebook, or told to a function of the user's."""

import html
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from quantscope.core.progress import Progress, ProgressFn
from quantscope.ui.terminal.console import progress_bar

ProgressOption = bool | ProgressFn | None
_SECONDS = 0.1  # between two redraws in a notebook


@contextmanager
def shown(progress: ProgressOption, label: str) -> Iterator[ProgressFn | None]:
    """What the engine reports its progress to.

    Args:
        progress: A function that is told each `Progress`, and may raise `Cancelled`; True = a bar; False =
            nothing; None = a bar in notebooks and interactive terminals, and nothing in scripts whose output
            goes elsewhere.
        label: What is being done.
    """
    if callable(progress):
        yield progress
    elif progress is False:
        yield None
    elif (display := _notebook()) is not None:
        with _element(display, label) as report:
            yield report
    elif progress or (sys.stdout.isatty() and sys.stderr.isatty()):
        with progress_bar(label) as report:
            yield report
    else:
        yield None


def _notebook() -> Any:
    """The module that shows things in the notebook that this runs in; None elsewhere."""
    # Whoever runs in a notebook has loaded IPython; nobody else should pay for importing it.
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if getattr(shell, "kernel", None) is None:
        return None
    return importlib.import_module("IPython.display")


@contextmanager
def _element(display: Any, label: str, clock: Callable[[], float] = time.monotonic) -> Iterator[ProgressFn]:
    """A progress element below the cell, which goes when the work ends; it needs no widgets."""
    handle = display.display(display.HTML(_drawn(label, 0, 0)), display_id=True)
    last = clock()

    def report(progress: Progress) -> None:
        nonlocal last
        if clock() - last >= _SECONDS:
            last = clock()
            handle.update(display.HTML(_drawn(progress.label or label, progress.done, progress.total)))

    try:
        yield report
    finally:
        handle.update(display.HTML(""))


def _drawn(label: str, done: int, total: int) -> str:
    share = f' value="{done}" max="{total}"' if total else ""
    count = f" {done:,} of {total:,}" if total else ""
    return f"<progress{share}></progress> {html.escape(label)}{count}"
