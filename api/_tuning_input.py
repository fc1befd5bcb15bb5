"""What tuning works on: a model, samples, a recipe to start from, and statistics, all of them open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quantscope._calibrate import CalibrationLike, as_calibration
from quantscope._data import as_samples
from quantscope._inspect import ModelLike, as_model
from quantscope._recipe import RecipeLike, as_recipe
from quantscope._warnings import warn
from quantscope.core.calibration import Statistics
from quantscope.core.calibration import calibrate as collect
from quantscope.core.data import Samples
from quantscope.core.model import Model
from quantscope.core.progress import ProgressFn
from quantscope.core.recipe import Recipe

ON_RANDOM = "tuned on random samples, the recipe says nothing about real ones"


@dataclass(frozen=True, slots=True)
class Work:
    """What tuning works on."""

    model: Model
    samples: Samples
    recipe: Recipe
    statistics: Statistics  # of the model on the samples

    @staticmethod
    def of(
        model: ModelLike,
        data: Any,
        recipe: RecipeLike | None,
        calibration: CalibrationLike | None,
        threads: int | None,
        cache: bool,
        progress: ProgressFn | None,
    ) -> Work:
        """Everything opened, and the model calibrated."""
        opened = as_model(model)
        start = started(opened, recipe)
        samples = as_samples(data, opened)
        if samples.synthetic:
            warn([ON_RANDOM])
        known = None if calibration is None else as_calibration(calibration, opened).statistics
        if known is None:
            known = collect(opened, samples, threads=threads, cache=cache, progress=progress)
        return Work(opened, samples, start, known)


def started(model: Model, recipe: RecipeLike | None) -> Recipe:
    """What there is to start from: the recipe given, or the defaults for this model."""
    return Recipe(model_hash=model.hash) if recipe is None else as_recipe(recipe)
