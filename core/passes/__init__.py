"""Fixes for models that lose accuracy: see `core.recipe.passes` for what there is."""

from quantscope.core.recipe.passes import PASSES, Option, Pass, PassChoice, pass_choices

__all__ = ["PASSES", "Option", "Pass", "PassChoice", "pass_choices"]
