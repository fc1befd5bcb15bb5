"""The options of `quantscope tune`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from quantscope.ui.cli.options import Choices, Feed, Json, ModelPath, Running
from quantscope.ui.cli.spread import Only, Own, spread
from quantscope.ui.terminal import console


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a command line asks of mixed precision."""

    max_drop: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS", help="Cheapest mix of precisions that loses at most so many points of top-1."
        ),
    ] = None
    min_sqnr: Annotated[
        float | None, typer.Option(metavar="DB", help="Cheapest mix whose outputs have at least this SQNR.")
    ] = None
    budget: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Most exact mix within 500kB, 2MB, or 60% of float.")
    ] = None
    precisions: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="What the mix is made of, of int8,int16,float.  [default: those with kernels: int8,float]",
        ),
    ] = None
    cost: Annotated[
        str | None,
        typer.Option(metavar="C", help="Cheap in size or in estimated latency.  [default: size]"),
    ] = None

    @property
    def given(self) -> bool:
        """Whether mixed precision is asked for."""
        return self.limited or self.precisions is not None or self.cost is not None

    @property
    def limited(self) -> bool:
        """Whether there is something to pick a point by."""
        return any(value is not None for value in (self.max_drop, self.min_sqnr, self.budget))


@spread
def tune(
    model: ModelPath,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="RECIPE", help="Recipe (.yaml) to write.")
    ],
    feed: Feed,
    choices: Annotated[
        Choices,
        Only(
            "weights",
            "float_layers",
            "target",
            recipe=Own(help="Start from a saved recipe; layers it sets stay as set."),
        ),
    ],
    aim: Aim,
    running: Running,
    json: Json = False,
) -> None:
    """Find the recipe that measures best.

    Tries methods, corrected biases, passes, single layers, precisions.
    """
    from quantscope.ui.cli.commands.tune import listing, work

    console.show(
        partial(work.tune, model, output, feed, choices, aim, running, quiet=json), listing.tuning, json
    )
