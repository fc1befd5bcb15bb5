"""Text no wider than the terminal: names of models may be hundreds of characters long."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Collection, Sequence

DEFAULT_COLUMNS = 120  # where stdout is no terminal and COLUMNS is not set
LEAST_COLUMNS = 40  # tables get so many in a narrower terminal
MOST_DIM = 16  # characters of a dimension's name
LEAST_DIM = 4  # of them that stay in any case
ELLIPSIS = "…"


def columns() -> int:
    """Width to keep to: COLUMNS if set, else that of the terminal, else `DEFAULT_COLUMNS`."""
    return max(LEAST_COLUMNS, shutil.get_terminal_size((DEFAULT_COLUMNS, 24)).columns)


def width_is_known() -> bool:
    """Whether `columns` comes from COLUMNS or a terminal; it does not where a file or a program reads."""
    return bool(os.environ.get("COLUMNS")) or sys.stdout.isatty()


def cells(text: str) -> int:
    """Columns that a text takes up; ideographs and most emoji take up two each."""
    return len(text) + sum(unicodedata.east_asian_width(c) in "WF" for c in text if not c.isascii())


def cut(text: str, width: int) -> str:
    """A text cut in the middle to `width` columns: its start says where, its end says what."""
    if cells(text) <= width:
        return text
    if width < 3:
        return ELLIPSIS[:width]
    head = _start(text, (width - 1) // 3)
    return f"{head}{ELLIPSIS}{_start(text[::-1], width - 1 - cells(head))[::-1]}"


def _start(text: str, width: int) -> str:
    """As much of a text's start as fits."""
    end = taken = 0
    for c in text:
        taken += cells(c)
        if taken > width:
            break
        end += 1
    return text[:end]


def fold(line: str, width: int) -> list[str]:
    """One line as several that are no wider than `width`; those that follow are indented a little more.

    Breaks at spaces, but not between an option and its value, and inside a word only where the word alone
    is too wide.
    """
    if cells(line) <= width:
        return [line]
    indent = " " * min(len(line) - len(line.lstrip(" ")) + 2, width // 4)
    out, now = [], ""
    for number, word in enumerate(_words(line)):
        joined = word if number == 0 else f"{now} {word}"
        if cells(joined) <= width:
            now = joined
            continue
        begun = bool(now.strip())
        if begun:
            out.append(now.rstrip())
        now = indent + word if begun else word
        while cells(now) > width:
            part = _start(now, width)
            part = part if part.strip() else now[: len(part) + 1]  # one that is too wide by itself
            out.append(part)
            now = indent + now[len(part) :]
    return [*out, now] if now.strip() else out


def _words(line: str) -> list[str]:
    """The words of a line, each option of a command together with what follows it."""
    out: list[str] = []
    for word in line.split(" "):
        if out and out[-1].startswith("--") and " " not in out[-1]:
            out[-1] = f"{out[-1]} {word}"
        else:
            out.append(word)
    return out


def column_widths(headers: Sequence[str], rows: Sequence[Sequence[str]], fixed: Collection[str]) -> list[int]:
    """Widths of a table's columns that keep it within the terminal.

    Where it would be too wide, heads are set in several lines, and then columns are cut, the widest first;
    those in `fixed`, which hold figures, only when all others are as narrow as can be.
    """
    heads = [max(map(cells, header.split(" "))) for header in headers]
    values = [max([cells(row[n]) for row in rows], default=0) for n in range(len(headers))]
    natural = [max(cells(header), value) for header, value in zip(headers, values, strict=True)]
    room = columns() - 2 * (len(headers) - 1)
    if sum(natural) <= room:
        return natural
    widths = [max(head, value) for head, value in zip(heads, values, strict=True)]
    loose = [n for n, header in enumerate(headers) if header not in fixed]
    least = [min(max(head, 8), width) for head, width in zip(heads, widths, strict=True)]
    widths = _narrowed(widths, loose, room, least)
    widths = _narrowed(widths, range(len(widths)), room, [1] * len(widths))
    # What is left over goes to heads, so that they take fewer lines.
    for n, wish in enumerate(natural):
        more = min(wish - widths[n], room - sum(widths))
        if more > 0 and values[n] <= widths[n]:
            widths[n] += more
    return widths


def _narrowed(widths: list[int], which: Sequence[int], room: int, least: Sequence[int]) -> list[int]:
    """Widths with the widest of `which` cut to one limit, so that all fit into `room` if they can."""
    out = [min(width, max(room, 1)) for width in widths]
    while sum(out) > room:
        wide = [n for n in which if out[n] > least[n]]
        if not wide:
            break
        most = max(out[n] for n in wide)
        out[next(n for n in wide if out[n] == most)] -= 1
    return out


def head_lines(headers: Sequence[str], widths: Sequence[int]) -> list[list[str]]:
    """A table's heads in as many lines as the highest takes, flush with the last line."""
    parts = [
        [header] if cells(header) <= width else [cut(part.strip(), width) for part in fold(header, width)]
        for header, width in zip(headers, widths, strict=True)
    ]
    lines = max(map(len, parts), default=1)
    return [[([""] * (lines - len(part)) + part)[n] for part in parts] for n in range(lines)]


def dims(shape: Sequence[object], width: int | None = None) -> str:
    """Dimensions as 1x3x224x224; `?` where unknown, and long names cut.

    Names are cut further where the whole would be wider than `width`. Sizes stay whole, and none is left
    out, so that it may be wider still.
    """
    out = ""
    for most in range(MOST_DIM, LEAST_DIM - 1, -1):
        out = "x".join(
            "?" if d is None else str(d) if isinstance(d, int) else cut(str(d), most) for d in shape
        )
        if width is None or cells(out) <= width:
            break
    return out
