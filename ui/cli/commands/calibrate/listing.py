"""What `quantscope calibrate` wrote, as text."""

from __future__ import annotations

from quantscope.core.words import plural
from quantscope.ui.cli.commands.calibrate.work import Calibration
from quantscope.ui.terminal.console import clean


def calibration(result: Calibration) -> str:
    """The file, and how much it holds."""
    return (
        f"wrote {clean(result.output)}: statistics of {plural(len(result.tensors), 'tensor')} "
        f"over {plural(result.provenance.samples, 'sample')}"
    )
