"""Weight rounding: products equal onnxruntime's operators, and errors are never above round-to-nearest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantscope.core.model import load_model
from quantscope.core.passes import product
from quantscope.core.passes.gptq import IntegerGrid, damped, round_weights, row_errors
from quantscope.core.passes.rounding import round_to_outputs
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Granularity
from quantscope.core.thresholds import WeightMethod
from tests.networks import NETWORKS, Net, feeds
from tests.quantizing import initializer, network, run, sqnr, statistics_of
from tests.sessions import session as open_session
from tests.test_passes_bias_correction import samples_of

CONVOLUTIONS = [
    ("Conv", (6, 4, 3, 3), {"pads": [1, 1, 1, 1]}),
    ("Conv", (6, 2, 3, 3), {"group": 2, "strides": [2, 1], "pads": [0, 1, 2, 1]}),
    ("Conv", (4, 1, 3, 3), {"group": 4, "dilations": [2, 2]}),
    ("Conv", (8, 1, 2, 2), {"group": 4, "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", (5, 4, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [3, 2]}),
    ("Conv", (5, 4, 3, 3), {"auto_pad": "VALID"}),
    ("ConvTranspose", (4, 3, 2, 2), {"strides": [2, 2]}),
    ("ConvTranspose", (4, 3, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
    ("ConvTranspose", (4, 2, 3, 3), {"group": 2, "strides": [1, 2], "dilations": [2, 1]}),
    ("ConvTranspose", (4, 2, 3, 3), {"group": 2, "pads": [2, 2, 2, 2]}),
]


@pytest.mark.parametrize(("op", "shape", "attributes"), CONVOLUTIONS)
def test_convolutions_are_products_of_rows_and_matrix(
    op: str, shape: tuple[int, ...], attributes: dict[str, object]
) -> None:
    n = Net(2)
    w = n.rng.standard_normal(shape).astype(np.float32)
    n.add(op, ["x", n.const("w", w)], "y", **attributes)
    model = load_model(n.model({"x": [1, 4, 7, 8]}, {"y": [1, None, None, None]}).SerializeToString())
    found = product(next(iter(model.ir.graph)))
    assert found is not None
    x = n.rng.standard_normal((1, 4, 7, 8)).astype(np.float32)
    expected = open_session(model.float_bytes()).run(None, {"x": x})[0]
    rows, matrix = found.rows(x, 10**9), found.matrix(w)
    assert rows.shape[2] == matrix.shape[2] == found.columns
    ours = np.einsum("gpk,gok->gop", rows, matrix).reshape(expected.shape)
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    np.testing.assert_array_equal(found.weight(matrix), w)
    few = found.rows(x, 5)
    assert few.shape == (rows.shape[0], min(5, rows.shape[1]), found.columns)


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_and_matmul_are_products(transposed: int) -> None:
    n = Net(2)
    w = n.rng.standard_normal((6, 5)).astype(np.float32)
    n.add("Gemm", ["x", n.const("w", w.T if transposed else w)], "y", transB=transposed)
    n.add("MatMul", ["z", n.const("v", w)], "u")
    model = load_model(
        n.model({"x": ["N", 6], "z": ["N", 3, 6]}, {"y": ["N", 5], "u": ["N", 3, 5]}).SerializeToString()
    )
    for node, x in zip(model.ir.graph, (n.rng.random((4, 6)), n.rng.random((2, 3, 6))), strict=True):
        found = product(node)
        assert found is not None
        stored = model.ir.graph.initializers[node.inputs[1].name].const_value.numpy()
        ours = found.rows(x.astype(np.float32), 99)[0] @ found.matrix(stored)[0].T
        np.testing.assert_allclose(ours, x.reshape(-1, 6).astype(np.float32) @ w, rtol=1e-5)
        np.testing.assert_array_equal(found.weight(found.matrix(stored)), stored)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6), columns=st.integers(1, 40), outputs=st.integers(1, 6),
    groups=st.integers(1, 3), bits=st.integers(3, 8), mean=st.floats(0, 4), rank=st.integers(1, 40),
)  # fmt: skip
def test_never_worse_than_nearest_for_any_row(
    seed: int, columns: int, outputs: int, groups: int, bits: int, mean: float, rank: int
) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((groups, outputs, columns))
    x = mean + rng.standard_normal((groups, 50, rank)) @ rng.standard_normal((groups, rank, columns))
    x += 0.1 * rng.standard_normal(x.shape)
    gram = damped(x.swapaxes(1, 2) @ x / 50, 0.01)
    top = 2 ** (bits - 1) - 1
    grid = IntegerGrid(
        scale=np.abs(weight).max(axis=2) / top, zero=np.zeros((groups, outputs)), qmin=-top, qmax=top
    )
    found = round_weights(weight, gram, grid)
    assert np.array_equal(found, np.rint(found))
    assert np.abs(found).max() <= top
    nearest = row_errors(weight, grid.nearest(weight), grid, gram)
    assert (row_errors(weight, found, grid, gram) <= nearest * (1 + 1e-12)).all()


def test_correlated_inputs_gain_much_and_independent_ones_nothing() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((1, 16, 64))
    grid = IntegerGrid(scale=np.abs(weight).max(axis=2) / 7, zero=np.zeros((1, 16)), qmin=-7, qmax=7)
    x = rng.standard_normal((1, 500, 8)) @ rng.standard_normal((1, 8, 64)) + 0.05 * rng.standard_normal(
        (1, 500, 64)
    )
    for gram, most in ((x.swapaxes(1, 2) @ x / 500, 0.1), (np.eye(64)[None], 1.0)):
        nearest = row_errors(weight, grid.nearest(weight), grid, gram).sum()
        found = row_errors(weight, round_weights(weight, gram, grid), grid, gram).sum()
        assert found <= most * nearest
    assert np.array_equal(round_weights(weight, np.eye(64)[None], grid), grid.nearest(weight))


def test_small_problems_come_close_to_the_best_of_all_roundings() -> None:
    rng = np.random.default_rng(4)
    ratios = []
    for _ in range(20):
        weight = rng.standard_normal((1, 1, 7))
        x = rng.standard_normal((1, 60, 3)) @ rng.standard_normal((1, 3, 7)) + 0.2 * rng.random((1, 60, 7))
        gram = x.swapaxes(1, 2) @ x
        grid = IntegerGrid(scale=np.full((1, 1), 0.5), zero=np.zeros((1, 1)), qmin=-7, qmax=7)
        corners = np.stack(np.meshgrid(*[[0, 1]] * 7), -1).reshape(1, -1, 7) + np.floor(weight / 0.5)
        wide = IntegerGrid(scale=np.full((1, 128), 0.5), zero=np.zeros((1, 128)), qmin=-7, qmax=7)
        best = row_errors(np.broadcast_to(weight, corners.shape), corners, wide, gram).min()
        ratios.append(float(row_errors(weight, round_weights(weight, gram, grid), grid, gram).sum() / best))
    assert np.median(ratios) < 1.05


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("granularity", Granularity)
def test_networks_come_closer_to_float(name: str, granularity: Granularity, tmp_path: Path) -> None:
    model, runs = network(name), feeds(name, 16)
    recipe = Recipe().with_default(weights=granularity)
    encodings = resolve(recipe, statistics_of(model, runs), model)
    found = round_to_outputs(model, encodings, samples_of(model, tmp_path, runs))
    assert all(layer.rounded <= layer.nearest for layer in found.layers)
    assert sum(layer.rounded for layer in found.layers) < 0.9 * sum(layer.nearest for layer in found.layers)
    quantized = quantize_model(model, found.encodings)
    onnx.checker.check_model(quantized, full_check=True)
    floats = run(model.proto(), runs)
    plain = sqnr(floats, run(quantize_model(model, encodings), runs))
    assert sqnr(floats, run(quantized, runs)) > plain - 0.1
    for node, integers in found.encodings.integers.items():
        weight = encodings.placement.weights[node]
        np.testing.assert_array_equal(initializer(quantized, f"{weight.initializer}_quantized"), integers)
        assert np.abs(integers.astype(int)).max() <= 127


def test_the_order_of_the_samples_does_not_matter(tmp_path: Path) -> None:
    model, runs = network("mobile_cnn"), feeds("mobile_cnn", 10)
    encodings = resolve(Recipe(), statistics_of(model, runs), model)
    one = round_to_outputs(model, encodings, samples_of(model, tmp_path, runs), count=7, threads=1)
    other = round_to_outputs(model, encodings, samples_of(model, tmp_path, runs[::-1], "back"), count=7)
    assert one.encodings.integers
    assert one.encodings.integers.keys() == other.encodings.integers.keys()
    for node, integers in one.encodings.integers.items():
        np.testing.assert_array_equal(integers, other.encodings.integers[node])


def test_integers_belong_to_one_set_of_encodings(tmp_path: Path) -> None:
    model, runs = network("residual_cnn"), feeds("residual_cnn")
    statistics = statistics_of(model, runs)
    encodings = resolve(Recipe(), statistics, model)
    found = round_to_outputs(model, encodings, samples_of(model, tmp_path, runs)).encodings
    changed = Recipe().with_default(weight_method=WeightMethod.MSE)
    assert found.integers
    assert not resolve(changed, statistics, model, previous=found).integers
    again = quantize_model(model, replace(found, integers={}))
    assert again == quantize_model(model, encodings)
