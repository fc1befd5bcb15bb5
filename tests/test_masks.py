"""Attention masks of every form: masked scores stay in float where integers would destroy them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from quantscope.core.calibration import calibrate, histogram_of
from quantscope.core.model import Model, load_model
from quantscope.core.quant import QuantSpec, QuantType, Range, ScaleRule
from quantscope.core.quantize.representable import why_float
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Precision
from quantscope.core.thresholds import Method
from quantscope.core.tuning import autotune
from tests.evaluating import list_samples
from tests.networks import Net
from tests.quantizing import MINMAX, Sample, quantized, run, sqnr

LOWEST = float(np.finfo(np.float32).min)
MASKS = (-1e4, -65504.0, -1e9, LOWEST, -np.inf)
TOKENS, WIDTH = 6, 16
CAUSAL = np.triu(np.ones((TOKENS, TOKENS), bool), 1)


def _add_constant(n: Net, scores: str, mask: float) -> str:
    return n.add("Add", [scores, n.const("mask", np.where(CAUSAL, mask, 0.0))], "masked")


def _add_input(n: Net, scores: str, mask: float) -> str:
    return n.add("Add", [scores, "mask"], "masked")


def _where(n: Net, scores: str, mask: float) -> str:
    hidden = n.const("hidden", CAUSAL, np.bool_)
    return n.add("Where", [hidden, n.const("mask", mask), scores], "masked")


def _from_ones(n: Net, scores: str, mask: float) -> str:
    """(1 − m) · mask, of a mask of ones and zeros, with a dimension more."""
    hidden = n.add("Sub", [n.const("one", 1.0), "mask"], "hidden")
    far = n.add("Mul", [hidden, n.const("far", mask)], "far_mask")
    wide = n.add("Unsqueeze", [far, n.const("first", [0], np.int64)], "wide")
    return n.add("Add", [scores, wide], "masked")


def _subtracted(n: Net, scores: str, mask: float) -> str:
    return n.add("Sub", [scores, n.const("mask", np.where(CAUSAL, -mask, 0.0))], "masked")


def _reshaped(n: Net, scores: str, mask: float) -> str:
    """Masked first, then brought into another shape, which shares parameters with what it reads."""
    masked = _add_constant(n, scores, mask)
    flat = n.add("Reshape", [masked, n.const("flat", [-1, TOKENS], np.int64)], "flattened")
    return n.add("Reshape", [flat, n.const("back", [-1, TOKENS, TOKENS], np.int64)], "unflattened")


def _twice(n: Net, scores: str, mask: float) -> str:
    """Causal and padding masks added up: twice as far where both hide."""
    padding = np.zeros(TOKENS)
    padding[-2:] = mask / 2
    both = np.where(CAUSAL, mask / 2, 0.0)
    once = n.add("Add", [scores, n.const("causal", both)], "once")
    return n.add("Add", [once, n.const("padding", padding)], "masked")


def _alibi(n: Net, scores: str, mask: float) -> str:
    """A mask in one constant with biases that grow with the distance."""
    away = np.arange(TOKENS)[:, None] - np.arange(TOKENS)
    return n.add("Add", [scores, n.const("mask", np.where(CAUSAL, mask, -0.5 * np.abs(away)))], "masked")


FORMS: dict[str, Callable[[Net, str, float], str]] = {
    "add a constant": _add_constant,
    "add an input": _add_input,
    "where": _where,
    "from ones": _from_ones,
    "subtract": _subtracted,
    "reshape behind it": _reshaped,
    "two masks": _twice,
    "alibi": _alibi,
}


def attention(mask_scores: Callable[[Net, str], str], mask_input: bool = False) -> Model:
    """One head over a few tokens."""
    n = Net(7)
    q, k, v = (n.add("MatMul", ["x", n.random(f"w{part}", WIDTH, WIDTH)], part) for part in "qkv")
    scores = n.add("MatMul", [q, n.add("Transpose", [k], "kt", perm=[0, 2, 1])], "products")
    scores = n.add("Mul", [scores, n.const("root", WIDTH**-0.5)], "scores")
    weights = n.add("Softmax", [mask_scores(n, scores)], "weights", axis=-1)
    n.add("MatMul", [n.add("MatMul", [weights, v], "context"), n.random("wo", WIDTH, WIDTH)], "y")
    inputs: dict[str, list[object]] = {"x": ["N", TOKENS, WIDTH]}
    if mask_input:
        inputs["mask"] = [TOKENS, TOKENS]
    return load_model(n.model(inputs, {"y": ["N", TOKENS, WIDTH]}).SerializeToString())


def data(masks: np.ndarray | None = None, count: int = 16) -> list[Sample]:
    rng = np.random.default_rng(3)
    items = [{"x": rng.standard_normal((1, TOKENS, WIDTH)).astype(np.float32)} for _ in range(count)]
    if masks is not None:
        items = [{**item, "mask": masks.astype(np.float32)} for item in items]
    return items


def masked(form: str, mask: float) -> tuple[Model, list[Sample]]:
    """A network whose scores are masked so, and data for it."""
    given = {"add an input": np.where(CAUSAL, mask, 0.0), "from ones": 1.0 - CAUSAL}.get(form)
    model = attention(lambda n, scores: FORMS[form](n, scores, mask), mask_input=given is not None)
    return model, data(given)


def closeness(model: Model, samples: list[Sample], recipe: Recipe) -> float:
    proto, encodings = quantized(model, samples, recipe)
    assert encodings.kept_float, "the masked scores are in integers"
    assert not set(encodings.kept_float) & {"scores", "products", "y"}
    return sqnr(run(model.proto(), samples), run(proto, samples))


@pytest.mark.parametrize(
    ("form", "mask"),
    # 0 times infinity is not a number in the float network either.
    [(form, mask) for form in FORMS for mask in MASKS if (form, mask) != ("from ones", -np.inf)],
)
def test_masked_scores_are_as_exact_in_16_bits_as_in_8(form: str, mask: float) -> None:
    if form == "subtract" and mask == -np.inf:
        mask = LOWEST  # the same to float32, without an infinite constant
    model, samples = masked(form, mask)
    eight = closeness(model, samples, MINMAX)
    sixteen = closeness(model, samples, MINMAX.with_default(precision=Precision.INT16))
    assert eight > 28
    assert sixteen > eight + 5


@pytest.mark.parametrize("rule", ScaleRule)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("mask", [-1e4, LOWEST])
def test_other_scales_do_not_reach_the_mask_either(mask: float, symmetric: bool, rule: ScaleRule) -> None:
    open_ = attention(lambda _, scores: scores)
    for form in ("from ones", "where"):
        model, samples = masked(form, mask)
        for precision in (Precision.INT8, Precision.INT16):
            recipe = MINMAX.with_default(symmetric=symmetric, scale_rule=rule, precision=precision)
            plain, _ = quantized(open_, data(), recipe)
            without = sqnr(run(open_.proto(), data()), run(plain, data()))
            assert closeness(model, samples, recipe) > without - 3


@pytest.mark.parametrize("wide", ["scores", "masked"])
def test_a_layer_of_another_width_changes_nothing_about_the_mask(wide: str) -> None:
    model, samples = masked("add a constant", -1e9)
    layer = model.layer_of(wide)
    assert layer is not None
    for precision in (Precision.INT8, Precision.INT16):
        assert closeness(model, samples, MINMAX.with_layer(layer.name, precision=precision)) > 28


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_what_the_criterion_tells_apart(bits: int, scores: bool) -> None:
    spec = QuantSpec(type=QuantType(bits, False), symmetric=False)
    rng = np.random.default_rng(0)
    near = rng.normal(0, 3, 5000)
    lost = {
        "one mask": np.append(near, np.full(2000, -1e4)),
        "sums of masks": np.concatenate([near, *(np.full(500, -1e4 * times) for times in (1, 2, 3))]),
        "scores beside 0": np.append(500 + near, np.full(2000, -2e5)),
        "far above": np.append(near, np.full(2000, 1e4)),
    }
    kept = {
        "levels": rng.integers(1, 8, 5000) * -1.0,
        "levels and 0": rng.integers(0, 8, 5000) * -1.0,
        "two levels": rng.integers(1, 3, 5000) * -100.0,
        "mask alone": rng.integers(0, 2, 5000) * -1e9,
        "one outlier above": np.append(near, 1e4),
        "wide scores": np.append(40 * near, np.full(2000, -1e3)),
    }
    for name, values in lost.items():
        assert why_float(histogram_of(values.astype(np.float32)), spec, scores=scores), name
    for name, values in kept.items():
        assert why_float(histogram_of(values.astype(np.float32)), spec, scores=scores) is None, name
    # Where something else than a Softmax reads them, rare values are outliers.
    rare = histogram_of(np.append(near, -1e4).astype(np.float32))
    assert (why_float(rare, spec, scores=scores) is not None) == scores


def test_one_hidden_value_in_thousands_is_enough() -> None:
    rng = np.random.default_rng(0)
    n = Net()
    n.add("Softmax", [n.add("Add", ["x", "mask"], "masked")], "y", axis=-1)
    shape: list[object] = ["N", 4096]
    model = load_model(n.model({"x": shape, "mask": shape}, {"y": shape}).SerializeToString())
    mask = np.zeros((1, 4096), np.float32)
    mask[0, 17] = -1e9
    samples = [{"x": rng.standard_normal((1, 4096)).astype(np.float32), "mask": mask} for _ in range(3)]
    _, encodings = quantized(model, samples, MINMAX)
    assert set(encodings.kept_float) == {"masked"}


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.INT16])
@pytest.mark.parametrize("slope", [0.25, 1.0, 4.0])
def test_biases_that_grow_with_the_distance_are_quantized(slope: float, precision: Precision) -> None:
    away = -slope * np.abs(np.arange(TOKENS)[:, None] - np.arange(TOKENS))
    for lowest_bias in (0.0, -slope):  # with and without a bias of 0
        bias = away + lowest_bias
        model = attention(lambda n, scores: n.add("Add", [scores, "mask"], "masked"), mask_input=True)
        samples = data(bias)
        proto, encodings = quantized(model, samples, MINMAX.with_default(precision=precision))
        assert not encodings.kept_float
        assert {"masked", "mask"} <= set(encodings.activations)
        assert sqnr(run(model.proto(), samples), run(proto, samples)) > 25


def test_a_range_set_by_hand_holds_for_16_bits_too() -> None:
    model, samples = masked("add a constant", -1e9)
    layer = model.layer_of("masked")
    assert layer is not None
    recipe = MINMAX.with_default(precision=Precision.INT16)
    recipe = recipe.with_layer(layer.name, method=Method.MANUAL, range=Range(-30.0, 10.0))
    proto, encodings = quantized(model, samples, recipe)
    assert not encodings.kept_float
    assert sqnr(run(model.proto(), samples), run(proto, samples)) > 30


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.INT16])
@pytest.mark.parametrize("method", [Method.MSE, Method.PERCENTILE, Method.KL_V2, Method.OCTAV])
def test_no_method_meets_the_mask(method: Method, precision: Precision) -> None:
    for form, mask in (("where", LOWEST), ("from ones", -1e9)):
        model, samples = masked(form, mask)
        recipe = MINMAX.with_default(method=method, precision=precision)
        assert closeness(model, samples, recipe) > 15


def test_auto_tune_meets_no_mask() -> None:
    model, items = masked("add a constant", -1e9)
    samples = list_samples(items)
    statistics = calibrate(model, samples, cache=False)
    for precision in (Precision.INT8, Precision.INT16):
        recipe = MINMAX.with_default(precision=precision)
        tuned = autotune(model, samples, recipe, statistics=statistics)
        assert tuned.minmax_db > 28
        assert tuned.tuned_db >= tuned.minmax_db


def test_no_mix_of_precisions_meets_the_mask() -> None:
    rng = np.random.default_rng(0)
    for form in ("add a constant", "where", "reshape behind it"):
        model, items = masked(form, LOWEST)
        for _ in range(6):
            recipe = MINMAX
            for layer in model.layers:
                recipe = recipe.with_layer(layer.name, precision=list(Precision)[rng.integers(3)])
            proto, _ = quantized(model, items, recipe)
            assert sqnr(run(model.proto(), items), run(proto, items)) > 25
