"""What `quantscope thresholds` found, as text."""

from __future__ import annotations

from quantscope.ui.cli.commands.thresholds.work import Thresholds
from quantscope.ui.terminal.console import number, table


def thresholds(result: Thresholds) -> str:
    """One row for each method and tool."""
    rows = [
        (
            method,
            number(found.low, 6),
            number(found.high, 6),
            number(found.scale, 6),
            "-" if found.zero_point is None else found.zero_point,
            number(found.mse, 4),
        )
        for method, found in result.shown.items()
    ]
    head = ("method", "low", "high", "scale", "zero point", "mse")
    return table(head, rows, numeric=head[1:])
