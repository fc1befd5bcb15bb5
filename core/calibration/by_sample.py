"""Facts about single samples that one histogram of all of them cannot show: extremes and top scores."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

MAX_CLASSES = 1 << 16  # wider rows are no scores of classes
MAX_ROWS = 1 << 16  # of scores that are kept, from the first samples


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BySample:
    """One tensor, sample by sample; it depends on the order of the samples, unlike histograms."""

    extremes: FloatArray  # (samples, 2): minimum and maximum; NaN where a sample had no finite value
    tops: FloatArray | None = None  # (rows, 2): highest and second highest of each row; only for scores


class Recorder:
    """Collects `BySample` of several tensors; not thread-safe: one a thread, joined at the end."""

    def __init__(self) -> None:
        self._extremes: dict[str, dict[int, tuple[float, float]]] = {}
        self._tops: dict[str, dict[int, FloatArray]] = {}

    def note(self, tensor: str, position: int, extremes: tuple[float, float]) -> None:
        """Keep the extremes of a tensor in the sample at `position`."""
        low, high = extremes
        self._extremes.setdefault(tensor, {})[position] = (low, high) if low <= high else (math.nan, math.nan)

    def note_scores(self, tensor: str, position: int, values: npt.NDArray[np.generic]) -> None:
        """Keep the two highest of each row of (rows, classes); anything else is no scores, and ignored."""
        if values.ndim == 2 and 2 <= values.shape[1] <= MAX_CLASSES:
            self._tops.setdefault(tensor, {})[position] = top_two(values)


def merge_recorders(recorders: Iterable[Recorder], samples: int) -> Mapping[str, BySample]:
    """What several recorders saw of samples 0 to `samples` - 1, in the samples' order."""
    parts = list(recorders)
    out = {}
    for tensor in dict.fromkeys(name for part in parts for name in part._extremes):
        extremes = np.full((samples, 2), np.nan)
        tops: dict[int, FloatArray] = {}
        for part in parts:
            for position, ends in part._extremes.get(tensor, {}).items():
                extremes[position] = ends
            tops.update(part._tops.get(tensor, {}))
        rows = np.concatenate([tops[position] for position in sorted(tops)])[:MAX_ROWS] if tops else None
        out[tensor] = BySample(extremes=extremes, tops=rows)
    return out


def top_two(values: npt.ArrayLike, axis: int = -1) -> FloatArray:
    """Highest and second highest along `axis` of scores with at least two classes: (rows, 2).

    Rows that hold anything but finite numbers are left out.
    """
    scores: npt.NDArray[Any] = np.moveaxis(np.asarray(values), axis, -1)
    rows = scores.reshape(-1, scores.shape[-1]).astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    return np.asarray(np.sort(np.partition(rows, -2, axis=1)[:, -2:], axis=1)[:, ::-1], np.float64)
