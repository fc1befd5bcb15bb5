"""Open calibration and evaluation data of any supported kind, and check them before minutes are spent."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from quantscope.core.data.labelling import Labelling
from quantscope.core.data.samples import Samples
from quantscope.core.data.sources.arrayfiles import SourceContent
from quantscope.core.data.sources.imagefiles import ImageFeed, PixelFeed
from quantscope.core.data.sources.images import Preprocessing, preprocessing
from quantscope.core.data.sources.imagesamples import pixel_arrays
from quantscope.core.data.sources.inputs import Input, model_inputs
from quantscope.core.data.sources.labels import Labels
from quantscope.core.data.sources.memory import held_arrays, open_held_arrays, open_items
from quantscope.core.data.sources.synthetic import DEFAULT_COUNT, random_samples
from quantscope.core.data.sources.table import KINDS, Request, open_source
from quantscope.core.errors import DataError
from quantscope.core.model import Model

CHECKED_SAMPLES = 8  # decoded before a long run, spread over the data
DUPLICATE_BYTES = 1 << 29  # duplicates are looked for beforehand in data up to this size


def open_samples(
    source: Any,
    model: Model,
    *,
    preprocessing: "Preprocessing | str | None" = None,
    labels: "str | Path | Labels | None" = None,
    limit: int | None = None,
    allow_reader: bool = False,
    ignore_label: int | None = None,
    labels_needed: bool = True,
) -> Samples:
    """Samples for `model` from files or from memory, or random ones for None.

    Args:
        source: A .npz or .npy file, a folder of these, a folder or .zip of images, or a .py reader. Or what
            a program holds: a dict of arrays by input name, one array for a model with one input, or an
            iterable such as a data loader (see `sources.memory.open_items`).
        model: What the samples are for; only its inputs are used.
        preprocessing: For images: a `Preprocessing`, a preset's name, or a text such as
            `imagenet-tf,size=128`. Guessed from the model's input, with a warning, if left out.
        labels: Class numbers (see `sources.labels.fit_labels`): an array, a .npy or .npz file, or a CSV
            of `file,label` for images. Overrides labels that the source has.
        limit: Use the first `limit` rows only.
        allow_reader: Whether a .py file may be run. True only for what a user named on the command line.
        ignore_label: A value of the labels that is no class: what has it is not counted.
        labels_needed: False: labels of the source that do not fit are left out with a warning, since
            calibration needs none; those in `labels` must fit all the same.

    Raises:
        DataError: the data cannot be read or do not fit the model; says what to do.
    """
    how = None if preprocessing is None else _preprocessing(preprocessing)
    if limit is not None and limit < 1:
        raise DataError(f"at least one sample is needed; the limit is {limit}")
    if source is None:
        return random_samples(model, limit or DEFAULT_COUNT)
    inputs = model_inputs(model)
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.exists():
            raise DataError(f"{path} does not exist: give {KINDS}")
        request = Request(
            path=path, model=model, inputs=inputs, preprocessing=how, limit=limit, allow_reader=allow_reader
        )
        name, (kind, found) = path.name or str(path), open_source(request)
    else:
        name, kind, found = type(source).__name__, "memory", _open_held(source, inputs, how, limit)
    samples = Samples(
        names=tuple(info.name for info in inputs),
        feed=found.feed,
        indices=range(found.feed.count),
        kind=kind,
        source=name,
        label_names=found.label_names,
        warnings=found.warnings,
    )
    feed = getattr(samples.feed, "inner", samples.feed)
    if how is not None and not isinstance(feed, ImageFeed | PixelFeed):
        said = f"{name}: the preprocessing is not applied; it is for images, in files or as uint8 arrays"
        samples = replace(samples, warnings=(*samples.warnings, said))
    own = Labelling(model=model, name=name, ignore=ignore_label, needed=labels_needed)
    labelled = own.given(samples, labels) if labels is not None else own.found(samples, found.labels)
    return _limited(labelled, limit)


def _open_held(
    source: Any, inputs: tuple[Input, ...], how: Preprocessing | None, limit: int | None
) -> SourceContent:
    """What a program holds."""
    arrays = held_arrays(source, inputs)
    if arrays is None:
        return open_items(source, inputs, limit)
    return pixel_arrays(arrays, inputs, how) or open_held_arrays(arrays, inputs)


_preprocessing = preprocessing


def _limited(samples: Samples, limit: int | None) -> Samples:
    """The first `limit` rows: whole samples of a fixed batch."""
    if limit is None or limit >= samples.rows:
        return samples
    return samples.take(-(-limit // samples.batch))


def check_samples(samples: Samples, model: Model) -> tuple[str, ...]:
    """Decode a few samples, look for duplicates, and say what is doubtful; seconds at most.

    Returns warnings. Raises `DataError` for what would stop a calibration later: broken files, NaN and
    infinities, shapes that do not fit, in the samples that were decoded.
    """
    if not len(samples):
        raise DataError(f"{samples.source} holds no samples")
    said = list(samples.warnings)
    if len(samples) == 1:
        said.append(
            "there is only one sample: thresholds will fit it and nothing else; 100 or more are usual"
        )
    step = max(1, len(samples) // CHECKED_SAMPLES)
    chosen = samples.select(range(0, len(samples), step)[:CHECKED_SAMPLES])
    size, seen = (
        0,
        {info.name: set[float]() for info in model.inputs if info.dtype.kind == "f" and info.shape},
    )
    for position, sample in enumerate(chosen):
        chosen.digest(position, sample)
        size = max(size, sum(array.nbytes for array in sample.values()))
        for name, ends in seen.items():
            ends |= {float(sample[name].min(initial=np.inf)), float(sample[name].max(initial=-np.inf))}
    flat = [name for name, ends in seen.items() if len(ends) == 1]
    said += [f"input '{name}' holds one value only in the samples that were looked at" for name in flat]
    if size * len(samples) <= DUPLICATE_BYTES and not samples.synthetic:
        same = samples.duplicates
        if same:
            said.append(f"{same} of {len(samples)} samples are duplicates of others and add nothing")
    return tuple(dict.fromkeys(said))
