"""History: every step of the recipe, what came of it, and the ways back."""

from quantscope.ui.views import common


def render() -> None:
    """Draw the page."""
    common.title("History", "Every step is kept: what was changed, what came of it, and the ways back.")
