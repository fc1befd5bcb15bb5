"""The kinds of data that samples are read from, one record each.

A new kind is a file beside this one that opens it, and a record in `SOURCES`. The command line's help and the
messages must name it by its `words`: `tests/test_conformance_sources.py` holds them against this table, and
runs every kind through the same checks. Random samples are no kind of data: see `synthetic.py`.
"""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from quantscope.core.data.sources.arrayfiles import (
    SourceContent,
    open_array_folder,
    open_npy_samples,
    open_npz_samples,
    what_there_is,
)
from quantscope.core.data.sources.arrays import BROKEN, brief, open_npy, open_npz
from quantscope.core.data.sources.imagefiles import ImageFiles, find_images
from quantscope.core.data.sources.images import EXTENSIONS, Preprocessing
from quantscope.core.data.sources.imagesamples import image_files, pixel_arrays
from quantscope.core.data.sources.inputs import Input
from quantscope.core.data.sources.reader import open_reader
from quantscope.core.errors import DataError
from quantscope.core.model import Model

KINDS = (
    "a .npz or .npy file, a folder of these, a folder or .zip of images, or, except in the app, a .py reader"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be opened, and how."""

    path: Path  # exists
    model: Model
    inputs: tuple[Input, ...]  # of the model
    preprocessing: Preprocessing | None  # for images; None = guessed from the model's input
    limit: int | None  # rows that are wanted; only a reader, which has to count its rows, looks at it
    allow_reader: bool  # whether a .py file may be run


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKind:
    """One kind of data."""

    kind: str  # what `Samples.kind` says
    words: tuple[str, ...]  # by which help texts and messages name it
    open: Callable[[Request], SourceContent | None]  # None: the path is of another kind


def open_source(request: Request) -> tuple[str, SourceContent]:
    """The kind of what lies at a path, and what is in it.

    Raises:
        DataError: It is of no kind that can be read, or is broken, or does not fit the model.
    """
    for source in SOURCES:
        found = source.open(request)
        if found is not None:
            return source.kind, found
    raise DataError(_unreadable(request.path))


def _unreadable(path: Path) -> str:
    """Why a path is of no kind that can be read."""
    if path.is_dir():
        there = what_there_is(path)
        return f"{path.name} holds neither .npz or .npy files nor images{there}: give {KINDS}"
    if not path.is_file():
        return f"{path.name} is no regular file: give {KINDS}"
    if path.suffix.lower() == ".zip":
        return f"{path.name} holds no images and no arrays: give {KINDS}"
    return f"{path.name} is no kind of data that can be read: give {KINDS}"


def _is_file(path: Path, *suffixes: str) -> bool:
    return path.suffix.lower() in suffixes and path.is_file()


def _reader(request: Request) -> SourceContent | None:
    if not _is_file(request.path, ".py"):
        return None
    if not request.allow_reader:
        name = request.path.name
        raise DataError(f"{name} is a program; readers run only when named on the command line")
    return open_reader(request.path, request.model, request.limit)


def _array_folder(request: Request) -> SourceContent | None:
    path = request.path
    found = open_array_folder(path, request.inputs) if path.is_dir() else None
    images = None if found is None else find_images(path)
    if found is None or images is None:
        return found
    beside = f"{path.name}: images beside the arrays are not used, {len(images.names):,} in all"
    return replace(found, warnings=(*found.warnings, beside))


def _npy(request: Request) -> SourceContent | None:
    path, inputs = request.path, request.inputs
    if not _is_file(path, ".npy"):
        return None
    arrays = {inputs[0].name: open_npy(path)} if len(inputs) == 1 else {}
    return pixel_arrays(arrays, inputs, request.preprocessing) or open_npy_samples(path, inputs)


def _npz(request: Request) -> SourceContent | None:
    path, inputs = request.path, request.inputs
    if not (_is_file(path, ".npz") or (_is_file(path, ".zip") and _holds_arrays(path))):
        return None
    return pixel_arrays(open_npz(path), inputs, request.preprocessing) or open_npz_samples(path, inputs)


def _images(request: Request) -> SourceContent | None:
    path = request.path
    files = None
    if _is_file(path, *EXTENSIONS):
        files = ImageFiles(path=path.parent, names=(path.name,), zipped=False)
    elif path.is_dir() or _is_file(path, ".zip"):
        files = find_images(path)
    return None if files is None else image_files(files, request.inputs, request.preprocessing)


def _holds_arrays(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except BROKEN as error:
        raise DataError(f"{path.name} is not a readable zip file ({brief(error)})") from error


# The first that takes a path opens it: a folder of arrays may hold images too.
SOURCES = (
    SourceKind(kind="reader", words=(".py",), open=_reader),
    SourceKind(kind="folder", words=("folder",), open=_array_folder),
    SourceKind(kind="npy", words=(".npy",), open=_npy),
    SourceKind(kind="npz", words=(".npz",), open=_npz),
    SourceKind(kind="images", words=("images", ".zip"), open=_images),
)
