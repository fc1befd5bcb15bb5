"""A front of mixed-precision recipes: each cheaper point is less exact, each more exact one dearer."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from quantscope.core.errors import RecipeError
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Precision
from quantscope.core.tuning.mixed.costs import Cost

_ROUNDING = 1e-9  # of shares that are quotients of counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One recipe, measured as the complete quantized model on samples kept for judging."""

    recipe: Recipe
    size_bytes: int  # of the file that it exports
    time: float  # estimated, as a share of the float model's
    sqnr_db: float  # of the network's outputs (`evaluate.closeness`); inf where they equal the float model's
    top1: float | None  # share from 0 to 1; None without labels
    agreement: float | None  # share of rows where float puts the same class first; None without class scores
    drop: float | None  # points of top-1 below float; without labels the points of rows that disagree
    layers: tuple[tuple[str, Precision], ...]  # those that are not in the lowest precision, in model order

    def cost(self, kind: Cost) -> float:
        """Bytes, or the share of the float model's time."""
        return float(self.size_bytes) if kind is Cost.SIZE else self.time


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What can be had for what: points by rising cost, and so by rising SQNR."""

    kind: Cost
    points: tuple[Point, ...]
    lowest: Precision  # what layers have that a point does not list
    layers: int  # that could be given more than one precision
    float_bytes: int  # of the user's file
    float_top1: float | None
    labelled: bool  # False: `drop` counts rows in which the first class changes, which top-1 cannot exceed
    rows: int  # of class scores that `drop` counts; 0 without them
    samples: int  # measured on
    held_out: bool  # False: too few samples to hold any out, so these are the ones that chose
    searched: int  # assignments that were simulated to find the points
    notes: tuple[str, ...]  # what the target makes of it, and what is an estimate
    positions: bool = False  # rows are tokens or pixels
    beaten: tuple[Point, ...] = ()  # measured too; a point of the front costs no more and is no less exact

    @property
    def plain(self) -> Point:
        """Every layer in the lowest precision, to compare with; on the front unless another beats it."""
        return next(point for point in (*self.points, *self.beaten) if not point.layers)

    def cheapest(self, *, max_drop: float | None = None, min_sqnr: float | None = None) -> Point:
        """The cheapest point that is good enough.

        Args:
            max_drop: Most points of top-1 below float (percentage points).
            min_sqnr: Least SQNR of the outputs in dB.

        Raises:
            RecipeError: No point is; the message names the nearest one. Or there is no accuracy to go by.
        """
        if max_drop is not None and all(point.drop is None for point in self.points):
            raise RecipeError(
                "this model's outputs are no class scores, so there is no top-1 to limit; "
                "limit the error of the outputs instead (a least SQNR)"
            )
        good = [point for point in self.points if _enough(point, max_drop, min_sqnr)]
        if good:
            return good[0]
        if max_drop is not None and not any(_enough(point, max_drop, None) for point in self.points):
            near = min(self.points, key=lambda point: 100.0 if point.drop is None else point.drop)
            found = f"loses at most {max_drop:g} points of top-1; the nearest loses {near.drop:.2f}"
        elif min_sqnr is not None and not any(_enough(point, None, min_sqnr) for point in self.points):
            near = self.points[-1]
            found = f"keeps {min_sqnr:g} dB of SQNR; the nearest has {near.sqnr_db:.2f} dB"
        else:
            near = self.points[-1]
            found = (
                f"loses at most {max_drop:g} points of top-1 and keeps {min_sqnr:g} dB of SQNR; "
                f"the nearest loses {near.drop:.2f} and has {near.sqnr_db:.2f} dB"
            )
        raise RecipeError(f"no point {found}, at {self.cost_text(near)}")

    def best(self, budget: float) -> Point:
        """The most exact point that costs at most `budget` (bytes, or a share of the float model's time).

        Raises:
            RecipeError: All cost more; the message names the cheapest one.
        """
        within = [point for point in self.points if point.cost(self.kind) <= budget]
        if not within:
            least = self.points[0]
            raise RecipeError(
                f"nothing fits into {cost_text(budget, self.kind)}: the cheapest point takes "
                f"{self.cost_text(least)}"
                + (
                    ", without any error"
                    if least.sqnr_db == math.inf
                    else f", with {least.sqnr_db:.2f} dB of SQNR"
                )
            )
        return within[-1]

    def cost_text(self, point: Point) -> str:
        """A point's cost, for a sentence."""
        return cost_text(point.cost(self.kind), self.kind)


def cost_text(cost: float, kind: Cost) -> str:
    """A cost with its unit."""
    if kind is Cost.SIZE:
        return f"{cost:,.0f} bytes"
    return f"{100.0 * cost:.1f} % of the float model's time (estimated)"


def monotone(points: Iterable[Point], kind: Cost) -> tuple[Point, ...]:
    """The points that no other one beats in both cost and SQNR, by rising cost."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost(kind), -p.sqnr_db, len(p.layers), p.layers)):
        if not kept or point.sqnr_db > kept[-1].sqnr_db:
            kept.append(point)
    return tuple(kept)


def _enough(point: Point, max_drop: float | None, min_sqnr: float | None) -> bool:
    if max_drop is not None and (point.drop is None or point.drop > max_drop + _ROUNDING):
        return False
    return min_sqnr is None or point.sqnr_db >= min_sqnr
