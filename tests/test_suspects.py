"""Which layers cost the output most before any ranking: cliffs, own errors, what can reach the outputs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from quantscope.core.evaluate import LayerError, TensorError, layer_errors, read_quantized
from quantscope.core.model import Model, load_model
from quantscope.core.quant import Range
from quantscope.core.quantize import masked_tensors, quantize_model
from quantscope.core.recipe import Recipe
from quantscope.core.sensitivity import Kind, ranking, run_sensitivity, suspects
from quantscope.core.thresholds import Method
from tests.networks import NETWORKS, Net, feeds
from tests.planted import Planted
from tests.planted import outlier as outlier  # a fixture
from tests.quantizing import statistics_of


def figure(sqnr_db: float | None) -> TensorError | None:
    if sqnr_db is None:
        return None
    bad = sqnr_db == -math.inf
    return TensorError(
        cosine=None if bad else 1.0,
        sqnr_db=None if bad else sqnr_db,
        mse=None if bad else 0.0,
        nmse=None if bad else 10.0 ** (-sqnr_db / 10.0),
        max_abs_error=None if bad else 0.0,
        count=10,
        non_finite=int(bad),
    )


def chain(length: int) -> Model:
    """Convolutions l0 … one after the other, each quantized by itself."""
    n = Net(0)
    x = "image"
    for at in range(length):
        x = n.conv(x, f"l{at}", 3 if at == 0 else 8, 8)
    return load_model(n.model({"image": ["N", 3, 8, 8]}, {x: ["N", 8, 8, 8]}).SerializeToString())


def errors(model: Model, after: list[float | None], alone: list[float | None]) -> list[LayerError]:
    return [
        LayerError(layer=layer.name, tensor=layer.output, type="uint8", cumulative=figure(c), local=figure(a))
        for layer, c, a in zip(model.layers, after, alone, strict=True)
    ]


def test_a_cliff_is_flagged_and_harmless_layers_are_not() -> None:
    """37 → 7 dB is a cliff of the layer before it, whose own error is small by its large values."""
    model = chain(5)
    names = [layer.name for layer in model.layers]
    after = [53.7, 41.4, 37.4, 6.9, 6.5, 6.8]
    alone: list[float | None] = [53.7, 38.0, 39.0, 41.0, 38.0, 39.0]
    found = suspects(model, errors(model, [*after], alone))
    assert [s.layer for s in found if s.flagged] == [names[2]]
    first = found[0]
    assert (first.layer, first.cliff) == (names[2], names[3])
    assert first.before_db == pytest.approx(37.4)
    assert first.after_db == pytest.approx(6.9)
    # Without local errors the layer where it shows is what is known.
    assert suspects(model, errors(model, [*after], [None] * 6))[0].layer == names[3]
    # One that stays in float adds nothing: what it reads does.
    passive = suspects(model, errors(model, [*after], [None] * 6), passive=[names[3]])
    assert [s.layer for s in passive if s.flagged] == [names[2]]


def test_no_exact_layer_is_flagged() -> None:
    model = chain(5)
    exact = suspects(model, errors(model, [math.inf] * 6, [10.0] * 6))
    assert not any(s.flagged for s in exact)
    assert all(s.reached_db == math.inf for s in exact)


def test_what_cannot_reach_the_output_costs_nothing() -> None:
    """An error of 5 dB that the next layer wipes out leaves no less than 50 dB."""
    model = chain(5)
    alone: list[float | None] = [50.0, 50.0, 5.0, 50.0, 50.0, 50.0]
    found = suspects(model, errors(model, [50.0, 50.0, 5.0, 50.0, 50.0, 50.0], alone))
    assert not any(s.flagged for s in found)
    assert min(s.reached_db for s in found) == pytest.approx(50.0)


def test_a_model_that_loses_evenly_has_no_flag() -> None:
    model = chain(5)
    falling: list[float | None] = [40.0, 36.0, 33.0, 30.0, 27.0, 24.0]
    assert not any(s.flagged for s in suspects(model, errors(model, falling, [38.0] * 6)))


def test_values_that_are_not_finite_come_first() -> None:
    model = chain(3)
    found = suspects(model, errors(model, [40.0, 5.0, -math.inf, -math.inf], [40.0, 5.0, None, None]))
    assert found[0].layer == model.layers[2].name
    assert found[0].flagged
    assert found[0].reached_db == -math.inf


def test_layers_whose_error_says_nothing_are_passed_over() -> None:
    model = chain(4)
    names = [layer.name for layer in model.layers]
    after: list[float | None] = [30.0, 175.0, 20.0, 20.0, 20.0]
    found = suspects(model, errors(model, after, [30.0, None, 40.0, 40.0, 40.0]), untold=[names[1]])
    assert not any(s.cliff == names[2] and s.before_db and s.before_db > 100.0 for s in found)
    assert next(s for s in found if s.layer == names[1]).own_db is None


def test_it_agrees_with_a_ranking_by_the_output(outlier: Planted) -> None:
    """The wasted range of b0.r1 shows at the layer that does not read the large channel."""
    file = read_quantized(quantize_model(outlier.model, outlier.encodings))
    found = suspects(outlier.model, layer_errors(outlier.model, file, outlier.samples))
    runs = list(run_sensitivity(outlier.model, outlier.encodings, outlier.samples, kinds=[Kind.ENABLE]))
    assert found[0].layer == ranking(runs, Kind.ENABLE)[0].name == outlier.layer_of("b0.r1")
    assert found[0].cliff == outlier.layer_of("b0.c2")
    # The outputs keep 31 dB: average pooling takes most of it away.
    assert not any(s.flagged for s in found)


def test_a_range_that_cuts_is_found_before_anything_was_run() -> None:
    proto = NETWORKS["residual_cnn"][0]()
    layer = Planted(proto, feeds("residual_cnn")).layer_of("b0.out")
    recipe = Recipe().with_layer(layer, method=Method.MANUAL, range=Range(0.0, 0.1))
    planted = Planted(proto, feeds("residual_cnn"), recipe)
    ranges = {entry.name: 40.0 for entry in planted.model.layers} | {layer: 3.0}
    assert suspects(planted.model, [], ranges)[0].layer == layer
    file = read_quantized(quantize_model(planted.model, planted.encodings))
    assert suspects(planted.model, layer_errors(planted.model, file, planted.samples))[0].layer == layer


@pytest.mark.parametrize(("mask", "found"), [(-1e9, {"masked"}), (-np.inf, set()), (0.0, set())])
def test_masked_scores_are_known(mask: float, found: set[str]) -> None:
    n = Net(0)
    hidden = np.where(np.triu(np.ones((6, 6), bool), 1), mask, 0.0)
    n.add("Softmax", [n.add("Add", ["scores", n.const("mask", hidden)], "masked")], "shares", axis=-1)
    proto = n.model({"scores": ["N", 6, 6]}, {"shares": ["N", 6, 6]})
    model = load_model(proto.SerializeToString())
    rng = np.random.default_rng(0)
    items = [{"scores": rng.standard_normal((1, 6, 6)).astype(np.float32)} for _ in range(8)]
    assert masked_tensors(statistics_of(model, items), model) == found
