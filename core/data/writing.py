"""Samples written into one .npz file that opens as the same samples, in memory of one sample."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from quantscope.core.data.samples import Array, Sample, Samples
from quantscope.core.data.sources.labels import LABELS
from quantscope.core.errors import DataError
from quantscope.core.files import replacing
from quantscope.core.progress import ProgressFn, report


def write_npz(path: Path, parts: Sequence[Samples], progress: ProgressFn | None = None) -> None:
    """Write samples of several sources one after another; the file is there as a whole or not at all.

    Labels are written where all sources have them in one form.

    Args:
        path: The file to write.
        parts: Sources of samples of the same inputs.
        progress: Told after each sample; may raise `Cancelled`.

    Raises:
        DataError: There are none, a sample is of another size, or the model takes several rows at a time.
        OSError: The file cannot be written.
    """
    count = sum(map(len, parts))
    if not count:
        raise DataError("there are no samples to write")
    if any(part.batch > 1 for part in parts):
        raise DataError("samples of a model that takes several rows at a time cannot be written one by one")
    names = parts[0].names
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for at, name in enumerate(names):
            _write_input(archive, name, parts, count, at * count, len(names) * count, progress)
        labels = _labels(parts)
        if labels is not None:
            with archive.open(f"{LABELS}.npy", "w", force_zip64=True) as member:
                member.write(_as_npy(labels))


def bytes_of(samples: Samples) -> int:
    """About how many bytes samples are in such a file, from the first of them."""
    return sum(value.nbytes for value in samples[0].values()) * len(samples) if len(samples) else 0


def row_of(value: Array) -> Array:
    """One sample's array as files hold it: without the axis of rows, where it has one."""
    return value[0] if value.ndim and value.shape[0] == 1 else value


def _write_input(
    archive: zipfile.ZipFile,
    name: str,
    parts: Sequence[Samples],
    count: int,
    done: int,
    total: int,
    progress: ProgressFn | None,
) -> None:
    rows = _rows(name, parts)
    first = next(rows)
    header = io.BytesIO()
    form = {
        "descr": np.lib.format.dtype_to_descr(first.dtype),
        "fortran_order": False,
        "shape": (count, *first.shape),
    }
    np.lib.format.write_array_header_1_0(header, form)
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        member.write(header.getvalue())
        row = first
        for at in range(count):
            if row.shape != first.shape or row.dtype != first.dtype:
                raise DataError(
                    f"samples of different sizes cannot be put into one file: input '{name}' has "
                    f"{first.shape} and {row.shape}"
                )
            member.write(row.tobytes())
            report(progress, done + at + 1, total, "writing samples")
            if at + 1 < count:
                row = next(rows)


def _rows(name: str, parts: Sequence[Samples]) -> Iterator[Array]:
    for part in parts:
        sample: Sample
        for sample in part:
            yield np.ascontiguousarray(row_of(sample[name])).reshape(row_of(sample[name]).shape)


def _labels(parts: Sequence[Samples]) -> Array | None:
    own = [part.labels for part in parts]
    known = [labels for labels in own if labels is not None]
    if len(known) < len(own) or len({labels.shape[1:] for labels in known}) > 1:
        return None
    return np.concatenate(known)


def _as_npy(values: Array) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(values), allow_pickle=False)
    return file.getvalue()
