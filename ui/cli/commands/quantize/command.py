"""The options of `quantscope quantize`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from quantscope.ui.cli.options import Choices, Feed, Json, ModelPath, Running
from quantscope.ui.cli.spread import spread
from quantscope.ui.terminal import console


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to read and write beside the model, and what to do before and after."""

    stats: Annotated[
        Path | None, typer.Option(metavar="STATS.npz", help="Statistics saved by 'quantscope calibrate'.")
    ] = None
    save_recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the choices, to repeat them with --recipe.")
    ] = None
    auto: Annotated[
        bool, typer.Option("--auto", help="Tune first, as 'quantscope tune' does; takes longer.")
    ] = False
    easyquant: Annotated[
        bool,
        typer.Option(
            "--easyquant",
            help="Move scales for the largest cosine of each layer's output; kept if the network "
            "gains by it.",
        ),
    ] = False
    report: Annotated[
        bool, typer.Option("--report", help="Also compare the result with the float model.")
    ] = False


@spread
def quantize(
    model: ModelPath,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.onnx", help="File to write.")],
    feed: Feed,
    choices: Choices,
    asked: Asked,
    running: Running,
    json: Json = False,
) -> None:
    """Write the quantized model."""
    from quantscope.ui.cli.commands.quantize import listing, work

    console.show(
        partial(work.quantize, model, output, feed, choices, asked, running, quiet=json),
        listing.quantization,
        json,
    )
