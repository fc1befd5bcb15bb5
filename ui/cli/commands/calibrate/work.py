"""What `quantscope calibrate` does: statistics are collected and written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from quantscope.core.calibration import Statistics
from quantscope.core.model import load_model
from quantscope.ui.cli.activations import Provenance, collect, provenance
from quantscope.ui.cli.files import check_output
from quantscope.ui.cli.options import Feed, Running
from quantscope.ui.cli.samples import open_feed
from quantscope.ui.terminal.console import INLINE


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRange:
    """What was seen of a tensor."""

    name: str
    min: float
    max: float
    count: int
    zeros: int
    nan_or_inf: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was written, and what it is made of."""

    output: str
    model: str
    tensors: tuple[TensorRange, ...]
    provenance: Provenance = field(metadata=INLINE)


def calibrate(path: Path, feed: Feed, output: Path, running: Running, *, quiet: bool) -> Calibration:
    """Collect statistics and write them.

    Raises:
        QuantScopeError: Model, samples or the file to write are unusable.
    """
    check_output(output, (".npz",), path, *feed.files)
    model = load_model(path)
    samples = open_feed(feed, model)
    statistics = collect(model, samples, running, quiet=quiet)
    statistics.save(output)
    return Calibration(
        output=str(output),
        model=model.name,
        tensors=_ranges(statistics),
        provenance=provenance(statistics),
    )


def _ranges(statistics: Statistics) -> tuple[TensorRange, ...]:
    return tuple(
        TensorRange(name=name, min=h.min, max=h.max, count=h.count, zeros=h.zeros, nan_or_inf=h.nans + h.infs)
        for name, h in statistics.histograms.items()
    )
