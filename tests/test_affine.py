"""Scales and shifts go into the weights beside them: the function stays, the nodes and quantizers go."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantscope.core.model import Model, load_model
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.targets import find_placement, target
from tests.networks import Net
from tests.quantizing import run, sqnr, statistics_of
from tests.rewriting import load_and_compare, values

AFFINE = {"Mul", "Add", "Sub", "Div", "Neg", "BatchNormalization"}


def affine_nodes(model: Model) -> list[str]:
    return [node.op_type for node in model.ir.graph if node.op_type in AFFINE]


def image(seed: int = 0, channels: int = 4, size: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, channels, size, size)).astype(np.float32)


def scale(n: Net, x: str, op: str, name: str, shape: tuple[int, ...], *, constant_first: bool = False) -> str:
    """A node with a constant well away from 0."""
    values = n.rng.uniform(0.5, 2.0, shape) * n.rng.choice([-1.0, 1.0], shape)
    c = n.const(f"{name}.c", values)
    return n.add(op, [c, x] if constant_first else [x, c], name)


def linear(n: Net, kind: str, x: str, name: str, *, pads: int = 1) -> str:
    if kind == "conv":
        return n.conv(x, name, 4, 4, k=2 * pads + 1)
    if kind == "grouped":
        return n.conv(x, name, 4, 4, k=2 * pads + 1, group=2)
    if kind == "depthwise":
        return n.conv(x, name, 4, 4, k=2 * pads + 1, group=4)
    weight = n.random(f"{name}.w", 4, 2 if kind == "transposed grouped" else 4, 2, 2)
    attributes = {"group": 2} if kind == "transposed grouped" else {}
    return n.add("ConvTranspose", [x, weight], name, kernel_shape=[2, 2], **attributes)


KINDS = ["conv", "grouped", "depthwise", "transposed", "transposed grouped"]
SHAPES = {"number": (), "one": (1,), "channels": (4, 1, 1), "with batch": (1, 4, 1, 1)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_a_convolution_goes_into_it(kind: str, shape: str) -> None:
    n = Net(1)
    y = linear(n, kind, "x", "c")
    y = scale(n, y, "Mul", "m", SHAPES[shape], constant_first=True)
    y = scale(n, y, "Add", "a", SHAPES[shape])
    y = scale(n, y, "Div", "d", SHAPES[shape])
    y = scale(n, y, "Sub", "s", SHAPES[shape], constant_first=True)
    n.add("Neg", [y], "y")
    loaded = load_and_compare(n, {"x": ["N", 4, 9, 9]}, {"y": ["N", 4, "H", "W"]}, image())
    assert affine_nodes(loaded) == []
    assert loaded.outputs[0].name == "y"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pads", [0, 1])
def test_what_comes_before_a_convolution_goes_into_it_where_that_is_exact(
    kind: str, shape: str, pads: int
) -> None:
    n = Net(2)
    y = scale(n, n.add("Relu", ["x"], "r"), "Mul", "m", SHAPES[shape])
    y = scale(n, y, "Add", "a", SHAPES[shape])
    n.add("Relu", [linear(n, kind, y, "c", pads=pads)], "y")
    loaded = load_and_compare(n, {"x": ["N", 4, 9, 9]}, {"y": ["N", 4, "H", "W"]}, image())
    exact = pads == 0 and not kind.startswith("transposed")
    assert affine_nodes(loaded) == ([] if exact else ["Add"])  # zeros around the input stay zeros


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_takes_in_both_sides(transposed: int) -> None:
    n = Net(3)
    shape = (5, 4) if transposed else (4, 5)
    y = scale(n, scale(n, n.add("Relu", ["x"], "r"), "Sub", "mean", (4,)), "Div", "deviation", (4,))
    y = n.add(
        "Gemm", [y, n.random("w", *shape), n.random("b", 5)], "g", transB=transposed, alpha=0.5, beta=2.0
    )
    y = scale(n, scale(n, y, "Mul", "m", (5,)), "Add", "a", (1, 5))
    n.add("Identity", [y], "y")
    feed = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    loaded = load_and_compare(n, {"x": ["N", 4]}, {"y": ["N", 5]}, feed)
    assert [node.op_type for node in loaded.ir.graph] == ["Relu", "Gemm"]


@pytest.mark.parametrize("spread", [1.0, 1e3])
def test_what_normalizes_the_input_stays_before_the_weights(spread: float) -> None:
    """Temperatures in kelvin, or columns of very different size: no integer range would suit the input."""
    n = Net(3)
    rng = np.random.default_rng(5)
    mean = 290.0 * spread ** rng.uniform(-1, 1, 8)
    y = n.add("Sub", ["x", n.const("mean", mean)], "centred")
    y = n.add("Div", [y, n.const("deviation", mean / 50)], "normal")
    n.add("Gemm", [y, n.random("w", 8, 5), n.random("b", 5)], "y")
    feed = (mean * (1 + rng.standard_normal((64, 8)) / 50)).astype(np.float32)
    loaded = load_and_compare(n, {"x": ["N", 8]}, {"y": ["N", 5]}, feed)
    assert affine_nodes(loaded) == ["Sub", "Div"]
    assert find_placement(loaded, target("onnxruntime-cpu")).own() == ("normal", "y")
    samples = [{"x": row[None]} for row in feed]
    file = quantize_model(loaded, resolve(Recipe(), statistics_of(loaded, samples), loaded))
    assert sqnr(run(loaded.proto(), samples), run(file, samples)) > 30


def test_one_number_goes_from_the_input_into_the_weights() -> None:
    n = Net(3)
    n.add("Relu", [n.conv(n.add("Div", ["x", n.const("d", 255.0)], "unit"), "c", 4, 4)], "y")
    loaded = load_and_compare(n, {"x": ["N", 4, 9, 9]}, {"y": ["N", 4, 9, 9]}, 255 * image())
    assert affine_nodes(loaded) == []


@pytest.mark.parametrize("gamma", [0.0, 1e-42, 1e-30])
@pytest.mark.parametrize("shape", [(), (4, 1, 1)])
def test_scales_that_float32_cannot_divide_by_stay(gamma: float, shape: tuple[int, ...]) -> None:
    n = Net(3)
    y = n.add("Mul", [n.add("Relu", ["x"], "r"), n.const("g", np.full(shape, gamma))], "m")
    y = n.add("Add", [y, n.const("b", np.full(shape, 1e10 if gamma == 1e-30 else 0.7))], "a")
    n.add("Relu", [n.conv(y, "c", 4, 4)], "y")
    load_and_compare(n, {"x": ["N", 4, 9, 9]}, {"y": ["N", 4, 9, 9]}, image())


def test_normalization_by_zero_before_a_padded_convolution() -> None:
    n = Net(3)
    parts = [
        n.const(k, v)
        for k, v in (("g", np.zeros(4)), ("b", np.ones(4)), ("m", np.ones(4)), ("v", np.ones(4)))
    ]
    y = n.add("BatchNormalization", [n.add("Relu", ["x"], "r"), *parts], "bn")
    n.add("Relu", [n.conv(y, "c", 4, 4)], "y")
    load_and_compare(n, {"x": ["N", 4, 9, 9]}, {"y": ["N", 4, 9, 9]}, image())


def test_division_before_rounding_stays_a_division() -> None:
    n = Net(3)
    n.add("Floor", [n.add("Div", [n.add("Relu", ["x"], "r"), n.const("d", 41.0)], "q")], "y")
    feed = (41.0 * np.arange(1, 2001)).astype(np.float32).reshape(1, 2000)
    loaded = load_and_compare(n, {"x": ["N", 2000]}, {"y": ["N", 2000]}, feed)
    np.testing.assert_array_equal(values(loaded.proto(), feed)[0], np.arange(1, 2001, dtype=np.float32)[None])


@pytest.mark.parametrize("op", ["Min", "Max"])
def test_min_and_max_of_one_or_three_operands(op: str) -> None:
    n = Net(3)
    one = n.add(op, ["x"], "one")
    n.add(op, [n.add("Mul", ["x", one], "p"), n.const("c", 0.5), "x"], "y")
    load_and_compare(n, {"x": ["N", 4, 9, 9]}, {"y": ["N", 4, 9, 9]}, image())


def test_constants_of_more_dimensions_keep_adding_them() -> None:
    n = Net(3)
    deep = n.const("a", np.full((1, 1, 1), 0.1))
    n.add("Max", ["x", n.add("Mul", ["x", deep], "s")], "y")
    feed = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    load_and_compare(n, {"x": ["N", 5]}, {"y": [1, "N", 5]}, feed)


def test_matmul_takes_a_scale_and_leaves_the_shift_to_its_bias() -> None:
    n = Net(4)
    y = n.add("MatMul", ["x", n.random("w", 4, 5)], "mm")
    y = scale(n, scale(n, y, "Add", "bias", (5,)), "Mul", "m", (5,))
    scale(n, y, "Add", "y", (5,))
    feed = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    loaded = load_and_compare(n, {"x": ["N", 3, 4]}, {"y": ["N", 3, 5]}, feed)
    assert [node.op_type for node in loaded.ir.graph] == ["MatMul", "Add"]
    assert loaded.layer_of("y").bias is not None  # one layer


def test_scale_before_several_readers_goes_into_each_or_none() -> None:
    for second, left in (("conv", []), ("relu", ["Mul"])):
        n = Net(5)
        y = scale(n, n.add("Relu", ["x"], "r"), "Mul", "m", (4, 1, 1))
        n.add("Relu", [linear(n, "conv", y, "c")], "y")
        n.add("Relu", [linear(n, "depthwise", y, "d") if second == "conv" else y], "z")
        shapes = {"y": ["N", 4, 9, 9], "z": ["N", 4, 9, 9]}
        assert affine_nodes(load_and_compare(n, {"x": ["N", 4, 9, 9]}, shapes, image())) == left


def test_shared_weights_keep_their_values_for_others() -> None:
    n = Net(6)
    w = n.random("w", 4, 4, 1, 1)
    scale(n, n.add("Conv", ["x", w], "c"), "Mul", "y", (4, 1, 1))
    n.add("Conv", ["x", w], "z")
    shapes = {"y": ["N", 4, 9, 9], "z": ["N", 4, 9, 9]}
    assert affine_nodes(load_and_compare(n, {"x": ["N", 4, 9, 9]}, shapes, image())) == []


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda n: scale(n, n.conv("x", "c", 4, 4), "Mul", "y", (9,)), "along another axis"),
        (lambda n: scale(n, n.conv("x", "c", 4, 4), "Div", "y", (4, 1, 1), constant_first=True), "1 / x"),
        (lambda n: n.add("Add", [n.add("Relu", ["x"], "r"), n.const("n", np.inf)], "y"), "not finite"),
    ],
)  # fmt: skip
def test_what_does_not_fit_stays(build: Callable[[Net], str], why: str) -> None:
    n = Net(7)
    build(n)
    assert (
        len(affine_nodes(load_and_compare(n, {"x": ["N", 4, 9, 9]}, {"y": ["N", 4, 9, 9]}, image()))) == 1
    ), why


def test_constant_that_enlarges_its_operand_stays() -> None:
    n = Net(8)
    y = n.conv("x", "c", 4, 1)
    scale(n, y, "Mul", "y", (5, 1, 1))
    assert affine_nodes(load_and_compare(n, {"x": ["N", 4, 9, 9]}, {"y": ["N", 5, 9, 9]}, image())) == ["Mul"]


def test_intermediate_outputs_of_the_graph_stay() -> None:
    n = Net(9)
    y = n.conv("x", "c", 4, 4)
    y = scale(n, y, "Mul", "m", (4, 1, 1))
    scale(n, y, "Add", "y", (4, 1, 1))
    shapes = {"m": ["N", 4, 9, 9], "y": ["N", 4, 9, 9]}
    loaded = load_and_compare(n, {"x": ["N", 4, 9, 9]}, shapes, image())
    assert [node.op_type for node in loaded.ir.graph] == ["Conv", "Add"]


def padded_chain(n: Net) -> None:
    y = scale(n, n.add("Relu", ["x"], "r"), "Mul", "m", ())
    y = scale(n, y, "Add", "a", ())
    y = n.add("Relu", [linear(n, "conv", y, "c")], "relu")
    scale(n, scale(n, y, "Div", "d", (4, 1, 1)), "Sub", "y", (4, 1, 1))


def part_of_a_chain(n: Net) -> None:
    y = scale(n, linear(n, "conv", "x", "c"), "Mul", "m", (4, 1, 1))
    scale(n, scale(n, y, "Add", "rows", (9, 1)), "Mul", "y", (4, 1, 1))


def layer_scale(n: Net) -> None:
    y = n.add("MatMul", ["x", n.random("w", 9, 9)], "product")
    scale(n, scale(n, y, "Add", "biased", (9,)), "Mul", "y", (9,))


def hard_swish(n: Net) -> None:
    x = linear(n, "conv", "x", "c")
    three, zero, six = (n.const(k, v) for k, v in (("three", 3.0), ("zero", 0.0), ("six", 6.0)))
    clip = n.add("Clip", [n.add("Add", [x, three], "x3"), zero, six], "clip")
    y = n.add("Div", [n.add("Mul", [x, clip], "p"), six], "hs")
    n.add("Relu", [linear(n, "conv", y, "c2")], "y")


@pytest.mark.parametrize("build", [padded_chain, part_of_a_chain, layer_scale, hard_swish])
def test_no_tensor_keeps_a_name_without_its_values(build: Callable[[Net], None]) -> None:
    n = Net(10)
    build(n)
    proto = n.model({"x": ["N", 4, 9, 9]}, {"y": ["N", 4, 9, 9]})
    loaded = load_model(proto.SerializeToString()).proto()
    theirs = {name for node in proto.graph.node for name in node.output}
    shared = sorted(theirs & {name for node in loaded.graph.node for name in node.output})
    assert "y" in shared
    for name, one, other in zip(
        shared, values(proto, image(), shared), values(loaded, image(), shared), strict=True
    ):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4, err_msg=name)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), seed=st.integers(0, 10_000))
def test_random_chains_keep_their_function(data: st.DataObject, seed: int) -> None:
    n = Net(seed)
    y, ends = "x", []
    for i in range(data.draw(st.integers(2, 8))):
        step = data.draw(
            st.sampled_from(
                ["Mul", "Add", "Sub", "Div", "Neg", "Relu", "LeakyRelu", *KINDS, "BatchNormalization"]
            )
        )
        if step in KINDS:
            y = linear(n, step, y, f"n{i}", pads=data.draw(st.integers(0, 1)))
        elif step in ("Neg", "Relu", "LeakyRelu"):
            y = n.add(step, [y], f"n{i}")
        elif step == "BatchNormalization":
            parts = [n.const(f"n{i}.{k}", n.rng.uniform(0.5, 2.0, 4)) for k in ("g", "b", "m", "v")]
            y = n.add(step, [y, *parts], f"n{i}")
        else:
            first = step != "Div" and data.draw(st.booleans())
            shape = SHAPES[data.draw(st.sampled_from(sorted(SHAPES)))]
            y = scale(n, y, step, f"n{i}", shape, constant_first=first)
        if data.draw(st.integers(0, 5)) == 0:
            ends.append(y)
    ends = list(dict.fromkeys([*ends, n.add("Identity", [y], "end")]))
    load_and_compare(
        n, {"x": ["N", 4, 9, 9]}, {end: ["N", 4, "H", "W"] for end in ends if end != "x"}, image(seed)
    )


def test_folding_leaves_fewer_quantizers() -> None:
    n = Net(11)
    y = "x"
    for i in range(3):
        y = n.conv(y, f"c{i}", 4, 4)
        y = scale(n, scale(n, y, "Mul", f"m{i}", (1,)), "Add", f"a{i}", (1,))
        y = n.add("Relu", [y], f"r{i}")
    loaded = load_and_compare(n, {"x": ["N", 4, 9, 9]}, {"r2": ["N", 4, 9, 9]}, image())
    assert find_placement(loaded, target("onnxruntime-cpu")).own() == ("x", "r0", "r1", "r2")
