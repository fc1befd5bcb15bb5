"""Scores of pixels without labels: both models' classes are compared, and images are not taken for scores."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from quantscope.core.evaluate import compare, float_reference, preview
from quantscope.core.evaluate.positions import class_map_axis
from quantscope.core.model import load_model
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe
from tests.evaluating import list_samples
from tests.networks import Net
from tests.quantizing import statistics_of
from tests.sessions import session

IMAGE = (1, 3, 32, 48)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((1, 21, 32, 48), 1),
        ((1, 32, 48, 21), 3),
        ((1, 3, 32, 48), None),  # another image
        ((1, 1, 32, 48), None),  # a depth
        ((1, 2, 32, 48), None),  # a flow
        ((1, 21, 16, 24), None),  # features
        ((1, 21), None),
        ((2, 21, 32, 48), None),
    ],
)
def test_scores_of_pixels_are_told_from_images(shape: tuple[int, ...], axis: int | None) -> None:
    assert class_map_axis(shape, [(1, 10), IMAGE]) == axis


def test_an_image_with_channels_last_is_known_too() -> None:
    assert class_map_axis((1, 32, 48, 21), [(1, 32, 48, 3)]) == 3
    assert class_map_axis((1, 21, 32, 48), [(1, 32, 48, 3)]) == 1
    assert class_map_axis((1, 32, 48, 3), [(1, 32, 48, 3)]) is None


def test_agreement_is_the_share_of_equal_classes() -> None:
    n = Net(0)
    proto = n.model({"x": ["N", 3, 8, 8]}, {n.conv("x", "map", 3, 7): ["N", 7, 8, 8]})
    model = load_model(proto.SerializeToString())
    rng = np.random.default_rng(0)
    items = [{"x": rng.standard_normal((1, 3, 8, 8)).astype(np.float32)} for _ in range(6)]
    quantized = quantize_model(model, resolve(Recipe(), statistics_of(model, items), model))
    samples = list_samples(items)
    found = compare(model, quantized, samples, layers=False, latency=False).accuracy
    assert found is not None
    assert (found.positions, found.rows, found.quantized_top1) == (True, 6 * 64, None)
    floats, other = (onnx.load_from_string(p.SerializeToString()) for p in (model.proto(), quantized))
    name = floats.graph.output[0].name

    def classes(proto: onnx.ModelProto) -> np.ndarray:
        running = session(proto)
        return np.concatenate([running.run([name], item)[0].argmax(axis=1) for item in items])

    assert found.agreement == pytest.approx(float(np.mean(classes(floats) == classes(other))))
    # What choices are made by does not know of it.
    plain, maps = (float_reference(model, samples, count=6, maps=maps) for maps in (False, True))
    assert preview(plain, quantized).output.accuracy is None
    shown = preview(maps, quantized).output.accuracy
    assert shown is not None
    assert shown.agreement == found.agreement


def test_labels_and_class_scores_come_first() -> None:
    proto = helper.make_model(
        helper.make_graph(
            [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 5, 4, 4])],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 5])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    model = load_model(proto.SerializeToString())
    items = [{"x": np.ones((1, 5, 4, 4), np.float32)} for _ in range(2)]
    quantized = quantize_model(model, resolve(Recipe(), statistics_of(model, items), model))
    found = compare(model, quantized, list_samples(items), layers=False, latency=False).accuracy
    assert found is not None
    assert not found.positions
