"""The options of `quantscope doctor`."""

from __future__ import annotations

from quantscope.ui.cli.options import Json
from quantscope.ui.cli.spread import spread
from quantscope.ui.terminal import console


@spread
def doctor(json: Json = False) -> None:
    """Show what a report needs to say of this machine, and whether its int8 kernels saturate."""
    from quantscope.ui.cli.commands.doctor import listing, work

    console.show(work.examination, listing.machine, json)
