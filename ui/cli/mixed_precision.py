"""What `tune` is asked to reach with mixed precision, and the front it found as plain figures."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from quantscope.core.data import Samples
from quantscope.core.data.sources import all_ignored, label_shapes, may_be_labelled
from quantscope.core.errors import RecipeError
from quantscope.core.evaluate import float_reference
from quantscope.core.model import Model
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Precision, target
from quantscope.core.tuning.mixed import PRECISIONS, Cost, Front, Point, mixed_precision
from quantscope.ui.cli.arguments import pick, unused_labels
from quantscope.ui.terminal.console import BadInput, note, progress_bar

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
_SIZE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(?:([kmg]i?)?b?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a command line asks of mixed precision."""

    max_drop: float | None = None  # points of top-1
    min_sqnr: float | None = None  # dB
    budget: str | None = None
    precisions: str | None = None
    cost: str | None = None

    @property
    def given(self) -> bool:
        """Whether mixed precision is asked for."""
        return self.limited or self.precisions is not None or self.cost is not None

    @property
    def limited(self) -> bool:
        """Whether there is something to pick a point by."""
        return any(value is not None for value in (self.max_drop, self.min_sqnr, self.budget))

    def check(self, recipe: Recipe) -> None:
        """Make sure, before minutes are spent, that all of it can be understood.

        Raises:
            BadInput: It cannot.
        """
        if self.given and not self.limited:
            raise BadInput(
                "--precisions and --cost say how to search; what for is said by --max-drop, --min-sqnr or "
                "--budget"
            )
        if self.max_drop is not None and not 0.0 <= self.max_drop <= 100.0:
            raise BadInput(f"--max-drop takes points of top-1, 0 to 100, not {self.max_drop:g}")
        if self.min_sqnr is not None and not math.isfinite(self.min_sqnr):
            raise BadInput(f"--min-sqnr takes a number of dB, not {self.min_sqnr:g}")
        self.limit(1)
        self.allowed(recipe)

    def check_scores(self, model: Model, samples: Samples) -> None:
        """Make sure, before minutes are spent, that there is a top-1 where one is to be kept.

        Raises:
            BadInput: No output holds class scores, or no label is a class.
        """
        if self.max_drop is None:
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

    @property
    def kind(self) -> Cost:
        """What is to be saved."""
        return pick(Cost, self.cost, "--cost") or Cost.SIZE

    def allowed(self, recipe: Recipe) -> tuple[Precision, ...]:
        """The precisions to choose from: as named, else those that the target has kernels for.

        Raises:
            BadInput: One does not exist, or there are fewer than two.
        """
        fast = target(recipe.target).integer_bits
        if self.precisions is None:
            return tuple(p for p in PRECISIONS if p is not Precision.INT16 or fast >= 16)
        names = [name.strip() for name in self.precisions.split(",")]
        found = {pick(Precision, name, "--precisions") for name in names}
        if len(found) < 2:
            raise BadInput("--precisions needs two or more to choose from, such as int8,float")
        return tuple(p for p in PRECISIONS if p in found)

    def limit(self, float_bytes: int) -> float | None:
        """The budget in bytes, or as a share of the float model's time; None without one.

        Raises:
            BadInput: It is no size.
        """
        text = "" if self.budget is None else self.budget.strip()
        if self.budget is None:
            return None
        share = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*%", text)
        if share is not None and float(share[1]) > 0.0:
            return float(share[1]) / 100.0 * (float_bytes if self.kind is Cost.SIZE else 1.0)
        found = _SIZE.fullmatch(text)
        if self.kind is Cost.LATENCY:
            raise BadInput(
                f"--budget: with --cost latency give a share of the float model's time, as 60%, not '{text}'"
            )
        if found is None or float(found[1]) <= 0.0:
            raise BadInput(
                f"--budget takes a size such as 500kB, 2MB or 60% of the float model, not '{text}'"
            )
        return float(found[1]) * _UNITS[(found[2] or "").lower()]

    def pick(self, front: Front) -> Point:
        """The point that was asked for.

        Raises:
            RecipeError: There is none; the message names the nearest.
        """
        budget = self.limit(front.float_bytes)
        if self.max_drop is None and self.min_sqnr is None:
            assert budget is not None
            return front.best(budget)
        point = front.cheapest(max_drop=self.max_drop, min_sqnr=self.min_sqnr)
        if budget is not None and point.cost(front.kind) > budget:
            raise RecipeError(
                f"what is asked for takes {front.cost_text(point)}, which is more than --budget "
                f"{self.budget}; allow more, or ask for less"
            )
        return point


def mixed(
    model: Model,
    samples: Samples,
    start: Recipe,
    tuned: Recipe,
    aim: Aim,
    *,
    threads: int | None,
    quiet: bool,
) -> tuple[Recipe, dict[str, Any]]:
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
            cost=aim.kind,
            precisions=aim.allowed(start),
            threads=threads,
            progress=progress,
        )
    point = aim.pick(front)
    return point.recipe, figures(front, point)


def figures(front: Front, taken: Point) -> dict[str, Any]:
    """A front for JSON and tables."""
    return {
        "cost": front.kind,
        "float": {"size_bytes": front.float_bytes, "top1": front.float_top1},
        "layers": front.layers,
        "lowest": front.lowest,
        "samples": front.samples,
        "held_out": front.held_out,
        "labelled": front.labelled,
        "positions": front.positions,
        "points": [
            {
                "size_bytes": point.size_bytes,
                "time_share": point.time,
                "sqnr_db": point.sqnr_db,
                "exact": point.sqnr_db == math.inf,
                "top1": point.top1,
                "agreement": point.agreement,
                "drop": point.drop,
                "layers": dict(point.layers),
                "taken": point is taken,
            }
            for point in front.points
        ],
        "notes": front.notes,
    }
