"""Float against quantized versions, sample by sample: whose answers changed, and how far outputs are.

Only figures are kept of every row, so that memory does not grow with the size of inputs and outputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from quantscope.core.data import Load, Samples, row_of
from quantscope.core.errors import DataError
from quantscope.core.evaluate.answers import (
    NOBODY,
    TOP,
    Answers,
    Array,
    Differing,
    Errors,
    Scoring,
    labels_of,
    output_figures,
    rows_of,
    scoring_of,
    share_right,
    share_same,
)
from quantscope.core.evaluate.confusions import ClassPairs, PairCounter, pairs_of
from quantscope.core.evaluate.correspondence import check_interface, read_quantized
from quantscope.core.evaluate.layers import quantized_session
from quantscope.core.evaluate.outputs import ScoresSpec, scores_spec
from quantscope.core.evaluate.reference import row_spans
from quantscope.core.model import Model, model_session
from quantscope.core.progress import ProgressFn
from quantscope.core.runtime import Arrays, parallel_map, thread_count


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VersionBySample:
    """One quantized version, row by row."""

    answers: Answers
    errors: Errors
    pairs: ClassPairs | None  # float class against this version's; None without class scores


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BySample:
    """The float model and some quantized versions of it, over the same rows.

    A row is one row of the data: a sample, or one of those that a model with a fixed batch takes at a time.
    """

    outputs: tuple[str, ...]
    scored: str | None  # output that holds class scores
    classes: int  # of it; 0 without
    positions: bool  # each position of a row is scored: pixels or tokens
    labels: npt.NDArray[np.int64] | None  # (rows,); None without, and for labels of positions
    floats: Answers
    label_pairs: tuple[
        ClassPairs | None, ...
    ]  # label against class: of the float model, then of each version
    versions: tuple[VersionBySample, ...]

    @property
    def rows(self) -> int:
        """Rows of data."""
        return len(self.floats.right)

    @property
    def labelled(self) -> bool:
        """Whether it is known which answers are right."""
        return bool(np.any(~np.isnan(self.floats.right)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What one version loses and another brings back; all are rows, in order."""

    lost: tuple[int, ...]  # the float model is right, the first version wrong
    back: tuple[int, ...]  # those of them for which the second version is right again
    broken: tuple[int, ...]  # the float model and the first version are right, the second one wrong
    labelled: bool  # False: "right" is the class that the float model puts first


def by_sample(
    model: Model,
    versions: Sequence[bytes | str | Path | onnx.ModelProto],
    samples: Samples,
    *,
    differing: Differing | None = None,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> BySample:
    """Run the float model and its quantized versions on every sample, and keep figures of each row.

    Args:
        model: The float model.
        versions: Quantized versions of it, from any tool, with its inputs and outputs.
        samples: What to run; with labels it is also known which answers are right.
        differing: A measure of how a version answers each row, given the outputs of both models that are
            arrays, without the axis of rows; for what is no class, as boxes.
        threads: Samples run at the same time; None = one a processor.
        progress: Told after each sample; a `Cancelled` that it raises ends the work.

    Raises:
        ModelError: A version is unreadable, does not run, or takes or gives other tensors.
        DataError: There are no samples, they do not fit, or the labels are no class indices.
    """
    files = [read_quantized(version) for version in versions]
    for file in files:
        check_interface(model, file.proto)
    if not len(samples):
        raise DataError("there are no samples to compare the models on")
    plain = model_session(model)
    sessions = [quantized_session(file) for file in files]
    names = tuple(plain.outputs)
    spec = scores_spec(plain.run(next(iter(samples)), names), samples, maps=True)
    collected = _Collected(names=names, spec=spec, rows=samples.rows, versions=len(files))

    def work(item: tuple[Load, tuple[int, int, int]]) -> list["_Row"]:
        load, span = item
        sample = load()
        floats = plain.run(sample, names)
        given = [session.run(sample, names) for session in sessions]
        return _compared(floats, given, span, names, spec, differing)

    items = zip(samples.loads(), row_spans(samples), strict=True)
    for rows in parallel_map(
        work,
        items,
        total=len(samples),
        threads=thread_count(threads),
        progress=progress,
        label="sample by sample",
    ):
        for row in rows:
            collected.add(row)
    return collected.result()


def together(parts: Sequence[BySample]) -> BySample:
    """Versions that were compared one by one over the same rows, as if compared at once.

    Raises:
        ValueError: There are none, or their rows or outputs differ.
    """
    first, *others = parts
    if any(other.rows != first.rows or other.outputs != first.outputs for other in others):
        raise ValueError("versions can be joined only where they were compared over the same samples")
    return replace(
        first,
        versions=tuple(version for part in parts for version in part.versions),
        label_pairs=(first.label_pairs[0], *(pairs for part in parts for pairs in part.label_pairs[1:])),
    )


def recovery(found: BySample, before: int = 0, after: int = 1) -> Recovery | None:
    """Which answers version `before` loses, and which of them version `after` brings back.

    None where models do not classify whole samples. Without labels the float model's answers count as right;
    samples without a label are left out where others have one.
    """
    if found.scored is None or found.positions:
        return None
    one, other = found.versions[before], found.versions[after]
    if found.labelled:
        right = found.floats.right == 1.0
        kept, again = one.answers.right == 1.0, other.answers.right == 1.0
    else:
        right = found.floats.first != NOBODY
        kept, again = one.errors.same == 1.0, other.errors.same == 1.0
    lost = right & ~kept
    return Recovery(
        lost=_places(lost),
        back=_places(lost & again),
        broken=_places(right & kept & ~again),
        labelled=found.labelled,
    )


def _places(mask: Array) -> tuple[int, ...]:
    return tuple(int(row) for row in np.flatnonzero(mask))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """What one row contributes: the float model's answer first, then each version's."""

    row: int
    scored: list[Scoring | None]
    labels: Array | None
    figures: list[Array]  # (3, outputs) of each version
    differing: list[float]  # of each version


def _compared(
    floats: Arrays,
    given: Sequence[Arrays],
    span: tuple[int, int, int],
    names: tuple[str, ...],
    spec: ScoresSpec | None,
    differing: Differing | None,
) -> list[_Row]:
    batch, valid, before = span
    apart = [{name: rows_of(run[name], batch, valid) for name in names} for run in (floats, *given)]
    out = []
    for at in range(valid):
        own = [{name: parts[name][at] for name in names} for parts in apart]
        scored: list[Scoring | None] = [None] * len(own)
        labels = None
        if spec is not None:
            values = [run[spec.output] for run in own]
            scored = [None if value is None else scoring_of(value, spec) for value in values]
            shape = scored[0].valid.shape[1:] if scored[0] is not None else ()
            labels = labels_of(spec, before + at, shape)
        figures = [output_figures(own[0], other, names) for other in own[1:]]
        measured = [float("nan")] * len(given)
        if differing is not None:
            first, *others = (_without_axis(run) for run in own)
            measured = [differing(first, other) for other in others]
        out.append(_Row(row=before + at, scored=scored, labels=labels, figures=figures, differing=measured))
    return out


def _without_axis(run: Mapping[str, Array | None]) -> dict[str, Array]:
    """The arrays among one row's outputs, without the axis of rows."""
    return {name: row_of(value) for name, value in run.items() if value is not None}


class _Collected:
    """Figures of all rows, filled in row by row."""

    def __init__(self, *, names: tuple[str, ...], spec: ScoresSpec | None, rows: int, versions: int) -> None:
        self.names, self.spec = names, spec
        kept = min(TOP, spec.classes) if spec is not None and spec.axis is None else 0
        models = versions + 1
        self.top = np.full((models, rows, kept), NOBODY, np.int32)
        self.scores = np.full((models, rows, kept), np.nan, np.float32)
        self.right = np.full((models, rows), np.nan, np.float32)
        self.same = np.full((models, rows), np.nan, np.float32)
        self.figures = np.full((versions, 3, rows, len(names)), np.nan)
        self.differing = np.full((versions, rows), np.nan, np.float32)
        many = spec is not None and spec.axis is not None
        self.counted = [PairCounter(spec.classes) for _ in range(2 * models)] if spec and many else []

    def add(self, row: _Row) -> None:
        at, floats = row.row, row.scored[0]
        for model, found in enumerate(row.scored):
            self.right[model, at] = share_right(found, row.labels)
            self.same[model, at] = share_same(floats, found, row.labels)
            if found is None:
                continue
            if found.values.size:
                if found.valid[0]:
                    self.top[model, at] = found.order[0]
                    self.scores[model, at] = found.values[0]
            elif self.counted and floats is not None and floats.order.shape == found.order.shape:
                self.counted[2 * model].add(floats.order, found.order)
                if row.labels is not None:
                    self.counted[2 * model + 1].add(row.labels, found.order)
        for version, figures in enumerate(row.figures):
            self.figures[version, :, at] = figures
            self.differing[version, at] = row.differing[version]

    def result(self) -> BySample:
        spec = self.spec
        answers = [
            Answers(top=top, scores=scores, right=right)
            for top, scores, right in zip(self.top, self.scores, self.right, strict=True)
        ]
        labels = spec.labels if spec is not None and spec.axis is None else None
        versions = tuple(
            VersionBySample(
                answers=answers[version + 1],
                errors=Errors(
                    sqnr_db=figures[0],
                    max_abs=figures[1],
                    equal=figures[2],
                    same=self.same[version + 1],
                    differing=self.differing[version],
                ),
                pairs=self._pairs(version + 1, answers),
            )
            for version, figures in enumerate(self.figures)
        )
        return BySample(
            outputs=self.names,
            scored=None if spec is None else spec.output,
            classes=0 if spec is None else spec.classes,
            positions=spec is not None and spec.axis is not None,
            labels=labels,
            floats=answers[0],
            label_pairs=tuple(self._label_pairs(model, answers, labels) for model in range(len(answers))),
            versions=versions,
        )

    def _pairs(self, model: int, answers: Sequence[Answers]) -> ClassPairs | None:
        if self.counted:
            return self.counted[2 * model].pairs()
        return None if self.spec is None else pairs_of(answers[0].first, answers[model].first)

    def _label_pairs(self, model: int, answers: Sequence[Answers], labels: Array | None) -> ClassPairs | None:
        if self.counted:
            own = self.counted[2 * model + 1].pairs()
            return own if own is not None and own.counts.size else None
        return None if labels is None else pairs_of(labels, answers[model].first)
