"""Which answers changed, and on which samples that shows: measured in the background for a story."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantscope.core.data import Samples
from quantscope.core.errors import DataError
from quantscope.core.evaluate import NOBODY, Accuracy, BySample, VersionBySample, compare, recovery, together
from quantscope.core.progress import ProgressFn
from quantscope.core.quant import Encoding
from quantscope.ui.content.sample_cards import Look, Words, card
from quantscope.ui.content.sample_kinds import Drawing
from quantscope.ui.content.sample_names import class_name
from quantscope.ui.content.story_facts import Cost, Outcomes, Repairs, Shown
from quantscope.ui.content.story_images import image_of, shots_of, signal_of
from quantscope.ui.content.story_records import Shot
from quantscope.ui.content.story_results import DRAWN
from quantscope.ui.content.story_tensor import telling
from quantscope.ui.runs import by_sample, versions
from quantscope.ui.runs.by_sample import Guess, Wanted, read_rows
from quantscope.ui.runs.by_sample_files import class_names, drawing_of, given_token
from quantscope.ui.runs.measured import NO_DATA, Measured
from quantscope.ui.runs.measurement_work import MOST_SAMPLES
from quantscope.ui.runs.versions import Kind, Version
from quantscope.ui.session import cached
from quantscope.ui.session.cached import IN_TURN
from quantscope.ui.session.pool import Measurement, ResultKey, Subscriber
from quantscope.ui.session.state import Session, recipe_token, session_id

STORY: Measurement[Outcomes] = Measurement(name="story", lane=IN_TURN, keep=16)
REPAIRED, OTHERS = 4, 2  # samples shown that came right again, and that did not
FURTHEST = 4  # shown where outputs are no classes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What is compared."""

    now: Session
    before: Version | None
    samples: Samples


def outcomes(now: Session, before: Version | None, *, peek: bool = False) -> Measured[Outcomes]:
    """Sample by sample, the shown recipe against the version before.

    Args:
        now: The open project.
        before: Another version; None where there is none to be held against.
        peek: Only look whether it is there.
    """
    judged = now.workspace.judged
    if judged is None:
        return Measured(error=NO_DATA)
    task = _Task(now=now, before=before, samples=judged.take(MOST_SAMPLES))

    def run(tell: ProgressFn) -> Outcomes:
        with cached.measuring_alone(tell):
            return _work(task, tell)

    pool, key = cached.pool(), _key(now, before)
    job = pool.peek(key) if peek else pool.request(_subscriber(), key, STORY.name, run)
    if job is None:
        return Measured(running=not peek)
    return Measured(value=job.result, error=job.error)


def waiting() -> bool:
    """Whether what this session asked for is on its way; shows that it still wants it."""
    return cached.pool().waits(_subscriber())


def _subscriber() -> Subscriber:
    return Subscriber(session_id(), STORY.name)


def _key(now: Session, before: Version | None) -> ResultKey[Outcomes]:
    other = "" if before is None else versions.digest(now, before)
    token = (now.opened.model.hash, recipe_token(now.recipe), other, given_token(now))
    return ResultKey(now.project.id, STORY, token)


def _work(task: _Task, tell: ProgressFn) -> Outcomes:
    now, before = task.now, task.before
    shown = versions.quantized_version(now.project, versions.step_key(now.project.head))
    if shown is None:
        raise DataError("the shown step cannot be read; show another one on History")
    wanted = Wanted(now=now, versions=(shown,) if before is None else (before, shown))
    found = together([by_sample.figures(wanted, version, tell) for version in wanted.versions])
    guessed = by_sample.guessed(wanted, tell)
    guessed = replace(guessed, drawing=drawing_of(now, guessed.drawing))
    rows = _rows_to_show(found)
    names = _names(now, found.classes)
    shots = _drawn(wanted, found, rows, guessed, tell)
    return Outcomes(
        rows=found.rows,
        labelled=found.labelled,
        repairs=_repairs(found),
        shown=tuple(
            replace(_shown(task.samples, found, row, guessed.drawing, names), shots=shots.get(row, ()))
            for row in rows
        ),
        before=None if before is None else _cost(task, before, found, tell),
        before_encoding=None if before is None else _encoding(now, before, tell),
    )


def _drawn(
    wanted: Wanted, found: BySample, rows: Sequence[int], guessed: Guess, tell: ProgressFn
) -> dict[int, tuple[Shot, ...]]:
    """What networks make of the first few samples, where that is a picture: an image, pixels, boxes."""
    if found.scored is not None and not found.positions:
        return {}
    count = len(wanted.versions)
    models = ("original", "int8") if count == 1 else ("original", "int8 before", "int8 now")
    look = Look(
        found=found,
        drawing=guessed.drawing,
        words=Words(models=models),
        head=guessed.head,
        shown=count - 1,
    )
    return {
        sample.row: shots_of(card(sample, look).parts, models)
        for sample in read_rows(wanted, list(rows[:DRAWN]), tell)
    }


def _repairs(found: BySample) -> Repairs | None:
    recovered = recovery(found, 0, len(found.versions) - 1)
    if recovered is None:
        return None
    gained = 0
    if recovered.labelled:
        gained = int(np.sum((found.floats.right == 0) & (found.versions[-1].answers.right == 1)))
    return Repairs(
        lost=len(recovered.lost), again=len(recovered.back), newly=len(recovered.broken), gained=gained
    )


def _rows_to_show(found: BySample) -> Sequence[int]:
    """Samples that tell the most: those that came right again, those that did not; else the furthest off."""
    recovered = recovery(found, 0, len(found.versions) - 1)
    if recovered is not None:
        back = set(recovered.back)
        rest = [*(row for row in recovered.lost if row not in back), *recovered.broken]
        others = rest[: max(OTHERS, REPAIRED + OTHERS - len(back))]
        return [*recovered.back[: REPAIRED + OTHERS - len(others)], *others]
    last = found.versions[-1]
    off = 1 - last.errors.same.astype(np.float64) if found.positions else _off(last)
    order = np.argsort(-np.nan_to_num(off, nan=-1.0), kind="stable")[:FURTHEST]
    return [int(row) for row in order if off[row] > 0]


def _off(version: VersionBySample) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(rows,) how far outputs are off as a share of their size; that of the output furthest off."""
    with np.errstate(all="ignore"):
        shares = 10 ** (-version.errors.sqnr_db / 20)
    shares = np.where(np.isfinite(shares), shares, np.nan)
    return np.asarray(np.nanmax(np.nan_to_num(shares, nan=0.0), axis=1, initial=0.0), np.float64)


def _shown(samples: Samples, found: BySample, row: int, drawing: Drawing, named: Sequence[str]) -> Shown:
    now, first = found.versions[-1], found.versions[0]
    inputs = by_sample.one_row(samples[row // samples.batch], row % samples.batch, samples.batch)
    right, classes = "", found.scored is not None and not found.positions
    if classes and found.labels is not None and found.labels[row] >= 0:
        right = _name(int(found.labels[row]), named)
    answers = [model.first[row] for model in (found.floats, first.answers, now.answers)] if classes else []
    said = [_name(int(answer), named) for answer in answers] or [""] * 3
    off = [_row_off(found, version, row) for version in (first, now)]
    return Shown(
        number=row,
        image=image_of(inputs, drawing),
        line=signal_of(inputs, drawing),
        right=right,
        floats=said[0],
        before=said[1],
        now=said[2],
        before_off=off[0],
        now_off=off[1],
    )


def _row_off(found: BySample, version: VersionBySample, row: int) -> float | None:
    if found.positions:
        same = float(version.errors.same[row])
        return None if math.isnan(same) else 1 - same
    return float(_off(version)[row])


def _names(now: Session, classes: int) -> Sequence[str]:
    """Names of the classes, as far as they are known; those of the sample digits are their numbers."""
    known = class_names(now, classes)
    if known:
        return known
    if now.project.model.kind == "sample" and now.project.model.path.startswith("digits"):
        return tuple(map(str, range(10)))
    return ()


def _name(number: int, names: Sequence[str]) -> str:
    if number == NOBODY:
        return "no answer"
    name = class_name(number, names)
    return name if number < len(names) and names[number] else f"class {name}"


def _cost(task: _Task, before: Version, found: BySample, tell: ProgressFn) -> Cost:
    """How the version before does: what the project knows of it, or measured."""
    known = versions.figures_of(task.now.project, before)
    if known is not None and known.whole is not None:
        figures = known.whole
        return Cost(
            rows=figures.rows or figures.samples,
            float_right=figures.float_top1,
            right=figures.top1,
            agreement=figures.agreement,
            sqnr_db=figures.sqnr_db,
        )
    data = versions.quantized_file(task.now, before, tell)
    result = compare(task.now.opened.model, data, task.samples, layers=False, latency=False, progress=tell)
    return cost_of(result.accuracy, result.output.sqnr_db, found.rows)


def cost_of(accuracy: Accuracy | None, sqnr_db: float | None, samples: int) -> Cost:
    """Figures of a comparison as a story takes them."""
    return Cost(
        rows=accuracy.rows if accuracy is not None else samples,
        float_right=accuracy.float_top1 if accuracy is not None else None,
        right=accuracy.quantized_top1 if accuracy is not None else None,
        agreement=accuracy.agreement if accuracy is not None else None,
        sqnr_db=sqnr_db,
    )


def _encoding(now: Session, before: Version, tell: ProgressFn) -> Encoding | None:
    """How the version before quantizes the tensor that the story shows."""
    chosen = telling(now.model, now.workspace.statistics, now.encodings)
    if chosen is None or before.kind is not Kind.STEP:
        return None
    other, tensor = versions.step_session(now, before, tell), chosen[1]
    counts = now.workspace.statistics.histograms[tensor]
    encoding = other.encodings.activations.get(tensor)
    same = encoding == now.encodings.activations[tensor]
    return None if same or other.workspace.statistics.histograms.get(tensor) != counts else encoding
