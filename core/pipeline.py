"""From a float model and a recipe to the quantized model, passes included, with and without a page."""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import onnx

from quantscope.core.calibration import Statistics, calibrate
from quantscope.core.data import Samples
from quantscope.core.memo import Memo
from quantscope.core.model import Model
from quantscope.core.passes import PassRecord, change_encodings, change_model, with_bias_shifts
from quantscope.core.progress import ProgressFn
from quantscope.core.quantize import Encodings, quantize_model, resolve
from quantscope.core.recipe import PASSES, Recipe

_KEPT = 4  # changed models kept for each model, since editing a recipe seldom touches its passes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """The float model as the recipe's passes leave it, and statistics of that model."""

    model: Model
    statistics: Statistics
    records: tuple[PassRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantized:
    """A quantized model and how it came about."""

    proto: onnx.ModelProto
    model: Model  # the float model that was quantized
    statistics: Statistics
    encodings: Encodings
    records: tuple[PassRecord, ...]

    @property
    def log(self) -> tuple[str, ...]:
        """What the passes did, in sentences."""
        return tuple(sentence for record in self.records for sentence in record.sentences)


def prepare(
    model: Model,
    recipe: Recipe,
    samples: Samples,
    *,
    statistics: Statistics | None = None,
    threads: int | None = None,
    cache_dir: str | Path | None = None,
    cache: bool = True,
    progress: ProgressFn | None = None,
) -> Prepared:
    """Apply the passes that change the float model, and calibrate what comes out.

    The last few results are kept, so that this costs nothing after edits that leave the passes alone.

    Args:
        model: The float model as loaded.
        recipe: Names the passes; they see which layers are quantized, and the granularity of weights.
        samples: Calibration samples.
        statistics: Of `model`, used where no pass changes it; None = calibrate.
        threads: Samples run at the same time; None = one a processor.
        cache_dir: Where statistics are kept; see `calibrate`.
        cache: Whether to keep them.
        progress: Told how far it is; may raise `Cancelled`.

    Raises:
        DataError: There are no samples, or they do not fit the model.
    """
    if not changes_model(recipe):
        known = statistics
        if known is None:
            known = calibrate(
                model, samples, threads=threads, cache_dir=cache_dir, cache=cache, progress=progress
            )
        return Prepared(model=model, statistics=known, records=())

    def make() -> Prepared | _Unchanged:
        changed, records = change_model(model, recipe, samples, threads=threads, progress=progress)
        found = calibrate(
            changed, samples, threads=threads, cache_dir=cache_dir, cache=cache, progress=progress
        )
        if changed is model:  # the memo of a model must not refer to it
            return _Unchanged(statistics=found, records=records)
        return Prepared(model=changed, statistics=found, records=records)

    recent = model.memo.get("prepared", partial(Memo, _KEPT))
    kept = recent.get(prepared_key(model, recipe, samples), make)
    if isinstance(kept, Prepared):
        return kept
    return Prepared(model=model, statistics=kept.statistics, records=kept.records)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Unchanged:
    """As `Prepared`, where the passes left the model as it was."""

    statistics: Statistics
    records: tuple[PassRecord, ...]


def changes_model(recipe: Recipe) -> bool:
    """Whether a pass of the recipe changes the float model."""
    return any(PASSES[choice.name].changes_model for choice in recipe.passes)


def changes_encodings(recipe: Recipe) -> bool:
    """Whether a pass of the recipe changes what the float model becomes (`finish`)."""
    return not all(PASSES[choice.name].changes_model for choice in recipe.passes)


def prepared_key(model: Model, recipe: Recipe, samples: Samples) -> Hashable:
    """All that `prepare` depends on, besides the model."""
    passes = tuple(
        (choice.name, tuple(sorted(choice.options.items())))
        for choice in recipe.passes
        if PASSES[choice.name].changes_model
    )
    choices = (recipe.choice(layer.name) for layer in model.layers)
    return passes, recipe.target, tuple((c.weights, c.precision) for c in choices), samples.fingerprint


def finish(
    model: Model,
    recipe: Recipe,
    samples: Samples,
    encodings: Encodings,
    *,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> tuple[Encodings, tuple[PassRecord, ...]]:
    """Apply the passes that change only the quantized model.

    Args:
        model: The float model that `prepare` gave.
        recipe: Names the passes.
        samples: Calibration samples.
        encodings: As `resolve` gives them for that model and its statistics.
        threads: Samples run at the same time; None = one a processor.
        progress: Told how far it is; may raise `Cancelled`.

    Raises:
        DataError: There are no samples, or they do not fit the model.
    """
    return change_encodings(model, recipe, samples, encodings, threads=threads, progress=progress)


def carry_over(model: Model, encodings: Encodings, before: Encodings) -> Encodings:
    """Encodings of an edit, with integers and bias shifts as `finish` found them before it.

    For figures that must come at once; integers of weights whose scale the edit changed are left out.

    Args:
        model: The float model that `prepare` gave.
        encodings: As `resolve` gives them after the edit.
        before: As `finish` gave them before it.
    """
    same = {
        node: integers
        for node, integers in before.integers.items()
        if encodings.raw_weights.get(node) == before.raw_weights.get(node)
    }
    return with_bias_shifts(model, replace(encodings, integers=same), before.bias_shifts)


def quantize(
    model: Model,
    recipe: Recipe,
    samples: Samples,
    *,
    statistics: Statistics | None = None,
    threads: int | None = None,
    cache_dir: str | Path | None = None,
    cache: bool = True,
    progress: ProgressFn | None = None,
) -> Quantized:
    """The whole way: passes on the float model, calibration, encodings, passes on these, quantized model.

    The same model, recipe and samples, in whatever order, give the same bytes.

    Raises:
        RecipeError: The recipe does not fit the model.
        DataError: There are no samples, or they do not fit the model.
    """
    ready = prepare(
        model,
        recipe,
        samples,
        statistics=statistics,
        threads=threads,
        cache_dir=cache_dir,
        cache=cache,
        progress=progress,
    )
    encodings = resolve(recipe, ready.statistics, ready.model)
    final, records = finish(ready.model, recipe, samples, encodings, threads=threads, progress=progress)
    return Quantized(
        proto=quantize_model(ready.model, final),
        model=ready.model,
        statistics=ready.statistics,
        encodings=final,
        records=(*ready.records, *records),
    )
