"""Going on with a project where it was left, or from its defaults again; no step is ever lost."""

from dataclasses import replace

from quantscope.core.project import project as projects
from quantscope.core.project.history import ROOT, read_step_file
from quantscope.core.project.project import Project


def start_over(project: Project, recipe: str, label: str) -> Project:
    """Show `recipe` as a first step, as in a new project; all steps that are there stay in the history.

    A first step with that recipe from which nobody went on yet is shown instead of another one like it.

    Raises:
        ProjectRemoved: The project is no longer there.
        ProjectError: It cannot be written.
    """
    went_on = set(project.parents.values())
    for number, parent in reversed(list(project.parents.items())):
        if parent == ROOT and number not in went_on and number not in project.hidden:
            step = read_step_file(project.folder, number, parent)
            if step is not None and step.recipe == recipe:
                return project if number == project.head else projects.show_step(project, number)
    return projects.record(replace(project, head=ROOT), recipe, label)


def left_at(project: Project) -> int:
    """The step to go on from: the shown one, or the newest edit where a first step is shown; ROOT if none."""
    if project.parents.get(project.head, ROOT) != ROOT:
        return project.head
    edits = (number for number, parent in project.parents.items() if parent != ROOT)
    return max((number for number in edits if number not in project.hidden), default=ROOT)


def go_on(project: Project) -> Project:
    """Show the step of `left_at`.

    Raises:
        ProjectRemoved: The project is no longer there.
        ProjectError: It cannot be written.
    """
    number = left_at(project)
    return project if number in (ROOT, project.head) else projects.show_step(project, number)
