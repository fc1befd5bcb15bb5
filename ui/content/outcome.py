"""A whole model before and after a change in a line: what it gets right, its size, speed and error."""

from quantscope.core.evaluate import Comparison
from quantscope.ui.content import text

SAME_SPEED = 0.05  # share by which two times differ that are told apart


def outcome(before: Comparison, after: Comparison) -> str:
    """Markdown: top-1 or agreement first, then size, time and output SQNR; each before → after."""
    parts = [_quality(before, after), _size(before, after), _speed(before, after), _error(before, after)]
    return " · ".join(part for part in parts if part)


def _quality(before: Comparison, after: Comparison) -> str:
    old, new = before.accuracy, after.accuracy
    if old is None or new is None:
        return ""
    if old.quantized_top1 is not None and new.quantized_top1 is not None:
        name, first, last = "Top-1", old.quantized_top1, new.quantized_top1
        goal = "" if new.float_top1 is None else f" (float {text.share(new.float_top1)})"
    else:
        name, first, last, goal = "Agreement with float", old.agreement, new.agreement, ""
    return f"{name} {_ends(text.share(first), text.share(last))}{goal}"


def _size(before: Comparison, after: Comparison) -> str:
    ends = _ends(text.size(before.quantized_bytes), text.size(after.quantized_bytes))
    return f"size {ends} (float {text.size(after.float_bytes)})"


def _speed(before: Comparison, after: Comparison) -> str:
    old, new = before.latency, after.latency
    if old is None or new is None:
        return ""
    if abs(new.quantized_ms / old.quantized_ms - 1.0) < SAME_SPEED:
        ends = f"**{text.milliseconds(new.quantized_ms)}** as before"
    else:
        ends = _ends(text.milliseconds(old.quantized_ms), text.milliseconds(new.quantized_ms))
    return f"{ends} (float {text.milliseconds(new.float_ms)})"


def _error(before: Comparison, after: Comparison) -> str:
    first, last = text.decibel(before.output.sqnr_db), text.decibel(after.output.sqnr_db)
    return f"output SQNR {_ends(first, last)}"


def _ends(first: str, last: str) -> str:
    first, last = first.replace(" ", "\u00a0"), last.replace(" ", "\u00a0")  # a figure keeps its unit
    return f"**{last}** as before" if first == last else f"**{first} → {last}**"
