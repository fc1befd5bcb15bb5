"""The command `quantscope thresholds`: its options."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from quantscope.ui.cli.options import Json, Percentile, ScaleRule
from quantscope.ui.terminal import console


def thresholds(
    array: Annotated[Path, typer.Argument(metavar="ARRAY.npy", help="Values of one tensor, any shape.")],
    type_: Annotated[
        str, typer.Option("--type", metavar="T", help="int2 to int16, or uint2 to uint16.")
    ] = "int8",
    symmetric: Annotated[
        bool, typer.Option("--symmetric/--asymmetric", help="Ranges around zero, or as the data lie.")
    ] = True,
    percentile: Percentile = None,
    scale_rule: ScaleRule = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Also what other tools choose: onnxruntime, ncnn, MNN, ….")
    ] = False,
    json: Json = False,
) -> None:
    """Show the range, scale, zero point and error of every method on one tensor."""
    from quantscope.ui.cli import listing, thresholds_work

    work = partial(thresholds_work.thresholds, array, type_, symmetric, percentile, scale_rule, reference)
    console.show(work, listing.thresholds, json)
