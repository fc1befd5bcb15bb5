"""The options of `quantscope sensitivity`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import typer

from quantscope.ui.cli.options import Choices, Feed, Json, ModelPath, Running
from quantscope.ui.cli.spread import Only, Own, spread
from quantscope.ui.terminal import console


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How to rank."""

    samples: Annotated[int, typer.Option(metavar="N", min=1, help="Samples to run each layer on.")] = 8
    kind: Annotated[
        str,
        typer.Option(metavar="K", help="enable (one layer quantized), disable (all but one) or op-type."),
    ] = "enable"
    metric: Annotated[
        str, typer.Option(metavar="M", help="sqnr, cosine, kl, agreement or top1, of the outputs.")
    ] = "sqnr"
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Also measure each remedy, on samples used for nothing else."),
    ] = False


@spread
def sensitivity(
    model: ModelPath,
    feed: Feed,
    asked: Asked,
    choices: Annotated[Choices, Only("weights", "target", recipe=Own(help="Rank a saved recipe's model."))],
    running: Running,
    json: Json = False,
) -> None:
    """Rank the layers by what quantizing them costs.

    For the worst, says why they lose and what helps.
    """
    from quantscope.ui.cli.commands.sensitivity import listing, work

    console.show(
        partial(work.sensitivity, model, feed, asked, choices, running, quiet=json), listing.sensitivity, json
    )
