"""Samples of two sources as one: calibration data, and what was found to be missing in them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from quantscope.core.data.samples import Loads, Samples
from quantscope.core.errors import DataError
from quantscope.core.words import plural


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joined:
    """A feed over the samples of two sources, one after the other."""

    parts: tuple[Samples, Samples]
    batch: int = 1

    @property
    def count(self) -> int:
        """Samples of both."""
        return sum(map(len, self.parts))

    @property
    def rows(self) -> int:
        """As `count`: a sample is a row."""
        return self.count

    def open(self, indices: Sequence[int]) -> Loads:
        """Loads in the order given; each stretch of one source is read at once."""
        for part, places in groupby(map(self._place, indices), key=lambda place: place[0]):
            yield from self.parts[part].select([at for _, at in places]).loads()

    def digests(self, indices: Sequence[int]) -> Iterator[bytes] | None:
        """As each source gives them."""
        return (self.parts[part].digest(at) for part, at in map(self._place, indices))

    def _place(self, index: int) -> tuple[int, int]:
        first = len(self.parts[0])
        return (0, index) if index < first else (1, index - first)


def joined_samples(first: Samples, second: Samples) -> Samples:
    """Both, one after the other; labels stay where both have them in one form.

    Raises:
        DataError: The model takes several rows at a time, or they are of different inputs.
    """
    if first.batch > 1 or second.batch > 1:
        raise DataError("samples of a model that takes several rows at a time cannot be joined")
    if set(first.names) != set(second.names):
        raise DataError("samples of different inputs cannot be joined")
    one, other = first.labels, second.labels
    labels = None
    if one is not None and other is not None and one.shape[1:] == other.shape[1:]:
        labels = np.concatenate([one, other])
    feed = Joined(parts=(first, second))
    return replace(
        first,
        feed=feed,
        indices=range(feed.count),
        source=f"{first.source} and {plural(len(second), 'sample')} more",
        labels=labels,
        synthetic=first.synthetic,
        warnings=tuple(dict.fromkeys((*first.warnings, *second.warnings))),
        _digests={},
    )
