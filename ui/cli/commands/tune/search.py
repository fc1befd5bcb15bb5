"""Auto-tune with a progress bar, for the commands that tune."""

from __future__ import annotations

from quantscope.core.calibration import Statistics
from quantscope.core.data import Samples
from quantscope.core.model import Model
from quantscope.core.recipe import Recipe
from quantscope.core.tuning import AutotuneResult, autotune
from quantscope.ui.cli.options import Running
from quantscope.ui.terminal.console import progress_bar


def search(
    model: Model, samples: Samples, start: Recipe, statistics: Statistics, running: Running, *, quiet: bool
) -> AutotuneResult:
    """The recipe that measures best."""
    with progress_bar("tuning", quiet) as progress:
        return autotune(
            model, samples, start, statistics=statistics, threads=running.threads, progress=progress
        )
