"""Auto-tune: the recipe that measures best, and what was tried on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantscope._calibrate import CalibrationLike
from quantscope._final_check import of_tuned
from quantscope._inspect import ModelLike, as_model
from quantscope._mixed import (
    MixedPrecision,
    allowed_precisions,
    check_limits,
    check_scores,
    limited,
    mixed,
)
from quantscope._progress import ProgressOption, shown
from quantscope._recipe import RecipeLike
from quantscope._table import Table, frame
from quantscope._tuning_input import Work, started
from quantscope._warnings import warn
from quantscope.core.errors import RecipeError
from quantscope.core.recipe import Recipe
from quantscope.core.tuning import AutotuneStep, autotune, check_tuned
from quantscope.core.words import decibels

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

STEP_COLUMNS = ("what", "sqnr_db", "kept", "why")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Tuning(Table):
    """What Auto-tune found.

    Attributes:
        recipe: The best recipe.
        steps: What was tried: what, sqnr_db of the outputs, kept, why.
        story: The same in sentences.
        minmax_db: SQNR of the outputs with plain MinMax, in dB, on the samples held out.
        tuned_db: The same with the recipe that tuning found, before precisions were mixed.
        held_out: Samples that judged and chose nothing; 0 where there were too few to hold any out.
        front: What mixing precisions can do, where it was asked for.
        warnings: What must not be missed about the recipe; also issued as `QuantScopeWarning`.
    """

    recipe: Recipe
    steps: tuple[AutotuneStep, ...]
    story: tuple[str, ...]
    minmax_db: float
    tuned_db: float
    held_out: int
    front: MixedPrecision | None = None
    warnings: tuple[str, ...] = ()

    def to_pandas(self) -> pd.DataFrame:
        """One row a step: what, sqnr_db, kept, why."""
        return frame(
            [{name: getattr(step, name) for name in STEP_COLUMNS} for step in self.steps], STEP_COLUMNS
        )

    def plot(self) -> go.Figure:
        """The climb, step by step, as in the app."""
        from quantscope.ui.figures.steps import steps_figure

        return steps_figure(self.steps)

    def _headline(self) -> str:
        where = f"{self.held_out} samples held out" if self.held_out else "the samples that chose"
        mixed = "" if self.front is None else f"; mixed precision {self.front._headline()}"
        return f"MinMax {decibels(self.minmax_db)}, tuned {decibels(self.tuned_db)} on {where}{mixed}"

    def _remarks(self) -> tuple[str, ...]:
        return self.warnings


def tune(
    model: ModelLike,
    data: Any,
    recipe: RecipeLike | None = None,
    *,
    max_drop: float | None = None,
    min_sqnr: float | None = None,
    budget: str | float | None = None,
    precisions: Sequence[str] | None = None,
    cost: str = "size",
    calibration: CalibrationLike | None = None,
    threads: int | None = None,
    cache: bool = True,
    progress: ProgressOption = None,
) -> Tuning:
    """Find the recipe that measures best: Auto-tune, and from there the mix of precisions asked for.

    Methods, corrected biases, passes and single layers are tried in turn, each as a complete integer model;
    a step is kept only if the outputs come closer to float by it. It takes minutes.

    Args:
        model: A float model, or the path of one.
        data: Calibration samples, or anything that `open_data` opens; up to 64 of them are held out to judge.
        recipe: What to start from, or the path of it; layers that it sets keep their choice.
        max_drop: Then mix precisions: the cheapest mix that loses at most so many points of top-1.
        min_sqnr: The cheapest mix whose outputs have at least this SQNR in dB.
        budget: The most exact mix that costs at most so much; see `mixed_precision`.
        precisions: What the mix is made of; see `mixed_precision`.
        cost: What is cheap: "size" or "latency".
        calibration: Statistics of the model on the data, or the path of them, where they are known.
        threads: Samples that are run side by side; None = one a processor. Results do not depend on it.
        cache: Whether to keep statistics in the user's cache folder, and to look there first.
        progress: True, False, or a function that is told each `Progress`; None = a bar where somebody looks.

    Raises:
        ModelError: The model cannot be opened.
        DataError: The samples do not fit the model.
        RecipeError: The recipe does not fit, a value makes no sense, or no mix is good enough.

    Warns:
        QuantScopeWarning: Something is lost in the result, nothing is quantized, or the samples are random.

    Examples:
        >>> tuned = qs.tune(model, data)
        >>> tuned.tuned_db >= tuned.minmax_db
        True
        >>> qs.save_recipe(tuned.recipe, "tuned.yaml")
    """
    opened = as_model(model)
    start = started(opened, recipe)
    mixing = limited(max_drop, min_sqnr, budget)
    if not mixing and precisions is not None:
        raise RecipeError("precisions says what a mix is made of: also give max_drop, min_sqnr or budget")
    allowed = allowed_precisions(precisions, start) if mixing else ()
    check_limits(max_drop, min_sqnr, budget, cost)
    with shown(progress, "tuning") as heard:
        work = Work.of(opened, data, start, calibration, threads, cache, heard)
        if max_drop is not None:
            check_scores(opened, work.samples)
        found = autotune(
            opened, work.samples, start, statistics=work.statistics, threads=threads, progress=heard
        )
        chosen, front = found.recipe, None
        if mixing:
            front = mixed(opened, work.samples, start, chosen, allowed, cost, threads, heard)
            front = front.pick(max_drop=max_drop, min_sqnr=min_sqnr, budget=budget)
            chosen = front.recipe
        warnings = found.warnings if front is None else ()
        if front is not None or not found.unquantized:
            checked = check_tuned(
                opened, start, chosen, work.statistics, work.samples, threads=threads, progress=heard
            )
            warnings = of_tuned(checked) or warnings
    warn(warnings)
    return Tuning(
        recipe=chosen,
        steps=found.steps,
        story=found.sentences,
        minmax_db=found.minmax_db,
        tuned_db=found.tuned_db,
        held_out=found.held_out,
        front=front,
        warnings=warnings,
    )
