"""The options of `quantscope compare`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from quantscope.ui.cli.options import Feed, Json
from quantscope.ui.cli.spread import spread
from quantscope.ui.terminal import console


@spread
def compare(
    model: Annotated[Path, typer.Argument(metavar="FLOAT.onnx", help="Float model.")],
    quantized: Annotated[Path, typer.Argument(metavar="QUANT.onnx", help="Quantized model made from it.")],
    feed: Feed,
    json: Json = False,
) -> None:
    """Measure a quantized model beside its float original.

    Errors, accuracy, size, latency.
    """
    from quantscope.ui.cli.commands.compare import listing, work

    console.show(partial(work.compare, model, quantized, feed, quiet=json), listing.comparison, json)
