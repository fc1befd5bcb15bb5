"""Placement: the same tensors as onnxruntime's quantizer, and what changes when layers stay float."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from quantscope.core.model import Model, load_model
from quantscope.core.targets import ONNXRUNTIME_CPU, activation_tensors, find_placement
from quantscope.core.targets.placement import PLACEMENTS
from tests.networks import NETWORKS, Net, feeds


class Reader(CalibrationDataReader):
    """Feeds for onnxruntime's calibration."""

    def __init__(self, samples: list[dict[str, np.ndarray]]) -> None:
        self.samples = iter(samples)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.samples, None)


def onnxruntime_quantized(
    model: Model, samples: list[dict[str, np.ndarray]], folder: Path
) -> onnx.ModelProto:
    """The same float graph through onnxruntime's own static quantizer, at the default target's settings."""
    source, out = folder / "float.onnx", folder / "ort.onnx"
    onnx.save(model.proto(), source)
    logging.disable(logging.WARNING)
    try:
        quantize_static(
            source,
            out,
            Reader(samples),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        logging.disable(logging.NOTSET)
    return onnx.load(out)


def quantized_tensors(model: onnx.ModelProto) -> set[str]:
    return {
        n.input[0].removesuffix("_QuantizeLinear_Input")
        for n in model.graph.node
        if n.op_type == "QuantizeLinear"
    }


def network(name: str) -> Model:
    return load_model(NETWORKS[name][0]().SerializeToString(), name=name)


@pytest.mark.parametrize("name", NETWORKS)
def test_same_tensors_as_onnxruntime(name: str, tmp_path: Path) -> None:
    model = network(name)
    theirs = quantized_tensors(onnxruntime_quantized(model, feeds(name, 2), tmp_path))
    assert set(find_placement(model, ONNXRUNTIME_CPU).tensors) == theirs
    assert len(theirs) > 8


@pytest.mark.parametrize(
    "file",
    ["resnet8_cifar10", "mobilenet_v2_0.35_cifar10head_128", "ultraface_rfb320_opset9", "dtln_model1"],
)
def test_same_tensors_as_onnxruntime_on_real_models(file: str, shared: Path, tmp_path: Path) -> None:
    model = load_model(shared / "models" / f"{file}.onnx")
    rng = np.random.default_rng(0)
    sizes = {"N": 1, "H": 64, "W": 64}
    sample = {
        i.name: rng.standard_normal(
            [d if isinstance(d, int) else sizes.get(str(d), 1) for d in i.shape]
        ).astype(i.dtype)
        for i in model.inputs
    }
    theirs = quantized_tensors(onnxruntime_quantized(model, [sample], tmp_path))
    assert set(find_placement(model, ONNXRUNTIME_CPU).tensors) == theirs


def test_fused_activation_has_no_quantizer_inside() -> None:
    placement = find_placement(network("residual_cnn"), ONNXRUNTIME_CPU)
    assert "stem_relu" in placement.tensors
    assert "stem" not in placement.tensors
    assert "b0.sum" not in placement.tensors


def test_pass_through_shares_the_first_producers_parameters() -> None:
    sources = find_placement(network("transformer"), ONNXRUNTIME_CPU).sources
    assert sources["v.heads.t"] == "v"  # through Reshape and Transpose
    assert sources["joined"] == "context"
    assert "context" not in sources


def test_float_layer_keeps_only_what_its_neighbours_need() -> None:
    model = network("residual_cnn")
    layer = model.layer_of("b0.r1")
    assert layer is not None
    placement = find_placement(model, ONNXRUNTIME_CPU, {layer.name})
    assert not placement.nodes & set(layer.nodes)
    assert not set(placement.weights) & set(layer.nodes)
    assert "b0.r1" in placement.tensors  # the next convolution still computes on integers
    both = find_placement(model, ONNXRUNTIME_CPU, {layer.name, model.layer_of("b0.c2").name})  # type: ignore[union-attr]
    assert "b0.r1" not in both.tensors


def test_float_input_takes_its_readers_along() -> None:
    placement = find_placement(network("residual_cnn"), ONNXRUNTIME_CPU, {"image"})
    assert "image" not in placement.tensors
    assert "stem_Conv" not in placement.nodes


def test_what_is_remembered_is_of_the_same_target_and_float_layers() -> None:
    model = network("residual_cnn")
    first = find_placement(model, ONNXRUNTIME_CPU)
    roles = {op: role for op, role in ONNXRUNTIME_CPU.roles.items() if op != "Conv"}
    for _ in range(2 * PLACEMENTS):  # each may get the id of one that is gone
        other = find_placement(model, replace(ONNXRUNTIME_CPU, roles=roles))
        assert not any(weight.axis == 0 and "Conv" in weight.node for weight in other.weights.values())
    for layer in model.layers:
        assert not find_placement(model, ONNXRUNTIME_CPU, {layer.name}).nodes & set(layer.nodes)
    assert find_placement(model, ONNXRUNTIME_CPU) == first


def test_everything_float_places_nothing() -> None:
    model = network("mobile_cnn")
    placement = find_placement(model, ONNXRUNTIME_CPU, {layer.name for layer in model.layers})
    assert not placement.tensors
    assert not placement.weights
    assert not placement.nodes


def test_statistics_are_asked_for_tensors_with_parameters_of_their_own() -> None:
    model = network("residual_cnn")
    wanted = activation_tensors(model)
    assert wanted[0] == "image"
    assert "pool" not in wanted  # shares with its input
    assert len(wanted) == len(set(wanted))


def test_weight_axes_follow_the_operator() -> None:
    n = Net()
    x = n.add("ConvTranspose", ["x", n.random("tw", 4, 3, 2, 2)], "up", kernel_shape=[2, 2], group=2)
    x = n.add("Flatten", [n.add("GlobalAveragePool", [x], "gap")], "flat")
    x = n.add("Gemm", [x, n.random("gw", 6, 5)], "gemm")
    n.add("MatMul", [x, n.random("mw", 5, 2)], "out")
    model = load_model(n.model({"x": ["N", 4, 8, 8]}, {"out": ["N", 2]}).SerializeToString())
    weights = {w.initializer: w for w in find_placement(model, ONNXRUNTIME_CPU).weights.values()}
    assert (weights["tw"].axis, weights["tw"].groups) == (1, 2)
    assert weights["gw"].axis == 1
    assert weights["mw"].axis == 1


def test_integer_tensors_are_left_alone() -> None:
    n = Net()
    n.const("one", [1], np.int64)
    n.nodes.append(onnx.helper.make_node("Shape", ["x"], ["dims"], name="dims"))
    n.nodes.append(onnx.helper.make_node("Add", ["dims", "one"], ["more"], name="more"))
    n.nodes.append(onnx.helper.make_node("Cast", ["more"], ["y"], name="cast", to=onnx.TensorProto.FLOAT))
    model = load_model(n.model({"x": ["A", "B"]}, {"y": [2]}).SerializeToString())
    assert not {"dims", "more"} & set(find_placement(model, ONNXRUNTIME_CPU).tensors)


def test_weights_without_values_stay_as_they_are() -> None:
    n = Net(0)
    n.add(
        "MatMul",
        [n.add("MatMul", ["x", n.const("empty", np.zeros((4, 0)))], "nothing"), n.random("w", 0, 3)],
        "y",
    )
    model = load_model(n.model({"x": ["N", 4]}, {"y": ["N", 3]}).SerializeToString())
    assert find_placement(model, ONNXRUNTIME_CPU).weights == {}
