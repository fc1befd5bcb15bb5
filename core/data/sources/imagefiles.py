"""Image folders and zip files as samples; zip files are read in memory and never unpacked to disk."""

import csv
import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from quantscope.core.data.samples import Load, Loads, Sample
from quantscope.core.data.sources.arrays import BROKEN, Rows, brief
from quantscope.core.data.sources.images import EXTENSIONS, Order, Preprocessing, apply, decode
from quantscope.core.data.sources.inputs import Input, text
from quantscope.core.errors import DataError
from quantscope.core.words import plural

MAX_FILE_BYTES = 1 << 28  # one image file, unpacked
LOOKED_AT = 16  # images whose headers are read beforehand
GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "F"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFiles:
    """Where image files lie: below a folder, or in a zip file. Names use `/` and are relative to it."""

    path: Path
    names: tuple[str, ...]  # naturally sorted
    zipped: bool

    def reader(self) -> "AbstractContextManager[Callable[[str], bytes]]":
        """A function from a name to the file's bytes, open as long as the context is."""
        return _ZipReader(self.path) if self.zipped else nullcontext(self._read)

    def _read(self, name: str) -> bytes:
        file = self.path / name
        try:
            if file.stat().st_size > MAX_FILE_BYTES:
                raise DataError(f"{name} is too large for an image ({file.stat().st_size / 2**20:.0f} MB)")
            return file.read_bytes()
        except OSError as error:
            raise DataError(f"{name} cannot be read ({error.strerror})") from error


class _ZipReader:
    """Members of a zip file in memory, each at most `MAX_FILE_BYTES` long."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Callable[[str], bytes]:
        self._archive = zipfile.ZipFile(self._path)
        return self._read

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def _read(self, name: str) -> bytes:
        try:
            with self._archive.open(name) as member:
                data = member.read(MAX_FILE_BYTES + 1)
        except BROKEN as error:
            raise DataError(f"{self._path.name}: {name} cannot be read ({brief(error)})") from error
        if len(data) > MAX_FILE_BYTES:
            raise DataError(f"{self._path.name}: {name} is too large for an image once unpacked")
        return data


def find_images(path: Path) -> ImageFiles | None:
    """The images below a folder or in a zip file, or None if there are none; hidden files are left out."""
    zipped = path.is_file()
    if zipped:
        try:
            with zipfile.ZipFile(path) as archive:
                found = [info.filename for info in archive.infolist() if not info.is_dir()]
        except BROKEN as error:
            raise DataError(f"{path.name} is not a readable zip file ({brief(error)})") from error
    else:
        found = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
    names = [name for name in found if _is_image(name)]
    names.sort(key=natural_key)
    return ImageFiles(path=path, names=tuple(names), zipped=zipped) if names else None


def _is_image(name: str) -> bool:
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return not hidden and PurePosixPath(name).suffix.lower() in EXTENSIONS


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key by which `img2` comes before `img10`."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFeed:
    """One sample an image file. Decoding happens in the loads, so worker threads share it."""

    files: ImageFiles
    names: tuple[str, ...]
    info: Input
    how: Preprocessing  # settled
    noted: dict[int, bytes] = field(default_factory=dict, repr=False)  # digests of files read so far

    batch = 1

    @property
    def count(self) -> int:
        """Images."""
        return len(self.names)

    @property
    def rows(self) -> int:
        """Images."""
        return len(self.names)

    def digests(self, indices: Sequence[int]) -> Iterator[bytes]:
        """Digests of the files' bytes and the preprocessing; loads that have run have noted theirs."""
        if all(index in self.noted for index in indices):
            yield from (self.noted[index] for index in indices)
            return
        with self.files.reader() as read:
            for index in indices:
                yield self._digest(read(self.names[index]))

    def _digest(self, data: bytes) -> bytes:
        return hashlib.sha256(self.how.key() + b"|" + data).digest()

    def open(self, indices: Sequence[int]) -> Loads:
        """Loads that decode and preprocess; the files' bytes are read on advancing."""
        with self.files.reader() as read:
            for index in indices:
                yield self._load(index, read(self.names[index]))

    def _load(self, index: int, data: bytes) -> Load:
        name = self.names[index]

        def load() -> Sample:
            self.noted[index] = self._digest(data)
            sample = apply(decode(io.BytesIO(data), name), self.how, self.info.dtype)
            _check_size(sample.shape, self.info, name)
            return {self.info.name: sample}

        return load


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PixelFeed:
    """One sample an image of a uint8 array: (n, H, W, C), (n, C, H, W) or (n, H, W)."""

    pixels: Rows
    channels_first: bool
    info: Input
    how: Preprocessing  # settled
    label: str

    batch = 1

    @property
    def count(self) -> int:
        """Images."""
        return self.pixels.shape[0]

    @property
    def rows(self) -> int:
        """Images."""
        return self.pixels.shape[0]

    def digests(self, indices: Sequence[int]) -> Iterator[bytes] | None:
        """None: the values must be read."""
        return None

    def open(self, indices: Sequence[int]) -> Loads:
        """Loads that preprocess one image each."""
        for index, raw in zip(indices, self.pixels.read(indices), strict=True):
            yield self._load(raw, f"{self.label}, image {index}")

    def _load(self, raw: npt.NDArray[Any], label: str) -> Load:
        def load() -> Sample:
            pixels = raw.transpose(1, 2, 0) if self.channels_first else raw
            pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
            sample = apply(Image.fromarray(np.ascontiguousarray(pixels)), self.how, self.info.dtype)
            _check_size(sample.shape, self.info, label)
            return {self.info.name: sample}

        return load


def _check_size(shape: tuple[int, ...], info: Input, label: str) -> None:
    for size, dim in zip(shape[1:], info.shape[1:], strict=True):
        if isinstance(dim, int) and dim != size:
            raise DataError(
                f"{label} becomes {text(shape)}; the model takes {text(info.shape)}: let it be resized"
            )


def pixel_layout(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str | None:
    """How a uint8 array holds images: "NHWC", "NCHW", "NHW", or None."""
    if dtype != np.uint8 or len(shape) not in (3, 4):
        return None
    if len(shape) == 3:
        return "NHW"
    return "NHWC" if shape[3] in (1, 3, 4) else "NCHW" if shape[1] in (1, 3, 4) else None


def folder_labels(names: Sequence[str]) -> tuple[npt.NDArray[np.int64], tuple[str, ...]] | None:
    """Labels from sub-folder names, sorted: 0, 1, …; folders named by numbers alone are those numbers.

    None unless every image lies in a sub-folder and there are at least two.
    """
    parents = [PurePosixPath(name).parent.name for name in names]
    depths = {len(PurePosixPath(name).parts) for name in names}
    classes = sorted(set(parents))
    if min(depths) < 2 or len(classes) < 2:
        return None
    if all(name.isdecimal() for name in classes):
        return np.array([int(parent) for parent in parents], np.int64), ()
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[parent] for parent in parents], np.int64), tuple(classes)


def csv_labels(path: Path, names: Sequence[str]) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Labels from lines `file,label` (a header is skipped); class names are numbered in sorted order.

    Files are matched by their path in the folder, or by name alone where that is unique.
    """
    table = _csv_table(path)
    by_name = {PurePosixPath(file).name: label for file, label in table.items()}
    unique = len(by_name) == len(table)
    values = []
    for name in names:
        value = table.get(name, by_name.get(PurePosixPath(name).name) if unique else None)
        if value is None:
            missing = sum(n not in table and PurePosixPath(n).name not in by_name for n in names)
            raise DataError(
                f"{path.name} has no label for {name} ({missing} of {len(names)} images lack one)"
            )
        values.append(value)
    return number_labels(values)


def number_labels(values: Sequence[str]) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Integers as they are; other class names numbered in sorted order."""
    if all(re.fullmatch(r"-?\d+", value) for value in values):
        return np.array([int(value) for value in values], np.int64), ()
    classes = sorted(set(values))
    numbers: Mapping[str, int] = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[value] for value in values], np.int64), tuple(classes)


def _csv_table(path: Path) -> dict[str, str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line and any(cell.strip() for cell in line)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name} cannot be read as CSV ({error})") from error
    short = [number for number, line in enumerate(lines, 1) if len(line) < 2]
    if short or not lines:
        where = f" (line {short[0]})" if short else ""
        raise DataError(f"{path.name} needs lines of `file,label`{where}")
    if lines[0][0].strip().lower() in {"file", "filename", "image", "path", "name", "id"}:
        lines = lines[1:]
    cleaned = ((line[0].strip().replace("\\", "/"), line[1].strip()) for line in lines)
    return {file[2:] if file.startswith("./") else file: label for file, label in cleaned}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """What is known of an image file without decoding it."""

    grey: bool
    frames: int
    rotated: bool  # EXIF asks for a rotation or reflection


def image_warnings(files: ImageFiles, how: Preprocessing) -> list[str]:
    """Warnings about what may be a mistake: grey images for colour, several frames, rotated photographs.

    Looks at up to `LOOKED_AT` images, spread over all.

    Raises:
        DataError: The first one is broken.
    """
    count = len(files.names)
    names = [files.names[n * count // min(count, LOOKED_AT)] for n in range(min(count, LOOKED_AT))]
    with files.reader() as read:
        decode(io.BytesIO(read(names[0])), names[0])
        seen = [header for header in (_header(read, name) for name in names) if header is not None]
    said = []
    grey = sum(header.grey for header in seen)
    if grey and how.order is not Order.GREY:
        which = "the images are grey" if grey == count else _of(grey, len(seen), "is grey", "are grey")
        said.append(f"{which}; all three channels of the model's {how.order} input get the same values")
    if several := sum(header.frames > 1 for header in seen):
        which = _of(several, len(seen), "has several frames", "have several frames")
        said.append(f"{which}; of each the first one is used")
    if rotated := sum(header.rotated for header in seen):
        which = _of(rotated, len(seen), "is", "are")
        said.append(f"{which} to be turned by EXIF; pixels are taken as they are stored, without turning")
    return said


def _of(found: int, looked: int, one: str, more: str) -> str:
    return f"of the {plural(looked, 'image')} looked at, {found} {one if found == 1 else more}"


def _header(read: Callable[[str], bytes], name: str) -> _Header | None:
    """An image's header; None where it cannot be read, which the run will tell."""
    try:
        with Image.open(io.BytesIO(read(name))) as image:
            return _Header(
                grey=image.mode in GREY_MODES,
                frames=getattr(image, "n_frames", 1),
                rotated=image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1),
            )
    except (DataError, Image.DecompressionBombError):
        return None
    except BROKEN:
        return None
