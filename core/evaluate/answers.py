"""What a model answers for each row of some samples, and how far a quantized version is from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.data.sources import IGNORED
from quantscope.core.evaluate.outputs import ScoresSpec
from quantscope.core.evaluate.positions import cropped
from quantscope.core.evaluate.scores import class_scores
from quantscope.core.evaluate.sums import tensor_error

Array = npt.NDArray[Any]
# How differently two models answer, from their outputs for one row (0 = alike): boxes that one of them lacks.
Differing = Callable[[Mapping[str, Array], Mapping[str, Array]], float]
TOP = 5  # classes that are kept of each row
NOBODY = -1  # stands for a class where there is none


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """One model's answers, row by row. Of models whose positions are scored there are no top classes."""

    top: npt.NDArray[np.int32]  # (rows, k): classes by score, the best first; `NOBODY` where scores are NaN
    scores: npt.NDArray[np.float32]  # (rows, k): theirs
    right: npt.NDArray[np.float32]  # (rows,): share of labelled positions that are right; nan without a label

    @property
    def first(self) -> npt.NDArray[np.int32]:
        """(rows,) class with the best score; `NOBODY` where there is none."""
        return self.top[:, 0] if self.top.shape[1] else np.full(len(self.top), NOBODY, np.int32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Errors:
    """How far one version is from the float model, row by row and output by output."""

    sqnr_db: npt.NDArray[np.float64]  # (rows, outputs): inf where nothing differs, nan where not comparable
    max_abs: npt.NDArray[np.float64]  # (rows, outputs)
    equal: npt.NDArray[np.float64]  # (rows, outputs): share of equal elements of integers; nan for floats
    same: npt.NDArray[np.float32]  # (rows,): share of positions with the float model's class; nan without
    differing: npt.NDArray[np.float32]  # (rows,): by the caller's own measure; nan without


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """Scores of some rows as classes: for each row, or for each position of it."""

    order: Array  # (rows, classes) of samples, the best first; (rows, *positions) first classes otherwise
    values: Array  # the scores of `order`'s first TOP; empty for positions
    valid: Any  # (rows,) or (rows, *positions): no score is NaN


def rows_of(value: Any, batch: int, valid: int) -> list[Array | None]:
    """An output taken apart by row; whole for each row where its first axis is not that of the rows.

    Rows that only fill up a batch are left out. None stands for sequences and maps.
    """
    if not isinstance(value, np.ndarray):
        return [None] * valid
    if value.ndim and value.shape[0] == batch:
        return [value[row : row + 1] for row in range(valid)]
    return [value] * valid


def scoring_of(output: Array, spec: ScoresSpec) -> Scoring | None:
    """Classes of an output by their scores; None where it is not scored as `spec` says."""
    if spec.axis is None:
        scores = class_scores(output)
        if scores is None or scores.shape[1] != spec.classes:
            return None
        order = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]  # ties: the lower class first, as argmax
        return Scoring(
            order=order,
            values=np.take_along_axis(scores, order, axis=1),
            valid=~np.isnan(scores).any(axis=1),
        )
    if output.ndim <= spec.axis or output.shape[spec.axis] != spec.classes:
        return None
    first = output.argmax(axis=spec.axis)
    return Scoring(order=first, values=np.empty(0), valid=~np.isnan(output).any(axis=spec.axis))


def labels_of(spec: ScoresSpec, row: int, shape: tuple[int, ...]) -> Array | None:
    """The labels of one row, as large as its positions (1, *positions); None where there are none."""
    if spec.labels is None:
        return None
    own = spec.labels[row : row + 1]
    return own if spec.axis is None else cropped(own, shape)


def share_right(found: Scoring | None, labels: Array | None) -> float:
    """Share of labelled positions whose first class is the label; nan where none is labelled."""
    if found is None or labels is None:
        return float("nan")
    known = labels != IGNORED
    if not known.any():
        return float("nan")
    first = found.order[:, 0] if found.values.size else found.order
    return float(np.count_nonzero(known & found.valid & (first == labels)) / np.count_nonzero(known))


def share_same(f: Scoring | None, q: Scoring | None, labels: Array | None) -> float:
    """Share of positions with the same first class in both; those without a label are left out.

    nan where there are no classes to compare.
    """
    if f is None or q is None or f.order.shape[:1] != q.order.shape[:1] or f.valid.shape != q.valid.shape:
        return float("nan")
    first = [found.order[:, 0] if found.values.size else found.order for found in (f, q)]
    known = np.ones(f.valid.shape, bool)
    if labels is not None and not f.values.size:  # a sample without a label has an answer all the same
        known = labels != IGNORED
    same = known & f.valid & q.valid & (first[0] == first[1])
    return float(np.count_nonzero(same) / np.count_nonzero(known)) if known.any() else float("nan")


def output_figures(
    floats: Mapping[str, Array | None], given: Mapping[str, Array | None], names: tuple[str, ...]
) -> Array:
    """(3, outputs): SQNR in dB, largest difference and share of equal elements of one row."""
    out = np.full((3, len(names)), np.nan)
    for at, name in enumerate(names):
        f, q = floats.get(name), given.get(name)
        if f is None or q is None or f.shape != q.shape:
            continue
        if f.dtype.kind not in "fV" or q.dtype.kind not in "fV":
            out[2, at] = np.count_nonzero(f == q) / f.size if f.size else np.nan
            continue
        error = tensor_error(f, q)
        out[0, at] = np.nan if error.sqnr_db is None else error.sqnr_db
        out[1, at] = np.nan if error.max_abs_error is None else error.max_abs_error
    return out
