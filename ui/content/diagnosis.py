"""The layers to look at first, each with its first cause and what to do about it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from quantscope.core.calibration import Statistics
from quantscope.core.memo import Recent
from quantscope.core.model import Model
from quantscope.core.quantize import Encodings
from quantscope.core.recipe import Recipe, recipe_to_yaml
from quantscope.core.sensitivity import RankingRow
from quantscope.core.targets import Precision
from quantscope.core.tuning import Remedy
from quantscope.core.tuning.causes import Cause, causes
from quantscope.ui.content.rows import Row
from quantscope.ui.content.text import change, decibel

KEPT = 24  # layers whose causes are kept between drawings of a page
NOTHING = "Its own rounding loses nothing that its histogram or its weights would show."
NO_REMEDY = "No change of this layer alone should win half a decibel."
LOOK = "Run a ranking on the Sensitivity page: it looks at this layer's channels, too."


class FirstCauses(Recent[tuple[Cause, ...]]):
    """What matters most to layers of one model, or nothing: pages are drawn again and again."""

    def __init__(self) -> None:
        super().__init__(KEPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A layer that hurts."""

    name: str
    op: str
    cost: str  # measured, in words
    reason: str
    remedy: str


def costliest(
    model: Model,
    scores: Sequence[RankingRow],
    found: Mapping[str, Sequence[Cause]],
    cost: Callable[[RankingRow], str],
) -> list[Diagnosis]:
    """Layers as a ranking by the network's output has them.

    Args:
        model: Whose layers they are.
        scores: The worst first.
        found: Their causes, the first first.
        cost: A score in words.
    """
    return [
        _diagnosis(score.name, model.layer(score.name).op, cost(score), found.get(score.name, ()), NO_REMEDY)
        for score in scores
    ]


def worst(
    model: Model,
    statistics: Statistics,
    recipe: Recipe,
    encodings: Encodings,
    rows: Sequence[Row],
    cache: FirstCauses,
    *,
    count: int = 3,
) -> list[Diagnosis]:
    """The layers that lose most on their own, worst first.

    A layer is judged alone (its inputs float) where that was measured, else by its output's range:
    what it inherits from the layers before it is not its fault. `cache` belongs to model and statistics.
    """
    judged = [(row, _own_loss(row)) for row in rows if row.precision != Precision.FLOAT and not row.shared]
    known = sorted(((row, loss) for row, loss in judged if loss is not None), key=lambda pair: pair[1])
    found = []
    for row, _ in known[:count]:
        causes_ = _first(model, statistics, recipe, encodings, row.name, cache)
        figure, alone = (
            (row.tensor_sqnr, "output range") if row.local_sqnr is None else (row.local_sqnr, "alone")
        )
        found.append(_diagnosis(row.name, row.op, f"{decibel(figure)} {alone}", causes_, LOOK))
    return found


def _diagnosis(layer: str, op: str, cost: str, found: Sequence[Cause], otherwise: str) -> Diagnosis:
    """A layer with its first cause; `otherwise` stands where no remedy is known."""
    return Diagnosis(
        name=layer,
        op=op,
        cost=cost,
        reason=found[0].sentence if found else NOTHING,
        remedy=_best(found, otherwise),
    )


def _best(found: Sequence[Cause], otherwise: str) -> str:
    """What the remedy that promises most should do, in words."""
    remedies: list[Remedy] = [remedy for cause in found for remedy in cause.remedies]
    if not remedies:
        return otherwise
    remedy = max(remedies, key=lambda remedy: remedy.gain_db)
    if math.isinf(remedy.gain_db):
        return f"{remedy.label}: this layer alone then loses nothing."
    return f"{remedy.label}: {change(remedy.gain_db)} for this layer alone, predicted."


def _own_loss(row: Row) -> float | None:
    return row.local_sqnr if row.local_sqnr is not None else row.tensor_sqnr


def _first(
    model: Model,
    statistics: Statistics,
    recipe: Recipe,
    encodings: Encodings,
    layer: str,
    cache: FirstCauses,
) -> tuple[Cause, ...]:
    """What matters most, from histograms and weights alone; empty where nothing does."""
    key = (recipe_to_yaml(recipe), layer)
    known = cache.get(key)
    if known is None:
        known = tuple(causes(model, statistics, recipe, encodings, layer)[:1])
        cache.put(key, known)
    return known
