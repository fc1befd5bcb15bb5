"""Statistics kept on disk by content, so that nothing is calibrated twice."""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from core.errors import DataError
from core.model import Model
from core.samples import Samples
from core.statistics import FORMAT, Statistics


def cache_folder(chosen: str | Path | None = None) -> Path:
    """Where statistics are kept: `chosen`, else $QUANTSCOPE_CACHE, else the user's cache folder."""
    named = chosen or os.environ.get("QUANTSCOPE_CACHE", "").strip()
    return Path(named) if named else Path(platformdirs.user_cache_dir("quantscope", appauthor=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsCache:
    """One file for each combination of model, tensors and samples; safe to delete at any time."""

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
        try:
            found = Statistics.load(self._path(samples.rows, samples.fingerprint))
        except (DataError, OSError):
            return None
        wanted = (self.model_hash, samples.fingerprint, samples.synthetic, set(self.tensors))
        have = (found.model_hash, found.data_fingerprint, found.synthetic, set(found.histograms))
        return found if wanted == have else None

    def save(self, statistics: Statistics) -> None:
        """Keep `statistics`; a folder that cannot be written is no reason to lose them."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            statistics.save(self._path(statistics.samples, statistics.data_fingerprint))

    def _prefix(self, rows: int) -> str:
        content = "\n".join([str(FORMAT), self.model_hash, str(rows), *sorted(self.tensors)])
        return f"statistics-{hashlib.sha256(content.encode()).hexdigest()[:24]}"

    def _path(self, rows: int, fingerprint: str) -> Path:
        return self.folder / f"{self._prefix(rows)}-{fingerprint[:24]}.npz"
