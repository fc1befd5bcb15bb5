"""The default for the whole network whose integer model comes closest to the float one, by measurement."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from quantscope.core.calibration import Statistics
from quantscope.core.data import Samples
from quantscope.core.evaluate import FloatReference, closeness_db, float_reference, preview
from quantscope.core.model import Model
from quantscope.core.progress import ProgressFn, report
from quantscope.core.quantize import Encodings, quantize_model, resolve
from quantscope.core.recipe import Choice, ChoiceChanges, Recipe
from quantscope.core.thresholds import METHODS, Method, Needs, WeightMethod
from quantscope.core.tuning.sample_split import representative_samples
from quantscope.core.tuning.unseen_samples import FOLDS, MARGIN_DB, unseen_gains, why_refused

SAMPLES = 32  # measured on; more hardly changes which choice wins
CHECKED = 4  # of the best trials that are measured on samples that their ranges have not seen
MOST_CHECKED = 96  # samples for it
FEWEST_CHECKED = 6
UNMEASURED = "was not measured on samples that its ranges have not seen"
SHARES = (99.999, 99.99, 99.9)  # percent of values kept, for a method that needs a share


def changes_of(method: Method) -> tuple[ChoiceChanges, ...]:
    """What a choice is changed to in order to try a method: once, or with each of `SHARES`."""
    if method.facts.needs is Needs.SHARE:
        return tuple({"method": method, "percentile": share} for share in SHARES)
    return ({"method": method},)


ACTIVATIONS: tuple[ChoiceChanges, ...] = tuple(
    changes for method, facts in METHODS.items() if facts.default_trial for changes in changes_of(method)
)
WEIGHTS: tuple[ChoiceChanges, ...] = ({"weight_method": WeightMethod.MSE},)


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultTrial:
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
    trials: tuple[DefaultTrial, ...]
    samples: int

    @property
    def best(self) -> DefaultTrial:
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
    # From plain weights, whatever the recipe has: plain MinMax is among the trials, and none is made twice.
    start = (recipe or Recipe()).with_default(weight_method=WeightMethod.MINMAX)
    total = len(ACTIVATIONS) + len(WEIGHTS)
    found = try_defaults(
        model, statistics, samples, start, progress=progress, threads=threads, total=total + FOLDS
    )
    trials = list(found.trials)
    first = [trials.index(trial) for trial in _ranked(trials)]
    known = samples.select(samples.by_content()[:MOST_CHECKED])
    gains: dict[int, tuple[float, ...]] = {}
    if len(known) >= FEWEST_CHECKED and first:
        recipes = [start.with_default(**_tried_fields(trials[at].choice)) for at in first[:CHECKED]]
        plain = start.with_default(**_tried_fields(trials[0].choice))
        measured = unseen_gains(model, known, plain, recipes, threads=threads, progress=progress, done=total)
        gains = dict(zip(first, measured, strict=False))
    for at in first:
        refused = why_refused(gains[at], len(known)) if at in gains else UNMEASURED
        trials[at] = replace(trials[at], gains_db=gains.get(at, ()), refused=refused)
    best = _winner(trials)
    return MeasuredDefault(
        recipe=start.with_default(**_tried_fields(best.choice)), trials=tuple(trials), samples=found.samples
    )


def try_defaults(
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
    few = representative_samples(samples, SAMPLES)
    reference = float_reference(model, few, count=SAMPLES, layers=False, threads=threads)
    total = total or len(ACTIVATIONS) + len(WEIGHTS)
    trials: list[DefaultTrial] = []
    encodings: Encodings | None = None
    for stage in (ACTIVATIONS, WEIGHTS):
        base = _winner(trials).choice if trials else start.default
        for changes in stage:
            tried = start.with_default(**_tried_fields(base)).with_default(**changes)
            encodings = resolve(tried, statistics, model, previous=encodings)
            trials.append(_trial(tried, encodings, reference, threads))
            report(progress, len(trials), total, trials[-1].label)
    best = _winner(trials)
    return MeasuredDefault(
        recipe=start.with_default(**_tried_fields(best.choice)), trials=tuple(trials), samples=len(reference)
    )


def _winner(trials: Sequence[DefaultTrial]) -> DefaultTrial:
    return next((trial for trial in _ranked(trials) if not trial.refused), trials[0])


def _ranked(trials: Sequence[DefaultTrial]) -> list[DefaultTrial]:
    """Those that win over MinMax, the first, and make no more channels constant; the best first."""
    plain = trials[0]
    wins = [t for t in trials if t.sqnr_db > plain.sqnr_db + MARGIN_DB and t.lost <= plain.lost]
    return sorted(wins, key=lambda trial: -trial.sqnr_db)


def _tried_fields(choice: Choice) -> ChoiceChanges:
    """What the trials decide of a choice."""
    return {
        "method": choice.method,
        "percentile": choice.percentile,
        "weight_method": choice.weight_method,
    }


def _trial(
    recipe: Recipe, encodings: Encodings, reference: FloatReference, threads: int | None
) -> DefaultTrial:
    result = preview(reference, quantize_model(reference.model, encodings), layers=False, threads=threads)
    default = recipe.default
    share = f" {default.percentile:g}" if default.method is Method.PERCENTILE else ""
    return DefaultTrial(
        choice=default,
        label=f"{default.method}{share}, weights {default.weight_method}",
        sqnr_db=closeness_db(result),
        cosine=result.output.overall.cosine or 0.0,
        lost=result.output.lost,
    )
