"""What a reference mode returns, and how one is described."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Data = npt.ArrayLike | Sequence[npt.ArrayLike]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceThreshold:
    """The range another tool chooses for a tensor, in the tool's own numbers.

    `low`, `high` and `threshold` are in the tensor's units; all numbers are None where `error` says why.
    """

    low: float | None = None  # the values kept, before zero is rounded to a level
    high: float | None = None
    threshold: float | None = None  # T of [-T, T], where the tool thinks in thresholds
    scale: float | None = None  # of the tool's own quantizer
    zero_point: int | None = None  # of the tool's own quantizer
    error: str = ""  # "" or what the tool does instead of choosing a range

    @property
    def usable(self) -> bool:
        """Whether range and scale can quantize: some tools return a scale of 0 or a reversed range."""
        if self.low is None or self.high is None or not self.low < self.high:
            return False
        return self.scale is None or self.scale > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One algorithm of one tool.

    `function(data, **parameters)` takes one float32 array of any shape, or a list of batches where the tool
    merges them one by one, and never raises for what the values are.
    """

    tool: str
    algorithm: str
    version: str  # what its numbers were checked against
    function: Callable[..., ReferenceThreshold]
    parameters: Mapping[str, Any]  # the tool's defaults
    variants: tuple[Mapping[str, Any], ...] = ()  # further settings worth showing, each complete
    peculiar: str  # one sentence for users: what makes its threshold differ
    exact: bool  # the tool's bits, on the platform it was checked on
    tolerance: float = 0.0  # relative difference of the range that may remain
    fidelity: str  # one sentence: how closely, and why not closer


def failure(reason: object) -> ReferenceThreshold:
    """A result without numbers: what the tool does with such data, in one sentence."""
    return ReferenceThreshold(error=" ".join(str(reason).split()) or type(reason).__name__)


def too_many_bins(bins: int, limit: int) -> ReferenceThreshold:
    """The result where batches of very different ranges have made the tool's histogram grow out of hand."""
    return failure(f"the merged histogram has {bins} bins; more than {limit} are not searched here")


def batches_of(data: Data) -> list[Floats]:
    """The batches as flat float32 arrays; an array is one batch, a list or tuple of arrays is several."""
    several = isinstance(data, list | tuple) and bool(data) and not np.isscalar(data[0])
    parts: Sequence[Any] = data if several else [data]  # type: ignore[assignment]
    return [np.ascontiguousarray(np.asarray(part, dtype=np.float32).reshape(-1)) for part in parts]


def flat(data: Data) -> Floats:
    """All batches as one array, for tools that see the data at once."""
    parts = batches_of(data)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def symmetric(threshold: float, scale: float | None = None) -> ReferenceThreshold:
    """A result of [-threshold, threshold]."""
    low = -float(threshold)
    high = float(threshold)
    return ReferenceThreshold(low=low, high=high, threshold=high, scale=scale, zero_point=0)
