"""Float and versions, sample by sample: figures of all of them, and what is drawn of those shown."""

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.data import Samples, row_of
from quantscope.core.errors import DataError, ProjectError
from quantscope.core.evaluate import (
    BySample,
    Differing,
    by_sample,
    by_sample_from_bytes,
    by_sample_to_bytes,
    quantized_session,
    read_quantized,
    together,
)
from quantscope.core.memo import Recent
from quantscope.core.model import Model, model_session
from quantscope.core.progress import Progress, ProgressFn, report
from quantscope.core.project import project as projects
from quantscope.core.runtime import Session as OrtSession
from quantscope.ui.content.sample_boxes import BoxHead, find_head
from quantscope.ui.content.sample_cards import Look, SampleCard, SampleRow, Words, card
from quantscope.ui.content.sample_differences import difference_of
from quantscope.ui.content.sample_kinds import Drawing, guess_inputs, guess_outputs
from quantscope.ui.content.sample_pictures import size_of
from quantscope.ui.runs import versions as versions_of
from quantscope.ui.runs.measured import NO_DATA
from quantscope.ui.runs.measurement_work import MOST_SAMPLES
from quantscope.ui.runs.versions import Kind, Version
from quantscope.ui.session import cached
from quantscope.ui.session.cached import AT_ONCE
from quantscope.ui.session.jobs import Job, JobId, State
from quantscope.ui.session.pool import Measurement, ResultKey, Subscriber
from quantscope.ui.session.state import Session, session_id

VERSIONS = 24  # whose figures of all samples are kept
SESSIONS = 4  # models of a project that are kept ready to run
FOLDER = "by_sample"  # of the project, with figures of all samples
LOOKED_AT = 24  # samples from which it is guessed what inputs are
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """How samples and outputs are drawn unless the user says otherwise."""

    drawing: Drawing
    head: BoxHead | None  # outputs that hold boxes
    differing: Differing | None = None  # how differently two models answer a sample without a class


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is compared."""

    now: Session
    versions: tuple[Version, ...]  # quantized ones

    @property
    def samples(self) -> Samples:
        """What versions are judged on.

        Raises:
            DataError: There are none.
        """
        judged = self.now.workspace.judged
        if judged is None or not len(judged):
            raise DataError(NO_DATA)
        return judged.take(MOST_SAMPLES)

    @property
    def data(self) -> str:
        """What tells these samples from others of the project."""
        project, judged = self.now.project, self.now.workspace.judged
        return repr((project.identity, project.evaluation or project.data, len(judged or ())))

    def digest(self, version: Version) -> str:
        """What a version's figures depend on."""
        return f"{versions_of.digest(self.now, version)} {self.now.opened.model.hash} {self.data}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Figures of all samples, as far as they are there."""

    found: BySample | None = None
    guess: Guess | None = None
    job: Job[None] | None = None  # measures what is missing, or has failed


class _Figures(Recent[BySample]):
    """By what they depend on; one version each."""

    def __init__(self) -> None:
        super().__init__(VERSIONS)


class _Guesses(Recent[Guess]):
    """By model and data."""

    def __init__(self) -> None:
        super().__init__(4)


class _Sessions(Recent[OrtSession]):
    """Models ready to run, by what they are made of."""

    def __init__(self) -> None:
        super().__init__(SESSIONS)


def quantized(versions: Sequence[Version]) -> tuple[Version, ...]:
    """Those versions that are held against the float model."""
    return tuple(version for version in versions if version.kind is not Kind.FLOAT)


def compared(wanted: Wanted) -> Compared:
    """Figures of every sample for all versions; what is missing is measured in the background."""
    kept = cached.results_of_project(wanted.now.project.id, _Figures)
    parts = [kept.get(wanted.digest(version)) for version in wanted.versions]
    guess = cached.results_of_project(wanted.now.project.id, _Guesses).get(_guessed_from(wanted))
    there = [part for part in parts if part is not None]
    if guess is not None and there and len(there) == len(parts):
        return Compared(found=together(there), guess=guess)
    known = job_of(wanted)
    if known is None or known.state is State.DONE:  # its results had to make room
        known = again(wanted)
    return Compared(job=known)


def again(wanted: Wanted) -> Job[None]:
    """Measure what is missing, also where that was stopped or has failed."""
    return cached.registry().restart(_job_id(wanted), "Comparing sample by sample", Work(wanted))


def job_of(wanted: Wanted) -> Job[None] | None:
    """The job that measures what is missing."""
    return cached.registry().get(_job_id(wanted))


def _job_id(wanted: Wanted) -> JobId[None]:
    name = hashlib.sha256(" ".join(map(wanted.digest, wanted.versions)).encode()).hexdigest()[:16]
    return JobId(f"{wanted.now.project.id}:by sample {name}")


def _guessed_from(wanted: Wanted) -> str:
    return f"{wanted.now.opened.model.hash} {wanted.data}"


@dataclass(frozen=True, slots=True)
class Work:
    """Measures what is missing; called in a thread of its own."""

    wanted: Wanted

    def __call__(self, tell: ProgressFn) -> None:
        """How samples are drawn, then the figures of each version that has none."""
        wanted = self.wanted
        guessed(wanted, tell)
        missing = [version for version in wanted.versions if _known(wanted, version) is None]
        for at, version in enumerate(missing):
            part = _part_of(tell, at, len(missing), version.short)
            with cached.measuring_alone(tell):  # version by version, so that others get their turn
                figures(wanted, version, part)


def guessed(wanted: Wanted, tell: ProgressFn) -> Guess:
    """How samples and outputs are drawn unless the user says otherwise; for background work."""
    report(tell, 0, 0, "looking at the samples")
    known = cached.results_of_project(wanted.now.project.id, _Guesses)
    return known.get_or_make(_guessed_from(wanted), lambda: guess(wanted.now.opened.model, wanted.samples))


def figures(wanted: Wanted, version: Version, tell: ProgressFn) -> BySample:
    """Figures of every sample for one version: those that are kept, else measured; for background work.

    Raises:
        QuantScopeError: The version cannot be made, or does not run.
    """
    key, known = wanted.digest(version), _known(wanted, version)
    if known is not None:
        return known
    drawn = guessed(wanted, tell)
    file = versions_of.quantized_file(wanted.now, version, tell)
    found = by_sample(
        wanted.now.opened.model, [file], wanted.samples, differing=drawn.differing, progress=tell
    )
    _to_disk(wanted, key, found)
    cached.results_of_project(wanted.now.project.id, _Figures).put(key, found)
    return found


def _known(wanted: Wanted, version: Version) -> BySample | None:
    """Figures in memory or in the project's folder."""
    kept, key = cached.results_of_project(wanted.now.project.id, _Figures), wanted.digest(version)
    found = kept.get(key)
    if found is None:
        found = _on_disk(wanted, key)
        if found is not None:
            kept.put(key, found)
    return found


def _part_of(tell: ProgressFn, at: int, of: int, name: str) -> ProgressFn:
    """Tells of one of several versions as a part of all of them."""

    def told(progress: Progress) -> None:
        label = f"{progress.label}: {name}"
        tell(Progress(done=at * progress.total + progress.done, total=of * progress.total, label=label))

    return told


def _file_of(key: str) -> str:
    """Where figures lie in the project's folder."""
    return f"{FOLDER}/{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"


def _on_disk(wanted: Wanted, key: str) -> BySample | None:
    """Figures that were measured before; damaged ones are measured again."""
    path = wanted.now.project.folder / _file_of(key)
    try:
        found = by_sample_from_bytes(path.read_bytes())
    except (OSError, DataError):
        return None
    return found if found.rows == wanted.samples.rows else None


def _to_disk(wanted: Wanted, key: str, found: BySample) -> None:
    """Keep figures with the project, as far as it can be written, and drop those of long ago."""
    with contextlib.suppress(ProjectError, OSError):
        projects.write_file(wanted.now.project, _file_of(key), by_sample_to_bytes(found))
        files = sorted((wanted.now.project.folder / FOLDER).glob("*.npz"), key=lambda f: f.stat().st_mtime)
        for old in files[:-VERSIONS]:
            old.unlink(missing_ok=True)


def guess(model: Model, samples: Samples) -> Guess:
    """How samples and outputs are drawn, from the first few."""
    few = samples.take(LOOKED_AT)
    scored = by_sample(model, [], samples.take(1))
    rows = [one_row(sample, 0, few.batch) for sample in few]
    inputs = guess_inputs(rows)
    drawing = Drawing(inputs=inputs)
    run = model_session(model).run(next(iter(few)))
    outputs = one_row({k: v for k, v in run.items() if isinstance(v, np.ndarray)}, 0, few.batch)
    image = size_of(rows[0][drawing.image], inputs[drawing.image]) if drawing.image is not None else None
    sides = None if image is None else image[:2]
    head = find_head(outputs, sides) if sides is not None and scored.scored is None else None
    boxes = head.outputs if head is not None else frozenset()
    kinds = guess_outputs(outputs, inputs, rows[0], image, scored.scored, scored.positions, boxes)
    drawing = replace(drawing, outputs=kinds)
    measure = difference_of(drawing, head, sides) if scored.scored is None else None
    return Guess(drawing=drawing, head=head, differing=measure)


def one_row(arrays: Mapping[str, Array], row: int, batch: int) -> dict[str, Array]:
    """One row of what goes into a run or comes out of it, without the axis of rows.

    Args:
        arrays: By name.
        row: Place of the row in the run.
        batch: Rows of a run.
    """
    return {
        name: row_of(value[row : row + 1] if value.ndim and value.shape[0] == batch else value)
        for name, value in arrays.items()
    }


# --- the few that are shown ---

CARDS: Measurement[tuple[SampleCard, ...]] = Measurement(name="sample cards", lane=AT_ONCE, keep=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Samples that are drawn, and how."""

    rows: tuple[int, ...]
    drawing: Drawing
    head: BoxHead | None
    words: Words
    shown: int  # version that is judged


def cards(
    wanted: Wanted, found: BySample, page: Page, *, patience: float = 0.0, ahead: bool = False
) -> Job[tuple[SampleCard, ...]] | None:
    """The job that has drawn some samples; None while they are on their way.

    Args:
        wanted: What is compared.
        found: Figures of all samples.
        page: What is drawn.
        patience: Seconds to wait for it.
        ahead: They are not shown yet.
    """
    key = _cards_key(wanted, page)

    def work(tell: ProgressFn) -> tuple[SampleCard, ...]:
        look = Look(found=found, drawing=page.drawing, words=page.words, head=page.head, shown=page.shown)
        return tuple(card(sample, look) for sample in read_rows(wanted, page.rows, tell))

    pool = cached.pool()
    return pool.request(_subscriber(ahead=ahead), key, "drawing samples", work) or (
        pool.wait(key, patience) if patience else None
    )


def cards_are_there(wanted: Wanted, page: Page) -> bool:
    """Whether nothing is on its way any more; shows that it is still wanted."""
    return not cached.pool().waits(_subscriber()) or cached.pool().peek(_cards_key(wanted, page)) is not None


def _cards_key(wanted: Wanted, page: Page) -> ResultKey[tuple[SampleCard, ...]]:
    keys = tuple(map(wanted.digest, wanted.versions))
    words = hash((page.words.models, page.words.classes, page.words.tokens))
    token = (keys, page.rows, page.drawing.token, page.head, words, page.shown)
    return ResultKey(wanted.now.project.id, CARDS, token)


def _subscriber(*, ahead: bool = False) -> Subscriber:
    return Subscriber(session_id(), f"{CARDS.name}{' ahead' if ahead else ''}")


def read_rows(wanted: Wanted, rows: Sequence[int], tell: ProgressFn) -> list[SampleRow]:
    """Some rows with the outputs of the float model and of all versions, in the order given.

    Args:
        wanted: What is compared.
        rows: Numbers of rows of `wanted.samples`.
        tell: Told after each sample; may raise `Cancelled`.
    """
    models = [_session(wanted, None, tell), *(_session(wanted, version, tell) for version in wanted.versions)]
    samples, batch = wanted.samples, wanted.samples.batch
    labels = samples.labels
    runs = sorted({row // batch for row in rows})
    made: dict[int, SampleRow] = {}
    for done, (run, sample) in enumerate(zip(runs, samples.select(runs), strict=True), 1):
        given = [
            {name: value for name, value in model.run(sample).items() if isinstance(value, np.ndarray)}
            for model in models
        ]
        for row in rows:
            if row // batch == run:
                at = row % batch
                made[row] = SampleRow(
                    row=row,
                    labels=labels[row] if labels is not None and labels.ndim > 1 else None,
                    inputs=one_row(sample, at, batch),
                    outputs=tuple(one_row(arrays, at, batch) for arrays in given),
                )
        report(tell, done, len(runs), "running the samples")
    return [made[row] for row in rows]


def _session(wanted: Wanted, version: Version | None, tell: ProgressFn) -> OrtSession:
    """A model ready to run: the float one, or a version."""
    project, model = wanted.now.project.id, wanted.now.opened.model
    kept = cached.of_project(project, _Sessions, model.hash)
    key = "" if version is None else wanted.digest(version)
    known = kept.get(key)
    if known is None:
        if version is None:
            known = model_session(model)
        else:
            known = quantized_session(read_quantized(versions_of.quantized_file(wanted.now, version, tell)))
        kept.put(key, known)
    return known
