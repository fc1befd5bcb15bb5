"""Samples that a program holds: arrays, or anything that yields one sample or batch after another."""

from collections.abc import Iterable, Mapping
from typing import Any

from quantscope.core.data.sources.arrayfiles import SourceContent, found, match
from quantscope.core.data.sources.arrays import ArrayRows
from quantscope.core.data.sources.feeds import Batch, open_batch
from quantscope.core.data.sources.inputs import Input
from quantscope.core.data.sources.items import (
    described,
    input_array,
    item_arrays,
    item_labels,
    to_array,
    unused_keys,
    wanted,
)
from quantscope.core.data.sources.labels import LABELS, RawLabels, of_rows
from quantscope.core.data.sources.reader import DEFAULT_LIMIT, together
from quantscope.core.errors import DataError

ARRAYS = "the arrays"  # how messages name them


def held_arrays(source: Any, inputs: tuple[Input, ...]) -> dict[str, ArrayRows | DataError] | None:
    """The arrays of a dict by key, or the one array for the only input; None where `source` is neither.

    Raises:
        DataError: It is one array for several inputs, or holds what is no array of numbers.
    """
    known = {info.name: info for info in inputs}
    if isinstance(source, Mapping):
        held = {str(key): value for key, value in source.items()}
    elif isinstance(getattr(source, "shape", None), tuple):
        if len(inputs) != 1:
            names = ", ".join(f"'{name}'" for name in known)
            raise DataError(
                f"{described(source)} is one array, but the model has {len(inputs)} inputs: give a dict "
                f"with these keys: {names}"
            )
        held = {inputs[0].name: source}
    else:
        return None
    rows: dict[str, ArrayRows | DataError] = {}
    for name, value in held.items():
        info = known.get(name, inputs[0] if len(inputs) == len(held) == 1 else None)
        if info is not None:
            array = input_array(value, info, ARRAYS)
        else:
            array = to_array(value, f"{ARRAYS}: {name!r}")
        rows[name] = ArrayRows(array=array, label=f"{ARRAYS}: {name}")
    return rows


def open_held_arrays(arrays: Mapping[str, ArrayRows | DataError], inputs: tuple[Input, ...]) -> SourceContent:
    """Samples of arrays in memory: keys are input names, the first axis counts samples."""
    if not any(key != LABELS for key in arrays):
        raise DataError(f"there are no arrays; the model takes {wanted(inputs)}")
    rows, labels, said = match(arrays, inputs, ARRAYS)
    batch, more = open_batch(rows, inputs, ARRAYS)
    return found([batch], inputs, [of_rows(labels, batch.fit.count)], said + more)


def open_items(source: Iterable[Any], inputs: tuple[Input, ...], limit: int | None = None) -> SourceContent:
    """Samples of an iterable, such as a data loader, a list or a generator.

    Its items are what a reader's `samples()` yields. It is run through once, and what it gave is copied into
    memory: a loader that shuffles, or a generator, would give other samples or none at the second time.

    Args:
        source: Yields dicts of input name → array, or bare arrays for a model with one input; each alone or
            as a pair with its label; with or without a batch axis.
        inputs: The model's.
        limit: Stop after so many rows; None = `DEFAULT_LIMIT`, as it may be endless.

    Raises:
        DataError: It yields nothing, or an item does not fit the model.
    """
    name = type(source).__name__
    giver = f"the {name}"
    if isinstance(source, tuple):
        raise DataError(
            f"a {described(source)} could be samples, or a sample and its label: give a list of samples, a "
            "dict of arrays by input name, and labels as labels=…"
        )
    try:
        stream = iter(source)
    except TypeError:
        raise DataError(
            f"{described(source)} holds no samples: give a path, arrays, or what yields {wanted(inputs)}"
        ) from None
    batches: list[Batch] = []
    labels: list[RawLabels | None] = []
    said: list[str] = []
    rows, top = 0, limit or DEFAULT_LIMIT
    for number, item in enumerate(stream):
        if rows >= top:
            if limit is None:
                said.append(f"{name}: only the first {rows:,} samples are used; set a limit for more")
            break
        label = f"{name}, item {number}"
        arrays, own = item_arrays(item, inputs, label, giver)
        copied = {key: ArrayRows(array=part.array.copy()) for key, part in arrays.items()}
        batch, about = open_batch(copied, inputs, label)
        if not batches:  # as of the first, the others
            said += about + unused_keys(item, inputs, label)
        batches.append(batch)
        labels.append(None if own is None else item_labels(own, batch.fit.count, label))
        rows += batch.fit.count
    if not batches:
        raise DataError(f"{giver} yielded nothing; it must yield {wanted(inputs)}")
    return found(batches, inputs, [together(labels, giver)], said)
