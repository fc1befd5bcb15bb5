"""A project whose model or data were moved: what is missing, and where it is now."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from quantscope.core.errors import ModelError
from quantscope.core.model import load_model
from quantscope.core.project import Project, Source
from quantscope.core.project import project as projects
from quantscope.ui.session.opening import QUANTIZED, Given, Place, described, place_of, stored


def missing(source: Source | None) -> str:
    """Where something lay, if it is no longer there."""
    if source is not None and source.kind == "path" and place_of(Path(source.path)) is Place.NOTHING:
        return source.path
    return ""


def missing_model(project: Project) -> str:
    """Where the project's model lay, if it is no longer there."""
    return missing(project.model)


def locate_model(project: Project, given: Given, known_hash: str) -> Project:
    """The project with its model at a new place; saved.

    Args:
        project: Whose model was moved.
        given: Where it is now.
        known_hash: Of the cleaned model that the project was calibrated with; nothing takes any model.

    Raises:
        ModelError: It is another model, or none.
    """
    source = described(given, project.model.options, external=True)
    name = given[0] if isinstance(given, tuple) else Path(given.path).name
    if not source.content or source.content != project.model.content:
        looked_at = bool(project.model.options.get(QUANTIZED))
        content = given[1] if isinstance(given, tuple) else given.path
        found = load_model(content, name=name, allow_quantized=looked_at)
        other = found.hash != known_hash if known_hash else bool(project.model.content and source.content)
        if other:
            raise ModelError(
                f"{name} is another model than the one this project was made from; nothing was changed. "
                "Give the same file from its new place, or open this one as a project of its own on Open"
            )
    changed = replace(project, model=stored(project, "model", given, source))
    projects.save(changed)
    return changed


def locate_data(project: Project, source: Source, check: Callable[[Project, Source], object]) -> Project:
    """The project with its calibration data at a new place; saved.

    Args:
        project: Whose data were moved.
        source: Where they are now.
        check: Raises a `QuantScopeError` where these are other data; nothing is changed then.
    """
    found = described(source, project.data.options)
    if not found.content or found.content != project.data.content:
        check(project, found)
    changed = replace(project, data=found)
    projects.save(changed)
    return changed
