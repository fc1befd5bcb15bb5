"""The options of `quantscope calibrate`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from quantscope.ui.cli.options import Feed, Json, ModelPath, Running
from quantscope.ui.cli.spread import Only, spread
from quantscope.ui.terminal import console


@spread
def calibrate(
    model: ModelPath,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="STATS.npz", help="File to write.")],
    feed: Annotated[Feed, Only("data", "random", "seed", "limit", "preprocess")],
    running: Running,
    json: Json = False,
) -> None:
    """Save the statistics of every activation over the samples."""
    from quantscope.ui.cli.commands.calibrate import listing, work

    console.show(partial(work.calibrate, model, feed, output, running, quiet=json), listing.calibration, json)
