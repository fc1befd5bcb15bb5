"""Open calibration and evaluation data of any supported kind, and check them before minutes are spent."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.data.samples import Feed, Sample, Samples, group, sample_digest
from quantscope.core.data.sources.arrayfiles import (
    Found,
    Stored,
    open_array_folder,
    open_npy_samples,
    open_npz_samples,
    readable,
    what_there_is,
)
from quantscope.core.data.sources.arrays import BROKEN, brief, open_npy, open_npz
from quantscope.core.data.sources.imagefiles import (
    ImageFeed,
    ImageFiles,
    PixelFeed,
    csv_labels,
    doubts,
    find_images,
    folder_labels,
    pixel_layout,
)
from quantscope.core.data.sources.images import (
    EXTENSIONS,
    PRESETS,
    Preprocessing,
    guess,
    image_input,
    preprocessing,
    settle,
)
from quantscope.core.data.sources.inputs import Input, model_inputs, text
from quantscope.core.data.sources.labels import (
    LABELS,
    Labels,
    RawLabels,
    fit_labels,
    read_labels,
    wrong_labels,
)
from quantscope.core.data.sources.memory import held_arrays, open_held_arrays, open_items
from quantscope.core.data.sources.reader import open_reader
from quantscope.core.data.sources.synthetic import DEFAULT_COUNT, random_samples
from quantscope.core.errors import DataError
from quantscope.core.model import Model
from quantscope.core.words import plural

__all__ = [
    "PRESETS",
    "Preprocessing",
    "Sample",
    "Samples",
    "check_samples",
    "open_samples",
    "preprocessing",
    "random_samples",
    "reader_samples",
    "sample_digest",
    "wrong_labels",
]

KINDS = (
    "a .npz or .npy file, a folder of these, a folder or .zip of images, or a .py reader on the command line"
)
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
        source: A .npz or .npy file, a folder of these, an image folder or zip file, or a .py reader. Or what
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
        name = path.name or str(path)
        kind, found = _open_path(path, model, how, limit, allow_reader)
    else:
        kind, name = "memory", type(source).__name__
        found = _open_held(source, inputs, how, limit)
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
    own = _Labelling(model=model, name=name, ignore=ignore_label, needed=labels_needed)
    labelled = own.given(samples, labels) if labels is not None else own.found(samples, found.labels)
    return _limited(labelled, limit)


def reader_samples(path: str | Path, model: Model, *, limit: int | None = None) -> Samples:
    """Samples from the function `samples()` of a Python file, see `core.data.sources.reader.open_reader`."""
    return open_samples(path, model, limit=limit, allow_reader=True)


_preprocessing = preprocessing


def _open_path(
    path: Path, model: Model, how: Preprocessing | None, limit: int | None, allow_reader: bool
) -> tuple[str, Found]:
    """The kind of a file or folder, and what is in it."""
    if not path.exists():
        raise DataError(f"{path} does not exist: give {KINDS}")
    if path.suffix.lower() == ".py" and path.is_file():
        if not allow_reader:
            raise DataError(f"{path.name} is a program; readers run only when named on the command line")
        return "reader", open_reader(path, model, limit)
    return _find(path, model_inputs(model), how)


def _open_held(source: Any, inputs: tuple[Input, ...], how: Preprocessing | None, limit: int | None) -> Found:
    """What a program holds."""
    arrays = held_arrays(source, inputs)
    if arrays is None:
        return open_items(source, inputs, limit)
    return _pixels(arrays, inputs, how) or open_held_arrays(arrays, inputs)


def _find(path: Path, inputs: tuple[Input, ...], how: Preprocessing | None) -> tuple[str, Found]:
    """The kind of a source, and what is in it."""
    suffix = path.suffix.lower()
    if path.is_dir():
        arrays, images = open_array_folder(path, inputs), find_images(path)
        if arrays is not None:
            if images is not None:
                beside = f"{path.name}: images beside the arrays are not used, {len(images.names):,} in all"
                arrays = replace(arrays, warnings=(*arrays.warnings, beside))
            return "folder", arrays
        if images is None:
            there = what_there_is(path)
            raise DataError(f"{path.name} holds neither .npz or .npy files nor images{there}: give {KINDS}")
        return "images", _image_files(images, inputs, how)
    if not path.is_file():
        raise DataError(f"{path.name} is no regular file: give {KINDS}")
    if suffix in EXTENSIONS:
        return "images", _image_files(
            ImageFiles(path=path.parent, names=(path.name,), zipped=False), inputs, how
        )
    if suffix == ".npy":
        pixels = _pixels({inputs[0].name: open_npy(path)}, inputs, how) if len(inputs) == 1 else None
        return "npy", pixels or open_npy_samples(path, inputs)
    if suffix == ".npz" or (suffix == ".zip" and _holds_arrays(path)):
        return "npz", _pixels(open_npz(path), inputs, how) or open_npz_samples(path, inputs)
    if suffix == ".zip":
        images = find_images(path)
        if images is None:
            raise DataError(f"{path.name} holds no images and no arrays: give {KINDS}")
        return "images", _image_files(images, inputs, how)
    raise DataError(f"{path.name} is no kind of data that can be read: give {KINDS}")


def _holds_arrays(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except BROKEN as error:
        raise DataError(f"{path.name} is not a readable zip file ({brief(error)})") from error


def _image_files(files: ImageFiles, inputs: tuple[Input, ...], how: Preprocessing | None) -> Found:
    """Image files as samples, with labels from sub-folders."""
    info, settled, said = _image_setup(inputs, how)
    feed: Feed = ImageFeed(files=files, names=files.names, info=info, how=settled)
    said += doubts(files, settled)
    feed, more = _batched(feed, info)
    labels, names = _image_labels(files)
    return Found(feed=feed, labels=labels, label_names=names, warnings=(*said, *more))


def _image_labels(files: ImageFiles) -> tuple[RawLabels, tuple[str, ...]]:
    """Labels from `labels.csv` or `labels.npy` beside the images, else from sub-folder names, else none."""
    if not files.zipped and len(files.names) > 1:
        table, array = files.path / "labels.csv", files.path / "labels.npy"
        if table.is_file():
            try:
                values, names = csv_labels(table, files.names)
            except DataError as error:
                return RawLabels(fault=str(error)), ()
            return RawLabels(values=values), names
        if array.is_file():
            return read_labels(lambda: open_npy(array).whole()), ()
    found = folder_labels(files.names)
    return (RawLabels(), ()) if found is None else (RawLabels(values=found[0]), found[1])


def _pixels(
    arrays: Mapping[str, Stored | DataError], inputs: tuple[Input, ...], how: Preprocessing | None
) -> Found | None:
    """Images stored as one uint8 array, where a preprocessing was asked for; None if this is not that."""
    images = {
        key: rows
        for key, rows in arrays.items()
        if key != LABELS and not isinstance(rows, DataError) and pixel_layout(rows.shape, rows.dtype)
    }
    if how is None or len(images) != 1:
        return None
    info, settled, said = _image_setup(inputs, how)
    rows = next(iter(images.values()))
    first = pixel_layout(rows.shape, rows.dtype) == "NCHW"
    if rows.shape[0] == 0:
        raise DataError(f"{rows.label} holds no samples (an axis of size 0)")
    feed: Feed = PixelFeed(pixels=rows, channels_first=first, info=info, how=settled, label=rows.label)
    feed, more = _batched(feed, info)
    own = arrays.get(LABELS)
    labels = RawLabels() if own is None else read_labels(lambda: readable(own).whole())
    return Found(feed=feed, labels=labels, warnings=(*said, *more))


def _image_setup(
    inputs: tuple[Input, ...], how: Preprocessing | None
) -> tuple[Input, Preprocessing, list[str]]:
    """The image input, the preprocessing with nothing left open, and what was guessed."""
    info = image_input(inputs)
    if info is None:
        listed = ", ".join(f"'{info.name}' {text(info.shape)}" for info in inputs)
        raise DataError(
            f"images fit a model with one image input; this one takes {listed}: save arrays instead"
        )
    settled, said = settle(how or guess(info), info)
    if how is None:
        said.insert(
            0, f"preprocessing was guessed ({settled.describe()}): state what the model was trained with"
        )
    return info, settled, said


def _batched(feed: Feed, info: Input) -> tuple[Feed, list[str]]:
    size = info.shape[0]
    return group(feed, size) if isinstance(size, int) and size > 1 else (feed, [])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labelling:
    """How labels come to samples."""

    model: Model
    name: str  # of the source
    ignore: int | None
    needed: bool

    def given(self, samples: Samples, labels: "str | Path | Labels") -> Samples:
        """With labels from elsewhere.

        Raises:
            DataError: They do not fit.
        """
        names: tuple[str, ...] = ()
        if isinstance(labels, str | Path):
            values, names = _label_file(Path(labels), samples)
            return self._fitted(samples, values, f"{Path(labels).name}: {LABELS}", names)
        return self._fitted(samples, np.asarray(labels), LABELS, names)

    def found(self, samples: Samples, raw: RawLabels) -> Samples:
        """With those of the source.

        Raises:
            DataError: They are needed, called labels, and do not fit.
        """
        try:
            if raw.fault:
                raise DataError(raw.fault)
            if raw.values is None:
                return samples
            fitted = self._fitted(samples, raw.values, f"{self.name}: {LABELS}", samples.label_names)
            wrong = wrong_labels(fitted.labels, self.model)
            if wrong and not self.needed:
                raise DataError(wrong)
            return fitted
        except DataError as error:
            if self.needed and not raw.incidental:
                raise
            return replace(samples, label_names=(), warnings=(*samples.warnings, f"labels not used: {error}"))

    def _fitted(
        self, samples: Samples, values: npt.NDArray[Any], label: str, names: tuple[str, ...]
    ) -> Samples:
        rows, where = samples.feed.rows, label.removesuffix(LABELS)
        if samples.kind == "reader" and values.ndim and len(values) > rows:
            values = values[:rows]
        if values.ndim and len(values) != rows:
            raise DataError(
                f"{where}{plural(len(values), 'label')} for {plural(rows, 'sample')}: give one for "
                "each, or one for each position of each"
            )
        fitted, said = fit_labels(values, self.model, label, self.ignore)
        wrong = wrong_labels(fitted, self.model)
        said += [where + wrong] if wrong else []
        return replace(samples, labels=fitted, label_names=names, warnings=(*samples.warnings, *said))


def _label_file(path: Path, samples: Samples) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Labels as a file holds them, and the names of classes."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return open_npy(path).whole(), ()
    if suffix == ".npz":
        arrays = open_npz(path)
        key = LABELS if LABELS in arrays else next(iter(arrays), None)
        if key is None or (key != LABELS and len(arrays) > 1):
            raise DataError(f"{path.name} has no array '{LABELS}'")
        return readable(arrays[key]).whole(), ()
    feed = getattr(samples.feed, "inner", samples.feed)
    if isinstance(feed, ImageFeed):
        return csv_labels(path, feed.names)
    raise DataError(f"{path.name}: labels of arrays are a .npy or .npz file of class numbers")


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
