"""Statistics of activations for a command: collected over samples, or read from a file of `calibrate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quantscope.core.calibration import Statistics, calibrate
from quantscope.core.data import Samples
from quantscope.core.errors import DataError
from quantscope.core.model import Model
from quantscope.ui.cli.options import Running
from quantscope.ui.terminal.console import note, progress_bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where statistics come from."""

    samples: int
    source: str
    synthetic: bool
    digest: str


def provenance(statistics: Statistics) -> Provenance:
    """Where statistics come from."""
    return Provenance(
        samples=statistics.samples,
        source=statistics.data_source,
        synthetic=statistics.synthetic,
        digest=statistics.digest(),
    )


def collect(model: Model, samples: Samples, running: Running, *, quiet: bool) -> Statistics:
    """Run the model over the samples."""
    with progress_bar("calibrating", quiet) as progress:
        return calibrate(model, samples, progress=progress, threads=running.threads, cache=running.cache)


def load(path: Path, model: Model) -> Statistics:
    """Read what `calibrate` wrote.

    Raises:
        DataError: The file is unreadable, or of another model.
    """
    statistics = Statistics.load(path)
    if statistics.model_hash != model.hash:
        raise DataError(f"{path.name} holds statistics of another model; calibrate this one")
    if statistics.synthetic:
        note("warning: these statistics come from random samples; thresholds found on them are guesses")
    return statistics
