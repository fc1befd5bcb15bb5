"""Sensitivity: which layers lose what, why, and what may help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from quantscope._calibrate import CalibrationLike, as_calibration
from quantscope._data import as_samples
from quantscope._inspect import ModelLike, as_model
from quantscope._progress import ProgressOption, shown
from quantscope._recipe import RecipeLike, as_recipe
from quantscope._remedies import MeasuredRemedy, measured
from quantscope._table import Table, frame
from quantscope._warnings import warn
from quantscope.core.calibration import calibrate as collect
from quantscope.core.data import Samples
from quantscope.core.errors import DataError, RecipeError
from quantscope.core.evaluate import layer_errors, read_quantized
from quantscope.core.model import Model
from quantscope.core.pipeline import Prepared, finish, prepare
from quantscope.core.progress import ProgressFn
from quantscope.core.quantize import Encodings, quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.runtime import thread_count
from quantscope.core.sensitivity import (
    Kind,
    Metric,
    RankingRow,
    Run,
    Subject,
    TurningPoint,
    find_turning_point,
    metric_estimate,
    metrics_of,
    ranking,
    run_sensitivity,
)
from quantscope.core.tuning.causes import Cause, diagnose, prepare_trials, split_parts
from quantscope.core.words import plural

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

E = TypeVar("E", bound=StrEnum)
KINDS = {"enable": Kind.ENABLE, "disable": Kind.DISABLE, "op_type": Kind.OP_TYPE}
METRICS = {
    "sqnr": Metric.SQNR,
    "cosine": Metric.COSINE,
    "kl": Metric.KL,
    "agreement": Metric.AGREEMENT,
    "top1": Metric.TOP1,
}
PARTS = {"weights": Kind.WEIGHTS, "activations": Kind.ACTIVATIONS, "all": Kind.ALL}
EXPLAINED = 3  # layers
COLUMNS = ("rank", "name", "value", "low", "high", "rank_low", "rank_high", "flagged")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Sensitivity(Table):
    """Layers ranked by what quantizing them does to the outputs.

    Attributes:
        kind: "enable" (only that layer is quantized), "disable" (all but that layer; values are what is won
            back) or "op_type" (only the layers of that operator).
        metric: What values are: "sqnr" in dB, "cosine", "kl" in nats, "agreement" or "top1" as shares.
        ranking: What matters most first: name, value, its 90 % interval low to high, rank, flagged.
        whole: The metric with only weights, only activations, or all of the model quantized.
        first_bad: The layer at which the outputs turn bad, or None where errors build up evenly.
        causes: Why the layers on top lose, by layer, most important first, each with remedies.
        samples: That the layers were run on.
        remedies: The remedies of the causes, measured, what wins most first; empty if not asked for.
    """

    kind: str
    metric: str
    ranking: tuple[RankingRow, ...]
    whole: Mapping[str, float]
    first_bad: TurningPoint | None
    causes: Mapping[str, tuple[Cause, ...]]
    samples: int
    remedies: tuple[MeasuredRemedy, ...] = ()

    def to_pandas(self) -> pd.DataFrame:
        """One row a layer: rank, name, value, low, high, rank_low, rank_high, flagged."""
        return frame([{name: getattr(score, name) for name in COLUMNS} for score in self.ranking], COLUMNS)

    def plot(self) -> go.Figure:
        """The ranking as bars, as on the app's page Sensitivity."""
        from quantscope.ui.figures.sensitivity import sensitivity_figure

        return sensitivity_figure(self.ranking, KINDS[self.kind], METRICS[self.metric])

    def _headline(self) -> str:
        first = f"first {self.ranking[0].name}" if self.ranking else "nothing is quantized"
        return f"{plural(len(self.ranking), 'entry', 'entries')} by {self.metric}, {first}"

    def _remarks(self) -> tuple[str, ...]:
        turn = self.first_bad
        said = [] if turn is None else [f"{turn.layer}: {turn.sentence}"]
        return (*said, *(f"{c.layer}: {c.sentence}" for found in self.causes.values() for c in found))


def sensitivity(
    model: ModelLike,
    data: Any,
    recipe: RecipeLike | None = None,
    *,
    kind: str = "enable",
    metric: str = "sqnr",
    samples: int = 8,
    explain: bool = True,
    measure: bool = False,
    calibration: CalibrationLike | None = None,
    threads: int | None = None,
    cache: bool = True,
    progress: ProgressOption = None,
) -> Sensitivity:
    """Rank the layers by what quantizing them does to the outputs.

    Args:
        model: A float model, or the path of one.
        data: Samples, or anything that `open_data` opens; labels are needed for metric top1 only.
        recipe: How layers are quantized, or the path of such a recipe; None = MinMax.
        kind: "enable" (one layer quantized), "disable" (all but one) or "op_type" (those of an operator).
        metric: What the ranking goes by: "sqnr", "cosine", "kl", "agreement" or "top1", of the outputs.
        samples: Samples to run each layer on.
        explain: Also find out why the layers on top lose.
        measure: Also measure each remedy as a complete integer model, on samples used for nothing else.
        calibration: Statistics of the model on the data, or the path of them, where they are known.
        threads: Samples that are run side by side; None = one a processor. Results do not depend on it.
        cache: Whether to keep statistics in the user's cache folder, and to look there first.
        progress: True, False, or a function that is told each `Progress`; None = a bar where somebody looks.

    Raises:
        ModelError: The model cannot be opened.
        DataError: The samples do not fit, or the metric cannot be measured on them.
        RecipeError: There is no such kind or metric, or the recipe does not fit.

    Warns:
        QuantScopeWarning: The samples are random, so the ranking says nothing about real data.

    Examples:
        >>> found = qs.sensitivity(model, data)
        >>> found.ranking[0].name in model.layer_names
        True
    """
    how, by = _member(KINDS, kind, "kind"), _member(METRICS, metric, "metric")
    if samples < 1:
        raise DataError(f"layers are run on at least one sample, not {samples}")
    opened = as_model(model)
    given = as_samples(data, opened)
    if given.synthetic:
        warn(["ranked on random samples, the layers say nothing about real data"])
    chosen = Recipe() if recipe is None else as_recipe(recipe)
    with shown(progress, "sensitivity") as heard:
        known = None if calibration is None else as_calibration(calibration, opened).statistics
        if known is None:
            known = collect(opened, given, threads=threads, cache=cache, progress=heard)
        ready = prepare(opened, chosen, given, statistics=known, threads=threads, progress=heard)
        found = resolve(chosen, ready.statistics, ready.model)
        encodings, _ = finish(ready.model, chosen, given, found, threads=threads, progress=heard)
        parts = split_parts(given, None, samples)
        few = parts.ranking
        kinds = (*PARTS.values(), how)
        runs = tuple(
            run_sensitivity(
                ready.model, encodings, few, kinds=kinds, count=samples, threads=threads, progress=heard
            )
        )
        _check_metric(runs, by)
        scores = ranking(runs, how, by)
        turn = _first_bad(ready.model, encodings, few, threads, heard)
        top = _top(scores) if explain and how is not Kind.OP_TYPE else []
        causes = _causes(ready, chosen, encodings, few, top, heard)
        remedies: tuple[MeasuredRemedy, ...] = ()
        if measure and causes:
            judges = prepare_trials(opened, parts, known, threads=threads, progress=heard)
            every = [cause for found_ in causes.values() for cause in found_]
            remedies = measured(judges, chosen, every, threads, heard)
    whole = {name: metric_estimate(runs, Subject(kind=part), by) for name, part in PARTS.items()}
    return Sensitivity(
        kind=next(name for name, one in KINDS.items() if one is how),
        metric=next(name for name, one in METRICS.items() if one is by),
        ranking=scores,
        whole={name: one.value for name, one in whole.items() if one is not None},
        first_bad=turn,
        causes=causes,
        samples=len(few),
        remedies=remedies,
    )


def _first_bad(
    model: Model, encodings: Encodings, few: Samples, threads: int | None, heard: ProgressFn | None
) -> TurningPoint | None:
    file = read_quantized(quantize_model(model, encodings))
    errors = layer_errors(model, file, few, local=True, threads=thread_count(threads), progress=heard)
    return find_turning_point(model, errors)


def _causes(
    ready: Prepared,
    recipe: Recipe,
    encodings: Encodings,
    few: Samples,
    top: Sequence[str],
    heard: ProgressFn | None,
) -> dict[str, tuple[Cause, ...]]:
    if not top:
        return {}
    return diagnose(ready.model, ready.statistics, recipe, encodings, few, top, progress=heard)


def _top(scores: Sequence[RankingRow]) -> list[str]:
    flagged = [score.name for score in scores if score.flagged]
    return (flagged or [score.name for score in scores])[:EXPLAINED]


def _check_metric(runs: Sequence[Run], metric: Metric) -> None:
    there = metrics_of(runs)
    if metric not in there:
        names = ", ".join(name for name, one in METRICS.items() if one in there) or "no figures at all"
        raise DataError(f"this metric cannot be measured on these samples; there are {names}")


def _member(options: Mapping[str, E], text: str, what: str) -> E:
    found = options.get(text.lower().replace("-", "_"))
    if found is None:
        raise RecipeError(f"there is no {what} '{text}'; choose from {', '.join(options)}")
    return found
