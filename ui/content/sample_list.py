"""Which samples are shown, and in what order: filters, counts and sentences from the figures of every row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from quantscope.core.evaluate import NOBODY, BySample, VersionBySample, recovery
from quantscope.core.words import plural
from quantscope.ui.content.sample_kinds import WITH_CLASSES, Drawing
from quantscope.ui.content.text import decibel, percent

Answers = Literal["boxes", "pixels", "positions", "tokens"]
DIFFERS: dict[Answers, str] = {
    "boxes": "Boxes differ",
    "pixels": "Pixels differ",
    "positions": "Some positions differ",
    "tokens": "Tokens differ",
}
Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]


class Filter(StrEnum):
    """Which samples are listed."""

    ALL = "all"
    CHANGED = "changed"
    LOST = "lost"
    GAINED = "gained"
    WRONG = "wrong"
    BACK = "back"
    BROKEN = "broken"


class Order(StrEnum):
    """Which samples come first."""

    CHANGED = "Changed answers first"
    SQNR = "Largest error first"
    CLOSE = "Closest calls first"
    DATA = "As in the data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One filter with what it would list."""

    filter: Filter
    label: str
    count: int
    help: str

    @property
    def words(self) -> str:
        """With its count."""
        return f"{self.label} · {self.count:,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Which version is looked at, beside which other one."""

    found: BySample
    shown: int  # the version that is judged
    before: int | None = None  # another one, that it is held against
    answers: Answers = "positions"  # what differs where whole samples have no class

    @property
    def version(self) -> VersionBySample:
        """The version that is judged."""
        return self.found.versions[self.shown]

    @property
    def classifies(self) -> bool:
        """Whether each sample has one class."""
        return self.found.scored is not None and not self.found.positions


def as_drawn(found: BySample, drawing: Drawing) -> BySample:
    """Without answers and labels where what looks like class scores is drawn as something else.

    An autoencoder's output has the shape of class scores.
    """
    if found.scored is None or drawing.outputs.get(found.scored) in WITH_CLASSES:
        return found
    unknown = np.full(found.rows, np.nan, np.float32)
    return replace(
        found,
        scored=None,
        classes=0,
        positions=False,
        labels=None,
        floats=replace(found.floats, right=unknown),
        versions=tuple(
            replace(
                version,
                answers=replace(version.answers, right=unknown),
                errors=replace(version.errors, same=unknown),
            )
            for version in found.versions
        ),
    )


def changed(found: BySample, version: VersionBySample) -> Mask:
    """Rows for which a version answers otherwise than the float model: another class, or other integers."""
    out = np.zeros(found.rows, bool)
    if found.scored is not None:
        out |= ~(version.errors.same == 1.0) & ~np.isnan(version.errors.same)
    with np.errstate(invalid="ignore"):
        out |= (version.errors.equal < 1.0).any(axis=1)
        out |= version.errors.differing > 0
    return out


def mask(view: View, which: Filter) -> Mask:
    """The rows that a filter lists."""
    found, version = view.found, view.version
    right, own = found.floats.right, version.answers.right
    everything = np.ones(found.rows, bool)
    before = None if view.before is None else found.versions[view.before]
    with np.errstate(invalid="ignore"):
        if which is Filter.CHANGED:
            return changed(found, version)
        if which is Filter.LOST:
            return np.asarray(own < right)
        if which is Filter.GAINED:
            return np.asarray(own > right)
        if which is Filter.WRONG:
            return np.asarray(own < 1.0)
        if which is Filter.BACK and before is not None:
            return _good(found, version) & _good(found, None) & ~_good(found, before)
        if which is Filter.BROKEN and before is not None:
            return ~_good(found, version) & _good(found, None) & _good(found, before)
    return everything


def _good(found: BySample, version: VersionBySample | None) -> Mask:
    """Rows that a model gets right; without labels, those with the float model's answer."""
    if found.labelled:
        own = found.floats if version is None else version.answers
        return np.asarray(own.right == 1.0)
    return np.ones(found.rows, bool) if version is None else np.asarray(version.errors.same == 1.0)


def _tells_answers(view: View) -> bool:
    """Whether it is known for which samples a version answers otherwise."""
    errors = view.version.errors
    known = not np.isnan(errors.equal).all() or not np.isnan(errors.differing).all()
    return view.found.scored is not None or known


def choices(view: View, label: str, before: str) -> tuple[Choice, ...]:
    """The filters that make sense here, with their counts.

    Args:
        view: What is looked at.
        label: The version that is judged.
        before: The other one.
    """
    found = view.found
    offered: list[tuple[Filter, str, str]] = [(Filter.ALL, "All", "Every sample that was compared.")]
    if _tells_answers(view):
        words = "Answer differs" if view.classifies else DIFFERS[view.answers]
        offered.append((Filter.CHANGED, words, f"{label} answers otherwise than the float model does."))
    if found.labelled and view.classifies:
        offered += [
            (Filter.LOST, "Newly wrong", f"The float model is right, {label} is not."),
            (Filter.GAINED, "Newly right", f"The float model is wrong, {label} is right."),
            (Filter.WRONG, "Wrong", f"{label} is wrong, whatever the float model says."),
        ]
    elif found.labelled:
        offered += [
            (Filter.LOST, "Worse", f"Fewer positions are right in {label} than in float."),
            (Filter.GAINED, "Better", f"More positions are right in {label} than in float."),
        ]
    if view.before is not None and view.classifies:
        offered += [
            (Filter.BACK, "Right again", f"As in float in {label}; {before} lost them."),
            (Filter.BROKEN, f"Lost since {before}", f"As in float in {before}; {label} loses them."),
        ]
    return tuple(
        Choice(filter=which, label=words, count=int(np.count_nonzero(mask(view, which))), help=why)
        for which, words, why in offered
    )


def orders(view: View) -> tuple[Order, ...]:
    """The orders that make sense here."""
    return (
        *((Order.CHANGED,) if _tells_answers(view) else ()),
        Order.SQNR,
        *((Order.CLOSE,) if view.classifies else ()),
        Order.DATA,
    )


def listed(
    view: View,
    which: Filter,
    order: Order,
    *,
    number: int | None = None,
    answer: int | None = None,
    output: str | None = None,
) -> Array:
    """Rows in the order in which they are shown.

    Args:
        view: What is looked at.
        which: The filter.
        order: What comes first; ties as in the data.
        number: Only samples of this class: by label, or by the float model's answer without labels.
        answer: Only samples to which the version gives this class.
        output: The output whose error counts; None = the worst one.
    """
    chosen = mask(view, which) & of_class(view.found, number)
    if answer is not None:
        chosen &= view.version.answers.first == answer
    rows = np.flatnonzero(chosen)
    if order is Order.DATA or not rows.size:
        return rows
    errors = worst_db(view, output)[rows]
    if order is Order.CLOSE:
        return rows[np.argsort(margins(view)[rows], kind="stable")]
    if order is Order.SQNR:
        return rows[np.argsort(errors, kind="stable")]
    same = np.nan_to_num(view.version.errors.same[rows], nan=1.0)
    if view.found.scored is None:
        same = -np.nan_to_num(view.version.errors.differing[rows], nan=0.0)
    lost = np.zeros(len(rows), bool)
    if view.found.labelled:
        with np.errstate(invalid="ignore"):
            lost = view.version.answers.right[rows] < view.found.floats.right[rows]
    return rows[np.lexsort((errors, ~lost, same))]


def of_class(found: BySample, number: int | None) -> Mask:
    """Rows of a class: by label, or by the float model's answer where there are no labels."""
    if number is None:
        return np.ones(found.rows, bool)
    return np.asarray((found.floats.first if found.labels is None else found.labels) == number)


def classes_of(found: BySample) -> tuple[int, ...]:
    """Classes that samples have, for a choice of one."""
    if found.scored is None or found.positions:
        return ()
    numbers = np.unique(found.floats.first if found.labels is None else found.labels)
    return tuple(int(number) for number in numbers if number > NOBODY)


def answers_of(view: View) -> tuple[int, ...]:
    """Classes that the version gives samples, for a choice of one."""
    numbers = np.unique(view.version.answers.first) if view.classifies else ()
    return tuple(int(number) for number in numbers if number > NOBODY)


def worst_db(view: View, output: str | None = None) -> Array:
    """(rows,) SQNR of the worst output, or of one; -inf where it is not to be had."""
    errors = view.version.errors.sqnr_db
    if output is not None and output in view.found.outputs:
        errors = errors[:, [view.found.outputs.index(output)]]
    unknown = np.isnan(errors).all(axis=1)
    out = np.full(len(errors), -np.inf)
    if errors.shape[1]:
        out[~unknown] = np.nanmin(errors[~unknown], axis=1)
    return out


def margins(view: View) -> Array:
    """(rows,) how far the version's first class is ahead of its second one; inf where it is alone."""
    scores = view.version.answers.scores
    if scores.shape[1] < 2:
        return np.full(len(scores), np.inf)
    return np.nan_to_num(scores[:, 0] - scores[:, 1], nan=np.inf)


def summary(view: View, label: str, basis: str) -> str:
    """What this version does to the answers, in one sentence.

    Args:
        view: What is looked at.
        label: The version that is judged.
        basis: Over which samples, as in "1,000 evaluation samples".
    """
    found, version = view.found, view.version
    if not view.classifies:
        return _without_answers(view, label, basis)
    count = int(np.count_nonzero(changed(found, version)))
    if not count:
        return f"{label} gives the float model's answer on all {basis}."
    words = f"{label} answers otherwise than float on {count:,} of {basis}"
    if not found.labelled:
        return f"{words}. There are no labels: which of the two is right is not known."
    lost = int(np.count_nonzero(mask(view, Filter.LOST)))
    gained = int(np.count_nonzero(mask(view, Filter.GAINED)))
    rest = count - lost - gained
    parts = [f"{lost:,} that float gets right {'is' if lost == 1 else 'are'} wrong"]
    if gained:
        parts.append(f"{gained:,} that it gets wrong {'is' if gained == 1 else 'are'} right")
    if rest:
        unknown = int(np.count_nonzero(np.isnan(found.floats.right)))
        parts.append(
            f"{rest:,} {'is' if rest == 1 else 'are'} wrong in both{' or without a label' if unknown else ''}"
        )
    return f"{words}: {', '.join(parts)}."


def against(view: View, label: str, before: str) -> str:
    """What the version brings back of what another one loses, in one sentence; "" where there is no other.

    Args:
        view: What is looked at.
        label: The version that is judged.
        before: The other one.
    """
    if view.before is None or not view.classifies:
        return ""
    got = recovery(view.found, view.before, view.shown)
    assert got is not None  # whole samples are classified
    if not got.lost and not got.broken:
        return f"Neither {label} nor {before} loses an answer."
    right = " right" if got.labelled else " as in float"
    broken = f"{len(got.broken):,}" if got.broken else "none"
    if not got.lost:
        return f"{before} loses no answer; {label} loses {broken} that {before} has{right}."
    lost = plural(len(got.lost), "answer")
    return (
        f"Of {lost} that {before} loses, {label} brings back {len(got.back):,}, and loses {broken} that "
        f"{before} has{right}."
    )


def _without_answers(view: View, label: str, basis: str) -> str:
    found, same = view.found, view.version.errors.same
    differing = view.version.errors.differing
    if view.answers == "boxes" and not np.isnan(differing).all():
        boxes, rows = int(np.nansum(differing)), int(np.count_nonzero(differing > 0))
        if not boxes:
            return f"{label} finds the boxes that float finds, on all {basis}."
        are = "box is" if boxes == 1 else "boxes are"
        return f"With {label}, {boxes:,} {are} missed or new, on {rows:,} of {basis}."
    if found.scored is None:
        same = 1.0 - differing
    if not np.isnan(same).all():
        share, worst = float(np.nanmean(same)), float(np.nanmin(same))
        if worst == 1.0:
            return f"{label} gives all {view.answers} the float model's class, over {basis}."
        return (
            f"In {label}, {percent(share, 1)} of the {view.answers} have the float model's class, over "
            f"{basis}; on the worst of them {percent(worst, 1)}."
        )
    errors = worst_db(view)
    known = errors[np.isfinite(errors)]
    if np.all(errors == np.inf):
        return f"{label} gives exactly the float model's outputs over {basis}."
    if not known.size:
        return f"{label} is compared with float over {basis}."
    which = "worst output" if len(found.outputs) > 1 else "output"
    return (
        f"Over {basis}, the {which} of {label} keeps {decibel(float(np.median(known)))} on the sample in the "
        f"middle and {decibel(float(known.min()))} on the worst one."
    )


def pages(count: int, each: int) -> int:
    """Pages that hold `count` samples; at least one."""
    return max(1, -(-count // each))


def page_words(first: int, shown: int, count: int) -> str:
    """Which part of the list is shown."""
    if not count:
        return "no samples"
    if shown == count:
        return plural(count, "sample")
    return f"{first + 1:,}–{first + shown:,} of {plural(count, 'sample')}"


def rows_on(rows: Sequence[int] | Array, page: int, each: int) -> tuple[int, ...]:
    """The rows of a page, counted from 0."""
    return tuple(int(row) for row in rows[page * each : (page + 1) * each])
