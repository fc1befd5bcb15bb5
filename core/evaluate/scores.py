"""Top-1, top-5, agreement and mean IoU of class scores, counted sample by sample."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core import metrics
from quantscope.core.data.sources import IGNORED, out_of_range
from quantscope.core.errors import DataError
from quantscope.core.evaluate.positions import Overlap, mean_iou

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How well both models classify: shares from 0 to 1, None where there are no labels."""

    output: str  # the output taken as class scores
    float_top1: float | None
    quantized_top1: float | None
    float_top5: float | None  # None too where there are five classes or fewer
    quantized_top5: float | None
    agreement: float  # share of rows where both put the same class first
    rows: int  # samples, or positions of them; those without a label are left out where others have one
    positions: bool = False  # rows are tokens or pixels
    float_miou: float | None = None  # mean IoU over the classes of label maps
    quantized_miou: float | None = None


def class_scores(output: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """(rows, classes) if an output looks like class scores: (N, C), (N, C, 1, …) or (N, 1, 1, C)."""
    if output.dtype.kind != "f" or output.ndim < 2:
        return None
    shape = output.shape
    channels_first = shape[1] > 1 and all(d == 1 for d in shape[2:])
    channels_last = output.ndim == 4 and shape[1:3] == (1, 1) and shape[3] > 1
    return output.reshape(shape[0], -1) if channels_first or channels_last else None


def scores_tokens(output: npt.NDArray[Any], inputs: Iterable[npt.NDArray[Any]]) -> bool:
    """Whether an output (N, T, classes) scores the tokens of an integer input (N, T)."""
    if output.dtype.kind != "f" or output.ndim != 3 or output.shape[2] < 2:
        return False
    return any(v.dtype.kind in "iu" and v.shape == output.shape[:2] for v in inputs)


def check_labels(labels: npt.NDArray[np.int64], classes: int) -> None:
    """Make sure that labels are class indices.

    Raises:
        DataError: Some are negative, or larger than the last class.
    """
    known = labels[labels != IGNORED]
    wrong = out_of_range(int(known.min()), int(known.max()), classes) if known.size else ""
    if wrong:
        raise DataError(f"{wrong}: give class indices, or leave the labels out")


def count_rows(
    float_scores: npt.NDArray[Any],
    quantized_scores: npt.NDArray[Any],
    labels: npt.NDArray[np.int64] | None,
) -> Counts:
    """Counts for some rows: rows, agreeing, then float top-1, top-5, quantized top-1, top-5.

    A row with NaN agrees with nothing and is never right. Rows whose label is `IGNORED` are left out.
    """
    if labels is not None and np.any(labels == IGNORED):
        known = labels != IGNORED
        float_scores, quantized_scores, labels = float_scores[known], quantized_scores[known], labels[known]
    rows = len(float_scores)
    shares = [0.0] * 5
    if rows:
        shares[0] = metrics.agreement(float_scores, quantized_scores)
        if labels is not None:
            pairs = [(scores, k) for scores in (float_scores, quantized_scores) for k in (1, 5)]
            shares[1:] = [metrics.top_k_accuracy(scores, labels, k) for scores, k in pairs]
    return np.array([rows, *(round(share * rows) for share in shares)], np.int64)


def accuracy(
    parts: Iterable[Counts],
    *,
    output: str,
    classes: int,
    labelled: bool,
    positions: bool = False,
    overlap: Overlap | None = None,
) -> Accuracy | None:
    """Shares from counts; None if there are none. Positions have no top-5."""
    total: Sequence[int] = np.sum([np.zeros(6, np.int64), *parts], axis=0).tolist()
    rows = total[0]
    if not rows:
        return None
    shares = [count / rows for count in total[1:]]
    top5 = labelled and classes > 5 and not positions
    truth, *of_models = (None,) * 5 if overlap is None else overlap
    iou = [None if truth is None else mean_iou(truth, *of_models[at : at + 2]) for at in (0, 2)]
    return Accuracy(
        output=output,
        float_top1=shares[1] if labelled else None,
        quantized_top1=shares[3] if labelled else None,
        float_top5=shares[2] if top5 else None,
        quantized_top5=shares[4] if top5 else None,
        agreement=shares[0],
        rows=rows,
        positions=positions,
        float_miou=iou[0],
        quantized_miou=iou[1],
    )
