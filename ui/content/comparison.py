"""Figures of versions side by side: each with its change against one of them, and the best marked."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from quantscope.core.project import Figures
from quantscope.ui.content import text
from quantscope.ui.content.distance import SAME_TIME

Tone = Literal["", "good", "bad"]
SAME_DB, SAME_SHARE, SAME_RATIO = 0.05, 0.0005, 0.005  # what does not count as a change


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One version."""

    label: str
    figures: Figures | None  # None = not there (yet)
    floating: bool = False  # the float model
    waiting: bool = False
    error: str = ""  # why there are none


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure of one version."""

    value: str
    change: str = ""  # against the version that others are held against
    tone: Tone = ""
    best: bool = False  # of all quantized versions, where they differ


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRow:
    """One kind of figure."""

    name: str
    cells: tuple[Cell, ...]  # one for each column


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    name: str
    value: Callable[[Figures], float | None]
    words: Callable[[float], str]
    change: Callable[[float, float], tuple[str, float]]  # after and before → words, and how much better
    quantized_only: bool = False  # says nothing of the float model


def _points(after: float, before: float) -> tuple[str, float]:
    gain = after - before
    if abs(gain) < SAME_SHARE:
        return "", 0.0
    return text.change(100 * gain, "pp"), gain


def _decibels(after: float, before: float) -> tuple[str, float]:
    if after == before or (gain := after - before) != gain or abs(gain) < SAME_DB:
        return "", 0.0
    return text.change(gain), gain


def _closer(after: float, before: float) -> tuple[str, float]:
    """Of cosines: how much of what is missing to 1 went or came."""
    if text.cosine(after) == text.cosine(before):
        return "", 0.0
    return ("closer to 1" if after > before else "further from 1"), after - before


def _smaller(after: float, before: float) -> tuple[str, float]:
    share = after / before - 1 if before else 0.0
    if abs(share) < SAME_RATIO:
        return "", 0.0
    return f"{100 * share:+.0f} %".replace("-", "−"), -share


def _faster(after: float, before: float) -> tuple[str, float]:
    ratio = before / after if after else 1.0
    if abs(ratio - 1) < SAME_TIME / 100:
        return "", 0.0
    return (f"{ratio:.1f}× faster" if ratio > 1 else f"{1 / ratio:.1f}× slower"), math.log(ratio)


def _not_compared(after: float, before: float) -> tuple[str, float]:
    """Of times, which were taken at different moments of a machine with other work."""
    return "", 0.0


def _of_float(figures: Figures) -> float | None:
    """Time over that of the float model, which ran in turn with it."""
    if figures.latency_ms is None or not figures.float_latency_ms:
        return None
    return figures.latency_ms / figures.float_latency_ms


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


_KINDS = (
    _Kind(name="Top-1", value=lambda f: f.top1, words=text.share, change=_points),
    _Kind(
        name="Agreement with float",
        value=lambda f: f.agreement,
        words=text.share,
        change=_points,
        quantized_only=True,
    ),
    _Kind(name="Mean IoU", value=lambda f: f.miou, words=text.share, change=_points),
    _Kind(
        name="Output SQNR",
        value=lambda f: f.sqnr_db,
        words=text.decibel,
        change=_decibels,
        quantized_only=True,
    ),
    _Kind(
        name="Output cosine",
        value=lambda f: f.cosine,
        words=text.cosine,
        change=_closer,
        quantized_only=True,
    ),
    _Kind(name="File size", value=lambda f: f.size_bytes, words=text.size, change=_smaller),
    _Kind(
        name="Time of one run", value=lambda f: f.latency_ms, words=text.milliseconds, change=_not_compared
    ),
    _Kind(name="Time, share of float's", value=_of_float, words=_percent, change=_faster),
)


def figure_rows(columns: Sequence[Column], against: int) -> tuple[FigureRow, ...]:
    """A row for each kind of figure that any version has.

    Args:
        columns: The versions.
        against: Which of them the others are held against.
    """
    rows = []
    for kind in _KINDS:
        values = [kind.value(c.figures) if c.figures is not None else None for c in columns]
        if all(value is None for value in values) and any(c.figures is not None for c in columns):
            continue
        best = _best(kind, columns, values)
        cells = tuple(
            _cell(kind, column, values[at], values[against] if at != against else None, at in best)
            for at, column in enumerate(columns)
        )
        rows.append(FigureRow(name=kind.name, cells=cells))
    return tuple(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """In what a version is better and worse than another, in words."""

    better: tuple[str, ...]
    worse: tuple[str, ...]


def verdict(figures: Figures, against: Figures) -> Verdict:
    """One version held against another: what counts as a change of each figure, and the answers behind it."""
    better: list[str] = []
    worse: list[str] = []
    for kind in _KINDS:
        value, before = kind.value(figures), kind.value(against)
        if value is None or before is None:
            continue
        words, gain = kind.change(value, before)
        if not words or gain == 0:
            continue
        if kind.name == "Top-1" and figures.rows:
            answers = round(abs(value - before) * figures.rows)
            words += f", {answers:,} of {figures.rows:,} answers"
        (better if gain > 0 else worse).append(f"{kind.name[0].lower()}{kind.name[1:]} ({words})")
    return Verdict(better=tuple(better), worse=tuple(worse))


def _cell(kind: _Kind, column: Column, value: float | None, before: float | None, best: bool) -> Cell:
    if column.floating and kind.quantized_only:
        return Cell(value="")
    if value is None:
        return Cell(value="…" if column.waiting else "–")
    words, gain = "", 0.0
    if before is not None and not column.floating:
        words, gain = kind.change(value, before)
    tone: Tone = "" if not words or gain == 0 else "good" if gain > 0 else "bad"
    return Cell(value=kind.words(value), change=words, tone=tone, best=best)


def _best(kind: _Kind, columns: Sequence[Column], values: Sequence[float | None]) -> set[int]:
    """Quantized versions that are better than another one, and that none beats."""
    known = {
        at: value
        for at, (column, value) in enumerate(zip(columns, values, strict=True))
        if value is not None and value == value and not column.floating
    }
    if len(known) < 2:
        return set()

    def beats(a: float, b: float) -> bool:
        return kind.change(a, b)[1] > 0

    best = {at for at, value in known.items() if not any(beats(other, value) for other in known.values())}
    return best if len(best) < len(known) else set()
