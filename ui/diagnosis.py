"""The layers that lose most on their own, each with its first cause and what to do about it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.causes import Cause, causes
from core.model import Model
from core.recipe import Encodings, Recipe
from core.remedies import Remedy
from core.statistics import Statistics
from core.targets import Precision
from ui import cached
from ui.rows import Row
from ui.text import change

KEPT = 24  # layers whose causes are kept between drawings of a page
NOTHING = "Its own rounding loses nothing that its histogram or its weights would show."
LOOK = "Run a ranking on the Sensitivity page: it looks at this layer's channels, too."


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A layer that hurts."""

    row: Row
    reason: str
    remedy: str


def worst(
    model: Model,
    statistics: Statistics,
    recipe: Recipe,
    encodings: Encodings,
    rows: Sequence[Row],
    *,
    count: int = 3,
) -> list[Diagnosis]:
    """The layers that lose most on their own, worst first.

    A layer is judged alone (its inputs float) where that was measured, else by its output's range:
    what it inherits from the layers before it is not its fault.
    """
    judged = [(row, _own_loss(row)) for row in rows if row.precision != Precision.FLOAT and not row.shared]
    known = sorted(((row, loss) for row, loss in judged if loss is not None), key=lambda pair: pair[1])
    found = []
    for row, _ in known[:count]:
        first = _first(model, statistics, recipe, encodings, row.name)
        best = max(first.remedies, key=lambda remedy: remedy.gain_db) if first and first.remedies else None
        remedy = LOOK if best is None else _promise(best)
        found.append(Diagnosis(row=row, reason=first.sentence if first else NOTHING, remedy=remedy))
    return found


def _promise(remedy: Remedy) -> str:
    """What a remedy should do, in words."""
    if math.isinf(remedy.gain_db):
        return f"{remedy.label}: this layer alone then loses nothing."
    return f"{remedy.label}: {change(remedy.gain_db)} for this layer alone, predicted."


def _own_loss(row: Row) -> float | None:
    return row.local_sqnr if row.local_sqnr is not None else row.tensor_sqnr


def _first(
    model: Model, statistics: Statistics, recipe: Recipe, encodings: Encodings, layer: str
) -> Cause | None:
    """What matters most, from histograms and weights alone; kept, since pages are drawn again and again."""
    place: dict[Any, Any] = cached.keep(("diagnosis", model.hash))
    if place.get("statistics") is not statistics:
        place.clear()
        place["statistics"] = statistics
    key = (recipe.to_yaml(), layer)
    if key not in place:
        found = causes(model, statistics, recipe, encodings, layer)
        for old in list(place)[1 : len(place) + 1 - KEPT]:
            del place[old]
        place[key] = found[0] if found else None
    first: Cause | None = place[key]
    return first
