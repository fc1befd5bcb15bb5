"""Compare the outputs of two models over many runs: errors of tensors, equality of integers, class scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import DataError
from core.evaluate.channels import ChannelError, ChannelSums, ChannelTotal, balanced_db, channel_sums
from core.evaluate.scores import (
    Accuracy,
    Counts,
    accuracy,
    check_labels,
    class_scores,
    count_rows,
    scores_tokens,
)
from core.evaluate.sums import ErrorSums, ErrorTotal, TensorError, error_sums
from core.samples import Samples


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
    channels: Mapping[str, ChannelSums | None] = field(default_factory=dict)  # where asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoresSpec:
    """Which output holds class scores, and the labels of all rows."""

    output: str
    classes: int
    labels: npt.NDArray[np.int64] | None
    tokens: bool = False  # each position of a sequence is a row

    def rows(self, value: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
        """The output as (rows, classes)."""
        return value.reshape(-1, self.classes) if self.tokens else class_scores(value)


def scores_spec(outputs: Mapping[str, Any], samples: Samples) -> ScoresSpec | None:
    """Take the first output that looks like class scores, or else scores of tokens; None if there is none.

    Labels belong to samples, and so not to tokens.

    Raises:
        DataError: The labels are no class indices of it, or there is not one for each row.
    """
    labels = samples.labels
    for name, value in outputs.items():
        scores = class_scores(value) if isinstance(value, np.ndarray) else None
        if scores is not None:
            classes = scores.shape[1]
            if labels is not None:
                check_labels(labels, classes, name)
                if len(labels) != samples.rows:
                    raise DataError(
                        f"there are {len(labels)} labels for {samples.rows} samples: give one each"
                    )
            return ScoresSpec(output=name, classes=classes, labels=labels)
    deep = [name for name, value in outputs.items() if isinstance(value, np.ndarray) and value.ndim == 3]
    given = list(samples[0].values()) if deep and len(samples) else []
    for name in deep:
        if scores_tokens(outputs[name], given):
            return ScoresSpec(output=name, classes=outputs[name].shape[2], labels=None, tokens=True)
    return None


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
    counts: Counts | None = None
    batch, valid, first = rows
    for name, value in floats.items():
        f, q = _data_rows(value, batch, valid), _data_rows(quantized[name], batch, valid)
        if f is None or q is None or f.shape != q.shape:
            mismatched.append(name)
        elif f.dtype.kind not in "fV" or q.dtype.kind not in "fV":  # V: bfloat16 and the like
            equal[name] = (int(np.count_nonzero(f == q)), f.size)
        else:
            errors[name] = error_sums(f, q)
            if channels:
                by_channel[name] = channel_sums(f, q)
            if spec is not None and name == spec.output:
                counts = _score_counts(f, q, spec, first)
    return RunOutputs(
        errors=errors, equal=equal, mismatched=tuple(mismatched), counts=counts, channels=by_channel
    )


def _data_rows(value: Any, batch: int, valid: int) -> npt.NDArray[Any] | None:
    """An array without the rows that only fill up a batch; None for sequences and maps."""
    if not isinstance(value, np.ndarray):
        return None
    return value[:valid] if valid < batch and value.ndim and value.shape[0] == batch else value


def _score_counts(f: npt.NDArray[Any], q: npt.NDArray[Any], spec: ScoresSpec, first: int) -> Counts | None:
    float_scores, quantized_scores = spec.rows(f), spec.rows(q)
    if float_scores is None or quantized_scores is None:
        return None
    labels = spec.labels[first : first + len(float_scores)] if spec.labels is not None else None
    return count_rows(float_scores, quantized_scores, labels)


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
            )
        return OutputComparison(overall=self.overall.error(), outputs=tuple(outputs), accuracy=found)
