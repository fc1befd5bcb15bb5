"""SmoothQuant: outputs stay, planted outlier channels do no more harm, and what is left alone is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantscope.core.data import open_samples
from quantscope.core.errors import RecipeError
from quantscope.core.model import Model, load_model
from quantscope.core.passes.equalize import equalize
from quantscope.core.passes.smooth import smooth
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.sample_data import SAMPLES
from tests.networks import NETWORKS, Net, feeds
from tests.quantizing import network, run, sqnr, statistics_of
from tests.test_passes_bias_correction import samples_of

RECIPE = Recipe()
WIDTH = 16


def outliers(kind: str) -> Model:
    """A normalization whose scale has two channels 60 times the others', read by small weights there."""
    n = Net(5, opset=17)
    scale = np.ones(WIDTH, np.float32)
    scale[[3, 11]] = 60.0
    weight = n.rng.standard_normal((WIDTH, 24)).astype(np.float32)
    weight[[3, 11]] /= 60.0
    if kind == "layernorm":
        x = n.add(
            "LayerNormalization", ["x", n.const("g", scale), n.const("b", 0.1 * scale)], "normal", axis=-1
        )
    elif kind == "rmsnorm":
        square = n.add("ReduceMean", [n.add("Mul", ["x", "x"], "xx")], "mean", axes=[-1], keepdims=1)
        root = n.add("Sqrt", [n.add("Add", [square, n.const("eps", 1e-6)], "safe")], "root")
        x = n.add("Mul", [n.add("Div", ["x", root], "unit"), n.const("g", scale)], "normal")
    elif kind == "linear":
        first = n.rng.standard_normal((WIDTH, WIDTH)).astype(np.float32) * scale / 4
        x = n.add("MatMul", ["x", n.const("first.w", first)], "first")
        x = n.add("Add", [x, n.const("first.b", 0.1 * scale)], "normal")
    else:
        x = n.add("Softplus", [n.add("Div", ["x", n.const("spread", 1.0 / scale)], "wide")], "normal")
    n.add("MatMul", [x, n.const("w", weight)], "y")
    shapes = {"x": ["N", 5, WIDTH]}, {"y": ["N", 5, 24]}
    return load_model(n.model(*shapes).SerializeToString(), name=kind)


def tokens(count: int = 24, seed: int = 0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"x": rng.standard_normal((1, 5, WIDTH)).astype(np.float32)} for _ in range(count)]


def quality(model: Model, floats: list[np.ndarray], runs: list[dict[str, np.ndarray]]) -> float:
    encodings = resolve(RECIPE, statistics_of(model, tokens()), model)
    return sqnr(floats, run(quantize_model(model, encodings), runs))


@pytest.mark.parametrize("kind", ["layernorm", "rmsnorm", "linear", "float"])
def test_planted_outliers_lose_their_harm(kind: str, tmp_path: Path) -> None:
    model, fresh = outliers(kind), tokens(seed=1)
    floats = run(model.proto(), fresh)
    found = smooth(model, samples_of(model, tmp_path, tokens()))
    assert [(t.tensor, t.inserted) for t in found.tensors if t.tensor == "normal"] == [
        ("normal", kind == "float")
    ]
    assert all(t.after < 0.5 * t.before for t in found.tensors if t.tensor == "normal")
    for one, other in zip(floats, run(found.model.proto(), fresh), strict=True):
        np.testing.assert_allclose(other, one, atol=2e-5 * np.abs(one).max())
    gain = quality(found.model, floats, fresh) - quality(model, floats, fresh)
    assert gain > (5 if kind != "rmsnorm" else -1)  # a quantized factor of two sizes loses what X gains
    divs = [node.op_type for node in found.model.ir.graph].count("Div")
    assert divs - [node.op_type for node in model.ir.graph].count("Div") == (kind == "float")


@pytest.mark.parametrize("kind", ["layernorm", "rmsnorm", "linear"])
def test_equalize_does_it_too_where_it_can_be_folded(kind: str, tmp_path: Path) -> None:
    model, fresh = outliers(kind), tokens(seed=1)
    floats = run(model.proto(), fresh)
    found = equalize(model, samples_of(model, tmp_path, tokens()), RECIPE)
    smoothed = smooth(model, samples_of(model, tmp_path, tokens()))
    assert quality(found.model, floats, fresh) > quality(smoothed.model, floats, fresh) - 1.5
    assert quality(found.model, floats, fresh) > quality(model, floats, fresh) + 0.3


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_keep_their_outputs(name: str, alpha: float, tmp_path: Path) -> None:
    model, runs = network(name), feeds(name)
    found = smooth(model, samples_of(model, tmp_path, runs), alpha=alpha)
    for one, other in zip(run(model.proto(), runs), run(found.model.proto(), runs), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-4 * np.abs(one).max())
    names = [layer.name for layer in found.model.layers]
    assert [n for n in names if not n.endswith("/smooth")] == [layer.name for layer in model.layers]


def test_alpha_one_makes_channels_equal_and_zero_evens_the_weights(tmp_path: Path) -> None:
    model = outliers("layernorm")
    full = smooth(model, samples_of(model, tmp_path, tokens()), alpha=1.0).tensors[0]
    none = smooth(model, samples_of(model, tmp_path, tokens()), alpha=0.0)
    assert full.before > 30
    assert full.after < 1.0001
    weight = none.model.ir.graph.initializers["w"].const_value.numpy()
    np.testing.assert_allclose(np.abs(weight).max(axis=1), np.abs(weight).max(), rtol=1e-5)


def test_products_along_another_axis_than_the_channels_are_left_alone(tmp_path: Path) -> None:
    n = Net(4)
    x = n.add("Relu", [n.conv("image", "a", 3, 8)], "a_relu")
    n.add("MatMul", [x, n.random("across", 4, 6)], "y")
    model = load_model(n.model({"image": ["N", 3, 4, 4]}, {"y": ["N", 8, 4, 6]}).SerializeToString())
    images = [{"image": np.random.default_rng(i).standard_normal((1, 3, 4, 4), np.float32)} for i in range(4)]
    found = smooth(model, samples_of(model, tmp_path, images))
    assert not found.tensors
    assert found.model.hash == model.hash


@pytest.mark.parametrize("reader", ["Tanh", "Add"])
def test_what_other_integer_layers_read_is_left_alone(reader: str, tmp_path: Path) -> None:
    n = Net(5)
    scale = np.ones(WIDTH, np.float32)
    scale[[3, 11]] = 60.0
    x = n.add("Softplus", [n.add("Div", ["x", n.const("spread", 1.0 / scale)], "wide")], "soft")
    n.add("MatMul", [x, n.random("w", WIDTH, 4)], "y")
    n.add(reader, [x] if reader == "Tanh" else [x, x], "z")
    shapes = {"x": ["N", 5, WIDTH]}, {"y": ["N", 5, 4], "z": ["N", 5, WIDTH]}
    model = load_model(n.model(*shapes).SerializeToString())
    found = smooth(model, samples_of(model, tmp_path, tokens()))
    if reader == "Add":
        assert not found.tensors
        assert found.left_out == {"soft": "other layers read it too"}
        assert found.model.hash == model.hash
    else:  # stays float, and reads what it read before
        assert [(t.tensor, t.inserted) for t in found.tensors] == [("soft", True)]
        floats = run(model.proto(), tokens(seed=1))
        for one, other in zip(floats, run(found.model.proto(), tokens(seed=1)), strict=True):
            np.testing.assert_allclose(other, one, atol=2e-5 * np.abs(one).max())


@pytest.mark.parametrize("factor", [1.0, 60.0])
def test_an_input_whose_channels_stand_out_is_divided(factor: float, tmp_path: Path) -> None:
    n = Net(5)
    weight = n.rng.standard_normal((WIDTH, 24)).astype(np.float32)
    weight[3] /= factor
    n.add("MatMul", ["x", n.const("w", weight)], "y")
    model = load_model(n.model({"x": ["N", 5, WIDTH]}, {"y": ["N", 5, 24]}).SerializeToString())

    def planted(seed: int) -> list[dict[str, np.ndarray]]:
        runs = tokens(seed=seed)
        for sample in runs:
            sample["x"][..., 3] *= factor
        return runs

    fresh = planted(1)
    floats = run(model.proto(), fresh)
    found = smooth(model, samples_of(model, tmp_path, planted(0)))
    assert [t.tensor for t in found.tensors if t.inserted] == (["x"] if factor > 1 else [])
    assert [v.name for v in found.model.ir.graph.inputs] == ["x"]
    losses = [
        sqnr(floats, run(quantize_model(m, resolve(RECIPE, statistics_of(m, planted(0)), m)), fresh))
        for m in (model, found.model)
    ]
    assert (losses[1] > losses[0] + 10) == (factor > 1)


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_alpha_is_a_share(alpha: float, tmp_path: Path) -> None:
    model = outliers("layernorm")
    with pytest.raises(RecipeError, match="alpha"):
        smooth(model, samples_of(model, tmp_path, tokens(2)), alpha=alpha)


def test_the_transformer_of_the_samples() -> None:
    model = load_model(SAMPLES["digits_vit"].model)
    samples = open_samples(SAMPLES["digits_vit"].calibration, model).take(24)
    found = smooth(model, samples)
    assert found.difference.sqnr_db > 80
    assert len(found.tensors) >= 4
