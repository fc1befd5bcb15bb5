"""Statistics kept on disk by content, so that nothing is calibrated twice."""

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import platformdirs

from quantscope.core.calibration.statistics import FORMAT, Statistics
from quantscope.core.data import Samples
from quantscope.core.errors import DataError
from quantscope.core.model import Model
from quantscope.core.runtime import kernels

LARGEST = 1 << 30  # bytes in the folder; beyond, what was used longest ago goes
_ABANDONED = 86_400.0  # seconds after which a file that was never finished is no longer being written


def cache_folder(chosen: str | Path | None = None) -> Path:
    """Where statistics are kept: `chosen`, else $QUANTSCOPE_CACHE, else the user's cache folder."""
    named = chosen or os.environ.get("QUANTSCOPE_CACHE", "").strip()
    return Path(named) if named else Path(platformdirs.user_cache_dir("quantscope", appauthor=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsCache:
    """One file for each combination of model, tensors, samples and kernels; safe to delete at any time.

    Kernels of another release of ONNX Runtime, or for other processors, add floating-point numbers in another
    order; a folder may serve several of both.
    """

    folder: Path
    model_hash: str
    tensors: tuple[str, ...]

    @staticmethod
    def open(model: Model, tensors: Sequence[str], folder: str | Path | None = None) -> "StatisticsCache":
        """The cache for `tensors` of a model."""
        return StatisticsCache(folder=cache_folder(folder), model_hash=model.hash, tensors=tuple(tensors))

    def load(self, samples: Samples) -> Statistics | None:
        """What is kept for these samples, or None; broken files count as absent.

        The samples are only read where something is kept for as many of them.
        """
        prefix = self._prefix(samples.rows)
        try:
            if next(self.folder.glob(f"{prefix}-*.npz"), None) is None:
                return None
        except OSError:
            return None
        path = self._path(samples.rows, samples.fingerprint)
        try:
            found = Statistics.load(path)
        except (DataError, OSError):
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # used just now
        wanted = (self.model_hash, samples.fingerprint, samples.synthetic, set(self.tensors))
        have = (found.model_hash, found.data_fingerprint, found.synthetic, set(found.histograms))
        return replace(found, data_source=samples.source) if wanted == have else None

    def save(self, statistics: Statistics) -> None:
        """Keep `statistics`; a folder that cannot be written is no reason to lose them."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self._path(statistics.samples, statistics.data_fingerprint)
            statistics.save(path)
            _trim(self.folder, path)

    def _prefix(self, rows: int) -> str:
        content = "\n".join([str(FORMAT), kernels(), self.model_hash, str(rows), *sorted(self.tensors)])
        return f"statistics-{hashlib.sha256(content.encode()).hexdigest()[:24]}"

    def _path(self, rows: int, fingerprint: str) -> Path:
        return self.folder / f"{self._prefix(rows)}-{fingerprint[:24]}.npz"


def _trim(folder: Path, newest: Path) -> None:
    """Remove what was used longest ago until `LARGEST` bytes are left, and what was never finished.

    Other processes may read, write and remove files meanwhile: what is gone is no longer counted, and what
    is in use on Windows stays.
    """
    found = []
    for path in folder.glob("statistics-*.npz"):
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append((path != newest, status.st_mtime, status.st_size, path))
    excess = sum(size for _, _, size, _ in found) - LARGEST
    for _, _, size, path in sorted(entry for entry in found if entry[0]):
        if excess <= 0:
            break
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            excess -= size
    for path in folder.glob(".statistics-*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink(missing_ok=True)
