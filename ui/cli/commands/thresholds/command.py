"""The options of `quantscope thresholds`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from quantscope.ui.cli.options import Choices, Json
from quantscope.ui.cli.spread import Only, Own, spread
from quantscope.ui.terminal import console


@spread
def thresholds(
    array: Annotated[Path, typer.Argument(metavar="ARRAY.npy", help="Values of one tensor, any shape.")],
    *,
    type_: Annotated[
        str, typer.Option("--type", metavar="T", help="int2 to int16, or uint2 to uint16.")
    ] = "int8",
    choices: Annotated[
        Choices,
        Only(
            "scale_rule",
            percentile=Own(help="Share of values that the percentile method keeps, in percent."),
            symmetric=Own(default=True),
        ),
    ],
    reference: Annotated[
        bool, typer.Option("--reference", help="Also what other tools choose: onnxruntime, ncnn, MNN, ….")
    ] = False,
    json: Json = False,
) -> None:
    """Show what every method makes of one tensor.

    Its range, scale, zero point and error.
    """
    from quantscope.ui.cli.commands.thresholds import listing, work

    console.show(
        partial(work.thresholds, array, type_, choices, reference=reference), listing.thresholds, json
    )
