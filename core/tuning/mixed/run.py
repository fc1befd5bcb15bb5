"""Mixed precision from end to end: search in simulation, then measure what was found as it is exported."""

import time
from collections.abc import Callable, Sequence

from quantscope.core.calibration import Statistics, calibrate
from quantscope.core.data import Samples
from quantscope.core.errors import RecipeError
from quantscope.core.evaluate import Accuracy, Preview, closeness_db, preview, whole_reference
from quantscope.core.model import Model
from quantscope.core.pipeline import Quantized, quantize
from quantscope.core.progress import ProgressFn, report
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Precision, Target, target
from quantscope.core.tuning.mixed.costs import Cost, CostModel
from quantscope.core.tuning.mixed.front import Front, Point, monotone
from quantscope.core.tuning.mixed.pace import Pace
from quantscope.core.tuning.mixed.search import AssignmentSearch, spread_out
from quantscope.core.tuning.mixed.space import Assignment, AssignmentSimulator, Space, free_layers
from quantscope.core.tuning.sample_split import split_samples

PRECISIONS = (Precision.INT8, Precision.INT16, Precision.FLOAT)  # the cheapest first
POINTS = 16  # most that are measured
SIMULATED = 16  # samples that the search runs on
JUDGES = 384  # most samples held out: shares of few rows are coarse


def mixed_precision(
    model: Model,
    recipe: Recipe,
    samples: Samples,
    *,
    statistics: Statistics | None = None,
    cost: Cost | str = Cost.SIZE,
    precisions: Sequence[Precision | str] = PRECISIONS,
    points: int = POINTS,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> Front:
    """Assign precisions to layers, and give what is best at each cost.

    Assignments are searched for with simulated runs on some samples. Those on the front found are then
    made into complete quantized models, passes and all, and measured on samples that neither the search
    nor the thresholds have seen; what another one beats there is left out. Layers whose precision
    `recipe` sets keep it. Its default precision gives way to the lowest of `precisions`.

    Deterministic, and independent of the order of the samples and of `threads`.

    Args:
        model: The float model.
        recipe: Methods, passes and choices to keep.
        samples: Calibration samples; up to a third are held out. With labels, points know their top-1.
        statistics: Of the model on these samples, used where there are too few to hold any out.
        cost: What is to be saved: bytes of the file, or estimated time.
        precisions: What layers may be given; at least two that the target has.
        points: Most points to measure, at least two.
        threads: Samples run side by side; None = one a processor.
        progress: Told how far it is; may raise `Cancelled`.

    Raises:
        RecipeError: A precision is unknown, or there is nothing to choose.
        DataError: There are no samples, or they do not fit the model.
    """
    kind, allowed = _cost_kind(cost), _allowed(precisions, target(recipe.target))
    fitted, held = split_samples(samples, most=JUDGES)
    known = statistics if held is None else None
    prepare = _unmeasured(progress)
    known = known or calibrate(model, fitted, threads=threads, cache=False, progress=prepare)

    def build(tried: Recipe, heard: ProgressFn | None) -> Quantized:
        return quantize(model, tried, fitted, statistics=known, threads=threads, cache=False, progress=heard)

    began = time.perf_counter()
    space = _space(model, recipe, build, allowed, prepare)
    judge = whole_reference(model, held or fitted, threads)
    recipe_seconds = time.perf_counter() - began  # as one that is measured takes
    costs = CostModel(space.built.model, space.built.statistics)
    simulator = AssignmentSimulator(space, costs, kind, fitted.take(SIMULATED), threads)
    search = AssignmentSearch(simulator)
    pace = Pace(progress, trials=search.total, recipes=points, recipe_seconds=recipe_seconds)
    search.run(pace.tried)
    chosen = spread_out(search.front(), search.found, max(points, 2))
    measured: list[Point] = []
    scores: Accuracy | None = None
    for number, assignment in enumerate(dict.fromkeys((space.bottom, *chosen))):

        def alive(_: object = None, done: int = number) -> None:
            pace.measured(done)

        alive()
        tried = space.with_recipe(assignment)
        result = preview(judge, build(tried, alive).proto, layers=False, threads=threads, progress=alive)
        measured.append(_point(space, tried, assignment, result, simulator.time(assignment)))
        scores = result.output.accuracy
    pace.measured(points)
    return _front(
        measured,
        scores,
        space=space,
        kind=kind,
        float_bytes=model.size_bytes,
        samples=len(judge),
        held_out=held is not None,
        searched=len(search.found),
    )


def _unmeasured(progress: ProgressFn | None) -> ProgressFn | None:
    """For work whose share of the whole is not known: what it does is told, but not how far it is."""
    if progress is None:
        return None
    return lambda step: report(progress, 0, 0, step.label)


def _front(
    measured: Sequence[Point],
    scores: Accuracy | None,
    *,
    space: Space,
    kind: Cost,
    float_bytes: int,
    samples: int,
    held_out: bool,
    searched: int,
) -> Front:
    """The measured points that no other one beats; `scores` are of any of them, for what float reaches."""
    points = monotone(measured, kind)
    return Front(
        kind=kind,
        points=points,
        lowest=space.lowest,
        layers=len(space.names),
        float_bytes=float_bytes,
        float_top1=None if scores is None else scores.float_top1,
        labelled=scores is not None and scores.float_top1 is not None,
        positions=scores is not None and scores.positions,
        rows=0 if scores is None else scores.rows,
        samples=samples,
        held_out=held_out,
        searched=searched,
        notes=_notes(space),
        beaten=tuple(point for point in measured if point not in points),
    )


def _space(
    model: Model,
    recipe: Recipe,
    build: Callable[[Recipe, ProgressFn | None], Quantized],
    allowed: tuple[Precision, ...],
    progress: ProgressFn | None,
) -> Space:
    """What there is to choose.

    Raises:
        RecipeError: Nothing.
    """
    start = recipe.with_default(precision=allowed[0])
    built = build(start, progress)
    names, options = free_layers(built, model, recipe, allowed)
    if not names:
        raise RecipeError(
            f"no layer of {model.name} is left to choose a precision for: the recipe sets each of them, "
            "or they cannot be quantized"
        )
    return Space(built=built, recipe=start, names=names, options=options, lowest=allowed[0])


def _point(space: Space, recipe: Recipe, assignment: Assignment, result: Preview, time: float) -> Point:
    scores = result.output.accuracy
    top1 = agreement = drop = None
    if scores is not None:
        top1, agreement = scores.quantized_top1, scores.agreement
        drop = 100.0 * (1.0 - agreement)
        if top1 is not None and scores.float_top1 is not None:
            drop = 100.0 * (scores.float_top1 - top1)
    changed = zip(space.names, assignment, strict=True)
    return Point(
        recipe=recipe,
        size_bytes=result.size_bytes,
        time=time,
        sqnr_db=closeness_db(result),
        top1=top1,
        agreement=agreement,
        drop=drop,
        layers=tuple((name, precision) for name, precision in changed if precision is not space.lowest),
    )


def _notes(space: Space) -> tuple[str, ...]:
    """What a reader of the figures should know."""
    target_ = space.built.encodings.placement.target
    notes = [
        "Time is estimated from multiply-accumulates, memory traffic and conversions, as a share of the "
        "float model's; measure the file that you take."
    ]
    if target_.integer_bits < 16 and any(Precision.INT16 in options for options in space.options):
        notes.append(
            f"{target_.label} has no integer kernels for 16-bit activations: it computes them in float "
            "between conversions, so they save bytes, and cost time."
        )
    return tuple(notes)


def _cost_kind(cost: Cost | str) -> Cost:
    try:
        return Cost(cost)
    except ValueError:
        raise RecipeError(f"there is no cost {cost!r}; choose from {', '.join(Cost)}") from None


def _allowed(precisions: Sequence[Precision | str], target_: Target) -> tuple[Precision, ...]:
    """The precisions, the cheapest first.

    Raises:
        RecipeError: One is unknown to the target, or there are fewer than two.
    """
    unknown = [str(p) for p in precisions if p not in target_.precisions]
    if unknown:
        raise RecipeError(
            f"{target_.label} has no precision {unknown[0]!r}; choose from {', '.join(target_.precisions)}"
        )
    found = tuple(p for p in PRECISIONS if p in {str(given) for given in precisions})
    if len(found) < 2:
        raise RecipeError("mixed precision needs at least two precisions to choose from, e.g. int8 and float")
    return found
