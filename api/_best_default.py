"""The method that measures best as the default of the whole network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantscope._calibrate import CalibrationLike
from quantscope._inspect import ModelLike
from quantscope._progress import ProgressOption, shown
from quantscope._recipe import RecipeLike
from quantscope._table import Table, frame
from quantscope._tuning_input import Work
from quantscope.core.recipe import Recipe
from quantscope.core.tuning import DefaultTrial, MeasuredDefault
from quantscope.core.tuning import measured_default as measure_defaults
from quantscope.core.words import decibels

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

TRIAL_COLUMNS = ("label", "sqnr_db", "cosine", "taken", "refused")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class BestDefault(Table):
    """Methods tried for the whole network, and the one that measures best.

    Attributes:
        recipe: The recipe to start from with that method as its default.
        trials: Each method: label, sqnr_db and cosine of the outputs, and why it was refused, if it was.
        best: The trial that won.
        samples: That the trials were measured on.
    """

    recipe: Recipe
    trials: tuple[DefaultTrial, ...]
    best: DefaultTrial
    samples: int

    def to_pandas(self) -> pd.DataFrame:
        """One row a trial: label, sqnr_db, cosine, taken, refused (why, or "")."""
        rows: list[dict[str, object]] = [
            {
                "label": trial.label,
                "sqnr_db": trial.sqnr_db,
                "cosine": trial.cosine,
                "taken": trial == self.best,
                "refused": trial.refused,
            }
            for trial in self.trials
        ]
        return frame(rows, TRIAL_COLUMNS)

    def plot(self) -> go.Figure:
        """SQNR of the outputs with each method, as in the app."""
        from quantscope.ui.figures.trials import trials_figure

        return trials_figure(self.trials, self.best)

    def _headline(self) -> str:
        return f"{self.best.label}, {decibels(self.best.sqnr_db)}, {len(self.trials)} tried"


def best_default(
    model: ModelLike,
    data: Any,
    recipe: RecipeLike | None = None,
    *,
    calibration: CalibrationLike | None = None,
    threads: int | None = None,
    cache: bool = True,
    progress: ProgressOption = None,
) -> BestDefault:
    """Try the usual methods for the whole network, and take the one whose integer model measures best.

    MinMax stays unless another one also wins on samples that its ranges have not seen. `quantize` does this
    where it is given no recipe.

    Args:
        model: A float model, or the path of one.
        data: Calibration samples, or anything that `open_data` opens.
        recipe: What to start from, or the path of it; layers that it sets keep their choice.
        calibration: Statistics of the model on the data, or the path of them, where they are known.
        threads: Samples that are run side by side; None = one a processor. Results do not depend on it.
        cache: Whether to keep statistics in the user's cache folder, and to look there first.
        progress: True, False, or a function that is told each `Progress`; None = a bar where somebody looks.

    Raises:
        ModelError: The model cannot be opened.
        DataError: The samples do not fit the model.
        RecipeError: The recipe cannot be read, or does not fit the model.

    Examples:
        >>> found = qs.best_default(model, data)
        >>> found.recipe.default.method.value
        'minmax'
    """
    with shown(progress, "trying methods") as heard:
        work = Work.of(model, data, recipe, calibration, threads, cache, heard)
        found: MeasuredDefault = measure_defaults(
            work.model, work.statistics, work.samples, work.recipe, progress=heard, threads=threads
        )
    return BestDefault(recipe=found.recipe, trials=found.trials, best=found.best, samples=found.samples)
