"""What `quantscope doctor` found, as text."""

from __future__ import annotations

from quantscope.ui.cli.commands.doctor.work import Examination
from quantscope.ui.terminal.console import size, table


def machine(result: Examination) -> str:
    """The facts as a table, and what follows from them."""
    found = result.machine
    rows = [
        ("system", found.system),
        ("Python", found.python),
        *found.packages.items(),
        ("processor", found.processor),
        ("instruction sets", ", ".join(found.instruction_sets) or "none of those that matter here"),
        ("cores", found.cores),
        ("memory", f"{size(found.memory)}, {size(found.available)} available"),
        (
            "exact integer sums",
            "yes" if found.sums.exact else "no: figures of int8 models are not reliable here",
        ),
        ("default session", "saturates at 16 bits" if found.sums.saturates else "exact, too"),
    ]
    return "\n".join([table(("", "this machine"), rows, folded=("this machine",)), "", *result.advice])
