"""A Relu or Clip behind every kind of operator: it exports, and every tensor has one quantizer at most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from quantscope.core.evaluate import NO_FUSION, LayerError, layer_errors, match_tensors, read_quantized
from quantscope.core.model import Model, load_model
from quantscope.core.pipeline import Quantized, quantize
from quantscope.core.quant import Range
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.quantize.qdq import QUANTIZED
from quantscope.core.sensitivity import Quantizers, restricted
from quantscope.core.targets import Precision
from quantscope.core.thresholds import Method
from tests.evaluating import list_samples
from tests.networks import Net
from tests.quantizing import MINMAX, statistics_of
from tests.sessions import options
from tests.sessions import session as open_session

Sample = dict[str, np.ndarray]
Part = Callable[[Net, str, str], str]  # adds nodes that read a tensor of 4 channels; the last has the name

# Integer products without the saturation that some CPUs have, so that figures are the same everywhere.


def op(kind: str, **attributes: object) -> Part:
    """One node that reads nothing else."""
    return lambda n, x, name: n.add(kind, [x], name, **attributes)


def with_constants(kind: str, *constants: Sequence[float], dtype: type = np.float32, **more: object) -> Part:
    """One node that reads constants behind the tensor."""

    def add(n: Net, x: str, name: str) -> str:
        own = [n.const(f"{name}.c{i}", values, dtype) for i, values in enumerate(constants)]
        return n.add(kind, [x, *own], name, **more)

    return add


def clip(low: float, high: float) -> Part:
    return with_constants("Clip", low, high)  # type: ignore[arg-type]


def with_other(kind: str, **attributes: object) -> Part:
    """One node that also reads the convolution of the tensor."""
    return lambda n, x, name: n.add(kind, [x, n.conv(x, f"{name}.other", 4, 4)], name, **attributes)


def where(n: Net, x: str, name: str) -> str:
    other = n.conv(x, f"{name}.other", 4, 4)
    mask = n.const(f"{name}.mask", np.arange(64).reshape(1, 1, 8, 8) % 3 == 0, np.bool_)
    return n.add("Where", [mask, x, other], name)


def crelu(n: Net, x: str, name: str) -> str:
    """Both signs side by side; the Relu behind this makes a CReLU of them."""
    return n.add("Concat", [x, n.add("Neg", [x], f"{name}.neg")], name, axis=1)


def crelu_apart(n: Net, x: str, name: str) -> str:
    """The same with a Relu for each sign, of which one reads a tensor that is read twice."""
    negative = n.add("Relu", [n.add("Neg", [x], f"{name}.neg")], f"{name}.negative")
    return n.add("Concat", [n.add("Relu", [x], f"{name}.positive"), negative], name, axis=1)


def resize(mode: str) -> Part:
    def add(n: Net, x: str, name: str) -> str:
        return n.add("Resize", [x, "", n.const(f"{name}.scales", [1.0, 1.0, 2.0, 2.0])], name, mode=mode)

    return add


def several(kind: str, constant: Sequence[int], outputs: int = 2, **attributes: object) -> Part:
    """A node with more outputs than one, of which the first is read on."""

    def add(n: Net, x: str, name: str) -> str:
        inputs = [x, n.const(f"{name}.how", constant, np.int64)]
        names = [name, *(f"{name}.more{i}" for i in range(1, outputs))]
        n.nodes.append(helper.make_node(kind, inputs, names, name=f"{name}_{kind}", **attributes))
        return name

    return add


def pad(value: float) -> Part:
    def add(n: Net, x: str, name: str) -> str:
        pads = n.const(f"{name}.pads", [0, 0, 1, 1, 0, 0, 1, 1], np.int64)
        return n.add("Pad", [x, pads, n.const(f"{name}.value", value)], name)

    return add


def normalized(kind: str, size: int, statistics: bool = False, **attributes: object) -> Part:
    def add(n: Net, x: str, name: str) -> str:
        own = [n.random(f"{name}.scale", size, scale=0.3), n.random(f"{name}.bias", size, scale=0.3)]
        if statistics:
            own += [
                n.random(f"{name}.mean", size, scale=0.1),
                n.const(f"{name}.var", np.linspace(0.5, 2, size)),
            ]
        return n.add(kind, [x, *own], name, **attributes)

    return add


def chain(*parts: Part) -> Part:
    def add(n: Net, x: str, name: str) -> str:
        for i, part in enumerate(parts):
            x = part(n, x, name if i == len(parts) - 1 else f"{name}.n{len(n.nodes)}")
        return x

    return add


RELU = op("Relu")
MAX_POOL = op("MaxPool", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
AVERAGE_POOL = op("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
TRANSPOSE = op("Transpose", perm=[0, 1, 3, 2])
GATHER = with_constants("Gather", [3, 1, 0, 2], dtype=np.int64, axis=1)
SLICE = with_constants("Slice", [1], [8], [2], dtype=np.int64)

BEHIND: dict[str, Part] = {
    "conv": lambda n, x, name: n.conv(x, name, 4, 4),
    "add": with_other("Add"),
    "batchnorm": normalized("BatchNormalization", 4, statistics=True),
    "max_pool": MAX_POOL,
    "average_pool": AVERAGE_POOL,
    "global_average_pool": op("GlobalAveragePool"),
    "concat": with_other("Concat", axis=1),
    "concat_one_input": op("Concat", axis=1),
    "crelu": crelu,
    "crelu_apart": crelu_apart,
    "mul": with_other("Mul"),
    "where": where,
    "resize_nearest": resize("nearest"),
    "resize_linear": resize("linear"),
    "slice": SLICE,
    "split": several("Split", [2, 2], axis=1),
    "top_k": several("TopK", [5], axis=3),
    "gather": GATHER,
    "pad": pad(0.0),
    "pad_other_value": pad(-1.5),
    "transpose": TRANSPOSE,
    "depth_to_space": op("DepthToSpace", blocksize=2),
    "reshape": with_constants("Reshape", [0, 2, 8, 16], dtype=np.int64),
    "layernorm": normalized("LayerNormalization", 8, axis=-1),
    "instancenorm": normalized("InstanceNormalization", 4),
    "leaky_relu": op("LeakyRelu", alpha=0.2),
    "sigmoid": op("Sigmoid"),
    "softmax": op("Softmax", axis=1),
    "relu": RELU,
    "clip": clip(-0.5, 1.5),
    "relu_clip_relu": chain(RELU, clip(0.0, 2.0), RELU),
    "max_pool_transpose": chain(MAX_POOL, TRANSPOSE),
}
FUSED = {"conv", "add", "batchnorm", "instancenorm"}  # with what is behind them in one layer
# The quantizer behind the last one cannot do its work, since 0 is always in its range.
ACTIVATIONS = {"relu": RELU, "relu6": clip(0.0, 6.0), "clip_above_zero": clip(0.25, 2.0)}


def built(part: Part, *, outputs: Sequence[str] = (), opset: int = 17) -> Model:
    """A convolution, the part, and an average; tensors in `outputs` are outputs too."""
    n = Net(seed=3, opset=opset)
    part(n, n.conv("x", "c", 3, 4), "a")
    n.add("ReduceMean", ["a"], "y", axes=[3], keepdims=0)
    named = {"y": [None] * 3, **{name: [None] * 4 for name in outputs}}
    return load_model(n.model({"x": ["N", 3, 8, 8]}, named).SerializeToString())


def behind(pattern: str, activation: str) -> Model:
    return built(lambda n, x, name: ACTIVATIONS[activation](n, BEHIND[pattern](n, x, "b"), name))


def samples(count: int = 8) -> list[Sample]:
    rng = np.random.default_rng(7)
    return [{"x": rng.standard_normal((1, 3, 8, 8)).astype(np.float32)} for _ in range(count)]


def outputs(model: onnx.ModelProto, items: Sequence[Sample], **entries: str) -> np.ndarray:
    """All values of all outputs."""
    chosen = options()
    for name, value in entries.items():
        chosen.add_session_config_entry(name, value)
    session = open_session(model, chosen)
    return np.concatenate([y.ravel() for item in items for y in session.run(None, item)]).astype(np.float64)


def noise(signal: np.ndarray, other: np.ndarray) -> float:
    """Signal to noise in dB; 200 where there is no noise."""
    error = float(((signal - other) ** 2).sum())
    return 10 * np.log10(float((signal**2).sum()) / error) if error else 200.0


def exported(model: Model, items: list[Sample]) -> Quantized:
    """The quantized model, after all has been looked at that must hold for any."""
    statistics = statistics_of(model, items)
    result = quantize(model, MINMAX, list_samples(items), statistics=statistics, threads=1)
    check(model, result.proto, list(result.encodings.placement.tensors))
    return result


def check(model: Model, proto: onnx.ModelProto, tensors: list[str]) -> None:
    """Valid, with names of its own for everything, and one quantizer for each of `tensors`."""
    onnx.checker.check_model(proto, full_check=True)
    graph = proto.graph
    nodes = Counter(node.name for node in graph.node)
    given = [v.name for v in (*graph.input, *graph.initializer)]
    names = Counter([*given, *(name for node in graph.node for name in node.output if name)])
    assert max(nodes.values()) == 1
    assert max(names.values()) == 1
    quantizers = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert sorted(node.output[0] for node in quantizers) == sorted(t + QUANTIZED for t in tensors)
    assert len({node.input[0] for node in quantizers}) == len(quantizers)
    assert sorted(match_tensors(model, proto).quantizers) == sorted(tensors)


def errors_of(model: Model, proto: onnx.ModelProto, items: list[Sample]) -> dict[str, LayerError]:
    found = layer_errors(model, read_quantized(proto), list_samples(items), simulate=True)
    return {error.layer: error for error in found}


def optimized(proto: onnx.ModelProto, folder: Path) -> onnx.GraphProto:
    chosen = options(exact=False)  # whose arithmetic is of no matter here
    chosen.optimized_model_filepath = str(folder / "optimized.onnx")
    open_session(proto, chosen)
    return onnx.load(folder / "optimized.onnx").graph


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("pattern", BEHIND)
def test_exports_and_is_as_good_as_its_rounding_allows(pattern: str, activation: str) -> None:
    model, items = behind(pattern, activation), samples()
    result = exported(model, items)
    expected = outputs(model.proto(), items)
    fused, plain = (noise(expected, outputs(result.proto, items, **entries)) for entries in ({}, NO_FUSION))
    assert fused >= 30
    assert abs(fused - plain) <= (3.0 if pattern == "softmax" else 0.5)  # its integer kernel has tables
    for error in errors_of(model, result.proto, items).values():
        assert error.cumulative is not None
        assert error.cumulative.sqnr_db >= 25
        assert error.local is None or error.local.sqnr_db >= 25
    tensors, nodes = result.encodings.placement.tensors, {node.name for node in result.proto.graph.node}
    last = next(node for node in model.proto().graph.node if "a" in node.output)
    stays = last.input[0] in tensors or pattern == "depth_to_space" or activation == "clip_above_zero"
    assert (last.name in nodes) == stays
    assert pattern not in FUSED or "b" not in tensors


def test_the_tutorial_network_runs_in_integers(tmp_path: Path) -> None:
    def part(n: Net, x: str, name: str) -> str:
        x = n.add("Relu", [n.add("MaxPool", [x], "p1", kernel_shape=[2, 2], strides=[2, 2])], "r1")
        x = n.add("MaxPool", [n.conv(x, "c2", 4, 4)], "p2", kernel_shape=[2, 2], strides=[2, 2])
        return n.add("Relu", [x], name)

    model, items = built(part), samples()
    proto = exported(model, items).proto
    nodes = optimized(proto, tmp_path).node
    ops = Counter(node.op_type for node in nodes)
    assert ops["QLinearConv"] == 2
    assert ops["MaxPool"] + ops["NhwcMaxPool"] == 2
    floats = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    pooled = [name for node in nodes if node.op_type.endswith("MaxPool") for name in node.input]
    assert not floats.intersection(pooled)
    assert not ops["Relu"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("pattern", ["conv", "max_pool", "mul", "layernorm"])
@pytest.mark.parametrize("how", ["output", "read_twice"])
def test_what_others_see_too_keeps_its_quantizer(how: str, pattern: str, activation: str) -> None:
    def part(n: Net, x: str, name: str) -> str:
        x = ACTIVATIONS[activation](n, BEHIND[pattern](n, x, "b"), "r")
        return n.add("Mul", [x, "b"], name) if how == "read_twice" else n.add("LeakyRelu", [x], name)

    model, items = built(part, outputs=["b"] if how == "output" else []), samples()
    result = exported(model, items)
    assert {"b", "r"} <= set(result.encodings.placement.tensors)
    expected = outputs(model.proto(), items)
    fused, plain = (noise(expected, outputs(result.proto, items, **entries)) for entries in ({}, NO_FUSION))
    assert fused >= 28
    assert abs(fused - plain) <= 0.5


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("pattern", ["conv", "max_pool", "mul", "relu_clip_relu"])
@pytest.mark.parametrize("precision", [Precision.FLOAT, Precision.INT16])
def test_layers_of_other_precisions(pattern: str, activation: str, precision: Precision) -> None:
    model, items = behind(pattern, activation), samples()
    statistics, expected = statistics_of(model, items), outputs(model.proto(), items)
    layers = {str(found.name) for tensor in "cba" if (found := model.layer_of(tensor)) is not None}
    assert layers
    for layer in layers:
        encodings = resolve(MINMAX.with_layer(layer, precision=precision), statistics, model)
        proto = quantize_model(model, encodings)
        check(model, proto, list(encodings.placement.tensors))
        assert noise(expected, outputs(proto, items)) >= 30


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("pattern", ["max_pool", "mul", "relu_clip_relu"])
def test_some_of_the_quantizers_alone(pattern: str, activation: str) -> None:
    model, items = behind(pattern, activation), samples()
    encodings = resolve(MINMAX, statistics_of(model, items), model)
    expected = outputs(model.proto(), items)
    own = encodings.placement.own()
    assert len(own) > 1
    for tensor in own:
        some = restricted(encodings, Quantizers(tensors=frozenset({tensor})))
        proto = quantize_model(model, some)
        check(model, proto, list(some.placement.tensors))
        assert noise(expected, outputs(proto, items, **NO_FUSION)) >= 30


def test_a_range_set_by_hand_before_the_activation_is_the_one_in_the_file() -> None:
    model, items = behind("mul", "relu"), samples()
    layer = model.layer_of("b")
    assert layer is not None
    recipe = MINMAX.with_layer(layer.name, method=Method.MANUAL, range=Range(-1.0, 0.5))
    encodings = resolve(recipe, statistics_of(model, items), model)
    proto = quantize_model(model, encodings)
    found = match_tensors(model, proto).counterpart("b")
    assert found is not None
    assert found.encoding == encodings.activations["b"]
    assert found.encoding != encodings.activations["a"]


@pytest.mark.parametrize("opset", [13, 17])
def test_names_of_nodes_and_tensors_that_the_model_has_itself(opset: int) -> None:
    n = Net(opset=opset)
    n.add("Relu", [n.add("MaxPool", [n.conv("x", "c", 3, 4)], "b", kernel_shape=[2, 2])], "y")
    n.add("Mul", ["y", "y"], "y_QuantizeLinear_Input")
    proto = n.model({"x": ["N", 3, 8, 8]}, {"y": [None] * 4, "y_QuantizeLinear_Input": [None] * 4})
    for node, name in zip(proto.graph.node, ("c_QuantizeLinear", "x_DequantizeLinear"), strict=False):
        node.name = name
    model, items = load_model(proto.SerializeToString()), samples()
    encodings = resolve(MINMAX, statistics_of(model, items), model)
    quantized = quantize_model(model, encodings)
    onnx.checker.check_model(quantized, full_check=True)
    assert noise(outputs(model.proto(), items), outputs(quantized, items)) >= 30


# Parts that keep 4 channels, each put behind any other.
LINKS: dict[str, Part] = {
    **ACTIVATIONS,
    **{name: BEHIND[name] for name in ("conv", "add", "max_pool", "average_pool", "gather", "pad")},
    **{
        name: BEHIND[name]
        for name in ("transpose", "leaky_relu", "sigmoid", "concat_one_input", "resize_nearest")
    },
    "gated": lambda n, x, name: n.add("Mul", [x, n.add("Sigmoid", [x], f"{name}.gate")], name),
    "crelu": chain(crelu, GATHER),
    "split": chain(with_other("Concat", axis=1), several("Split", [4, 4], axis=1)),
}


@settings(max_examples=60)
@given(st.lists(st.sampled_from(sorted(LINKS)), min_size=2, max_size=7))
def test_chains(names: list[str]) -> None:
    model, items = built(chain(*(LINKS[name] for name in names))), samples(4)
    proto = exported(model, items).proto
    expected = outputs(model.proto(), items)
    fused, plain = (noise(expected, outputs(proto, items, **entries)) for entries in ({}, NO_FUSION))
    assert fused >= 25
    assert abs(fused - plain) <= 2.5


CASES = {  # dB over the first 16 samples, measured apart from this program
    "pytorch_mnist": 52.5,
    "crelu_depth2space": 33.1,
    "concat_one_input": 46.9,
    "relu_behind_layernorm_relu": 53.7,
    "relu_behind_mul_relu": 41.6,
    "relu_behind_pad_relu": 47.9,
    "relu_behind_where_relu": 48.8,
}


@pytest.mark.parametrize("name", CASES)
def test_models_after_symptoms_that_people_reported(name: str, shared: Path) -> None:
    folder = shared / "cases" / name
    if not folder.is_dir():
        pytest.skip(f"no cases/{name} in ../shared")
    model = load_model(folder / "model.onnx")
    with np.load(folder / "data.npz") as data:
        items = [{key: values[i : i + 1] for key, values in data.items()} for i in range(len(data["x"]))]
    proto = exported(model, items).proto
    found = noise(outputs(model.proto(), items[:16]), outputs(proto, items[:16]))
    assert found >= CASES[name] - 0.5
