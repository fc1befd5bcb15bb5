"""Open calibration and evaluation data of any supported kind, and check them before minutes are spent."""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.errors import DataError
from core.model import Model
from core.samples import Feed, Sample, Samples, group, sample_digest
from core.sources.arrayfiles import (
    Found,
    Labels,
    label_array,
    open_array_folder,
    open_npy_samples,
    open_npz_samples,
)
from core.sources.arrays import BROKEN, FileRows, brief, open_npy, open_npz
from core.sources.imagefiles import (
    ImageFeed,
    ImageFiles,
    PixelFeed,
    csv_labels,
    find_images,
    folder_labels,
    pixel_layout,
    wants_order,
)
from core.sources.images import EXTENSIONS, PRESETS, Preprocessing, guess, image_input, preprocessing, settle
from core.sources.inputs import Input, model_inputs, text
from core.sources.reader import reader_samples
from core.sources.synthetic import DEFAULT_COUNT, random_samples

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
    source: str | Path | None,
    model: Model,
    *,
    preprocessing: "Preprocessing | str | None" = None,
    labels: "str | Path | Labels | None" = None,
    limit: int | None = None,
    allow_reader: bool = False,
) -> Samples:
    """Samples for `model` from files, or random ones for None.

    Args:
        source: A .npz or .npy file, a folder of these, an image folder or zip file, or a .py reader.
        model: What the samples are for; only its inputs are used.
        preprocessing: For images: a `Preprocessing`, a preset's name, or a text such as
            `imagenet-tf,size=128`. Guessed from the model's input, with a warning, if left out.
        labels: Class numbers: an array, a .npy or .npz file, or a CSV of `file,label` for images. Overrides
            labels that the source has.
        limit: Use the first `limit` rows only.
        allow_reader: Whether a .py file may be run. True only for what a user named on the command line.

    Raises:
        DataError: the data cannot be read or do not fit the model; says what to do.
    """
    how = None if preprocessing is None else _preprocessing(preprocessing)
    if limit is not None and limit < 1:
        raise DataError(f"at least one sample is needed; the limit is {limit}")
    if source is None:
        return random_samples(model, limit or DEFAULT_COUNT)
    path = Path(source)
    inputs = model_inputs(model)
    if not path.exists():
        raise DataError(f"{path} does not exist: give {KINDS}")
    if path.suffix.lower() == ".py" and path.is_file():
        if not allow_reader:
            raise DataError(f"{path.name} is a program; readers run only when named on the command line")
        samples = reader_samples(path, model, limit=limit)
    else:
        kind, found = _find(path, inputs, how)
        samples = Samples(
            names=tuple(info.name for info in inputs),
            feed=found.feed,
            indices=range(found.feed.count),
            kind=kind,
            source=path.name or str(path),
            labels=found.labels,
            label_names=found.label_names,
            warnings=found.warnings,
        )
    feed = getattr(samples.feed, "inner", samples.feed)
    if how is not None and not isinstance(feed, ImageFeed | PixelFeed):
        said = f"{path.name}: the preprocessing is not applied; it is for images, in files or as uint8 arrays"
        samples = replace(samples, warnings=(*samples.warnings, said))
    return _limited(_labelled(samples, labels, path, model), limit)


_preprocessing = preprocessing


def _find(path: Path, inputs: tuple[Input, ...], how: Preprocessing | None) -> tuple[str, Found]:
    """The kind of a source, and what is in it."""
    suffix = path.suffix.lower()
    if path.is_dir():
        arrays = open_array_folder(path, inputs)
        if arrays is not None:
            return "folder", arrays
        images = find_images(path)
        if images is None:
            raise DataError(f"{path.name} holds neither .npz or .npy files nor images: give {KINDS}")
        return "images", _image_files(images, inputs, how)
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
    said += filter(None, [wants_order(files, settled)])
    feed, more = _batched(feed, info)
    labels, names = _image_labels(files)
    return Found(feed=feed, labels=labels, label_names=names, warnings=(*said, *more))


def _image_labels(files: ImageFiles) -> tuple[Labels | None, tuple[str, ...]]:
    """Labels from `labels.csv` or `labels.npy` beside the images, else from sub-folder names, else none."""
    if not files.zipped and len(files.names) > 1:
        if (files.path / "labels.csv").is_file():
            return csv_labels(files.path / "labels.csv", files.names)
        if (files.path / "labels.npy").is_file():
            return label_array(open_npy(files.path / "labels.npy").whole(), "labels.npy"), ()
    return folder_labels(files.names) or (None, ())


def _pixels(
    arrays: dict[str, FileRows], inputs: tuple[Input, ...], how: Preprocessing | None
) -> Found | None:
    """Images stored as one uint8 array, where a preprocessing was asked for; None if this is not that."""
    images = {key: rows for key, rows in arrays.items() if pixel_layout(rows.shape, rows.dtype)}
    if how is None or len(images) != 1:
        return None
    info, settled, said = _image_setup(inputs, how)
    key, rows = next(iter(images.items()))
    first = pixel_layout(rows.shape, rows.dtype) == "NCHW"
    if rows.shape[0] == 0:
        raise DataError(f"{rows.label} holds no samples (an axis of size 0)")
    feed: Feed = PixelFeed(pixels=rows, channels_first=first, info=info, how=settled, label=rows.label)
    feed, more = _batched(feed, info)
    own = arrays.get("labels")
    labels = None if own is None or key == "labels" else label_array(own.whole(), own.label)
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


def _labelled(samples: Samples, labels: "str | Path | Labels | None", path: Path, model: Model) -> Samples:
    """Replace the labels if others are given, and check their number and values."""
    names = samples.label_names
    values = samples.labels
    if isinstance(labels, str | Path):
        values, names = _label_file(Path(labels), samples)
    elif labels is not None:
        values = label_array(np.asarray(labels), "labels")
    if values is None:
        return samples
    if len(values) != samples.feed.rows:
        if samples.kind != "reader" or len(values) < samples.feed.rows:
            raise DataError(
                f"{path.name}: {len(values)} labels for {samples.feed.rows} samples: give one for each"
            )
        values = values[: samples.feed.rows]
    wrong = wrong_labels(values, model)
    said = [wrong] if wrong else []
    return replace(samples, labels=values, label_names=names, warnings=(*samples.warnings, *said))


def wrong_labels(labels: Labels | None, model: Model) -> str:
    """What is wrong with labels that are no classes of the model; "" if nothing is, or nothing tells."""
    classes = [info.shape[1] for info in model.outputs if info.shape is not None and len(info.shape) == 2]
    if (
        len(classes) == 1
        and isinstance(classes[0], int)
        and classes[0] > 1
        and labels is not None
        and len(labels)
    ):
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes[0]:
            return f"labels go from {low} to {high}, but the model has classes 0 to {classes[0] - 1}"
    return ""


def _label_file(path: Path, samples: Samples) -> tuple[Labels, tuple[str, ...]]:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return label_array(open_npy(path).whole(), path.name), ()
    if suffix == ".npz":
        arrays = open_npz(path)
        key = "labels" if "labels" in arrays else next(iter(arrays), None)
        if key is None or (key != "labels" and len(arrays) > 1):
            raise DataError(f"{path.name} has no array 'labels'")
        return label_array(arrays[key].whole(), path.name), ()
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
