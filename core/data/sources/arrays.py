"""Rows of arrays in .npy and .npz files, read one at a time so that memory does not grow with the file."""

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt

from quantscope.core.errors import DataError
from quantscope.core.model.loading import LFS_POINTER

Array = npt.NDArray[Any]

MAX_ROW_BYTES = 1 << 31  # one sample of more than 2 GB is a mistake or an attack
MAX_FORTRAN_BYTES = 1 << 28  # column-major arrays have no contiguous rows: small ones are loaded whole
MAX_HEADER_CHARACTERS = 1 << 16
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_LOCAL_HEADER_BYTES = 30  # fixed part of a zip member's local header; name and extra field follow
# What damaged archives and .npy headers make the standard library and NumPy raise.
BROKEN: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    SyntaxError,
    OverflowError,
    NotImplementedError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


_PLAINLY = {
    "encrypted": "it is encrypted",
    "magic string is not correct": "it does not begin as .npy files do",
    "EOF: reading": "it ends before its values begin",
    "File is not a zip file": "it is no zip file, or its end is missing",
}


class Rows(Protocol):
    """An array that is read row by row along its first axis."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values, in the machine's byte order."""

    def read(self, indices: Sequence[int]) -> Iterator[Array]:
        """x[i] for each index, C-ordered."""

    def whole(self) -> Array:
        """The whole array: for labels and for values that all samples share."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArrayRows:
    """Rows of an array in memory."""

    array: Array
    label: str = "the array"  # how messages name it

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the array."""
        return self.array.dtype

    def read(self, indices: Sequence[int]) -> Iterator[Array]:
        """The rows, C-ordered; views where they can be."""
        for index in indices:
            yield np.asarray(self.array[index], order="C")

    def whole(self) -> Array:
        """The array."""
        return self.array


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRows:
    """Rows of one array in a .npy file, or in a .npy member of a zip file.

    Rows are read into fresh buffers rather than mapped: mapped pages of a large file stay resident until
    the system wants them back, so memory would seem to grow with the number of samples.
    """

    path: Path
    member: str | None  # name inside the zip file
    compressed: bool
    offset: int  # bytes before the values, in the file or (compressed) in the unpacked member
    shape: tuple[int, ...]
    stored: np.dtype[Any]  # type in the file, in any byte order
    fortran: bool
    checksum: int | None = None  # CRC-32 of an uncompressed member; compressed ones are checked by zipfile
    header_checksum: int = 0  # of the bytes before the values

    @property
    def label(self) -> str:
        """How messages name the array."""
        return f"{self.path.name}: {self.member}" if self.member else self.path.name

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values, in the machine's byte order."""
        return self.stored.newbyteorder("=")

    def read(self, indices: Sequence[int]) -> Iterator[Array]:
        """x[i] for each index; compressed members are unpacked from the start wherever an index goes back."""
        if self.fortran:
            yield from ArrayRows(array=self.whole()).read(indices)
            return
        size = math.prod(self.shape[1:]) * self.stored.itemsize
        checked, following = self.header_checksum, 0
        with _stream(self.path, self.member, self.compressed) as stream:
            for index in indices:
                stream.seek(self.offset + index * size)
                values = self._values(stream, self.shape[1:])
                if self.checksum is not None and index == following:
                    checked, following = zlib.crc32(values.data, checked), following + 1
                    if following == self.shape[0] and checked != self.checksum:
                        raise DataError(f"{self.label} is damaged (its checksum is wrong): save it again")
                yield values.astype(self.dtype, copy=False)

    def whole(self) -> Array:
        """The whole array; `DataError` beyond 2 GB, or 256 MB in column-major order."""
        size = math.prod(self.shape) * self.stored.itemsize
        if size > (MAX_FORTRAN_BYTES if self.fortran else MAX_ROW_BYTES):
            raise DataError(
                f"{self.label} is stored in column-major (Fortran) order, which cannot be read sample by "
                "sample: save np.ascontiguousarray(array) instead"
                if self.fortran
                else f"{self.label} is too large to be read at once ({size / 2**30:.1f} GB)"
            )
        with _stream(self.path, self.member, self.compressed) as stream:
            stream.seek(self.offset)
            values = self._values(stream, self.shape[::-1] if self.fortran else self.shape)
        values = values.astype(self.dtype, copy=False)
        return values.T if self.fortran else values

    def _values(self, stream: IO[bytes], shape: tuple[int, ...]) -> Array:
        array = np.empty(shape, self.stored)
        if array.nbytes:
            view = array.reshape(-1).view(np.uint8).data
            done = 0
            while done < array.nbytes:
                with _readable(self.label):
                    got = stream.readinto(view[done:])  # type: ignore[attr-defined]
                if not got:
                    raise DataError(f"{self.label} ends too early; the file is cut off: save it again")
                done += got
        return array


def check_file(path: Path) -> None:
    """Refuse what only stands for a file with data.

    Raises:
        DataError: It is a Git LFS pointer, or a pipe or device.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{path.name} is no regular file: save the data to one")
    with _readable(path.name), path.open("rb") as file:
        start = file.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        raise DataError(
            f"{path.name} is a Git LFS pointer, not the data: run `git lfs pull` in its repository"
        )


def open_npy(path: Path) -> FileRows:
    """The array of a .npy file; `DataError` if it is broken or holds Python objects."""
    check_file(path)
    with _stream(path, None, False) as stream:
        return _header(stream, path, None, compressed=False, start=0, size=path.stat().st_size)


def open_npz(path: Path) -> dict[str, FileRows | DataError]:
    """The arrays of a .npz (or zip) file by key; other members are left out.

    For an array that cannot be used, as one of texts or Python objects, there is the error instead: it
    matters only where the array does.
    """
    found: dict[str, FileRows | DataError] = {}
    check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.filename.endswith(".npy"):
                    try:
                        found[info.filename[:-4]] = _open_member(archive, path, info)
                    except DataError as error:
                        found[info.filename[:-4]] = error
        return found
    except BROKEN as error:
        raise DataError(f"{path.name} is not a readable .npz file ({brief(error)}): save it again") from error


def _open_member(archive: zipfile.ZipFile, path: Path, info: zipfile.ZipInfo) -> FileRows:
    compressed = info.compress_type != zipfile.ZIP_STORED
    start = 0 if compressed else _data_offset(path, info)
    with archive.open(info) as stream:
        rows = _header(stream, path, info.filename, compressed=compressed, start=start, size=info.file_size)
    header = rows.offset - start
    if compressed or header + math.prod(rows.shape) * rows.stored.itemsize != info.file_size:
        return rows
    with path.open("rb") as file:
        file.seek(start)
        return replace(rows, checksum=info.CRC, header_checksum=zlib.crc32(file.read(header)))


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: its local header says, and may differ from the directory."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER_BYTES)
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    return info.header_offset + _LOCAL_HEADER_BYTES + lengths


def _header(
    stream: IO[bytes], path: Path, member: str | None, *, compressed: bool, start: int, size: int
) -> FileRows:
    """Read a .npy header and check it; `size` is that of the whole .npy, `start` where it begins."""
    label = f"{path.name}: {member}" if member else path.name
    with _readable(label):
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise DataError(f"{label} is no plain numeric array (.npy version {version})")
        shape, fortran, dtype = _HEADERS[version](stream, max_header_size=MAX_HEADER_CHARACTERS)
        used = stream.tell()
    if any(size < 0 for size in shape):
        raise DataError(f"{label} is damaged (its header says {shape}): save it again")
    if dtype.hasobject:
        raise DataError(
            f"{label} holds pickled Python objects, which are never loaded: save a plain numeric array "
            "(samples of different lengths: one file a sample in a folder)"
        )
    if dtype.kind not in "biuf":
        raise DataError(f"{label} has the type {dtype}; numbers are needed")
    if used + math.prod(shape) * dtype.itemsize > size:
        raise DataError(f"{label} ends too early; the file is cut off: save it again")
    if shape and math.prod(shape[1:]) * dtype.itemsize > MAX_ROW_BYTES:
        raise DataError(f"{label} has samples of more than 2 GB each")
    fortran = bool(fortran) and len(shape) > 1
    return FileRows(
        path=path,
        member=member,
        compressed=compressed,
        offset=start + used,
        shape=shape,
        stored=dtype,
        fortran=fortran,
    )


@contextmanager
def _stream(path: Path, member: str | None, compressed: bool) -> Iterator[IO[bytes]]:
    """The file, or the unpacked bytes of a compressed member."""
    label = f"{path.name}: {member}" if member else path.name
    if member is None or not compressed:
        with _readable(label):
            file = path.open("rb")
        with file:
            yield file
        return
    with _readable(label):
        archive = zipfile.ZipFile(path)
    with archive, archive.open(member) as stream:
        yield stream


@contextmanager
def _readable(label: str) -> Iterator[None]:
    """Turn what files and archives raise into one line for the user."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{label} does not exist") from error
    except BROKEN as error:
        raise DataError(f"{label} cannot be read ({brief(error)}): save it again") from error


def brief(error: BaseException) -> str:
    """The first line of an error, shortened; the most usual ones in plain words."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return next((plain for sign, plain in _PLAINLY.items() if sign in text), text[:160])
