"""Encodings as they are exported: rounding and bias correction, found in the background and kept."""

from quantscope.core.passes import PassRecord
from quantscope.core.pipeline import carry_over
from quantscope.core.progress import ProgressFn
from quantscope.core.quantize import Encodings
from quantscope.ui.session import cached, fixes
from quantscope.ui.session.state import Session, recipe_token, start


def exported_encodings(now: Session, tell: ProgressFn) -> Encodings:
    """Encodings as they are exported, rounding and bias correction included; for background work."""
    if now.known is not None:
        return carry_over(now.model, now.encodings, now.known)
    return fixes.final(
        _finished(now), now.workspace, now.recipe, now.encodings, recipe_token(now.recipe), tell
    )


def known_exported_encodings(now: Session) -> Encodings | None:
    """What `exported_encodings` found for the shown recipe, if it is there."""
    found = _finished(now).known.get(recipe_token(now.recipe))
    return found.encodings if found is not None else None


def pass_records(now: Session) -> tuple[PassRecord, ...]:
    """What the model fixes of the shown recipe did, as far as that is known."""
    space = start(now.project).result
    fixing = fixes.job(now.project, space, now.recipe) if space is not None else None
    found = _finished(now).known.get(recipe_token(now.recipe))
    return (*(fixing.result.records if fixing and fixing.result else ()), *(found.records if found else ()))


def _finished(now: Session) -> fixes.FinishedByRecipe:
    return cached.of_project(now.project.id, fixes.FinishedByRecipe, now.model.hash)
