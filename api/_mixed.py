"""Mixed precision: which layers get int8, int16 or float, and what is asked of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantscope._data import as_samples
from quantscope._inspect import ModelLike, as_model
from quantscope._progress import ProgressOption, shown
from quantscope._recipe import RecipeLike
from quantscope._table import Table, bytes_text, frame
from quantscope._tuning_input import started
from quantscope.core.data import Samples
from quantscope.core.data.sources import all_ignored
from quantscope.core.errors import RecipeError
from quantscope.core.evaluate import float_reference
from quantscope.core.model import Model
from quantscope.core.progress import ProgressFn
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Precision
from quantscope.core.targets import target as find_target
from quantscope.core.tuning.mixed import PRECISIONS, Cost, Front, Point, read_budget
from quantscope.core.tuning.mixed import mixed_precision as find_front
from quantscope.core.words import decibels

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

POINT_COLUMNS = ("size_bytes", "time_share", "sqnr_db", "top1", "agreement", "drop", "layers", "taken")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class MixedPrecision(Table):
    """What precisions of the layers can be had for what: a front of measured recipes.

    Attributes:
        front: All points, by rising cost and SQNR: size_bytes, time (estimated, as a share of float's),
            sqnr_db, top1, drop (points of top-1 below float), layers above the lowest precision, recipe.
        taken: The point that was asked for; the most exact one where nothing was.
    """

    front: Front
    taken: Point

    @property
    def recipe(self) -> Recipe:
        """That of the point that was asked for."""
        return self.taken.recipe

    def pick(
        self,
        *,
        max_drop: float | None = None,
        min_sqnr: float | None = None,
        budget: str | float | None = None,
    ) -> MixedPrecision:
        """The same front with another point taken.

        Args:
            max_drop: Most points of top-1 to lose.
            min_sqnr: Least SQNR of the outputs in dB.
            budget: Most that it may cost; see `mixed_precision`.

        Raises:
            RecipeError: No point is good enough; the message names the nearest.
        """
        return MixedPrecision(front=self.front, taken=_picked(self.front, max_drop, min_sqnr, budget))

    def to_pandas(self) -> pd.DataFrame:
        """One row a point: size_bytes, time_share, sqnr_db, top1, agreement, drop, layers, taken."""
        return frame([self._row(point) for point in self.front.points], POINT_COLUMNS)

    def _row(self, point: Point) -> dict[str, object]:
        return {
            "size_bytes": point.size_bytes,
            "time_share": point.time,
            "sqnr_db": point.sqnr_db,
            "top1": point.top1,
            "agreement": point.agreement,
            "drop": point.drop,
            "layers": {name: precision.value for name, precision in point.layers},
            "taken": point is self.taken,
        }

    def plot(self) -> go.Figure:
        """Cost against SQNR in dB, as in the app."""
        from quantscope.ui.figures.mixed import front_figure

        return front_figure(self.front, self.front.points.index(self.taken))

    def _headline(self) -> str:
        point = self.taken
        return (
            f"{len(self.front.points)} points, taken {bytes_text(point.size_bytes)} at "
            f"{decibels(point.sqnr_db)}, {len(point.layers)} layers above {self.front.lowest}"
        )

    def _remarks(self) -> tuple[str, ...]:
        return self.front.notes


def mixed_precision(
    model: ModelLike,
    data: Any,
    recipe: RecipeLike | None = None,
    *,
    max_drop: float | None = None,
    min_sqnr: float | None = None,
    budget: str | float | None = None,
    precisions: Sequence[str] | None = None,
    cost: str = "size",
    threads: int | None = None,
    progress: ProgressOption = None,
) -> MixedPrecision:
    """Give layers int8, int16 or float: what is most exact at each cost, measured.

    Args:
        model: A float model, or the path of one.
        data: Calibration samples, or anything that `open_data` opens; up to a third are held out to judge.
            With labels, points know their top-1.
        recipe: Methods and passes to keep, or the path of it; layers whose precision it sets keep that.
        max_drop: Take the cheapest point that loses at most so many points of top-1 (0 to 100).
        min_sqnr: Take the cheapest point whose outputs have at least this SQNR in dB.
        budget: Take the most exact point that costs at most so much: bytes, "500kB", "2MB" or "60%" of the
            float model; with cost latency a share of the float model's time, 0.6 or "60%".
        precisions: What to choose from, of "int8", "int16" and "float"; None = those that the target has
            kernels for.
        cost: What is cheap: "size" of the file, or estimated "latency".
        threads: Samples that are run side by side; None = one a processor. Results do not depend on it.
        progress: True, False, or a function that is told each `Progress`; None = a bar where somebody looks.

    Raises:
        ModelError: The model cannot be opened.
        DataError: The samples do not fit the model.
        RecipeError: A value makes no sense, there is nothing to choose, or no point is good enough.

    Examples:
        >>> mix = qs.mixed_precision(model, data, budget="60%")
        >>> mix.taken.size_bytes <= 0.6 * mix.front.float_bytes
        True
    """
    opened = as_model(model)
    start = started(opened, recipe)
    allowed = allowed_precisions(precisions, start)
    check_limits(max_drop, min_sqnr, budget, cost)
    samples = as_samples(data, opened)
    if max_drop is not None:
        check_scores(opened, samples)
    with shown(progress, "mixed precision") as heard:
        found = mixed(opened, samples, start, start, allowed, cost, threads, heard)
    if limited(max_drop, min_sqnr, budget):
        return found.pick(max_drop=max_drop, min_sqnr=min_sqnr, budget=budget)
    return found


def mixed(
    model: Model,
    samples: Samples,
    start: Recipe,
    tuned: Recipe,
    allowed: Sequence[Precision],
    cost: str,
    threads: int | None,
    progress: ProgressFn | None,
) -> MixedPrecision:
    """The front; precisions that tuning chose are open again, those of `start` stay."""
    for name in set(tuned.layers) - set(start.layers):
        tuned = tuned.with_layer(name, precision=None)
    front = find_front(
        model,
        tuned,
        samples,
        cost=cost,
        precisions=allowed,
        threads=threads,
        progress=progress,
    )
    return MixedPrecision(front=front, taken=front.points[-1])


def limited(max_drop: float | None, min_sqnr: float | None, budget: str | float | None) -> bool:
    return any(value is not None for value in (max_drop, min_sqnr, budget))


def check_limits(
    max_drop: float | None, min_sqnr: float | None, budget: str | float | None, cost: str
) -> None:
    """Make sure, before minutes are spent, that all of it can be understood."""
    if max_drop is not None and not 0.0 <= max_drop <= 100.0:
        raise RecipeError(f"max_drop is in points of top-1, 0 to 100, not {max_drop:g}")
    if min_sqnr is not None and not math.isfinite(min_sqnr):
        raise RecipeError(f"min_sqnr is a number of dB, not {min_sqnr:g}")
    if cost not in {kind.value for kind in Cost}:
        raise RecipeError(f"there is no cost '{cost}'; choose from {', '.join(Cost)}")
    if budget is not None:
        _budget(budget, Cost(cost), 1)


def _budget(budget: str | float, kind: Cost, float_bytes: int) -> float:
    if isinstance(budget, str):
        found = read_budget(budget, kind, float_bytes)
        if found is None and kind is Cost.LATENCY:
            raise RecipeError(f"a budget of latency is a share of float's time, such as 60%, not '{budget}'")
        if found is None:
            raise RecipeError(f"a budget is a size such as 500kB, 2MB or 60% of float's, not '{budget}'")
        return found
    if not (math.isfinite(budget) and budget > 0):
        raise RecipeError(f"a budget is a positive number of bytes, or a share of the time, not {budget:g}")
    if kind is Cost.SIZE and budget < 1:
        raise RecipeError(f"a budget of {budget:g} is below one byte; a share of float is '{budget:.0%}'")
    return float(budget)


def _picked(
    front: Front, max_drop: float | None, min_sqnr: float | None, budget: str | float | None
) -> Point:
    most = None if budget is None else _budget(budget, front.kind, front.float_bytes)
    if max_drop is None and min_sqnr is None:
        if most is None:
            raise RecipeError("say what the point must reach: max_drop, min_sqnr or budget")
        return front.best(most)
    point = front.cheapest(max_drop=max_drop, min_sqnr=min_sqnr)
    if most is not None and point.cost(front.kind) > most:
        raise RecipeError(
            f"what is asked for takes {front.cost_text(point)}, which is more than the budget {budget}; "
            "allow more, or ask for less"
        )
    return point


def allowed_precisions(precisions: Sequence[str] | None, recipe: Recipe) -> tuple[Precision, ...]:
    """The precisions to choose from: as named, else those that the target has kernels for."""
    if precisions is None:
        fast = find_target(recipe.target).integer_bits
        return tuple(p for p in PRECISIONS if p is not Precision.INT16 or fast >= 16)
    named = [precisions] if isinstance(precisions, str) else list(precisions)
    unknown = [name for name in named if name not in {p.value for p in PRECISIONS}]
    if unknown:
        raise RecipeError(f"there is no precision '{unknown[0]}'; choose from {', '.join(PRECISIONS)}")
    if len(set(named)) < 2:
        raise RecipeError("precisions needs two or more to choose from, such as ['int8', 'float']")
    return tuple(p for p in PRECISIONS if p.value in named)


def check_scores(model: Model, samples: Samples) -> None:
    """Make sure, before minutes are spent, that there is a top-1 where one is to be kept."""
    scores = float_reference(model, samples, count=1, layers=False).scores
    if scores is None:
        raise RecipeError(
            f"max_drop limits points of top-1, but no output of '{model.name}' is known to hold class "
            "scores; limit the error of the outputs with min_sqnr instead"
        )
    if scores.labels is not None and all_ignored(scores.labels):
        raise RecipeError("max_drop: all labels are the ignore label, so there is no top-1 to keep")
