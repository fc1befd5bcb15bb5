"""What other windows and programs did to the open project, at a glance."""

from quantscope.core.errors import QuantScopeError
from quantscope.core.project import Project
from quantscope.core.project import project as projects
from quantscope.ui.session import cached, keys


class OpenedFrom:
    """What the project said of model and data when those in memory were read."""

    def __init__(self) -> None:
        self.sources = ""  # nothing = not known


def step_token(opened: Project) -> str:
    """What tells the shown step from others, also from those of a newer project of the same id."""
    return f"{opened.identity} {opened.head}"


def changed() -> str | None:
    """What the open project shows on disk by now, where this session shows something else; cheap."""
    known = keys.PROJECT.get()
    if known is None:
        return None
    try:
        there = projects.open_project(known.id)
    except QuantScopeError:
        return "removed"
    if there.identity != known.identity:
        return "removed"
    if there.sources != known.sources:
        return f"{there.head} of other data"
    return None if there.head == known.head else str(there.head)


def remember_sources(opened: Project) -> None:
    """Note where model and data that are now read into memory come from."""
    cached.of_project(opened.id, OpenedFrom).sources = opened.sources


def moved_on(there: Project) -> bool:
    """Whether model or data in memory are not those that the project names by now."""
    known = cached.of_project(there.id, OpenedFrom).sources
    return known not in ("", there.sources)
