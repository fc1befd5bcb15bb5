"""Names of layers in little room: the parts that they are made of, and what tells one from the others."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from quantscope.ui.content.text import plain, short

LONG = 80  # characters of a part beyond which no block is looked for in it
_SEPARATORS = re.compile(r"::|[/.]")
_NUMBERED = re.compile(
    r"([A-Za-z][A-Za-z0-9]*?(?:_[A-Za-z]+)*?_?\d+)_(?=[A-Za-z0-9])"
)  # "block_1_" of block_1_add


class Part(NamedTuple):
    """A part of a name, by its place in it."""

    text: str
    start: int
    end: int


def parts(name: str) -> list[Part]:
    """The parts of a name, as slashes, dots and numbered blocks tell: `layer`, `0`, `q` of `layer.0.q`.

    Of several names joined by semicolons, as TFLite writes them for fused operators, the first one counts.
    """
    whole = name.split(";", 1)[0] or name
    found, start = [], 0
    for separator in [*_SEPARATORS.finditer(whole), None]:
        end = len(whole) if separator is None else separator.start()
        if end > start:
            found += _blocks(whole[start:end], start)
        start = end if separator is None else separator.end()
    return found or [Part(name, 0, len(name))]


def _blocks(text: str, start: int) -> list[Part]:
    """`conv2_block1_1_conv` as conv2, block1 and 1_conv."""
    found = []
    while len(text) <= LONG and (block := _NUMBERED.match(text)) is not None:
        found.append(Part(block[1], start, start + len(block[1])))
        text, start = text[block.end() :], start + block.end()
    return [*found, Part(text, start, start + len(text))]


def tails(names: Sequence[str], least: Sequence[int] | None = None) -> list[str]:
    """For each name, as many of its last parts as it takes to tell it from the others.

    Args:
        names: All different, or told apart as far as they can be.
        least: Parts that each has at least; 1 without it.
    """
    split = [parts(name) for name in names]
    count = [min(len(own), wanted) for own, wanted in zip(split, least or [1] * len(names), strict=True)]
    while True:
        found = [_last(name, own, k) for name, own, k in zip(names, split, count, strict=True)]
        seen = Counter(found)
        more = [i for i, tail in enumerate(found) if seen[tail] > 1 and count[i] < len(split[i])]
        if not more:
            return found
        for i in more:
            count[i] += 1


def _last(name: str, own: Sequence[Part], count: int) -> str:
    return name[own[-count].start : own[-1].end]


def shortened(names: Sequence[str], length: int) -> list[str]:
    """Names of at most `length` characters each, cut in the middle where they are longer.

    Those that would look the same are cut at both ends instead, so that what tells them apart is seen. Of
    names joined by semicolons the first one is shown, unless others begin with it, too.
    """
    firsts = Counter(name.split(";", 1)[0] for name in names)
    given = [
        first if len(name) > length and first and firsts[first] == 1 else name
        for name in names
        for first in [name.split(";", 1)[0]]
    ]
    found = [short(name, length) for name in given]
    alike: dict[str, list[int]] = {}
    for i, cut in enumerate(found):
        alike.setdefault(cut, []).append(i)
    for places in alike.values():
        if len(places) > 1:
            several = [plain(given[i]) for i in places]
            start = _shared(several)
            end = _shared([name[start:][::-1] for name in several])
            for i, name in zip(places, several, strict=True):
                found[i] = _window(name, start, len(name) - end, length)
    return found


def _window(name: str, start: int, end: int, length: int) -> str:
    """What stands from `start` to `end`, with as much before it as there is room."""
    if len(name) <= length:
        return name
    if end - start > length - 2:
        return f"…{short(name[start:end], length - 2)}…"
    first = max(0, end - (length - 2))
    start = min(max((part.start for part in parts(name) if part.start <= start), default=0), start)
    first = max(first, start)
    last = min(len(name), first + length - 2)
    return f"{'…' if first else ''}{name[first:last]}{'…' if last < len(name) else ''}"


def _shared(names: Sequence[str]) -> int:
    """How many characters all names begin with."""
    first, last = min(names), max(names)
    return next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
