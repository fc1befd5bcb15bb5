"""Compare the outputs of two models over many runs: errors of tensors, equality of integers, class scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.data import Samples
from quantscope.core.data.sources import Labels, scoring
from quantscope.core.errors import DataError
from quantscope.core.evaluate.channels import (
    ChannelError,
    ChannelSums,
    ChannelTotal,
    balanced_db,
    channel_sums,
)
from quantscope.core.evaluate.positions import Overlap, class_map_axis, count_positions, cropped, scored_axis
from quantscope.core.evaluate.scores import (
    Accuracy,
    Counts,
    accuracy,
    check_labels,
    class_scores,
    count_rows,
    scores_tokens,
)
from quantscope.core.evaluate.sums import ErrorSums, ErrorTotal, TensorError, error_sums
from quantscope.core.words import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputError:
    """How far one output of the quantized model is from the float model's."""

    name: str
    error: TensorError | None  # None for integers, and where shapes differ
    equal_share: float | None  # integer, bool and string outputs: share of equal elements
    mismatched: int  # runs in which the two shapes differ
    channels: ChannelError | None = None  # by channel; None where `error` is, and where it was not asked for

    @property
    def noise(self) -> float | None:
        """Noise over signal with every channel counted alike (`ChannelError.nmse`); inf where not finite.

        Over all values where channels are not known. None where nothing is compared, and where the float
        model gives only zeros.
        """
        if self.error is None:
            return None
        if self.channels is not None and self.channels.parts:
            return self.channels.nmse
        nmse = self.error.nmse
        return math.inf if nmse is None else nmse if math.isfinite(nmse) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputComparison:
    """All outputs over all runs."""

    overall: TensorError  # all float outputs taken as one vector
    outputs: tuple[OutputError, ...]
    accuracy: Accuracy | None

    @property
    def balanced_db(self) -> float:
        """SQNR in dB with every float output, and every channel of it, at the same energy; nan without.

        Outputs in pixels do not hide those between 0 and 1, be they outputs of their own or channels of one.
        """
        return balanced_db([noise for found in self.outputs if (noise := found.noise) is not None])

    @property
    def lost(self) -> int:
        """Channels of all outputs that vary in the float model and are constant in the quantized one."""
        return sum(len(found.channels.lost) for found in self.outputs if found.channels is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutputs:
    """What one run contributes."""

    errors: Mapping[str, ErrorSums | None]
    equal: Mapping[str, tuple[int, int]]  # equal elements, all elements
    mismatched: tuple[str, ...]
    counts: Counts | None
    overlap: Overlap | None = None  # of label maps
    channels: Mapping[str, ChannelSums | None] = field(default_factory=dict)  # where asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoresSpec:
    """Which output holds class scores, and the labels of all rows."""

    output: str
    classes: int
    labels: Labels | None
    axis: int | None = None  # of the classes, where each position of a sample is scored


def scores_spec(outputs: Mapping[str, Any], samples: Samples, *, maps: bool = False) -> ScoresSpec | None:
    """Take the output that the labels are of; else the first one of class scores, or of scores of tokens.

    None if there is none. `ScoresSpec.labels` is None where the labels are of no output.

    Args:
        outputs: Of the first run.
        samples: All of them.
        maps: Where there is nothing else, also take scores of pixels without labels (`class_map_axis`).

    Raises:
        DataError: The labels are no class indices of it, or there is not one for each row.
    """
    labels = samples.labels
    arrays = {name: value for name, value in outputs.items() if isinstance(value, np.ndarray)}
    if labels is not None and labels.ndim > 1:
        found = _of_positions(arrays, labels, samples.rows)
        if found is not None:
            return found
        labels = None
    for name, value in arrays.items():
        scores = class_scores(value)
        if scores is not None:
            classes = scores.shape[1]
            if labels is not None:
                _check_labels(labels, samples.rows, classes)
            return ScoresSpec(output=name, classes=classes, labels=labels)
    deep = [name for name, value in arrays.items() if value.ndim == 3]
    given = list(samples[0].values()) if deep and len(samples) else []
    for name in deep:
        if scores_tokens(arrays[name], given):
            return ScoresSpec(output=name, classes=arrays[name].shape[2], labels=None, axis=2)
    return _class_map(arrays, samples) if maps else None


def _class_map(outputs: Mapping[str, npt.NDArray[Any]], samples: Samples) -> ScoresSpec | None:
    """The first output that scores pixels, without labels."""
    deep = [(name, value) for name, value in outputs.items() if value.ndim == 4 and value.dtype.kind == "f"]
    shapes = [value.shape for value in samples[0].values()] if deep and len(samples) else []
    for name, value in deep:
        axis = class_map_axis(value.shape, shapes)
        if axis is not None:
            return ScoresSpec(output=name, classes=value.shape[axis], labels=None, axis=axis)
    return None


def _of_positions(outputs: Mapping[str, npt.NDArray[Any]], labels: Labels, rows: int) -> ScoresSpec | None:
    """The output that scores the positions which the labels are of."""
    axes: dict[str, int] = {}
    for name, value in outputs.items():
        scored = value.dtype.kind == "f" and value.ndim
        axis = scored_axis(value.shape, labels[: len(value)]) if scored else None
        if axis is not None:
            axes[name] = axis
    classes = {name: outputs[name].shape[axis] for name, axis in axes.items()}
    chosen = scoring(classes, int(labels.max(initial=0)))
    if chosen is None:
        return None
    _check_labels(labels, rows, classes[chosen])
    return ScoresSpec(output=chosen, classes=classes[chosen], labels=labels, axis=axes[chosen])


def _check_labels(labels: Labels, rows: int, classes: int) -> None:
    check_labels(labels, classes)
    if len(labels) != rows:
        raise DataError(
            f"there are {plural(len(labels), 'label')} for {plural(rows, 'sample')}: give one each"
        )


def compare_run(
    floats: Mapping[str, Any],
    quantized: Mapping[str, Any],
    *,
    rows: tuple[int, int, int],
    spec: ScoresSpec | None,
    channels: bool = False,
) -> RunOutputs:
    """Compare one run.

    Args:
        floats: Outputs of the float model.
        quantized: Outputs of the quantized model.
        rows: Batch size, rows of it that are data, and the number of rows in earlier runs.
        spec: Where class scores are.
        channels: Also compare by channel.
    """
    by_channel: dict[str, ChannelSums | None] = {}
    errors: dict[str, ErrorSums | None] = {}
    equal: dict[str, tuple[int, int]] = {}
    mismatched: list[str] = []
    counts, overlap = None, None
    batch, valid, first = rows
    for name, value in floats.items():
        f, q = _without_filling(value, batch, valid), _without_filling(quantized[name], batch, valid)
        if f is None or q is None or f.shape != q.shape:
            mismatched.append(name)
        elif f.dtype.kind not in "fV" or q.dtype.kind not in "fV":  # V: bfloat16 and the like
            equal[name] = (int(np.count_nonzero(f == q)), f.size)
        else:
            errors[name] = error_sums(f, q)
            if channels:
                by_channel[name] = channel_sums(f, q)
            if spec is not None and name == spec.output:
                counts, overlap = _score_counts(f, q, spec, first)
    return RunOutputs(
        errors=errors,
        equal=equal,
        mismatched=tuple(mismatched),
        counts=counts,
        overlap=overlap,
        channels=by_channel,
    )


def _without_filling(value: Any, batch: int, valid: int) -> npt.NDArray[Any] | None:
    """An array without the rows that only fill up a batch; None for sequences and maps."""
    if not isinstance(value, np.ndarray):
        return None
    return value[:valid] if valid < batch and value.ndim and value.shape[0] == batch else value


def _score_counts(
    f: npt.NDArray[Any], q: npt.NDArray[Any], spec: ScoresSpec, first: int
) -> tuple[Counts | None, Overlap | None]:
    """Counts of one run; None where its outputs are not scored as those of the first run are."""
    labels = spec.labels[first : first + len(f)] if spec.labels is not None else None
    if spec.axis is not None:
        if f.ndim <= spec.axis or f.shape[spec.axis] != spec.classes:
            return None, None
        if labels is not None:
            labels = cropped(labels, f.shape[1 : spec.axis] + f.shape[spec.axis + 1 :])
            if labels is None or len(labels) != len(f):
                return None, None
        return count_positions(f, q, labels, axis=spec.axis)
    float_scores, quantized_scores = class_scores(f), class_scores(q)
    if float_scores is None or quantized_scores is None:
        return None, None
    return count_rows(float_scores, quantized_scores, labels), None


@dataclass(slots=True)
class OutputTotals:
    """Adds up runs; the result does not depend on their order."""

    names: Sequence[str]
    spec: ScoresSpec | None = None
    overall: ErrorTotal = field(default_factory=ErrorTotal)
    each: dict[str, ErrorTotal] = field(default_factory=dict)
    channels: dict[str, ChannelTotal] = field(default_factory=dict)
    equal: dict[str, list[int]] = field(default_factory=dict)
    mismatched: dict[str, int] = field(default_factory=dict)
    counts: list[int] = field(default_factory=lambda: [0] * 6)
    overlap: Overlap | None = None

    def add(self, run: RunOutputs) -> None:
        """Add one run."""
        for name, part in run.errors.items():
            self.overall.add(part)
            self.each.setdefault(name, ErrorTotal()).add(part)
        for name, by_channel in run.channels.items():
            self.channels.setdefault(name, ChannelTotal()).add(by_channel)
        for name, (same, total) in run.equal.items():
            kept = self.equal.setdefault(name, [0, 0])
            kept[0] += same
            kept[1] += total
        for name in run.mismatched:
            self.mismatched[name] = self.mismatched.get(name, 0) + 1
        if run.counts is not None:
            self.counts = [a + int(b) for a, b in zip(self.counts, run.counts, strict=True)]
        if run.overlap is not None:
            self.overlap = run.overlap if self.overlap is None else self.overlap + run.overlap

    def result(self) -> OutputComparison:
        """The figures."""
        outputs = []
        for name in self.names:
            total, equal = self.each.get(name), self.equal.get(name)
            error = total.error() if total is not None and name not in self.mismatched else None
            by_channel = self.channels.get(name) if error is not None else None
            outputs.append(
                OutputError(
                    name=name,
                    error=error,
                    channels=by_channel.error() if by_channel is not None else None,
                    equal_share=equal[0] / equal[1] if equal is not None and equal[1] else None,
                    mismatched=self.mismatched.get(name, 0),
                )
            )
        found: Accuracy | None = None
        if self.spec is not None:
            found = accuracy(
                [np.array(self.counts, np.int64)],
                output=self.spec.output,
                classes=self.spec.classes,
                labelled=self.spec.labels is not None,
                positions=self.spec.axis is not None,
                overlap=self.overlap,
            )
        return OutputComparison(overall=self.overall.error(), outputs=tuple(outputs), accuracy=found)
