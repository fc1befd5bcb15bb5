"""Progress reports and cancellation through one optional callback, so that the engine never prints."""

from collections.abc import Callable
from dataclasses import dataclass


class Cancelled(Exception):
    """Raised by a progress callback to stop the work that called it; finished parts are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a piece of work has come: `done` of `total` steps, and what it is doing."""

    done: int
    total: int
    label: str = ""


ProgressFn = Callable[[Progress], None]


def report(progress: ProgressFn | None, done: int, total: int, label: str = "") -> None:
    """Call `progress` if there is one; it may raise `Cancelled`."""
    if progress is not None:
        progress(Progress(done=done, total=total, label=label))
