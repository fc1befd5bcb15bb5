"""Fixes for models that lose accuracy: see `core.recipe.passes` for what there is."""

from quantscope.core.passes.apply import PassRecord, change_encodings, change_model
from quantscope.core.passes.bias_correction import with_bias_shifts
from quantscope.core.passes.patches import Product, product
from quantscope.core.passes.smooth import SUFFIX
from quantscope.core.passes.streams import find_streams

__all__ = [
    "SUFFIX",
    "PassRecord",
    "Product",
    "change_encodings",
    "change_model",
    "find_streams",
    "product",
    "with_bias_shifts",
]
