"""Rotation: outputs stay in any basis, planted massive activations vanish, other graphs are left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from quantscope.core.data import open_samples
from quantscope.core.model import Model, load_model
from quantscope.core.model.loading import graph_hash
from quantscope.core.passes import find_streams
from quantscope.core.passes.rewrite import rebuilt
from quantscope.core.passes.rotate import _aligned, _basis, _main_direction, _turn, rotate
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.sample_data import SAMPLES
from tests.networks import NETWORKS, Net, feeds
from tests.quantizing import network, run, sqnr, statistics_of
from tests.test_passes_bias_correction import samples_of

WIDTH, TOKENS, WORDS = 24, 6, 40
Runs = list[dict[str, np.ndarray]]


def rms(n: Net, x: str, name: str, form: str) -> str:
    """Root mean square normalization, as exporters write it."""
    factor = n.const(f"{name}.g", 1 + 0.3 * n.rng.standard_normal(WIDTH))
    if form == "pow":
        mean = n.add("ReduceMean", [n.add("Pow", [x, "two"], f"{name}.sq")], f"{name}.mean", axes=[-1])
        root = n.add("Sqrt", [n.add("Add", [mean, "eps"], f"{name}.safe")], f"{name}.root")
        unit = n.add("Div", [x, root], f"{name}.unit")
        return n.add("Mul", [unit, factor], f"{name}.out")
    mean = n.add("ReduceMean", [n.add("Mul", [x, x], f"{name}.sq")], f"{name}.mean", axes=[-1], keepdims=1)
    root = n.add("Reciprocal", [n.add("Sqrt", [n.add("Add", ["eps", mean], f"{name}.safe")], f"{name}.root")],
                 f"{name}.inverse")  # fmt: skip
    return n.add("Mul", [factor, n.add("Mul", [root, x], f"{name}.unit")], f"{name}.out")


def language_model(form: str = "pow", massive: float = 0.0, tied: bool = False) -> Model:
    """Embedding, two gated blocks with RMSNorm, a head; the first word has massive activations."""
    n = Net(3)
    n.const("two", 2.0), n.const("eps", 1e-5)
    table = n.rng.standard_normal((WORDS, WIDTH)).astype(np.float32)
    table[0, [5, 17]] = massive or table[0, [5, 17]]
    x = n.add("Gather", [n.const("table", table), "ids"], "embedded")
    for b in range(2):
        h = rms(n, x, f"b{b}.norm", form)
        gate = n.add("MatMul", [h, n.random(f"b{b}.gate.w", WIDTH, 32, scale=0.2)], f"b{b}.gate")
        gate = n.add("Sigmoid", [gate], f"b{b}.open")
        up = n.add("MatMul", [h, n.random(f"b{b}.up.w", WIDTH, 32, scale=0.2)], f"b{b}.up")
        down = n.add("MatMul", [n.add("Mul", [gate, up], f"b{b}.gated"),
                                n.random(f"b{b}.down.w", 32, WIDTH, scale=0.2)], f"b{b}.down")  # fmt: skip
        x = n.add("Add", [x, down], f"b{b}.sum")
    h = rms(n, x, "norm", form)
    if tied:
        n.add(
            "Gemm",
            [n.add("Reshape", [h, n.const("rows", [-1, WIDTH], np.int64)], "flat"), "table"],
            "y",
            transB=1,
        )
    else:
        n.add("MatMul", [h, n.random("head.w", WIDTH, WORDS, scale=0.2)], "y")
    shape: list[object] = ["R", WORDS] if tied else ["N", TOKENS, WORDS]
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)
    ids = onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["N", TOKENS])
    graph = onnx.helper.make_graph(n.nodes, "lm", [ids], [output], n.weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return load_model(model.SerializeToString(), name="lm")


def sentences(count: int = 16, seed: int = 0) -> Runs:
    rng = np.random.default_rng(seed)
    rows = rng.integers(1, WORDS, (count, 1, TOKENS))
    rows[:, :, 0] = 0
    return [{"ids": row} for row in rows]


def bottlenecks() -> Model:
    """Linear bottlenecks with a residual, read by a padded, a strided and a pointwise convolution."""
    n = Net(6)
    x = n.conv("image", "a", 3, 12)
    y = n.add("Relu", [n.conv(x, "b", 12, 20, k=1)], "b_relu")
    x = n.add("Add", [n.conv(y, "c", 20, 12, k=1), x], "sum")
    p = n.add("AveragePool", [x], "pool", kernel_shape=[2, 2], strides=[2, 2])
    n.conv(p, "d", 12, 5), n.conv(x, "e", 12, 7, k=3, stride=2)
    model = n.model({"image": ["N", 3, 16, 16]}, {"d": ["N", 5, 8, 8], "e": ["N", 7, 8, 8]})
    return load_model(model.SerializeToString(), name="bottlenecks")


def class_token() -> Model:
    """LayerNorm, positions added, a class token joined and taken out again, a bias of one value."""
    n = Net(8)
    x = n.conv("image", "patch", 3, WIDTH, k=1, stride=2)
    x = n.add("Reshape", [x, n.const("to", [1, WIDTH, 16], np.int64)], "flat")
    x = n.add("Transpose", [x], "tokens", perm=[0, 2, 1])
    x = n.add("Concat", [n.random("cls", 1, 1, WIDTH), x], "joined", axis=1)
    x = n.add("Add", [x, n.random("position", 17, WIDTH)], "placed")
    g, b = n.const("g", 1 + 0.3 * n.rng.standard_normal(WIDTH)), n.random("b", WIDTH)
    h = n.add("LayerNormalization", [x, g, b], "normal", axis=-1)
    h = n.add("Tanh", [n.add("MatMul", [h, n.random("w1", WIDTH, 30)], "up")], "tanh")
    h = n.add(
        "Add", [n.add("MatMul", [h, n.random("w2", 30, WIDTH)], "down"), n.random("db", WIDTH)], "down_b"
    )
    x = n.add("Sub", [x, n.add("Mul", [h, n.const("half", 0.5)], "halved")], "sum")
    x = n.add("Add", [x, n.const("one", [0.7])], "lifted")
    x = n.add("Gather", [x, n.const("zero", [0], np.int64)], "first", axis=1)
    x = n.add("Squeeze", [x, n.const("ax", [1], np.int64)], "row")
    n.add("Gemm", [x, n.random("head", WIDTH, 4), n.random("hb", 4)], "y", alpha=0.5)
    model = n.model({"image": [1, 3, 8, 8]}, {"y": [1, 4]})
    return load_model(model.SerializeToString(), name="class_token")


def images(count: int = 6, size: int = 16) -> Runs:
    rng = np.random.default_rng(1)
    return [{"image": rng.standard_normal((1, 3, size, size)).astype(np.float32)} for _ in range(count)]


BUILDS: dict[str, tuple[Callable[[], Model], Runs]] = {
    "pow": (lambda: language_model("pow"), sentences()),
    "reciprocal": (lambda: language_model("reciprocal"), sentences()),
    "tied": (lambda: language_model("pow", tied=True), sentences()),
    "bottlenecks": (bottlenecks, images()),
    "class_token": (class_token, images(size=8)),
}


@pytest.mark.parametrize("name", BUILDS)
def test_any_basis_leaves_the_outputs_alone(name: str) -> None:
    build, runs = BUILDS[name]
    model = build()
    streams = find_streams(model.ir.graph)
    assert streams
    copy = model.ir.clone()
    for stream in streams:
        _turn(copy.graph, stream, _basis(stream.size, 5, stream.centered))
    changed = rebuilt(model, copy)
    for one, other in zip(run(model.proto(), runs), run(changed.proto(), runs), strict=True):
        np.testing.assert_allclose(other, one, atol=2e-5 * np.abs(one).max())
    assert graph_hash(model.ir) == model.hash
    assert changed.hash != model.hash
    assert [layer.name for layer in changed.layers] == [layer.name for layer in model.layers]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 24, 56, 64])
@pytest.mark.parametrize("centered", [False, True])
def test_bases_are_orthogonal_and_flat(size: int, centered: bool) -> None:
    ones = np.ones(size)
    main = np.random.default_rng(0).standard_normal(size)
    main -= main.mean() * centered
    main /= np.linalg.norm(main) or 1.0
    for number in range(3):
        basis = _basis(size, number, centered)
        every = [basis] if size == 1 else [basis, _aligned(basis, main, centered)]
        for matrix in every:
            np.testing.assert_allclose(matrix @ matrix.T, np.eye(size), atol=1e-12)
            if centered:
                np.testing.assert_allclose(matrix @ ones, ones, atol=1e-12)
        if size > 1:
            turned = main @ every[1]
            assert np.abs(turned).max() <= 1.001 / np.sqrt(2 * (size // 2) if centered else size)
        if size >= 8 and not centered:
            assert np.abs(basis).max() < 2.2 / np.sqrt(size)


def test_massive_activations_vanish(tmp_path: Path) -> None:
    model, runs, fresh = language_model(massive=60.0), sentences(), sentences(seed=4)
    found = rotate(model, samples_of(model, tmp_path, runs))
    residual = next(t for t in found.tensors if t.tensor == "b1.sum")
    assert residual.after < residual.before / 2
    assert not found.left_out
    assert found.difference.sqnr_db > 90
    floats = run(model.proto(), fresh)

    def quality(m: Model) -> float:
        encodings = resolve(Recipe(), statistics_of(m, runs), m)
        return sqnr(floats, run(quantize_model(m, encodings), fresh))

    assert quality(found.model) > quality(model) + 5


def test_even_streams_are_left_alone(tmp_path: Path) -> None:
    n = Net(2)
    x = n.conv("image", "a", 3, 16, k=1)
    n.conv(x, "b", 16, 4, k=1)
    model = load_model(n.model({"image": ["N", 3, 8, 8]}, {"b": ["N", 4, 8, 8]}).SerializeToString())
    found = rotate(model, samples_of(model, tmp_path, images(size=8)))
    if found.tensors:  # only if it pays
        assert np.mean([20 * np.log10(t.before / t.after) for t in found.tensors]) >= 1.0
    else:
        assert found.model is model
        assert set(found.left_out.values()) == {"no channel stands out"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda n, x: n.add("Relu", [x], "z"),
        lambda n, x: n.add("Softmax", [x], "z", axis=-1),
        lambda n, x: n.add("Add", [x, "other"], "z"),
        lambda n, x: n.add("Mul", [x, "other"], "z"),
        lambda n, x: n.add("ReduceMean", [x], "z", axes=[-1], keepdims=1),
        lambda n, x: n.add("Slice", [x, "lo", "hi", "last"], "z"),
        lambda n, x: n.add("Pow", [x, "three"], "z"),
        lambda n, x: n.add("ReduceMax", [n.add("Mul", [x, x], "zz")], "z", axes=[-1], keepdims=1),
        lambda n, x: n.add("MatMul", [n.add("Transpose", [x], "t", perm=[0, 2, 1]), "five"], "z"),
        lambda n, x: n.add("Identity", [x], "z"),
    ],
)  # fmt: skip
def test_what_reads_single_channels_blocks_a_stream(spoil: Callable[[Net, str], str]) -> None:
    n = Net(2)
    n.const("lo", [0], np.int64), n.const("hi", [3], np.int64), n.const("last", [-1], np.int64)
    n.const("three", 3.0), n.random("five", 5, 3)
    x = n.add("MatMul", ["x", n.random("w", 8, WIDTH)], "m")
    n.add("MatMul", [x, n.random("v", WIDTH, 4)], "y")
    outputs: dict[str, list[object]] = {"y": ["N", 5, 4]}
    inputs: dict[str, list[object]] = {"x": ["N", 5, 8], "other": ["N", 5, WIDTH]}
    plain = load_model(n.model(inputs, outputs).SerializeToString())
    assert len(find_streams(plain.ir.graph)) == 1
    outputs[spoil(n, x)] = [None, None, None]
    spoiled = load_model(n.model(inputs, outputs).SerializeToString())
    assert not find_streams(spoiled.ir.graph)


def test_the_length_of_a_scaled_vector_depends_on_the_basis() -> None:
    def stream(scaled: bool) -> int:
        n = Net(2)
        n.const("two", 2.0), n.const("eps", 1e-5)
        x = n.add("MatMul", ["x", n.random("w", 8, WIDTH)], "m")
        h = rms(n, x, "norm", "pow") if scaled else x
        length = n.add("ReduceL2", [h], "length", axes=[-1], keepdims=1)
        n.add("MatMul", [n.add("Div", [h, length], "unit"), n.random("v", WIDTH, 4)], "y")
        proto = n.model({"x": ["N", 5, 8]}, {"y": ["N", 5, 4]})
        return len(find_streams(load_model(proto.SerializeToString()).ir.graph))

    assert stream(scaled=False) == 1
    assert stream(scaled=True) == 0


def test_the_main_direction_is_that_of_the_massive_rows() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((50, 16)).astype(np.float32)
    rows[0, 3] = 500.0
    assert abs(_main_direction([rows], centered=False)[3]) > 0.99


@pytest.mark.parametrize("name", [*NETWORKS, "samples"])
def test_networks_keep_their_outputs(name: str, tmp_path: Path) -> None:
    if name == "samples":
        model = load_model(SAMPLES["digits_vit"].model)
        samples = open_samples(SAMPLES["digits_vit"].calibration, model).take(16)
    else:
        model = network(name)
        samples = samples_of(model, tmp_path, feeds(name))
    found = rotate(model, samples)
    assert found.difference.sqnr_db > 80
    assert isinstance(found.model.ir, ir.Model)


def test_the_order_of_the_samples_does_not_matter(tmp_path: Path) -> None:
    model, runs = language_model(massive=60.0), sentences(9)
    one = rotate(model, samples_of(model, tmp_path, runs), threads=1)
    other = rotate(model, samples_of(model, tmp_path, runs[::-1], "back"))
    assert one.model.hash == other.model.hash
