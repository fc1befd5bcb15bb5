"""A tensor's figures at the step before the shown one."""

from quantscope.core.errors import QuantScopeError
from quantscope.core.model import Layer
from quantscope.core.quantize import resolve
from quantscope.ui.content.tensor_figures import Figures, figures_of
from quantscope.ui.content.tensor_view import Searched, view_tensor
from quantscope.ui.runs.step_figures import recipe_of_step
from quantscope.ui.session import cached
from quantscope.ui.session.state import Resolved, Session, recipe_token

MANY = 400  # layers, from which on a recipe that is not resolved yet is not resolved only for this


def figures(now: Session, layer: Layer) -> tuple[str, Figures] | None:
    """The step's name and the figures of the layer's output then; None where nothing is known of it.

    Steps whose model fixes differ are of another float model, and are not compared.
    """
    project = now.project
    if not project.can_undo:
        return None
    number = project.parents[project.head]
    try:
        recipe = recipe_of_step(project, number)
        if recipe.passes != now.recipe.passes or recipe.target != now.recipe.target:
            return None
        model, statistics = now.model, now.workspace.statistics
        resolved = cached.of_project(project.id, Resolved, model.hash)
        encodings = resolved.get(recipe_token(recipe))
        if encodings is None:
            if len(model.layers) > MANY:
                return None
            encodings = resolve(recipe, statistics, model, previous=now.encodings)
            resolved.put(recipe_token(recipe), encodings)
        resolved.get(recipe_token(now.recipe))  # the one last used again
        searched = cached.of_project(project.id, Searched, model.hash)
        view = view_tensor(model, statistics, recipe, encodings, layer, searched)
    except QuantScopeError:  # the step is damaged, or names layers that the model no longer has
        return None
    if view is None or not view.quantized:
        return None
    return f"step {number}", figures_of(view)
