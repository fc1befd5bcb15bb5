"""A user's own Python file as a source of samples; it runs with all rights, so only on explicit request."""

import runpy
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.data.samples import Feed, Loads, Sample, group, sample_digest
from quantscope.core.data.sources.arrayfiles import SourceContent
from quantscope.core.data.sources.feeds import Batch, array_feed, open_batch
from quantscope.core.data.sources.inputs import Input, model_inputs, text
from quantscope.core.data.sources.items import (
    described,
    item_arrays,
    item_labels,
    to_array,
    unused_keys,
    wanted,
)
from quantscope.core.data.sources.labels import RawLabels, joined, read_labels
from quantscope.core.errors import DataError
from quantscope.core.model import Model
from quantscope.core.words import plural

DEFAULT_LIMIT = 1024  # a reader may be endless
_END = object()
Given = tuple[Batch, RawLabels | None, list[str]]  # an item, its labels if it has any, what is to be said


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
                    f"{self.path.name}: samples() gave {plural(self.count, 'sample')} at first and "
                    f"{position} now: it must start anew, and give the same samples, at every call"
                )
        loads.close()

    def everything(self) -> Loads:
        """All rows of a fresh call of `samples()`."""
        for batch, _, _ in self.batches():
            yield from array_feed([batch], self.inputs).open(range(batch.fit.count))

    def batches(self) -> Generator[Given, None, None]:
        """What a fresh call of `samples()` yields."""
        with _errors_in_one_line(self.path):
            given = self.make()
        if given is None or isinstance(given, Mapping | str | bytes):
            raise DataError(
                f"{self.path.name}: samples() must yield one sample after another, {wanted(self.inputs)}; "
                f"it returned {described(given)}"
            )
        with _errors_in_one_line(self.path):
            stream = iter(given)
        number = 0
        while True:
            with _errors_in_one_line(self.path, f", after {plural(number, 'sample')}" if number else ""):
                item = next(stream, _END)
            if item is _END:
                return
            label = f"{self.path.name}, item {number}"
            arrays, own = item_arrays(item, self.inputs, label)
            batch, said = open_batch(arrays, self.inputs, label)
            said += unused_keys(item, self.inputs, label)
            yield batch, None if own is None else item_labels(own, batch.fit.count, label), said
            number += 1


def open_reader(path: Path, model: Model, limit: int | None = None) -> SourceContent:
    """Samples from the function `samples()` or `samples(inputs)` of a Python file.

    It yields dicts of input name → array, with or without a batch axis (or bare arrays for a model with one
    input), each alone or as (sample, label), and must start anew at each call. `labels()`, if there, gives
    one label a row. One pass counts the samples (at most `limit`, 1,024 unless said otherwise) and checks
    all of them. Raises `DataError` with file and line for whatever the file raises.
    """
    with _errors_in_one_line(path):
        names = runpy.run_path(str(path))
    make = names.get("samples")
    if not callable(make):
        there = "" if make is None else f"; its samples is {described(make)}"
        raise DataError(f"{path.name} defines no function samples() that yields dicts of arrays{there}")
    with _errors_in_one_line(path):
        wants_inputs = _takes_inputs(make)
    inputs = model_inputs(model)
    call = (lambda: make(inputs)) if wants_inputs else make
    feed: Feed
    feed, first, labels, warnings = _counted(
        ReaderFeed(path=path, make=call, inputs=inputs, count=0, known=()), limit
    )
    if names.get("labels") is not None:
        labels = _labels(names["labels"], path, feed.count)
    fixed = {info.name: info.shape[0] for info in inputs if info.shape and isinstance(info.shape[0], int)}
    short = {name: size for name, size in fixed.items() if first[name].shape[0] != size}
    if short:
        feed, said = group(feed, next(iter(short.values())), frozenset(first.keys() - short.keys()))
        warnings += said
    return SourceContent(feed=feed, labels=labels, warnings=tuple(warnings))


def _takes_inputs(make: Callable[..., Any]) -> bool:
    """Whether a function cannot be called without the model's inputs; what has a default keeps it."""
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return any(
        p.kind in kinds and (p.default is Parameter.empty or p.name == "inputs")
        for p in signature(make).parameters.values()
    )


def _counted(feed: ReaderFeed, limit: int | None) -> tuple[ReaderFeed, Sample, RawLabels, list[str]]:
    """The feed with its rows counted, known by content and checked; its first row, labels and warnings."""
    digests: list[bytes] = []
    labels: list[RawLabels | None] = []
    first: Sample = {}
    said: list[str] = []
    top, more = limit or DEFAULT_LIMIT, False
    batches = feed.batches()
    for batch, own, about in batches:
        if len(digests) == top:
            more = True
            break
        said += [line for line in about if not digests]  # as of the first, the others
        rows = min(batch.fit.count, top - len(digests))
        for load in array_feed([batch], feed.inputs).open(range(rows)):
            sample = load()
            first = first or sample
            digests.append(sample_digest(sample))
        more = rows < batch.fit.count
        cut = own is not None and own.values is not None
        labels.append(RawLabels(values=own.values[:rows]) if cut else own)  # type: ignore[union-attr,index]
    batches.close()
    if more and limit is None:
        said.append(f"{feed.path.name}: only the first {top:,} samples are used; set a limit for more")
    if not digests:
        raise DataError(f"{feed.path.name}: samples() yielded nothing; it must yield {wanted(feed.inputs)}")
    if _differs(feed, digests[0]):
        said.append(
            f"{feed.path.name}: samples() gives other samples at the next call, so results cannot be "
            "repeated; make what is drawn at random start anew inside it, as with np.random.default_rng(0)"
        )
    return replace(feed, count=len(digests), known=tuple(digests)), first, together(labels), said


def _differs(feed: ReaderFeed, digest: bytes) -> bool:
    """Whether a second call begins with another sample than the first; one without samples is found later."""
    rows = feed.everything()
    try:
        again = next(rows, None)
        return again is not None and sample_digest(again()) != digest
    except DataError:
        return False
    finally:
        rows.close()


def together(labels: list[RawLabels | None], giver: str = "samples()") -> RawLabels:
    """The labels that came with the items that `giver` yielded, as one."""
    have = [own for own in labels if own is not None]
    fault = next((own.fault for own in have if own.fault), "")
    if have and not fault and len(have) < len(labels):
        fault = f"{len(have)} of {len(labels)} items that {giver} yielded have a label"
    if not have or fault:
        return RawLabels(fault=fault, incidental=True)
    whole = read_labels(lambda: joined([own.values for own in have if own.values is not None]))
    return replace(whole, incidental=True)


def _labels(make: Any, path: Path, count: int) -> RawLabels:
    """What `labels()` gives, or what is wrong with it."""
    with _errors_in_one_line(path):
        given = make() if callable(make) else make
        given = list(given) if not hasattr(given, "shape") else given

    def read() -> npt.NDArray[Any]:
        array = to_array(given, f"{path.name}: labels()")
        if array.dtype.kind not in "iub" or array.ndim < 1 or len(array) < count:
            raise DataError(
                f"{path.name}: labels() must give one integer a sample ({count}), or one for each position "
                f"of a sample, not {array.dtype} {text(array.shape)}"
            )
        return np.asarray(array[:count])

    return read_labels(read)


@contextmanager
def _errors_in_one_line(path: Path, where: str = "") -> Iterator[None]:
    """Turn whatever the user's file raises into a `DataError` of one line, with the place in the file."""
    try:
        yield
    except (DataError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit too: a script that exits is no reader
        own = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path]
        line = own[-1].lineno if own else getattr(error, "lineno", None)
        place = f"{path.name}, line {line}" if line else path.name
        said = " ".join(str(error).split())[:300]
        raise DataError(f"{place}: {type(error).__name__}: {said}{where}") from error
