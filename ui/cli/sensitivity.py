"""The options of `quantscope sensitivity`; the work is imported when it is asked for."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from quantscope.ui.cli.options import (
    Cache,
    Data,
    IgnoreLabel,
    Json,
    Labels,
    Limit,
    ModelPath,
    Preprocess,
    Random,
    Seed,
    Target,
    Threads,
    Weights,
)
from quantscope.ui.terminal import console


def sensitivity(
    model: ModelPath,
    data: Data = None,
    samples: Annotated[int, typer.Option(metavar="N", min=1, help="Samples to run each layer on.")] = 8,
    kind: Annotated[
        str, typer.Option(metavar="K", help="enable (one layer quantized), disable (all but one) or op-type.")
    ] = "enable",
    metric: Annotated[
        str, typer.Option(metavar="M", help="sqnr, cosine, kl, agreement or top1, of the outputs.")
    ] = "sqnr",
    measure: Annotated[
        bool, typer.Option("--measure", help="Also measure each remedy, on samples used for nothing else.")
    ] = False,
    recipe: Annotated[Path | None, typer.Option(metavar="FILE", help="Rank a saved recipe's model.")] = None,
    weights: Weights = None,
    target: Target = None,
    random: Random = None,
    seed: Seed = 0,
    limit: Limit = None,
    labels: Labels = None,
    ignore: IgnoreLabel = None,
    preprocess: Preprocess = None,
    threads: Threads = None,
    cache: Cache = True,
    json: Json = False,
) -> None:
    """Rank the layers by what quantizing them costs; say why the worst lose, and what helps."""
    from quantscope.ui.cli import sensitivity_work
    from quantscope.ui.cli.arguments import Choices, Feed

    work = partial(
        sensitivity_work.sensitivity,
        model,
        Feed(
            data=data,
            random=random,
            seed=seed,
            limit=limit,
            labels=labels,
            ignore=ignore,
            preprocess=preprocess,
        ),
        Choices(weights=weights, target=target, recipe=recipe),
        samples=samples,
        kind=kind,
        metric=metric,
        measure=measure,
        threads=threads,
        cache=cache,
        quiet=json,
    )
    console.show(work, sensitivity_work.listing, json)
