"""Per-channel extremes and moments of float activations, streamed over samples."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import data_rows
from quantscope.core.data import Load, Samples, sample_digest
from quantscope.core.errors import DataError
from quantscope.core.model import Model, float_session
from quantscope.core.progress import ProgressFn
from quantscope.core.runtime import ORT_ERRORS, first_line, parallel_map, thread_count

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
SAMPLES = 128

Parts = dict[str, tuple[Float64, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One tensor, channel by channel; all of shape (channels,)."""

    low: Float64
    high: Float64
    mean: Float64
    square: Float64  # mean of x²
    nonzero: Float64  # share of values that are not 0
    low_spread: Float64  # standard deviation, over samples, of a sample's smallest value
    high_spread: Float64
    count: int  # values a channel

    @property
    def lowest(self) -> Float64:
        """What unseen values may well reach, see `_expected_end`."""
        return -_expected_end(-self.low, self.low_spread, self.count)

    @property
    def highest(self) -> Float64:
        """What unseen values may well reach, see `_expected_end`."""
        return _expected_end(self.high, self.high_spread, self.count)

    @property
    def variance(self) -> Float64:
        """Mean squared deviation from the mean."""
        return np.maximum(self.square - np.square(self.mean), 0.0)


def _expected_end(extreme: Float64, spread: Float64, count: int) -> Float64:
    """Where a range should end so that clipping unseen values costs no more than 8-bit rounding does.

    The tail is taken as exponential, of the scale t that largest values of samples (which are Gumbel
    distributed then) show: behind the largest of n values the expected clipping error is 2 t² / n, and it
    falls by e with each t; rounding costs (extreme / 255)² / 12. With many values nothing is added.
    """
    scale = spread * np.sqrt(6.0) / np.pi
    share = np.divide(scale, np.maximum(np.abs(extreme), scale), out=np.zeros_like(scale), where=scale > 0)
    cost = 24.0 * np.square(255.0 * share) / max(count, 1)
    return np.asarray(extreme + scale * np.log(np.maximum(cost, 1.0)), np.float64)


def observe(
    model: Model,
    axes: Mapping[str, int],
    samples: Samples,
    *,
    count: int = SAMPLES,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> dict[str, Observed]:
    """Run the float model over up to `count` samples, chosen by content, keeping only sums.

    The result does not depend on the order of the samples, nor on `threads`.

    Args:
        model: The float model.
        axes: Tensor → its channel axis.
        samples: What to run.
        count: Most samples to run.
        threads: Samples run at the same time; None = one a processor.
        progress: Told after each sample; may raise `Cancelled`.

    Raises:
        DataError: There are no samples, or they do not fit the model.
    """
    if not len(samples):
        raise DataError("there are no samples to look at the activations with")
    if not axes:
        return {}
    chosen = samples
    if len(samples) > count:
        digests = samples.digests()
        chosen = samples.select(sorted(sorted(range(len(samples)), key=digests.__getitem__)[:count]))
    given = {info.name for info in model.inputs}
    computed = [name for name in axes if name not in given]
    session = float_session(model, computed) if computed else None

    def work(item: tuple[int, Load]) -> tuple[bytes, Parts]:
        position, load = item
        sample = load()
        found: Parts = {}
        try:
            values = dict(session.values(sample)) if session is not None else {}
            for name, axis in axes.items():
                tensor = values[name] if name in values else sample[name]
                found[name] = _channel_sums(data_rows(tensor, chosen.batch, chosen.valid(position)), axis)
        except ORT_ERRORS as error:
            raise DataError(f"the model cannot run on sample {position}: {first_line(error)}") from error
        return sample_digest(sample), found

    runs = list(
        parallel_map(
            work,
            enumerate(chosen.loads()),
            total=len(chosen),
            threads=thread_count(threads),
            progress=progress,
            label="looking at channels",
        )
    )
    runs.sort(key=lambda run: run[0])  # sums of floats depend on their order
    return {name: _observed([found[name] for _, found in runs]) for name in axes}


def _channel_sums(values: Float32, axis: int) -> tuple[Float64, ...]:
    rows = np.ascontiguousarray(np.moveaxis(values, axis, 0)).reshape(values.shape[axis], -1)
    low, high = rows.min(axis=1, initial=np.inf), rows.max(axis=1, initial=-np.inf)
    square = np.einsum("ij,ij->i", rows, rows)
    count = np.full(len(rows), rows.shape[1], np.float64)
    nonzero = np.count_nonzero(rows, axis=1)
    columns = (low, high, rows.sum(axis=1, dtype=np.float64), square, nonzero, count)
    return tuple(column.astype(np.float64) for column in columns)


def _observed(parts: list[tuple[Float64, ...]]) -> Observed:
    low, high, total, square, nonzero, count = (np.stack(column) for column in zip(*parts, strict=True))
    values = np.maximum(count.sum(axis=0), 1.0)
    return Observed(
        low=low.min(axis=0),
        high=high.max(axis=0),
        mean=total.sum(axis=0) / values,
        square=square.sum(axis=0) / values,
        nonzero=nonzero.sum(axis=0) / values,
        low_spread=low.std(axis=0),
        high_spread=high.std(axis=0),
        count=int(count.sum(axis=0).max(initial=0)),
    )
