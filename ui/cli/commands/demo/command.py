"""The command `quantscope demo`."""

from __future__ import annotations

from typing import Annotated

import typer

from quantscope.ui.cli.options import Serving
from quantscope.ui.cli.serving import serve
from quantscope.ui.cli.spread import spread
from quantscope.ui.terminal.console import BadInput


@spread
def demo(
    sample: Annotated[
        str, typer.Argument(metavar="SAMPLE", help="digits_mobilenet (default), digits_vit or digits_mlp.")
    ] = "",
    *,
    serving: Serving,
) -> None:
    """Open the app on a sample network, ready to play with."""
    from quantscope.sample_data import SAMPLES

    name = sample or next(iter(SAMPLES))
    if name not in SAMPLES:
        raise BadInput(f"there is no sample '{name}'; choose from {', '.join(SAMPLES)}")
    serve(["--demo", name], serving)
