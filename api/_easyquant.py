"""EasyQuant: scales that keep the direction of each layer's output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantscope._calibrate import CalibrationLike
from quantscope._inspect import ModelLike
from quantscope._progress import ProgressOption, shown
from quantscope._recipe import RecipeLike
from quantscope._table import Table, frame
from quantscope._tuning_input import Work
from quantscope.core.errors import RecipeError
from quantscope.core.recipe import Recipe
from quantscope.core.tuning import judged_easyquant

if TYPE_CHECKING:
    import pandas as pd

LAYER_COLUMNS = ("layer", "tensor", "cosine_before", "cosine_after")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class EasyQuant(Table):
    """Scales that EasyQuant moved, as far as the network gains by them.

    Attributes:
        recipe: With what is kept; the one given where nothing gained.
        kept: "all scales", "the weights' scales", "the ranges", or "" for nothing.
        story: What was found, in sentences.
        layers: By layer: the mean cosine of its own output before and after.
    """

    recipe: Recipe
    kept: str
    story: tuple[str, ...]
    layers: tuple[tuple[str, str, float, float], ...]

    def to_pandas(self) -> pd.DataFrame:
        """One row a layer: layer, tensor (that it reads), cosine_before, cosine_after."""
        return frame([dict(zip(LAYER_COLUMNS, row, strict=True)) for row in self.layers], LAYER_COLUMNS)

    def _headline(self) -> str:
        return f"{len(self.layers)} layers, {self.kept or 'nothing'} kept"

    def _remarks(self) -> tuple[str, ...]:
        return self.story


def easyquant(
    model: ModelLike,
    data: Any,
    recipe: RecipeLike | None = None,
    *,
    calibration: CalibrationLike | None = None,
    threads: int | None = None,
    cache: bool = True,
    progress: ProgressOption = None,
) -> EasyQuant:
    """Move the scales of weights and activations for the largest cosine of each layer's own output.

    After D. Wu et al., "EasyQuant: Post-training Quantization via Scale Optimization", 2020. Of what it
    finds, that is kept by which the outputs of the network gain on samples held out.

    Args:
        model: A float model, or the path of one.
        data: Calibration samples, or anything that `open_data` opens.
        recipe: What to start from, or the path of it; without passes, since these change the model.
        calibration: Statistics of the model on the data, or the path of them, where they are known.
        threads: Samples that are run side by side; None = one a processor. Results do not depend on it.
        cache: Whether to keep statistics in the user's cache folder, and to look there first.
        progress: True, False, or a function that is told each `Progress`; None = a bar where somebody looks.

    Raises:
        ModelError: The model cannot be opened.
        DataError: The samples do not fit the model.
        RecipeError: The recipe has passes, or does not fit the model.

    Examples:
        >>> qs.easyquant(model, data).kept in ("all scales", "the weights' scales", "the ranges", "")
        True
    """
    with shown(progress, "EasyQuant") as heard:
        work = Work.of(model, data, recipe, calibration, threads, cache, heard)
        if work.recipe.passes:
            raise RecipeError(
                "EasyQuant tunes the model as it is, and the recipe's passes change it: use one of them"
            )
        found = judged_easyquant(
            work.model, work.recipe, work.statistics, work.samples, threads=threads, progress=heard
        )
    layers = tuple((one.layer, one.tensor, one.before, one.after) for one in found.tuned.layers)
    return EasyQuant(recipe=found.recipe, kept=found.kept, story=found.sentences, layers=layers)
