"""Fixes for models that lose accuracy: see `core.passes.table` for what there is."""

from core.passes.table import PASSES, Option, Pass, PassChoice, pass_choices

__all__ = ["PASSES", "Option", "Pass", "PassChoice", "pass_choices"]
