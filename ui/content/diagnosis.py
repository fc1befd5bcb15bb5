"""The layers to look at first: what each costs, why, and the changes that may help."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from quantscope.core.calibration import Statistics
from quantscope.core.memo import Recent
from quantscope.core.model import Model
from quantscope.core.quantize import Encodings
from quantscope.core.recipe import Recipe, recipe_to_yaml
from quantscope.core.targets import Precision
from quantscope.core.tuning import Remedy
from quantscope.core.tuning.causes import Cause, causes
from quantscope.ui.content.costs import Cost
from quantscope.ui.content.rows import Row

KEPT = 24  # layers whose causes are kept between drawings of a page
MOST_REMEDIES = 4  # that are looked at for a layer
NOTHING = "Its own rounding loses nothing that its histogram or its weights would show."


class KnownCauses(Recent[tuple[Cause, ...]]):
    """Causes of layers of one model: pages are drawn again and again."""

    def __init__(self) -> None:
        super().__init__(KEPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A layer that costs the output much."""

    name: str
    op: str
    cost: str  # measured, in words
    flagged: bool  # whether it stands out; others cost little
    reason: str
    remedies: tuple[Remedy, ...]  # that may help, what costs nothing first


def diagnoses(
    model: Model,
    statistics: Statistics,
    recipe: Recipe,
    encodings: Encodings,
    rows: Sequence[Row],
    costs: Sequence[Cost],
    known: Mapping[str, Sequence[Cause]],
    cache: KnownCauses,
) -> tuple[Diagnosis, ...]:
    """Why layers cost what they do.

    Args:
        model: Whose layers they are.
        statistics: Its histograms.
        recipe: The choices shown.
        encodings: What they amount to.
        rows: The layers, with what was measured of each alone.
        costs: The layers in question.
        known: Causes that a ranking has found, by layer; better than what is found here, without a run.
        cache: Belongs to model and statistics.
    """
    by_name = {row.name: row for row in rows}
    found = []
    for cost in costs:
        row = by_name[cost.layer]
        why = known.get(cost.layer) or _causes(model, statistics, recipe, encodings, row, cache)
        reason = why[0].sentence if why else NOTHING
        found.append(
            Diagnosis(
                name=cost.layer,
                op=row.op,
                cost=cost.sentence,
                flagged=cost.flagged,
                reason=reason,
                remedies=promising(remedy for cause in why for remedy in cause.remedies),
            )
        )
    return tuple(found)


def promising(remedies: Iterable[Remedy]) -> tuple[Remedy, ...]:
    """Each once: those that cost no time first, then what is predicted to win most."""
    known = {remedy.label: remedy for remedy in remedies}
    free = sorted((r for r in known.values() if not slower(r)), key=lambda remedy: -remedy.gain_db)
    dear = sorted((r for r in known.values() if slower(r)), key=lambda remedy: -remedy.gain_db)
    return (
        (*free, *dear)[:MOST_REMEDIES]
        if len(free) < MOST_REMEDIES
        else (*free[: MOST_REMEDIES - 1], *dear[:1])
    )


def slower(remedy: Remedy) -> bool:
    """Whether a remedy takes the layer out of 8 bits, which costs time and size."""
    return remedy.changes.get("precision") in (Precision.INT16, Precision.FLOAT)


def _causes(
    model: Model,
    statistics: Statistics,
    recipe: Recipe,
    encodings: Encodings,
    row: Row,
    cache: KnownCauses,
) -> tuple[Cause, ...]:
    """From histograms and weights alone, held against what was measured of the layer alone."""
    alone = row.local_sqnr if row.local_sqnr is not None and math.isfinite(row.local_sqnr) else None
    key = (recipe_to_yaml(recipe), row.name, alone)
    known = cache.get(key)
    if known is None:
        known = tuple(causes(model, statistics, recipe, encodings, row.name, alone_db=alone))
        cache.put(key, known)
    return known
