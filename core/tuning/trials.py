"""Choices made by measurement: the recipe whose integer model comes closest to the float one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from quantscope.core.calibration import Statistics, calibrate
from quantscope.core.data import Samples
from quantscope.core.evaluate import FloatReference, closeness_db, float_reference, preview
from quantscope.core.model import Model
from quantscope.core.passes import SUFFIX
from quantscope.core.pipeline import Quantized, quantize
from quantscope.core.progress import Progress, ProgressFn, report
from quantscope.core.quantize import Encodings, quantize_model, resolve
from quantscope.core.recipe import PASSES, Choice, Recipe
from quantscope.core.thresholds import METHODS, Method, Needs, WeightMethod
from quantscope.core.tuning.unseen_samples import FOLDS, unseen_gains, why_refused
from quantscope.core.tuning.unseen_samples import MARGIN_DB as MARGIN_DB

HELD_OUT = 64  # samples that only the last comparison sees
FEWEST = 16  # samples of which some are held out
SAMPLES = 32  # measured on; more hardly changes which choice wins
CHECKED = 4  # of the best trials that are measured on samples that their ranges have not seen
MOST_CHECKED = 96  # samples for it
FEWEST_CHECKED = 6
UNMEASURED = "was not measured on samples that its ranges have not seen"
SHARES = (99.999, 99.99, 99.9)  # percent of values kept, for a method that needs a share


def changes_of(method: Method) -> tuple[dict[str, Any], ...]:
    """What a choice is changed to in order to try a method: once, or with each of `SHARES`."""
    if method.facts.needs is Needs.SHARE:
        return tuple({"method": method, "percentile": share} for share in SHARES)
    return ({"method": method},)


ACTIVATIONS = tuple(
    changes for method, facts in METHODS.items() if facts.default_trial for changes in changes_of(method)
)
WEIGHTS: tuple[dict[str, Any], ...] = ({"weight_method": WeightMethod.MSE},)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One default that was tried for the whole network."""

    choice: Choice  # complete
    label: str  # for people, e.g. "percentile 99.99, weights minmax"
    sqnr_db: float  # `closeness_db` of the integer model's outputs to the float model's
    cosine: float
    lost: int = 0  # channels of the outputs that vary in the float model and are constant here
    gains_db: tuple[
        float, ...
    ] = ()  # over MinMax on samples that its ranges have not seen; () = not measured
    refused: str = ""  # why it is not taken in spite of its figure


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredDefault:
    """The best of the trials, and all of them in the order they were made."""

    recipe: Recipe
    trials: tuple[Trial, ...]
    samples: int

    @property
    def best(self) -> Trial:
        """The trial that won: MinMax, the first, unless another wins `MARGIN_DB` and is not refused."""
        return _winner(self.trials)


def measured_default(
    model: Model,
    statistics: Statistics,
    samples: Samples,
    recipe: Recipe | None = None,
    *,
    progress: ProgressFn | None = None,
    threads: int | None = None,
) -> MeasuredDefault:
    """Try each method as the default of the whole network, and keep what is best on other samples, too.

    Every trial is the complete integer model, run by ONNX Runtime; the score is its `closeness_db`. A method
    that cuts values off fits the samples that its ranges come from. Therefore the best ones are measured a
    second time: on each third of the samples with ranges from the two others, against MinMax. One is taken
    only if it wins by that what so few samples can tell (`why_refused`). It stays MinMax otherwise, and where
    there are too few samples to tell. Layers that the recipe sets keep their choice. Samples are taken by
    content, so that the result does not hang on their order.

    Args:
        model: The float model.
        statistics: Its histograms.
        samples: Calibration samples.
        recipe: What to start from.
        progress: Called after each trial; may raise `Cancelled`.
        threads: Samples run side by side.
    """
    start = recipe or Recipe()
    total = len(ACTIVATIONS) + len(WEIGHTS)
    found = tried_defaults(
        model, statistics, samples, start, progress=progress, threads=threads, total=total + FOLDS
    )
    trials = list(found.trials)
    first = [trials.index(trial) for trial in _ranked(trials)]
    known = samples.select(samples.by_content()[:MOST_CHECKED])
    gains: dict[int, tuple[float, ...]] = {}
    if len(known) >= FEWEST_CHECKED and first:
        recipes = [start.with_default(**_complete(trials[at].choice)) for at in first[:CHECKED]]
        plain = start.with_default(**_complete(trials[0].choice))
        measured = unseen_gains(model, known, plain, recipes, threads=threads, progress=progress, done=total)
        gains = dict(zip(first, measured, strict=False))
    for at in first:
        refused = why_refused(gains[at], len(known)) if at in gains else UNMEASURED
        trials[at] = replace(trials[at], gains_db=gains.get(at, ()), refused=refused)
    best = _winner(trials)
    return MeasuredDefault(
        recipe=start.with_default(**_complete(best.choice)), trials=tuple(trials), samples=found.samples
    )


def tried_defaults(
    model: Model,
    statistics: Statistics,
    samples: Samples,
    recipe: Recipe | None = None,
    *,
    progress: ProgressFn | None = None,
    threads: int | None = None,
    total: int | None = None,
) -> MeasuredDefault:
    """Try each method as the default of the whole network on samples that ranges may have been made from.

    Args:
        model: The float model.
        statistics: Its histograms.
        samples: Calibration samples.
        recipe: What to start from.
        progress: Called after each trial; may raise `Cancelled`.
        threads: Samples run side by side.
        total: Trials to speak of in the progress; None = those made here.
    """
    start = recipe or Recipe()
    few = representative(samples, SAMPLES)
    reference = float_reference(model, few, count=SAMPLES, layers=False, threads=threads)
    total = total or len(ACTIVATIONS) + len(WEIGHTS)
    trials: list[Trial] = []
    encodings: Encodings | None = None
    for stage in (ACTIVATIONS, WEIGHTS):
        base = _winner(trials).choice if trials else start.default
        for changes in stage:
            tried = start.with_default(**_complete(base)).with_default(**changes)
            encodings = resolve(tried, statistics, model, previous=encodings)
            trials.append(_trial(tried, encodings, reference, threads))
            report(progress, len(trials), total, trials[-1].label)
    best = _winner(trials)
    return MeasuredDefault(
        recipe=start.with_default(**_complete(best.choice)), trials=tuple(trials), samples=len(reference)
    )


def split_samples(
    samples: Samples, most: int = HELD_OUT, fewest: int = FEWEST
) -> tuple[Samples, Samples | None]:
    """Samples to choose on, in the order of their content, and others to judge by; None if they are few.

    A third is held out, but no more than `most`; none of less than `fewest`.
    """
    order = samples.by_content()
    if len(order) < fewest:
        return samples.select(order), None
    held = min(most, len(order) // 3)
    return samples.select(order[:-held]), samples.select(order[-held:])


@dataclass(frozen=True, slots=True, kw_only=True)
class FixTrial:
    """A recipe with one pass more, or one less."""

    name: str  # in core.passes.PASSES
    added: bool  # False: the recipe has it, and the trial is without
    before_db: float  # `closeness_db` of the recipe
    after_db: float  # of the trial
    samples: int  # measured on; they were not used to find the fix unless there are too few
    sentences: tuple[str, ...]  # what the pass did; empty for a trial without it

    @property
    def gain_db(self) -> float:
        """What having the pass wins, in dB."""
        change = self.after_db - self.before_db
        return change if self.added else -change


def tried_fixes(
    model: Model,
    samples: Samples,
    recipe: Recipe,
    *,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> tuple[FixTrial, ...]:
    """Measure a recipe with each pass added, or taken out where it has it.

    Args:
        model: The float model as loaded.
        samples: Calibration samples; a third of them, up to `HELD_OUT`, judge what the others found.
        recipe: What to start from.
        threads: Samples run side by side.
        progress: Called after each trial; may raise `Cancelled`.

    Raises:
        DataError: There are no samples, or they do not fit the model.
    """
    fitted, held = split_samples(samples)
    judges = held or fitted
    reference = float_reference(model, judges, count=len(judges), layers=False, threads=threads)
    total, found = len(PASSES), list[FixTrial]()
    trying = "as it is"

    def alive(_: Progress | None = None) -> None:
        report(progress, len(found), total, trying)

    statistics = calibrate(model, fitted, threads=threads, cache=False, progress=alive)

    def measured(tried: Recipe) -> tuple[Quantized, float]:
        built = quantize(
            model, tried, fitted, statistics=statistics, threads=threads, cache=False, progress=alive
        )
        seen = preview(reference, built.proto, layers=False, threads=threads, progress=alive)
        return built, closeness_db(seen)

    _, before = measured(recipe)
    for name in PASSES:
        trying = PASSES[name].label
        added = name not in {choice.name for choice in recipe.passes}
        built, after = measured(toggled(recipe, name, added))
        said = next((record.sentences for record in built.records if record.choice.name == name), ())
        found.append(
            FixTrial(
                name=name,
                added=added,
                before_db=before,
                after_db=after,
                samples=len(reference),
                sentences=said,
            )
        )
        alive()
    return tuple(found)


def toggled(recipe: Recipe, name: str, on: bool) -> Recipe:
    """The recipe with a pass added, in working order, or taken out with what was chosen for its layers."""
    chosen = {choice.name: choice for choice in recipe.passes}
    wanted = [n for n in PASSES if (n == name and on) or (n != name and n in chosen)]
    after = recipe.with_passes(*(chosen.get(n, n) for n in wanted))
    return after if "smooth" in wanted else without_inserted(after)


def without_inserted(recipe: Recipe) -> Recipe:
    """No choices for layers that only a pass makes."""
    for layer in [name for name in recipe.layers if name.endswith(SUFFIX)]:
        recipe = recipe.without_layer(layer)
    return recipe


def representative(samples: Samples, count: int) -> Samples:
    """Up to `count` samples, the same ones in whatever order the data come."""
    if len(samples) <= count:
        return samples
    return samples.select(sorted(samples.by_content()[:count]))


def _winner(trials: Sequence[Trial]) -> Trial:
    return next((trial for trial in _ranked(trials) if not trial.refused), trials[0])


def _ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Those that win over MinMax, the first, and make no more channels constant; the best first."""
    plain = trials[0]
    wins = [t for t in trials if t.sqnr_db > plain.sqnr_db + MARGIN_DB and t.lost <= plain.lost]
    return sorted(wins, key=lambda trial: -trial.sqnr_db)


def _complete(choice: Choice) -> dict[str, Any]:
    return {name: getattr(choice, name) for name in ("method", "percentile", "weight_method")}


def _trial(recipe: Recipe, encodings: Encodings, reference: FloatReference, threads: int | None) -> Trial:
    seen = preview(reference, quantize_model(reference.model, encodings), layers=False, threads=threads)
    default = recipe.default
    share = f" {default.percentile:g}" if default.method is Method.PERCENTILE else ""
    return Trial(
        choice=default,
        label=f"{default.method}{share}, weights {default.weight_method}",
        sqnr_db=closeness_db(seen),
        cosine=seen.output.overall.cosine or 0.0,
        lost=seen.output.lost,
    )
