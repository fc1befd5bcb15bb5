"""What is done about a layer that loses, measured as complete integer models."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quantscope.core.errors import DataError, QuantScopeError
from quantscope.core.progress import ProgressFn, report
from quantscope.core.recipe import Recipe
from quantscope.core.tuning import Remedy
from quantscope.core.tuning.causes import Cause, RemedyEffect, TrialSetup, measure_effect, try_remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRemedy:
    """A change of the recipe, and what the outputs gain by it.

    Attributes:
        layer: The layer that it changes; "" for all of the model.
        label: What it does.
        recipe: The recipe with it.
        gain_db: SQNR of the outputs won, in dB; None where it is not known.
        points: Top-1 won, in percentage points; None without labels.
        error: Why it cannot be measured; "" where it was.
    """

    layer: str
    label: str
    recipe: Recipe
    gain_db: float | None = None
    points: float | None = None
    error: str = ""


def measured(
    ready: TrialSetup,
    recipe: Recipe,
    causes: Iterable[Cause],
    threads: int | None,
    progress: ProgressFn | None,
) -> tuple[MeasuredRemedy, ...]:
    """Each remedy that a cause names once, what wins most first."""
    wanted = {
        ("" if remedy.fix else remedy.layer, remedy.label): remedy
        for cause in causes
        for remedy in cause.remedies
    }
    if not wanted:
        return ()
    before = measure_effect(ready, recipe, threads=threads)
    found = []
    for done, ((layer, _), remedy) in enumerate(wanted.items()):
        report(progress, done, len(wanted), remedy.label)
        found.append(_measured(ready, recipe, layer, remedy, before, threads))
    return _ranked(found)


def _measured(
    ready: TrialSetup, recipe: Recipe, layer: str, remedy: Remedy, before: RemedyEffect, threads: int | None
) -> MeasuredRemedy:
    changed = remedy.applied(recipe)
    try:
        trial = try_remedy(ready, recipe, remedy, before=before, threads=threads)
    except DataError:
        raise
    except QuantScopeError as error:
        return MeasuredRemedy(layer=layer, label=remedy.label, recipe=changed, error=str(error))
    return MeasuredRemedy(
        layer=layer, label=remedy.label, recipe=changed, gain_db=trial.gain_db, points=trial.points
    )


def _ranked(found: Sequence[MeasuredRemedy]) -> tuple[MeasuredRemedy, ...]:
    return tuple(sorted(found, key=lambda one: math.inf if one.gain_db is None else -one.gain_db))
