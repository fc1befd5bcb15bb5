"""The options of `quantscope doctor`."""

from __future__ import annotations

from quantscope.ui.cli.options import Json
from quantscope.ui.cli.spread import spread
from quantscope.ui.terminal import console


@spread
def doctor(json: Json = False) -> None:
    """Show versions and processor, and whether int8 saturates.

    What a report needs to say of this machine.
    """
    from quantscope.ui.cli.commands.doctor import listing, work

    console.show(work.examination, listing.machine, json)
