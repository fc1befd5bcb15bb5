"""Model fixes in the app: passes that change the float model, and those that change what it becomes."""

import hashlib
import threading
from dataclasses import dataclass, field, replace

from quantscope.core.errors import DataError
from quantscope.core.memo import Recent
from quantscope.core.passes import PassRecord
from quantscope.core.pipeline import Prepared, changes_encodings, changes_model, finish, prepare, prepared_key
from quantscope.core.progress import ProgressFn, report
from quantscope.core.project import Project
from quantscope.core.quantize import Encodings
from quantscope.core.recipe import Recipe
from quantscope.core.tuning import without_inserted_layers
from quantscope.ui.session import cached
from quantscope.ui.session.jobs import Job, JobId, acquired
from quantscope.ui.session.workspace import Workspace

KEPT = 3  # changed models of a project in memory; others are made again when they are asked for
PATIENCE = 1.5  # seconds in which small models are ready, without a page that shows progress
FINAL = 8  # finished encodings

WITHOUT_DATA = (
    "the recipe's model fixes measure on the calibration data, which cannot be opened; "
    "put the data back, or undo the last change"
)


@dataclass(slots=True)
class FixedModels:
    """Jobs that changed a project's model, that asked for last at the end."""

    ids: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, id: str) -> None:
        """Note that a job is asked for; drop the results that were asked for longest ago."""
        with self.lock:
            ids = [*(other for other in self.ids if other != id), id]
            old = ids[:-KEPT]
            self.ids = [other for other in old if not cached.registry().forget(other)] + ids[-KEPT:]


def job(opened: Project, base: Workspace, recipe: Recipe) -> Job[Prepared] | None:
    """The job that changes the float model as the recipe says; None where it says nothing of the kind."""
    if not changes_model(recipe):
        return None
    id = _id(opened, base, recipe)
    cached.of_project(opened.id, FixedModels).ask(id)
    known = cached.registry().get(id)
    if known is not None:
        return known

    def work(tell: ProgressFn) -> Prepared:
        if base.samples is None:
            raise DataError(WITHOUT_DATA)
        report(tell, 0, 0, "applying model fixes")
        return prepare(base.model, recipe, base.samples, statistics=base.statistics, progress=tell)

    started = cached.registry().submit(id, "Applying model fixes", work, heavy=True)
    started.wait(PATIENCE)
    return started


def restart(opened: Project, base: Workspace, recipe: Recipe) -> None:
    """Start over after a failure or a cancel."""
    cached.registry().forget(_id(opened, base, recipe))
    job(opened, base, recipe)


def _id(opened: Project, base: Workspace, recipe: Recipe) -> JobId[Prepared]:
    key = prepared_key(base.model, recipe, base.samples) if base.samples is not None else "no data"
    digest = hashlib.sha256(repr((base.model.hash, key)).encode()).hexdigest()
    return JobId(f"{opened.id}:fixes:{digest[:16]}")


def changed(base: Workspace, prepared: Prepared) -> Workspace:
    """The workspace with the changed model, and its own statistics."""
    return replace(base, model=prepared.model, statistics=prepared.statistics)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Encodings after rounding and bias correction, and what these did."""

    encodings: Encodings
    records: tuple[PassRecord, ...]


class FinishedByRecipe:
    """Finished encodings of a model by the recipe's token."""

    def __init__(self) -> None:
        self.making = threading.Lock()
        self.known: Recent[Finished] = Recent(FINAL)


def final(
    finished: FinishedByRecipe,
    space: Workspace,
    recipe: Recipe,
    encodings: Encodings,
    token: str,
    tell: ProgressFn,
) -> Encodings:
    """Apply the passes that change only the quantized model; once a recipe, by the first thread that asks.

    Args:
        finished: Keeps what was found.
        space: The model as the recipe's other passes leave it.
        recipe: Names the passes.
        encodings: As resolved.
        token: Of the recipe.
        tell: Told how far it is; may raise `Cancelled`.

    Raises:
        DataError: The data are not there, or do not fit.
    """
    if not changes_encodings(recipe):
        return encodings
    if space.samples is None:
        raise DataError(WITHOUT_DATA)
    known = finished.known.get(token)
    if known is not None:
        return known.encodings
    with acquired(finished.making, tell):
        found = finished.known.get(token)  # made by the thread that held the lock
        if found is None:
            made, records = finish(space.model, recipe, space.samples, encodings, progress=tell)
            found = Finished(encodings=made, records=records)
            finished.known.put(token, found)
        return found.encodings


def without(recipe: Recipe) -> Recipe:
    """What the recipe says about the model as it was opened."""
    return without_inserted_layers(recipe.with_passes())
