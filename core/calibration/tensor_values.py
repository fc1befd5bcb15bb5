"""Raw values of a tensor, as many as memory allows: other tools' algorithms need more than a histogram."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration.histogram import Histogram
from quantscope.core.data import Samples
from quantscope.core.errors import DataError, ModelError
from quantscope.core.model import Model, float_session
from quantscope.core.progress import ProgressFn, report
from quantscope.core.runtime import ORT_ERRORS, first_line

LIMIT = 2_000_000  # values: 8 MB


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawValues:
    """Values of one tensor over samples."""

    values: npt.NDArray[np.float32]  # samples joined along the first axis; flat if some were left out
    samples: int  # that were run
    of: int  # samples that there are
    every: int  # 1: all values of these samples; n: every n-th of them, and the extremes

    @property
    def complete(self) -> bool:
        """Whether these are all values."""
        return self.samples == self.of and self.every == 1


def raw_values(
    model: Model,
    samples: Samples,
    tensor: str,
    histogram: Histogram,
    *,
    limit: int = LIMIT,
    progress: ProgressFn | None = None,
) -> RawValues:
    """Run the float model and keep about `limit` values of `tensor`.

    Where not all of them fit, samples are taken evenly over the data, and those that hold the smallest and
    the largest value are among them, so that the extremes are those of all data.

    Args:
        model: The float model.
        samples: What `histogram` was made from.
        tensor: One of its float tensors.
        histogram: Of the tensor over all samples; says how many values a sample has.
        limit: How many values to keep.
        progress: Told about each sample; may raise `Cancelled`.

    Raises:
        DataError: A sample cannot be read, or the model cannot run on it.
        ModelError: The model has no such tensor.
    """
    if tensor not in model.tensors:
        raise ModelError(f"the model has no float tensor {tensor!r}")
    total = len(samples)
    if not total:
        raise DataError(f"{samples.source} holds no samples")
    each = max(histogram.count // total, 1)
    positions = chosen_samples(total, max(limit // each, 1), histogram)
    every = max(-(-each * len(positions) // (2 * limit)), 1)  # one sample too many does not matter
    given = tensor in {info.name for info in model.inputs}
    session = None if given else float_session(model, (tensor,))
    parts = []
    for done, sample in enumerate(samples.select(positions)):
        report(progress, done, len(positions), "running the float model")
        try:
            value = sample[tensor] if session is None else next(iter(session.values(sample)))[1]
        except ORT_ERRORS as error:
            raise DataError(
                f"{samples.source}: the model cannot run on sample {positions[done]}: {first_line(error)}"
            ) from error
        parts.append(_kept(np.asarray(value, np.float32), every))
    joined = _join(parts)
    return RawValues(values=joined, samples=len(positions), of=total, every=every)


def chosen_samples(total: int, wanted: int, histogram: Histogram) -> tuple[int, ...]:
    """Positions of about `wanted` of `total` samples: evenly spaced, and those with the extremes."""
    if wanted >= total:
        return tuple(range(total))
    even = {i * total // wanted for i in range(wanted)}
    extreme = {i for i in (histogram.min_sample, histogram.max_sample) if 0 <= i < total}
    return tuple(sorted(even | extreme))


def _kept(value: npt.NDArray[np.float32], every: int) -> npt.NDArray[np.float32]:
    """The values, or every n-th and the extremes."""
    if every == 1 or value.size == 0:
        return value
    flat = value.reshape(-1)
    return np.concatenate([flat[::every], [flat.min(), flat.max()]]).astype(np.float32)


def _join(parts: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Along the first axis, so that rows stay rows; flat where shapes differ."""
    if parts[0].ndim and all(part.shape[1:] == parts[0].shape[1:] for part in parts):
        return np.concatenate(parts)
    return np.concatenate([part.reshape(-1) for part in parts])
