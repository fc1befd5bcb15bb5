"""What exporters spell out is rewritten without a change of function, and seen as one layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest

from quantscope.core.errors import RecipeError
from quantscope.core.evaluate import compare
from quantscope.core.model import Model, load_model
from quantscope.core.quant import INT8, UINT8, UINT16, Encoding
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.quantize.encodings import whole_steps, with_whole_steps
from quantscope.core.recipe import Choice, Recipe
from quantscope.core.targets import Precision, find_placement, target
from tests.evaluating import list_samples, static_quantized
from tests.networks import Net
from tests.quantizing import run, sqnr, statistics_of
from tests.rewriting import load_and_compare

CPU = target("onnxruntime-cpu")
Build = Callable[[Net, str], str]
SHAPE: list[object] = ["N", 4, 8, 8]


def image(seed: int = 0, size: float = 3.0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((2, 4, 8, 8)) * size
    return values.astype(np.float32)


def c(n: Net, value: float, name: str) -> str:
    return n.const(name, value)


def silu(n: Net, x: str) -> str:
    return n.add("Mul", [x, n.add("Sigmoid", [x], "s")], "f")


def hard_swish(n: Net, x: str) -> str:
    clip = n.add("Clip", [n.add("Add", [x, c(n, 3, "three")], "x3"), c(n, 0, "zero"), c(n, 6, "six")], "clip")
    return n.add("Div", [n.add("Mul", [x, clip], "p"), c(n, 6, "by")], "f")


def hard_swish_divided_first(n: Net, x: str) -> str:
    clip = n.add("Clip", [n.add("Add", [c(n, 3, "three"), x], "x3"), c(n, 0, "zero"), c(n, 6, "six")], "clip")
    return n.add("Mul", [x, n.add("Div", [clip, c(n, 6, "by")], "gate")], "f")


def hard_swish_by_min_and_max(n: Net, x: str) -> str:
    high = n.add("Max", [n.add("Add", [x, c(n, 3, "three")], "x3"), c(n, 0, "zero")], "max")
    gate = n.add("Min", [c(n, 6, "six"), high], "min")
    return n.add("Mul", [n.add("Mul", [gate, c(n, 1 / 6, "sixth")], "g"), x], "f")


def hard_swish_by_relu(n: Net, x: str) -> str:
    relu = n.add("Relu", [n.add("Add", [x, c(n, 3, "three")], "x3")], "relu")
    return n.add(
        "Div", [n.add("Mul", [n.add("Min", [relu, c(n, 6, "six")], "min"), x], "p"), c(n, 6, "by")], "f"
    )


def hard_swish_by_hard_sigmoid(n: Net, x: str) -> str:
    return n.add("Mul", [x, n.add("HardSigmoid", [x], "h", alpha=1 / 6, beta=0.5)], "f")


def hard_swish_operator(n: Net, x: str) -> str:
    return n.add("HardSwish", [x], "f")


def mish(n: Net, x: str) -> str:
    return n.add("Mul", [x, n.add("Tanh", [n.add("Softplus", [x], "sp")], "t")], "f")


def gelu_by_tanh(n: Net, x: str) -> str:
    cube = n.add("Mul", [n.add("Pow", [x, c(n, 3, "three")], "x3"), c(n, 0.044715, "k")], "kx3")
    inner = n.add("Mul", [n.add("Add", [x, cube], "sum"), c(n, np.sqrt(2 / np.pi), "r")], "inner")
    more = n.add("Add", [n.add("Tanh", [inner], "t"), c(n, 1, "one")], "more")
    return n.add("Mul", [n.add("Mul", [x, more], "p"), c(n, 0.5, "half")], "f")


def quick_gelu(n: Net, x: str) -> str:
    return n.add("Mul", [n.add("Sigmoid", [n.add("Mul", [x, c(n, 1.702, "k")], "kx")], "s"), x], "f")


def unknown(n: Net, x: str) -> str:
    return n.add("Mul", [x, n.add("Exp", [n.add("Neg", [n.add("Abs", [x], "a")], "n")], "e")], "f")


def rms_norm(n: Net, x: str) -> str:
    mean = n.add("ReduceMean", [n.add("Mul", [x, x], "xx")], "mean", axes=[1], keepdims=1)
    root = n.add("Sqrt", [n.add("Add", [mean, c(n, 1e-5, "eps")], "safe")], "root")
    return n.add("Div", [x, root], "f")


HARD_SWISHES = [
    hard_swish,
    hard_swish_divided_first,
    hard_swish_by_min_and_max,
    hard_swish_by_relu,
    hard_swish_by_hard_sigmoid,
    hard_swish_operator,
]
NAMED: list[tuple[Build, str]] = [
    (silu, "SiLU"),
    *((f, "HardSwish") for f in HARD_SWISHES),
    (mish, "Mish"),
    (gelu_by_tanh, "Gelu"),
    (quick_gelu, "QuickGelu"),
    (unknown, "Elementwise"),
    (rms_norm, "Normalization"),
]


def between_convolutions(build: Build, *, kernel: int = 1, tail: bool = False) -> Model:
    n = Net(3, opset=17)
    y = build(n, n.conv("x", "first", 4, 4, k=1))
    if tail:
        y = n.add("Add", [n.add("Mul", [y, c(n, 0.7, "ts")], "tm"), c(n, -0.9, "tb")], "ta")
    n.add("Relu", [n.conv(y, "last", 4, 4, k=kernel)], "y")
    return load_and_compare(n, {"x": SHAPE}, {"y": SHAPE}, image())


@pytest.mark.parametrize(("build", "name"), NAMED, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_spelled_out_function_is_one_layer(build: Build, name: str) -> None:
    model = between_convolutions(build)
    assert [layer.op for layer in model.layers] == ["Input", "Conv", name, "Conv"]
    assert [layer.compound for layer in model.layers] == [False, False, True, False]
    inside = set(model.layers[2].inner)
    marked = set(find_placement(model, CPU).tensors)
    # Two integer kernels in a row round what is between them, and are as close and faster; others do not.
    assert len(inside & marked) == (1 if name in ("HardSwish", "SiLU") else 0)
    assert {model.layers[2].output, "x", "y"} <= marked


@pytest.mark.parametrize("build", HARD_SWISHES, ids=lambda f: f.__name__)
def test_every_form_of_hard_swish_becomes_the_same_steps(build: Build) -> None:
    model = between_convolutions(build)
    steps = [node.op_type for node in model.ir.graph]
    assert steps == ["Conv", "Clip", "Add", "Clip", "Mul", "Conv", "Relu"]
    cut = next(node for node in model.ir.graph if node.op_type == "Clip")
    assert float(cut.inputs[1].const_value.numpy()) == -3.0  # nothing below counts
    assert model.layers[1].ops == ("Conv", "Clip")


def test_what_is_left_of_a_function_keeps_its_name() -> None:
    model = between_convolutions(hard_swish_by_hard_sigmoid)
    assert model.layers[2].name == "f_Mul"
    recipe = Recipe().with_layer(model.layers[2].nodes[0], precision=Precision.FLOAT)
    with pytest.raises(RecipeError, match="is part of the layer 'f_Mul' now"):
        resolve(recipe, statistics_of(model, [{"x": image()[:1]}]), model)


def test_files_of_other_tools_are_not_held_against_limits_of_ours() -> None:
    n = Net(3, opset=17)
    n.add("Relu", [n.conv(hard_swish_operator(n, n.conv("x", "first", 4, 4, k=1)), "last", 4, 4)], "y")
    data = n.model({"x": SHAPE}, {"y": SHAPE}).SerializeToString()
    samples = [{"x": image(seed)[:1]} for seed in range(8)]
    found = compare(load_model(data), static_quantized(data, samples), list_samples(samples))
    assert found.output.sqnr_db > 25
    local = [layer.local.sqnr_db for layer in found.layers if layer.local is not None]
    assert len(local) > 1
    assert min(local) > 25


def test_what_is_read_elsewhere_is_no_part_of_a_function() -> None:
    n = Net(3)
    x = n.conv("x", "first", 4, 4, k=1)
    gate = n.add("Sigmoid", [x], "s")
    n.add("Mul", [x, gate], "y")
    n.add("Relu", [gate], "z")
    model = load_and_compare(n, {"x": SHAPE}, {"y": SHAPE, "z": SHAPE}, image())
    assert len(model.layers) > 1
    assert not any(layer.compound for layer in model.layers)


def test_functions_of_two_tensors_are_layers_as_before() -> None:
    n = Net(3)
    a, b = n.conv("x", "first", 4, 4, k=1), n.conv("x", "second", 4, 4, k=1)
    n.add("Mul", [a, n.add("Sigmoid", [b], "s")], "y")
    model = load_and_compare(n, {"x": SHAPE}, {"y": SHAPE}, image())
    assert sorted(layer.op for layer in model.layers) == ["Conv", "Conv", "Input", "Mul", "Sigmoid"]


def test_hard_sigmoid_behind_weights_is_a_clip_that_the_kernel_has() -> None:
    n = Net(4)
    pooled = n.add("GlobalAveragePool", ["x"], "pool")
    gate = n.add("HardSigmoid", [n.conv(pooled, "gate", 4, 4, k=1)], "h", alpha=0.2, beta=0.5)
    n.add("Mul", ["x", gate], "y")
    model = load_and_compare(n, {"x": SHAPE}, {"y": SHAPE}, image())
    assert [node.op_type for node in model.ir.graph] == ["GlobalAveragePool", "Conv", "Clip", "Mul"]
    assert "h" in find_placement(model, CPU).tensors


def test_a_residual_gate_is_one_product() -> None:
    n = Net(5)
    x = n.conv("x", "first", 4, 4, k=1)
    gate = n.add("Sigmoid", [n.conv(n.add("GlobalAveragePool", [x], "pool"), "g", 4, 4, k=1)], "s")
    n.add("Add", [x, n.add("Mul", [x, gate], "scaled")], "y")
    model = load_and_compare(n, {"x": SHAPE}, {"y": SHAPE}, image())
    assert [node.op_type for node in model.ir.graph][-2:] == ["Add", "Mul"]
    assert model.ir.graph[-2].inputs[0].name == "s"  # the few values of the gate are what is added to


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        ([("Max", -1.0), ("Min", 2.0)], (-1.0, 2.0)),
        ([("Relu", 0.0), ("Min", 6.0)], (0.0, 6.0)),
        ([("Min", 6.0), ("Relu", 0.0), ("Max", -2.0)], (0.0, 6.0)),
    ],
)
def test_limits_in_a_row_are_one_clip(steps: list[tuple[str, float]], left: tuple[float, float]) -> None:
    n, y = Net(6), "x"
    for i, (op, number) in enumerate(steps):
        y = n.add(op, [y] if op == "Relu" else [y, n.const(f"c{i}", number)], f"y{i}")
    model = load_and_compare(n, {"x": SHAPE}, {y: SHAPE}, image())
    assert [node.op_type for node in model.ir.graph] == ["Clip"]
    assert tuple(float(v.const_value.numpy()) for v in model.ir.graph[0].inputs[1:]) == left


def test_limits_that_exclude_each_other_stay() -> None:
    n = Net(6)
    y = n.add("Min", [n.add("Max", ["x", n.const("a", 2.0)], "m"), n.const("b", -1.0)], "y")
    load_and_compare(n, {"x": SHAPE}, {y: SHAPE}, image())


def test_leaky_relu_is_seen() -> None:
    n = Net(7)
    n.add("Max", ["x", n.add("Mul", ["x", n.const("a", 0.1)], "s")], "y")
    model = load_and_compare(n, {"x": SHAPE}, {"y": SHAPE}, image())
    assert [node.op_type for node in model.ir.graph] == ["LeakyRelu"]


def channels_last(n: Net, y: str, name: str) -> str:
    """A convolution as exporters of TensorFlow write it, bias and activation in its own layout."""
    y = n.add("Transpose", [y], f"{name}.in", perm=[0, 3, 1, 2])
    y = n.add("Conv", [y, n.random(f"{name}.w", 4, 4, 3, 3)], f"{name}.conv", pads=[1] * 4)
    y = n.add("Transpose", [y], f"{name}.out", perm=[0, 2, 3, 1])
    y = n.add("Mul", [y, n.random(f"{name}.g", 4)], f"{name}.scaled")
    return n.add("Relu", [n.add("Add", [y, n.random(f"{name}.b", 4)], f"{name}.biased")], name)


def test_channels_last_layers_keep_nothing_between_convolutions() -> None:
    n = Net(8)
    channels_last(n, channels_last(n, "x", "one"), "two")
    feed = image().transpose(0, 2, 3, 1).copy()
    model = load_and_compare(n, {"x": ["N", 8, 8, 4]}, {"two": ["N", 8, 8, 4]}, feed)
    steps = [node.op_type for node in model.ir.graph]
    assert steps == ["Transpose", "Conv", "Relu", "Conv", "Relu", "Transpose"]


def test_one_dimensional_convolutions_take_in_bias_and_activation() -> None:
    n = Net(9)
    axes = n.const("axes", [2], np.int64)
    y = n.add("Unsqueeze", [n.add("Transpose", ["x"], "t", perm=[0, 2, 1]), axes], "u")
    y = n.add("Conv", [y, n.random("w", 6, 4, 1, 3)], "c", pads=[0, 1, 0, 1])
    y = n.add("Transpose", [n.add("Squeeze", [y, axes], "s")], "back", perm=[0, 2, 1])
    n.add("Relu", [n.add("Add", [y, n.random("b", 6)], "biased")], "y")
    feed = np.random.default_rng(0).standard_normal((2, 10, 4)).astype(np.float32)
    model = load_and_compare(n, {"x": ["N", 10, 4]}, {"y": ["N", 10, 6]}, feed)
    steps = [node.op_type for node in model.ir.graph]
    assert steps == ["Transpose", "Unsqueeze", "Conv", "Relu", "Squeeze", "Transpose"]


@pytest.mark.parametrize("op", ["Mul", "Div"])
def test_the_factor_of_attention_scores_goes_into_the_query(op: str) -> None:
    n = Net(12)
    shape, sides = n.const("shape", [0, 0, 2, 3], np.int64), {}
    for side, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1])):
        y = n.add("MatMul", ["x", n.random(f"{side}.w", 6, 6)], f"{side}.mm")
        y = n.add("Add", [y, n.random(f"{side}.b", 6)], side)
        sides[side] = n.add("Transpose", [n.add("Reshape", [y, shape], f"{side}.r")], f"{side}.t", perm=order)
    scores = n.add(op, [n.add("MatMul", [sides["q"], sides["k"]], "qk"), n.const("c", 0.4)], "scores")
    n.add("Softmax", [scores], "y", axis=-1)
    feed = np.random.default_rng(0).standard_normal((2, 5, 6)).astype(np.float32)
    model = load_and_compare(n, {"x": ["N", 5, 6]}, {"y": ["N", 2, 5, 5]}, feed)
    assert not {"Mul", "Div"} & {node.op_type for node in model.ir.graph}
    assert "scores" in model.tensors
    assert "qk" not in model.tensors  # whose values nothing has any more


def test_of_two_reshapes_one_remains() -> None:
    n = Net(10)
    y = n.add("Reshape", ["x", n.const("a", [-1, 2, 128], np.int64)], "r1")
    n.add("Relu", [n.add("Reshape", [y, n.const("b", [-1, 16, 16], np.int64)], "r2")], "y")
    model = load_and_compare(n, {"x": SHAPE}, {"y": ["N", 16, 16]}, image())
    assert [node.op_type for node in model.ir.graph] == ["Reshape", "Relu"]


# A shift before a quantizer.


@pytest.mark.parametrize("shift", [0.9, -0.9, 5.0, -0.01, 1e-6])
@pytest.mark.parametrize("scale", [0.01, 0.0333, 0.4])
def test_scales_divide_a_shift_where_that_costs_little(scale: float, shift: float) -> None:
    before = Encoding(np.float32(scale), np.int32(100), UINT8, None, 0, 255)
    after = with_whole_steps(before, shift)
    assert float(before.scale) * (1 - 1e-6) <= float(after.scale) <= 1.125 * float(before.scale)
    assert np.array_equal(after.zero_point, before.zero_point)
    if float(after.scale) != float(before.scale):
        steps = whole_steps(after, shift)
        assert steps is None or abs(steps * float(after.scale) - shift) <= 1e-3 * float(after.scale)


def test_a_zero_point_stands_for_whole_steps_within_its_type_only() -> None:
    eight = Encoding(np.float32(0.1), np.int32(100), UINT8, None, 0, 255)
    assert whole_steps(eight, 2.0) == 20
    assert whole_steps(eight, -10.0) == -100
    assert whole_steps(eight, -10.1) is None  # zero points below 0
    assert whole_steps(eight, 0.05) is None  # half a step
    assert whole_steps(Encoding(np.float32(0.1), np.int32(0), INT8, None, -128, 127), 12.8) is None
    assert whole_steps(Encoding(np.float32(0.1), np.int32(100), UINT16, None, 0, 65535), 2.0) is None


def shifted_network() -> tuple[Model, list[dict[str, np.ndarray]]]:
    """HardSwish, scale and shift before a convolution that pads, so that the shift stays a step."""
    model = between_convolutions(hard_swish, kernel=3, tail=True)
    return model, [{"x": image(seed)[:1]} for seed in range(8)]


def test_a_shift_before_a_padded_convolution_is_left_to_zero_points() -> None:
    model, samples = shifted_network()
    ((tensor, shift),) = find_placement(model, CPU).shifts.items()
    encodings = resolve(Recipe(), statistics_of(model, samples), model)
    file = quantize_model(model, encodings)
    assert "Add" not in [n.op_type for n in file.graph.node if tensor in n.output]
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in file.graph.initializer}
    q = next(n for n in file.graph.node if n.output[0] == f"{tensor}_q")
    dq = next(n for n in file.graph.node if n.input[0] == q.output[0])
    steps = int(constants[q.input[2]]) - int(constants[dq.input[2]])
    assert steps == round(shift / float(constants[q.input[1]]))
    assert steps != 0
    # As with the Add in float before the quantizer, except where rounding was a tie.
    apart = replace(encodings, placement=replace(encodings.placement, shifts={}))
    plain = [run(proto, samples, plain=True) for proto in (file, quantize_model(model, apart))]
    same = [np.mean(one == other) for one, other in zip(*plain, strict=True)]
    assert min(same) > 0.99
    assert sqnr(run(model.proto(), samples), run(file, samples)) > 30


def test_layers_before_a_shifted_zero_point_are_compared_as_what_they_stand_for() -> None:
    model, samples = shifted_network()
    encodings = resolve(Recipe(), statistics_of(model, samples), model)
    found = compare(model, quantize_model(model, encodings), list_samples(samples))
    errors = {layer.layer: layer for layer in found.layers}
    ((tensor, _),) = find_placement(model, CPU).shifts.items()
    error = errors[model.layer_of(tensor).name]
    assert error.local is not None
    assert error.local.sqnr_db > 30
    assert error.cumulative.sqnr_db > 30


@pytest.mark.parametrize("choice", [Choice(symmetric=True), Choice(precision="int16")])
def test_other_kinds_of_zero_points_keep_the_shift_a_step(choice: Choice) -> None:
    model, samples = shifted_network()
    ((tensor, _),) = find_placement(model, CPU).shifts.items()
    recipe = Recipe(default=choice.over(Recipe().default))
    file = quantize_model(model, resolve(recipe, statistics_of(model, samples), model))
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in file.graph.initializer}
    q = next(n for n in file.graph.node if n.output[0] == f"{tensor}_q")
    dq = next(n for n in file.graph.node if n.input[0] == q.output[0])
    assert constants[q.input[2]] == constants[dq.input[2]]
    assert sqnr(run(model.proto(), samples), run(file, samples)) > 28
