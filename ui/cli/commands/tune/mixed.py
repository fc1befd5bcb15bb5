"""What `tune` is asked to reach with mixed precision, and the front that was found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from quantscope.core.data import Samples
from quantscope.core.data.sources import all_ignored, label_shapes, may_be_labelled
from quantscope.core.errors import RecipeError
from quantscope.core.evaluate import float_reference
from quantscope.core.model import Model
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Precision, target
from quantscope.core.tuning.mixed import PRECISIONS, Cost, Front, Point, mixed_precision, read_budget
from quantscope.ui.cli.commands.tune.command import Aim
from quantscope.ui.cli.options import Running
from quantscope.ui.cli.recipes import pick
from quantscope.ui.cli.samples import unused_labels
from quantscope.ui.terminal.console import BadInput, note, progress_bar


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatFigures:
    """The float model, to compare points with."""

    size_bytes: int
    top1: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PointFigures:
    """A mix of precisions, measured as a complete model."""

    size_bytes: int
    time_share: float  # of the float model's time, estimated
    sqnr_db: float
    exact: bool  # its outputs are the float model's
    top1: float | None
    agreement: float | None
    drop: float | None
    layers: Mapping[str, Precision]  # those not in the lowest precision
    taken: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontFigures:
    """What can be had for what."""

    cost: Cost
    float_: FloatFigures
    layers: int
    lowest: Precision
    samples: int
    held_out: bool
    labelled: bool
    positions: bool
    points: tuple[PointFigures, ...]
    notes: tuple[str, ...]

    @property
    def taken(self) -> PointFigures:
        """The point that was written."""
        return next(point for point in self.points if point.taken)


def check(aim: Aim, recipe: Recipe) -> None:
    """Make sure, before minutes are spent, that all of it can be understood.

    Raises:
        BadInput: It cannot.
    """
    if aim.given and not aim.limited:
        raise BadInput(
            "--precisions and --cost say how to search; what for is said by --max-drop, --min-sqnr or "
            "--budget"
        )
    if aim.max_drop is not None and not 0.0 <= aim.max_drop <= 100.0:
        raise BadInput(f"--max-drop takes points of top-1, 0 to 100, not {aim.max_drop:g}")
    if aim.min_sqnr is not None and not math.isfinite(aim.min_sqnr):
        raise BadInput(f"--min-sqnr takes a number of dB, not {aim.min_sqnr:g}")
    limit(aim, 1)
    allowed(aim, recipe)


def check_scores(aim: Aim, model: Model, samples: Samples) -> None:
    """Make sure, before minutes are spent, that there is a top-1 where one is to be kept.

    Raises:
        BadInput: No output holds class scores, or no label is a class.
    """
    if aim.max_drop is None:
        return
    scores = float_reference(model, samples, count=1, layers=False).scores
    if scores is None:
        by_labels = ""
        if samples.labels is None and may_be_labelled(model):
            by_labels = f"; where one does, labels tell: --labels PATH ({label_shapes(model)})"
        raise BadInput(
            f"--max-drop limits points of top-1, but no output of '{model.name}' is known to hold class "
            f"scores{by_labels}; or limit the error of the outputs with --min-sqnr instead"
        )
    if scores.labels is not None and all_ignored(scores.labels):
        raise BadInput("--max-drop: all labels are the ignore label, so there is no top-1 to keep")
    if scores.labels is None and samples.labels is not None:
        note(unused_labels(samples.labels, model))


def kind(aim: Aim) -> Cost:
    """What is to be saved."""
    return pick(Cost, aim.cost, "--cost") or Cost.SIZE


def allowed(aim: Aim, recipe: Recipe) -> tuple[Precision, ...]:
    """The precisions to choose from: as named, else those that the target has kernels for.

    Raises:
        BadInput: One does not exist, or there are fewer than two.
    """
    fast = target(recipe.target).integer_bits
    if aim.precisions is None:
        return tuple(p for p in PRECISIONS if p is not Precision.INT16 or fast >= 16)
    names = [name.strip() for name in aim.precisions.split(",")]
    found = {pick(Precision, name, "--precisions") for name in names}
    if len(found) < 2:
        raise BadInput("--precisions needs two or more to choose from, such as int8,float")
    return tuple(p for p in PRECISIONS if p in found)


def limit(aim: Aim, float_bytes: int) -> float | None:
    """The budget in bytes, or as a share of the float model's time; None without one.

    Raises:
        BadInput: It is no size.
    """
    if aim.budget is None:
        return None
    text, found = aim.budget.strip(), read_budget(aim.budget, kind(aim), float_bytes)
    if found is None and kind(aim) is Cost.LATENCY:
        raise BadInput(
            f"--budget: with --cost latency give a share of the float model's time, as 60%, not '{text}'"
        )
    if found is None:
        raise BadInput(f"--budget takes a size such as 500kB, 2MB or 60% of the float model, not '{text}'")
    return found


def picked(aim: Aim, front: Front) -> Point:
    """The point that was asked for.

    Raises:
        RecipeError: There is none; the message names the nearest.
    """
    budget = limit(aim, front.float_bytes)
    if aim.max_drop is None and aim.min_sqnr is None:
        assert budget is not None
        return front.best(budget)
    point = front.cheapest(max_drop=aim.max_drop, min_sqnr=aim.min_sqnr)
    if budget is not None and point.cost(front.kind) > budget:
        raise RecipeError(
            f"what is asked for takes {front.cost_text(point)}, which is more than --budget {aim.budget}; "
            "allow more, or ask for less"
        )
    return point


def mixed(
    model: Model, samples: Samples, start: Recipe, tuned: Recipe, aim: Aim, running: Running, *, quiet: bool
) -> tuple[Recipe, FrontFigures]:
    """The recipe of the point asked for, and the front.

    Precisions that tuning chose are open again; those of `start` stay.

    Raises:
        QuantScopeError: No point is good enough, or there is nothing to choose.
    """
    for name in set(tuned.layers) - set(start.layers):
        tuned = tuned.with_layer(name, precision=None)
    with progress_bar("mixed precision", quiet) as progress:
        front = mixed_precision(
            model,
            tuned,
            samples,
            cost=kind(aim),
            precisions=allowed(aim, start),
            threads=running.threads,
            progress=progress,
        )
    point = picked(aim, front)
    return point.recipe, figures(front, point)


def figures(front: Front, taken: Point) -> FrontFigures:
    """A front for JSON and tables."""
    return FrontFigures(
        cost=front.kind,
        float_=FloatFigures(size_bytes=front.float_bytes, top1=front.float_top1),
        layers=front.layers,
        lowest=front.lowest,
        samples=front.samples,
        held_out=front.held_out,
        labelled=front.labelled,
        positions=front.positions,
        points=tuple(
            PointFigures(
                size_bytes=point.size_bytes,
                time_share=point.time,
                sqnr_db=point.sqnr_db,
                exact=point.sqnr_db == math.inf,
                top1=point.top1,
                agreement=point.agreement,
                drop=point.drop,
                layers=dict(point.layers),
                taken=point is taken,
            )
            for point in front.points
        ),
        notes=tuple(front.notes),
    )
