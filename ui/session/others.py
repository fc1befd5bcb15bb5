"""What other windows and programs did to the open project, at a glance."""

from quantscope.core.errors import QuantScopeError
from quantscope.core.project import Project
from quantscope.core.project import project as projects
from quantscope.ui.session import keys


def step_token(opened: Project) -> str:
    """What tells the shown step from others, also from those of a newer project of the same id."""
    return f"{opened.identity} {opened.head}"


def changed() -> str | None:
    """What the open project shows on disk by now, where this session shows something else; cheap."""
    known = keys.PROJECT.get()
    if known is None:
        return None
    try:
        there = projects.current_head(known)
    except QuantScopeError:
        return "removed"
    return None if there == known.head else str(there)
