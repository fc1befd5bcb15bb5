"""Mixed precision in the background: the front, kept for the page, and which of its points is chosen."""

from collections.abc import Sequence
from dataclasses import dataclass

from quantscope.core.progress import ProgressFn
from quantscope.core.tuning.mixed import Cost, Front, mixed_precision
from quantscope.ui.session import cached
from quantscope.ui.session.jobs import Job, JobId
from quantscope.ui.session.state import Session, recipe_token


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedRun:
    """A front, and the recipes that it is of."""

    tokens: frozenset[str]  # of the recipe that it began with, and of all points
    front: Front


def job(id: str) -> Job[MixedRun] | None:
    """The newest job of project `id`."""
    return cached.registry().get(_id(id))


def start(now: Session, cost: Cost, precisions: Sequence[str]) -> None:
    """Search from the shown recipe; layers whose precision is set keep it."""
    space, recipe = now.opened, now.recipe
    samples = space.samples
    if samples is None:
        return

    def work(tell: ProgressFn) -> MixedRun:
        front = mixed_precision(
            space.model,
            recipe,
            samples,
            statistics=space.statistics,
            cost=cost,
            precisions=precisions,
            progress=tell,
        )
        recipes = (recipe, *(point.recipe for point in (*front.points, *front.beaten)))
        return MixedRun(tokens=frozenset(map(recipe_token, recipes)), front=front)

    cached.registry().restart(_id(now.project.id), "Mixed precision", work)


def _id(project: str) -> JobId[MixedRun]:
    return JobId(f"{project}:mixed")
