"""What `quantscope tune` does: the recipe that measures best is found and written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quantscope.core.model import load_model
from quantscope.core.recipe import Choice, recipe_to_yaml
from quantscope.core.tuning import Step, check_tuned
from quantscope.ui.cli import activations as collected
from quantscope.ui.cli import final_check as said
from quantscope.ui.cli.commands.tune import mixed
from quantscope.ui.cli.commands.tune.command import Aim
from quantscope.ui.cli.commands.tune.search import search
from quantscope.ui.cli.files import check_output, write
from quantscope.ui.cli.options import Choices, Feed, Running
from quantscope.ui.cli.recipes import build_recipe
from quantscope.ui.cli.samples import open_feed
from quantscope.ui.terminal.console import note, progress_bar


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCounts:
    """Samples by what they are for."""

    choosing: int
    held_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What was found, and what was tried."""

    recipe: str  # the file
    warnings: tuple[str, ...]
    minmax_db: float
    tuned_db: float
    samples: SampleCounts
    passes: tuple[str, ...]  # names
    default: Choice
    steps: tuple[Step, ...]
    story: tuple[str, ...]
    front: mixed.FrontFigures | None  # None where no mix of precisions was asked for


def tune(
    path: Path, output: Path, feed: Feed, choices: Choices, aim: Aim, running: Running, *, quiet: bool
) -> Tuning:
    """Find the recipe that measures best, or from there the mix of precisions asked for, and write it.

    Raises:
        QuantScopeError: Model, samples or the file to write are unusable.
    """
    check_output(output, (".yaml", ".yml"), path, *feed.files, choices.recipe)
    model = load_model(path)
    recipe = build_recipe(choices, model)
    mixed.check(aim, recipe)
    warned = said.warn_if_all_float(model, recipe, "there is nothing to tune")
    samples = open_feed(feed, model, accuracy=aim.max_drop is not None)
    if samples.synthetic:
        note("warning: tuned on random samples, the recipe says nothing about real ones")
    mixed.check_scores(aim, model, samples)
    statistics = collected.collect(model, samples, running, quiet=quiet)
    found = search(model, samples, recipe, statistics, running, quiet=quiet)
    chosen, front = found.recipe, None
    if aim.given:
        chosen, front = mixed.mixed(model, samples, recipe, chosen, aim, running, quiet=quiet)
    warnings = tuple(found.warnings) if front is None else ()
    if not (warned or (front is None and found.unquantized)):
        with progress_bar("checking", quiet) as progress:
            checked = check_tuned(
                model, recipe, chosen, statistics, samples, threads=running.threads, progress=progress
            )
        warnings = said.of_tuned(checked) or warnings
    write(output, recipe_to_yaml(chosen).encode("utf-8"))
    return Tuning(
        recipe=str(output),
        warnings=warnings,
        minmax_db=found.minmax_db,
        tuned_db=found.tuned_db,
        samples=SampleCounts(choosing=found.choosing, held_out=found.held_out),
        passes=tuple(choice.name for choice in chosen.passes),
        default=chosen.default,
        steps=tuple(found.steps),
        story=tuple(found.told),
        front=front,
    )
