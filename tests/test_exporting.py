"""What the export page says of layers that stay float."""

from __future__ import annotations

import numpy as np

from quantscope.core.model import load_model
from quantscope.core.quantize import resolve
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Precision
from quantscope.ui.runs.exporting import stays_float
from tests.networks import feeds, masked_attention
from tests.quantizing import network, statistics_of


def test_masked_scores_are_named_with_their_mask() -> None:
    model = load_model(masked_attention(-1e4).SerializeToString())
    samples = [{"x": np.random.default_rng(i).standard_normal((4, 8)).astype(np.float32)} for i in range(8)]
    encodings = resolve(Recipe(), statistics_of(model, samples), model)
    reasons = dict(stays_float(model, Recipe(), encodings))
    assert any("-1e+04" in reason and "far from the others" in reason for reason in reasons.values())


def test_a_layer_set_to_float_is_named_and_others_are_not() -> None:
    model = network("residual_cnn")
    recipe = Recipe().with_layer("b0.c1_Conv", precision=Precision.FLOAT)
    encodings = resolve(recipe, statistics_of(model, feeds("residual_cnn", 2)), model)
    assert stays_float(model, recipe, encodings) == [("b0.c1_Conv", "set to float in the recipe")]
