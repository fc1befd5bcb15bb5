"""What calibration found out about each tensor: histograms, and which model and data they come from."""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from quantscope.core.calibration.by_sample import BySample
from quantscope.core.calibration.histogram import Histogram
from quantscope.core.data.sources import BROKEN
from quantscope.core.errors import DataError
from quantscope.core.files import write_atomic
from quantscope.core.memo import Memo

FORMAT = 2  # of the file, and of what the histograms in it mean; raised when either changes
_READABLE = (1, FORMAT)  # 1 lacks what single samples showed
_SCALARS = tuple(field.name for field in fields(Histogram) if field.name != "counts")
_REAL = ("min", "max")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Statistics:
    """Histograms of a model's activations over a set of samples.

    Two statistics are equal if their histograms, sample counts and models are: neither depends on the order
    of the samples, nor on how they were split into batches, files or threads.
    """

    histograms: Mapping[str, Histogram]  # by tensor
    samples: int  # data rows they were collected on
    model_hash: str  # `Model.hash`
    data_fingerprint: str  # `Samples.fingerprint`
    synthetic: bool  # collected on random samples: thresholds are guesses
    data_source: str  # where the samples came from, for people
    # By tensor, in the order of the samples, and therefore no part of equality and digest; may be empty.
    by_sample: Mapping[str, BySample] = field(default_factory=dict)
    memo: Memo = field(default_factory=Memo, init=False, repr=False)  # what other modules found out

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Statistics):
            return NotImplemented
        same = (self.samples, self.model_hash, self.synthetic) == (
            other.samples,
            other.model_hash,
            other.synthetic,
        )
        return same and dict(self.histograms) == dict(other.histograms)

    __hash__ = None  # type: ignore[assignment]  # holds arrays; use digest()

    def digest(self) -> str:
        """SHA-256 of what equality compares, in hex; the same on every machine."""
        total = hashlib.sha256(f"{self.samples},{self.model_hash},{self.synthetic}".encode())
        for name in sorted(self.histograms):
            total.update(f"\n{name}:{self.histograms[name].digest()}".encode())
        return total.hexdigest()

    @property
    def not_finite(self) -> tuple[str, ...]:
        """Tensors that held NaN or infinite values, which no range can keep."""
        return tuple(name for name, h in self.histograms.items() if h.nans or h.infs)

    def save(self, path: str | Path) -> None:
        """Write an .npz atomically; `OSError` if that fails."""
        write_atomic(Path(path), self.to_bytes())

    def to_bytes(self) -> bytes:
        """The content of the .npz: counts end to end, a table of numbers, and the names as JSON text."""
        histograms = list(self.histograms.values())
        counts = np.concatenate([h.counts for h in histograms]) if histograms else np.zeros(0, np.int64)
        narrow = np.int32 if counts.size == 0 or counts.max() <= np.iinfo(np.int32).max else np.int64
        meta = {
            "format": FORMAT,
            "tensors": list(self.histograms),
            **{name: getattr(self, name) for name in _META},
        }
        buffer = io.BytesIO()
        columns = {name: np.array([getattr(h, name) for h in histograms], _dtype(name)) for name in _SCALARS}
        np.savez(
            buffer,
            meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
            counts=counts.astype(narrow),
            sizes=np.array([h.counts.size for h in histograms], np.int64),
            **_flattened(self.histograms, self.by_sample),
            **columns,  # type: ignore[arg-type]
        )
        return buffer.getvalue()

    @staticmethod
    def load(path: str | Path) -> "Statistics":
        """Read what `save` wrote; `DataError` for anything else."""
        path = Path(path)
        try:
            return Statistics.from_bytes(path.read_bytes())
        except FileNotFoundError as error:
            raise DataError(f"{path} does not exist") from error
        except BROKEN as error:
            reason = f"{path.name} holds no statistics that this version of QuantScope reads"
            raise DataError(f"{reason}: calibrate again") from error

    @staticmethod
    def from_bytes(content: bytes) -> "Statistics":
        """Parse the content of an .npz; raises one of `sources.arrays.BROKEN` if it is anything else."""
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            meta = json.loads(archive["meta"].tobytes())
            if meta["format"] not in _READABLE:
                raise ValueError(f"format {meta['format']}")
            by_sample = _by_sample(meta["tensors"], archive) if meta["format"] == FORMAT else {}
            table = {name: archive[name].tolist() for name in _SCALARS}
            counts, sizes = archive["counts"].astype(np.int64), archive["sizes"]
        names = meta["tensors"]
        if int(sizes.sum()) != counts.size or any(len(column) != len(names) for column in table.values()):
            raise ValueError("lengths do not agree")
        parts = np.split(counts, np.cumsum(sizes)[:-1]) if len(names) else []
        histograms = {
            name: Histogram(counts=part, **{key: column[i] for key, column in table.items()})
            for i, (name, part) in enumerate(zip(names, parts, strict=True))
        }
        return Statistics(histograms=histograms, by_sample=by_sample, **{name: meta[name] for name in _META})


_META = tuple(f.name for f in fields(Statistics) if f.name not in ("histograms", "by_sample", "memo"))


def _flattened(tensors: Iterable[str], by_sample: Mapping[str, BySample]) -> dict[str, Any]:
    """Arrays for the file: extremes (tensors, samples, 2), top scores end to end, rows of each tensor."""
    found = [by_sample.get(name) for name in tensors]
    samples = max((len(part.extremes) for part in found if part is not None), default=0)
    extremes = np.full((len(found), samples, 2), np.nan)
    tops = [np.zeros((0, 2)) if part is None or part.tops is None else part.tops for part in found]
    for row, part in zip(extremes, found, strict=True):
        if part is not None:
            row[: len(part.extremes)] = part.extremes
    rows = np.array([len(part) for part in tops], np.int64)
    return {"extremes": extremes, "tops": np.concatenate([np.zeros((0, 2)), *tops]), "top_rows": rows}


def _by_sample(tensors: list[str], archive: Mapping[str, Any]) -> dict[str, BySample]:
    """What `_flattened` wrote; `ValueError` if it does not fit the tensors."""
    extremes, tops, rows = archive["extremes"], archive["tops"], archive["top_rows"]
    if extremes.shape[1:] and extremes.shape[1] == 0:
        return {}
    if extremes.shape != (len(tensors), extremes.shape[1], 2) or tops.shape != (int(rows.sum()), 2):
        raise ValueError("lengths do not agree")
    parts = np.split(tops, np.cumsum(rows)[:-1])
    return {
        name: BySample(extremes=ends, tops=part if len(part) else None)
        for name, ends, part in zip(tensors, extremes, parts, strict=True)
    }


def _dtype(name: str) -> type[np.generic]:
    return np.float64 if name in _REAL else np.int64
