"""A user's own Python file as a source of samples; it runs with all rights, so only on explicit request."""

import runpy
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import DataError
from core.model import Model
from core.samples import Feed, Loads, Sample, Samples, group, sample_digest
from core.sources.arrays import ArrayRows
from core.sources.feeds import array_feed, open_batch
from core.sources.inputs import Input, model_inputs

DEFAULT_LIMIT = 1024  # a reader may be endless


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReaderFeed:
    """Rows that a reader's `samples()` yields, one dict (or one batch) after another."""

    path: Path
    make: Callable[[], Any]
    inputs: tuple[Input, ...]
    count: int
    known: tuple[bytes, ...]  # content digests

    batch = 1

    @property
    def rows(self) -> int:
        """Rows."""
        return self.count

    def digests(self, indices: Sequence[int]) -> Iterator[bytes]:
        """As found by the pass that counted the rows."""
        return (self.known[index] for index in indices)

    def open(self, indices: Sequence[int]) -> Loads:
        """Loads in the order asked for; the reader starts again wherever an index goes back."""
        position, loads = 0, self.everything()
        for index in indices:
            if index < position:
                loads.close()
                position, loads = 0, self.everything()
            for load in loads:
                position += 1
                if position == index + 1:
                    yield load
                    break
            else:
                raise DataError(
                    f"{self.path.name}: samples() gave {self.count} samples at first and {position} now: "
                    "it must start anew, and give the same samples, at every call"
                )
        loads.close()

    def everything(self) -> Loads:
        """All rows of a fresh call of `samples()`."""
        with _blame(self.path):
            stream = iter(self.make())
        number = 0
        while True:
            with _blame(self.path):
                item = next(stream, None)
            if item is None:
                return
            label = f"{self.path.name}, item {number}"
            batch, _ = open_batch(_arrays(item, self.inputs, self.path), self.inputs, label)
            yield from array_feed([batch], self.inputs).open(range(batch.fit.count))
            number += 1


def reader_samples(path: str | Path, model: Model, *, limit: int | None = None) -> Samples:
    """Samples from the function `samples()` or `samples(inputs)` of a Python file.

    It yields dicts of input name → array, with or without a batch axis (or bare arrays for a model with one
    input), and must start anew at each call. `labels()`, if there, gives one integer a row. One pass counts
    the samples (at most `limit`, 1,024 unless said otherwise) and checks all of them. Raises `DataError`
    with file and line for whatever the file raises.
    """
    path = Path(path)
    with _blame(path):
        names = runpy.run_path(str(path))
    make = names.get("samples")
    if not callable(make):
        raise DataError(f"{path.name} defines no function samples() that yields dicts of arrays")
    with _blame(path):
        wants_inputs = bool(signature(make).parameters)
    inputs = model_inputs(model)
    call = (lambda: make(inputs)) if wants_inputs else make
    feed: Feed
    feed, first, warnings = _counted(
        ReaderFeed(path=path, make=call, inputs=inputs, count=0, known=()), limit
    )
    labels = _labels(names.get("labels"), path, feed.count)
    fixed = {info.name: info.shape[0] for info in inputs if info.shape and isinstance(info.shape[0], int)}
    short = {name: size for name, size in fixed.items() if first[name].shape[0] != size}
    if short:
        feed, said = group(feed, next(iter(short.values())), frozenset(first.keys() - short.keys()))
        warnings += said
    return Samples(
        names=tuple(info.name for info in inputs),
        feed=feed,
        indices=range(feed.count),
        kind="reader",
        source=path.name,
        labels=labels,
        warnings=tuple(warnings),
    )


def _counted(feed: ReaderFeed, limit: int | None) -> tuple[ReaderFeed, Sample, list[str]]:
    """The feed with its rows counted, known by content and checked; its first row; and warnings."""
    digests: list[bytes] = []
    first: Sample = {}
    said, top = [], limit or DEFAULT_LIMIT
    rows = feed.everything()
    for load in rows:
        if len(digests) == top:
            if limit is None:
                said.append(
                    f"{feed.path.name}: only the first {top:,} samples are used; set a limit for more"
                )
            break
        sample = load()
        first = first or sample
        digests.append(sample_digest(sample))
    rows.close()
    if not digests:
        raise DataError(f"{feed.path.name}: samples() yielded nothing")
    return replace(feed, count=len(digests), known=tuple(digests)), first, said


def _arrays(item: Any, inputs: Sequence[Input], path: Path) -> dict[str, ArrayRows]:
    if not isinstance(item, Mapping) and len(inputs) == 1:
        item = {inputs[0].name: item}
    if not isinstance(item, Mapping):
        raise DataError(
            f"{path.name}: samples() must yield dicts of input name to array, not {type(item).__name__}"
        )
    missing = [info.name for info in inputs if info.name not in item]
    if missing:
        raise DataError(
            f"{path.name}: samples() yields no {missing[0]!r}; it yields {', '.join(map(str, item))}"
        )
    arrays = {info.name: np.asarray(item[info.name]) for info in inputs}
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise DataError(f"{path.name}: {name!r} has the type {array.dtype}; numbers are needed")
    return {name: ArrayRows(array=array) for name, array in arrays.items()}


def _labels(make: Any, path: Path, count: int) -> npt.NDArray[np.int64] | None:
    if make is None:
        return None
    with _blame(path):
        labels = np.asarray(list(make()) if callable(make) else make)
    if labels.dtype.kind not in "iu" or labels.shape[:1] < (count,) or labels.ndim != 1:
        raise DataError(f"{path.name}: labels() must give one integer a sample ({count}), not {labels.shape}")
    return labels[:count].astype(np.int64)


@contextmanager
def _blame(path: Path) -> Iterator[None]:
    """Whatever the user's file raises, in one line with the place."""
    try:
        yield
    except (DataError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit too: a script that exits is no reader
        own = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path]
        line = own[-1].lineno if own else getattr(error, "lineno", None)
        place = f"{path.name}, line {line}" if line else path.name
        text = " ".join(str(error).split())[:300]
        raise DataError(f"{place}: {type(error).__name__}: {text}") from error
