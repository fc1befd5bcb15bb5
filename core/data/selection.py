"""The samples that passes measure on: the same ones, in the same order, however the data are ordered."""

from dataclasses import dataclass

from quantscope.core.data.samples import Sample, Samples, sample_digest
from quantscope.core.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """Samples in memory, ordered by content."""

    runs: tuple[Sample, ...]
    batch: int  # rows in one run
    valid: tuple[int, ...]  # rows of each run that are data rather than padding


def pick(samples: Samples, count: int) -> Picked:
    """Up to `count` samples, chosen and ordered by content.

    Raises:
        DataError: there are none, or one cannot be read.
    """
    if not len(samples):
        raise DataError("there are no samples to measure on")
    chosen = samples
    if len(samples) > count:
        chosen = samples.select(sorted(samples.by_content()[:count]))
    runs = list(enumerate(chosen))
    runs.sort(key=lambda item: sample_digest(item[1]))
    return Picked(
        runs=tuple(run for _, run in runs),
        batch=samples.batch,
        valid=tuple(chosen.valid(position) for position, _ in runs),
    )
