"""Which classes lose by quantization, and which classes they are taken for."""

from dataclasses import dataclass

import numpy as np

from quantscope.core.evaluate import ClassPairs, class_numbers, swaps
from quantscope.ui.content.sample_list import View
from quantscope.ui.content.sample_names import class_name

PAIRS = 50  # of classes that are listed
MATRIX = 40  # classes up to which the whole matrix can be read
CANDIDATES = 400  # pairs of each model among which the listed ones are found


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRow:
    """One class; shares are of its samples, or of its positions."""

    number: int
    name: str
    count: int
    float_right: float
    version_right: float
    taken_for: str  # the class that the version mistakes it for most often, with the count; "" for none

    @property
    def change(self) -> float:
        """What quantization costs this class, in points."""
        return 100.0 * (self.version_right - self.float_right)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """One class taken for another."""

    first: str
    second: str
    float_count: int
    version_count: int

    @property
    def change(self) -> int:
        """How much more often since quantization."""
        return self.version_count - self.float_count


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Counts of (label or float class, class of the version)."""

    numbers: tuple[int, ...]
    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFigures:
    """All of it; "right" is the label, or the float model's class where there are no labels."""

    labelled: bool
    positions: bool
    rows: tuple[ClassRow, ...]  # those that lose most first
    pairs: tuple[PairRow, ...]  # those that became most frequent first
    matrix: Matrix | None  # None where there are more than `MATRIX` classes


def class_figures(view: View, names: tuple[str, ...]) -> ClassFigures | None:
    """Figures by class of the version that is judged; None where there are no classes to count."""
    floats, own = _pairs(view)
    if own is None or not own.counts.size:
        return None
    labelled = floats is not None
    numbers = class_numbers([own])
    rows = [_row(number, floats, own, names) for number in dict.fromkeys(own.first.tolist())]
    rows.sort(key=lambda row: (row.change, row.number))
    return ClassFigures(
        labelled=labelled,
        positions=view.found.positions,
        rows=tuple(rows),
        pairs=_pair_rows(floats, own, names),
        matrix=_matrix(own, numbers, names) if len(numbers) <= MATRIX else None,
    )


def _pairs(view: View) -> tuple[ClassPairs | None, ClassPairs | None]:
    """Label against class, of the float model and of the version; without labels its class against theirs."""
    known = view.found.label_pairs
    if known[0] is not None:
        return known[0], known[view.shown + 1]
    return None, view.version.pairs


def _row(number: int, floats: ClassPairs | None, own: ClassPairs, names: tuple[str, ...]) -> ClassRow:
    count = own.total(number)
    there = own.first == number
    others = there & (own.second != number)
    worst = ""
    if others.any():
        at = int(np.flatnonzero(others)[own.counts[others].argmax()])
        worst = f"{class_name(int(own.second[at]), names)} ({int(own.counts[at]):,})"
    return ClassRow(
        number=number,
        name=class_name(number, names),
        count=count,
        float_right=1.0 if floats is None else floats.kept(number) / max(1, floats.total(number)),
        version_right=own.kept(number) / max(1, count),
        taken_for=worst,
    )


def _pair_rows(floats: ClassPairs | None, own: ClassPairs, names: tuple[str, ...]) -> tuple[PairRow, ...]:
    before: dict[tuple[int, int], int] = {}
    if floats is not None:
        before = {(s.first, s.second): s.count for s in swaps(floats)}
    after = {(s.first, s.second): s.count for s in swaps(own)}
    wanted = [*list(after)[:CANDIDATES], *list(before)[:CANDIDATES]]
    rows = [
        PairRow(
            first=class_name(pair[0], names),
            second=class_name(pair[1], names),
            float_count=before.get(pair, 0),
            version_count=after.get(pair, 0),
        )
        for pair in dict.fromkeys(wanted)
    ]
    rows.sort(key=lambda row: (-row.change, -row.version_count))
    return tuple(rows[:PAIRS])


def _matrix(own: ClassPairs, numbers: tuple[int, ...], names: tuple[str, ...]) -> Matrix:
    place = {number: at for at, number in enumerate(numbers)}
    table = [[0] * len(numbers) for _ in numbers]
    for first, second, count in zip(own.first, own.second, own.counts, strict=True):
        table[place[int(first)]][place[int(second)]] = int(count)
    return Matrix(
        numbers=numbers,
        names=tuple(class_name(number, names) for number in numbers),
        counts=tuple(map(tuple, table)),
    )
