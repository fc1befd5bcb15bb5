"""The version that others are held against, as the user pinned it."""

from dataclasses import dataclass

from quantscope.core.project import Project, marks
from quantscope.ui.runs import versions
from quantscope.ui.runs.step_figures import StepFigures
from quantscope.ui.runs.versions import Kind, Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What cards show the distance to."""

    version: Version
    figures: StepFigures | None  # None = nothing of it is measured yet


def baseline(project: Project) -> Baseline | None:
    """The pinned version and what is known of it; nothing is measured. None where none is pinned."""
    key = marks.pinned(project)
    version = versions.quantized_version(project, key) if key else None
    if version is None:
        return None
    return Baseline(version=version, figures=versions.figures_of(project, version))


def pin(project: Project, version: Version | None) -> None:
    """Hold others against a version from now on; None = against none.

    Raises:
        ProjectError: It cannot be written.
    """
    marks.pin(project, version.key if version is not None and version.kind is not Kind.FLOAT else "")
