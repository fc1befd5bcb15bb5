"""What is known of all steps: names, figures, the tree; and what users say of them, kept in the project."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from quantscope.core.errors import QuantScopeError
from quantscope.core.project import Figures, Project, Scope, marks
from quantscope.core.project import project as projects
from quantscope.ui.runs import baseline, step_figures, versions
from quantscope.ui.runs.step_figures import StepFigures
from quantscope.ui.runs.versions import Kind, Version
from quantscope.ui.session import state
from quantscope.ui.session.state import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Steps and their figures, as far as these are there; nothing is measured."""

    steps: tuple[Version, ...]  # that are listed, in the order they were made
    found: Mapping[int, StepFigures]
    leads: frozenset[int]  # the shown step and those it was made from
    pinned: int  # step that others are held against; 0 = none
    hidden: int  # how many are out of sight

    def figures(self, number: int, scope: Scope) -> Figures | None:
        """Figures of a step over some samples."""
        known = self.found.get(number)
        return None if known is None else known.whole if scope is Scope.WHOLE else known.preview

    def count(self, scope: Scope) -> int:
        """Listed steps that have figures over these samples."""
        return sum(self.figures(version.number, scope) is not None for version in self.steps)


def known(now: Session, *, hidden: bool = False) -> Known:
    """What is known of the steps.

    Args:
        now: The open project.
        hidden: Also list those out of sight.
    """
    project = now.project
    listed = versions.steps(project, hidden=hidden)
    found = {v.number: step_figures.of_step(project, v.number) for v in listed}
    pinned = baseline.baseline(project)
    return Known(
        steps=listed,
        found={number: figures for number, figures in found.items() if figures is not None},
        leads=frozenset({project.head, *marks.ancestors(project.parents, project.head)}),
        pinned=pinned.version.number if pinned is not None and pinned.version.kind is Kind.STEP else 0,
        hidden=len(project.hidden),
    )


# --- what users say; each returns why it could not be kept, or nothing ---


def call(project: Project, number: int, name: str, note: str) -> str:
    """Give a step a name and a note."""
    return _said(lambda: marks.call(project, number, name, note))


def hide(project: Project, numbers: set[int]) -> str:
    """Put steps out of sight; a baseline among them is one no more, for no list would show it."""

    def act() -> None:
        marks.hide(_newest(project), numbers)
        if marks.pinned(project) in map(versions.step_key, numbers):
            baseline.pin(project, None)

    return _said(act)


def bring_back(project: Project, numbers: set[int]) -> str:
    """Show steps again."""
    return _said(lambda: marks.bring_back(project, numbers))


def pin(project: Project, version: Version | None) -> str:
    """Hold others against a version; None = against none."""
    return _said(lambda: baseline.pin(project, version))


def may_hide(project: Project, number: int) -> set[int]:
    """The step and all that were made from it and are in sight; nothing where the shown step needs it."""
    if number in (project.head, *marks.ancestors(project.parents, project.head)):
        return set()
    return marks.made_from(project.parents, number) - project.hidden


def _newest(project: Project) -> Project:
    """As the project is now: another window may show another step of it."""
    return projects.open_project(project.id)


def _said(act: Callable[[], None]) -> str:
    try:
        act()
    except QuantScopeError as error:
        return str(error)
    state.follow()
    return ""
