"""Images as samples: files in a folder or a zip file, or pixels stored as one uint8 array."""

from collections.abc import Mapping

from quantscope.core.data.samples import Feed, group
from quantscope.core.data.sources.arrayfiles import SourceContent, Stored, readable
from quantscope.core.data.sources.arrays import open_npy
from quantscope.core.data.sources.imagefiles import (
    ImageFeed,
    ImageFiles,
    PixelFeed,
    csv_labels,
    folder_labels,
    image_warnings,
    pixel_layout,
)
from quantscope.core.data.sources.images import Preprocessing, guess, image_input, settle
from quantscope.core.data.sources.inputs import Input, text
from quantscope.core.data.sources.labels import LABELS, RawLabels, read_labels
from quantscope.core.errors import DataError


def image_files(files: ImageFiles, inputs: tuple[Input, ...], how: Preprocessing | None) -> SourceContent:
    """Image files as samples, with labels from sub-folders."""
    info, settled, said = _image_setup(inputs, how)
    feed: Feed = ImageFeed(files=files, names=files.names, info=info, how=settled)
    said += image_warnings(files, settled)
    feed, more = _batched(feed, info)
    labels, names = _image_labels(files)
    return SourceContent(feed=feed, labels=labels, label_names=names, warnings=(*said, *more))


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


def pixel_arrays(
    arrays: Mapping[str, Stored | DataError], inputs: tuple[Input, ...], how: Preprocessing | None
) -> SourceContent | None:
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
    return SourceContent(feed=feed, labels=labels, warnings=(*said, *more))


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
