"""The user's choices, as data and as a file; nothing is computed here."""

from quantscope.core.recipe.choice import Choice, ChoiceChanges
from quantscope.core.recipe.entries import NAMED
from quantscope.core.recipe.file import (
    VERSION,
    recipe_from_document,
    recipe_from_yaml,
    recipe_to_yaml,
    save_recipe,
)
from quantscope.core.recipe.passes import PASSES, Option, Pass, PassChoice, PassLike, pass_choices
from quantscope.core.recipe.recipe import Recipe

__all__ = [
    "NAMED",
    "PASSES",
    "VERSION",
    "Choice",
    "ChoiceChanges",
    "Option",
    "Pass",
    "PassChoice",
    "PassLike",
    "Recipe",
    "pass_choices",
    "recipe_from_document",
    "recipe_from_yaml",
    "recipe_to_yaml",
    "save_recipe",
]
