"""The open project as it would be with another recipe: what is needed to measure that recipe."""

from dataclasses import replace

from quantscope.core.errors import DataError
from quantscope.core.pipeline import changes_model, prepare
from quantscope.core.progress import ProgressFn, report
from quantscope.core.quantize import resolve
from quantscope.core.recipe import Recipe
from quantscope.ui.session import fixes
from quantscope.ui.session.state import Session


def with_recipe(now: Session, recipe: Recipe, tell: ProgressFn) -> Session:
    """As `now` with `recipe` shown; for background work, since model fixes may have to be applied first.

    Args:
        now: The open project.
        recipe: For its model; choices for layers that the model lacks do nothing.
        tell: Told how far it is; may raise `Cancelled`.

    Raises:
        DataError: The recipe has model fixes, and the calibration data are not there.
    """
    base, space = now.opened, now.opened
    if changes_model(recipe):
        if base.samples is None:
            raise DataError(fixes.WITHOUT_DATA)
        report(tell, 0, 0, "applying model fixes")
        made = prepare(base.model, recipe, base.samples, statistics=base.statistics, progress=tell)
        space = fixes.changed(base, made)
    there = {name: choice for name, choice in recipe.layers.items() if name in space.model.layer_names}
    if len(there) < len(recipe.layers):
        recipe = replace(recipe, layers=there)
    known = now.encodings if space.model is now.model else None
    encodings = resolve(recipe, space.statistics, space.model, previous=known)
    return Session(project=now.project, opened=base, workspace=space, recipe=recipe, encodings=encodings)
