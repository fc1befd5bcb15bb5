"""The model with only its weights, or only its activations, quantized."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from quantscope.core.calibration import calibrate
from quantscope.core.data import open_samples
from quantscope.core.evaluate import FloatReference, activations_only, float_reference, preview, weights_only
from quantscope.core.model import Model, load_model
from quantscope.core.quantize import Encodings, quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Granularity
from quantscope.sample_data import SAMPLES


@pytest.fixture(scope="module")
def parts() -> tuple[Model, Encodings, FloatReference]:
    sample = SAMPLES["digits_mobilenet"]
    model = load_model(sample.model)
    samples = open_samples(sample.calibration, model, limit=24)
    statistics = calibrate(model, samples, cache=False)
    recipe = Recipe().with_default(weights=Granularity.PER_TENSOR)
    return model, resolve(recipe, statistics, model), float_reference(model, samples)


def kinds(proto: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in proto.graph.node}


def test_weights_only_changes_weights_by_half_a_step_at_most(
    parts: tuple[Model, Encodings, FloatReference],
) -> None:
    model, encodings, _ = parts
    before = {t.name: numpy_helper.to_array(t) for t in model.proto().graph.initializer}
    proto = weights_only(model, encodings)
    after = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    assert "QuantizeLinear" not in kinds(proto)
    changed = {entry.initializer for entry in encodings.placement.weights.values()}
    for name, value in before.items():
        if name not in changed:
            np.testing.assert_array_equal(after[name], value)
    for node, entry in encodings.placement.weights.items():
        scale = float(encodings.weights[node].scale.max())
        difference = np.abs(after[entry.initializer] - before[entry.initializer]).max()
        assert 0 < difference <= scale * 0.5001


def test_weights_only_takes_integers_that_were_chosen_one_by_one(
    parts: tuple[Model, Encodings, FloatReference],
) -> None:
    model, encodings, _ = parts
    node, entry = next(iter(encodings.placement.weights.items()))
    stored = model.ir.graph.initializers[entry.initializer].const_value
    assert stored is not None
    chosen = np.full(stored.shape, 3, np.int8)
    proto = weights_only(model, replace(encodings, integers={node: chosen}))
    after = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    np.testing.assert_allclose(after[entry.initializer] / encodings.weights[node].scale, 3.0, rtol=1e-6)


def test_activations_only_keeps_the_weights(parts: tuple[Model, Encodings, FloatReference]) -> None:
    model, encodings, _ = parts
    proto = activations_only(model, encodings)
    assert "QuantizeLinear" in kinds(proto)
    before = {t.name: numpy_helper.to_array(t) for t in model.proto().graph.initializer}
    after = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    for entry in encodings.placement.weights.values():
        np.testing.assert_array_equal(after[entry.initializer], before[entry.initializer])


def test_noise_of_the_halves_adds_up_to_about_the_whole(
    parts: tuple[Model, Encodings, FloatReference],
) -> None:
    """Independent errors add as powers; the whole lies near their sum."""
    model, encodings, reference = parts
    noise = []
    for make in (weights_only, activations_only, quantize_model):
        proto = make(model, encodings)
        sqnr = preview(reference, proto, layers=False, simulate=True).output.overall.sqnr_db
        assert sqnr is not None
        noise.append(10 ** (-sqnr / 10))
    assert max(noise[:2]) / 3 < noise[2] < 3 * sum(noise[:2])
