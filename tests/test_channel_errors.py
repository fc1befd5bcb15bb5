"""What tells the layers of a network apart: rankings, the first bad layer, and each layer's own error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from quantscope.core.evaluate import LayerError, layer_errors, read_quantized
from quantscope.core.model import load_model
from quantscope.core.quant import Range
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.sensitivity import (
    Kind,
    by_layer,
    find_turning_point,
    measure_channel_errors,
    ranking,
    run_sensitivity,
)
from quantscope.core.sensitivity.prior import prior
from quantscope.core.sensitivity.rankings import stands_out
from quantscope.core.thresholds import Method
from tests.evaluating import list_samples
from tests.networks import NETWORKS, Net, feeds
from tests.planted import Planted
from tests.planted import depthwise as depthwise  # a fixture
from tests.planted import outlier as outlier  # a fixture
from tests.quantizing import Sample
from tests.test_passes_bias_correction import samples_of


def test_a_wasted_range_ranks_first(outlier: Planted) -> None:
    layer = outlier.layer_of("b0.r1")
    runs = list(run_sensitivity(outlier.model, outlier.encodings, outlier.samples))
    for kind in (Kind.ENABLE, Kind.DISABLE):
        first, second = ranking(runs, kind)[:2]
        assert first.name == layer
        assert (first.rank_low, first.rank_high) == (1, 1)
        assert abs(first.value - second.value) > 8.0
    assert ranking(runs, Kind.DISABLE)[0].flagged


def errors_of(planted: Planted, *, local: bool = True) -> tuple[LayerError, ...]:
    file = read_quantized(quantize_model(planted.model, planted.encodings))
    return layer_errors(planted.model, file, planted.samples, local=local)


def test_the_first_bad_layer_is_found(outlier: Planted) -> None:
    """The range of b0.c1 is wasted. Its large channel hides that; b0.c2, which does not read it, shows it."""
    turn = find_turning_point(outlier.model, errors_of(outlier))
    assert turn is not None
    assert turn.layer == outlier.layer_of("b0.c2")
    assert turn.source == outlier.layer_of("b0.r1")
    assert turn.after_db < 20.0 < 40.0 < turn.before_db
    assert f"'{turn.source}'" in turn.sentence
    without = find_turning_point(outlier.model, errors_of(outlier, local=False))
    assert without is not None
    assert (without.layer, without.source) == (turn.layer, turn.layer)
    assert "alone" not in without.sentence


def test_a_layer_that_is_bad_by_itself_is_found() -> None:
    proto = NETWORKS["residual_cnn"][0]()
    layer = Planted(proto, feeds("residual_cnn")).layer_of("b0.out")
    recipe = Recipe().with_layer(layer, method=Method.MANUAL, range=Range(0.0, 0.1))
    planted = Planted(proto, feeds("residual_cnn"), recipe)
    turn = find_turning_point(planted.model, errors_of(planted))
    assert turn is not None
    assert (turn.layer, turn.source) == (layer, layer)
    assert turn.local_db is not None
    assert turn.local_db < 5.0


def test_the_first_layer_with_infinite_values_is_found() -> None:
    n = Net(0)
    x = n.add("Relu", [n.conv("image", "a", 3, 8)], "a_relu")
    below = n.add("Add", [n.add("Relu", ["far"], "far_relu"), n.const("few", np.full(8, 0.005))], "below")
    n.conv(n.add("Softsign", [n.add("Div", [n.conv(x, "b", 8, 8), below], "ratio")], "soft"), "c", 8, 8)
    proto = n.model({"image": ["N", 3, 8, 8], "far": ["N", 8, 8, 8]}, {"c": ["N", 8, 8, 8]})
    rng = np.random.default_rng(0)
    shapes = {"image": (1, 3, 8, 8), "far": (1, 8, 8, 8)}
    items = [{k: rng.standard_normal(v).astype(np.float32) for k, v in shapes.items()} for _ in range(3)]
    planted = Planted(proto, items)
    turn = find_turning_point(planted.model, errors_of(planted))
    assert turn is not None
    assert turn.layer == turn.source == planted.layer_of("ratio")
    assert turn.sentence.endswith("what it gives holds infinite values or NaN.")


def test_no_layer_turns_bad_where_all_are_alike() -> None:
    planted = Planted(NETWORKS["residual_cnn"][0](), feeds("residual_cnn"))
    assert find_turning_point(planted.model, errors_of(planted)) is None


def test_chance_is_no_shift() -> None:
    planted = Planted(NETWORKS["residual_cnn"][0](), feeds("residual_cnn", count=8))
    errors = measure_channel_errors(planted.model, planted.encodings, planted.samples)
    assert all(0.0 <= e.shift_share <= 1.0 for e in errors.values())
    logits = errors[planted.layer_of("logits")]
    one_sample = measure_channel_errors(planted.model, planted.encodings, planted.samples, count=1)
    assert one_sample[logits.layer].shift_share == 0.0


def test_channel_errors_is_the_local_error() -> None:
    planted = Planted(NETWORKS["residual_cnn"][0](), feeds("residual_cnn"))
    file = read_quantized(quantize_model(planted.model, planted.encodings))
    errors = {e.layer: e.local for e in layer_errors(planted.model, file, planted.samples, simulate=True)}
    alone = measure_channel_errors(planted.model, planted.encodings, planted.samples)
    assert set(alone) == set(by_layer(planted.encodings))
    for name, found in alone.items():
        local = errors[name]
        assert found.peak.shape == found.shift.shape
        if local is not None and local.nmse and planted.model.layer(name).kind == "compute":
            assert 10 * np.log10(found.total / local.nmse) == pytest.approx(0.0, abs=1.5)


def attention(batch: str | int = "N", length: str | int = "T") -> onnx.ModelProto:
    n = Net(1)
    query = n.add("MatMul", ["tokens", n.random("q.w", 8, 8)], "query")
    keys = n.add("Transpose", ["tokens"], "keys", perm=[0, 2, 1])
    weights = n.add("Softmax", [n.add("MatMul", [query, keys], "scores")], "attention", axis=-1)
    n.add("MatMul", [weights, "tokens"], "out")
    return n.model({"tokens": [batch, length, 8]}, {"out": [batch, length, 8]})


def sequences(lengths: list[int]) -> list[Sample]:
    rng = np.random.default_rng(2)
    return [{"tokens": rng.standard_normal((1, n, 8)).astype(np.float32)} for n in lengths]


def test_samples_may_differ_in_size() -> None:
    planted = Planted(attention(), sequences([4, 6, 5, 4, 9]))
    errors = measure_channel_errors(planted.model, planted.encodings, planted.samples)
    scores = errors[planted.layer_of("scores")]
    assert scores.axis is None
    assert scores.peak.shape == (1,)
    one = [
        measure_channel_errors(planted.model, planted.encodings, list_samples([item]))[scores.layer]
        for item in planted.items
    ]
    assert scores.peak.max() == max(e.peak.max() for e in one)
    sizes = np.array([item["tokens"].shape[1] ** 2 for item in planted.items])
    for name in ("energy", "noise", "lost"):
        means = [getattr(e, name).mean() for e in one]
        assert getattr(scores, name)[0] == pytest.approx(np.average(means, weights=sizes))
    assert planted.causes(scores.layer)


def test_rows_that_fill_up_a_batch_are_no_evidence(tmp_path: Path) -> None:
    items = sequences([4, 4, 4, 4, 4])
    items[-1]["tokens"] *= 3.0
    single = Planted(attention(length=4), items)
    batched = load_model(attention(batch=4, length=4).SerializeToString(), name="planted")
    expected = measure_channel_errors(single.model, single.encodings, single.samples)
    found = measure_channel_errors(batched, single.encodings, samples_of(batched, tmp_path, items))
    assert expected
    assert found.keys() == expected.keys()
    for name, errors in expected.items():
        assert found[name].total == pytest.approx(errors.total, rel=1e-3)
        np.testing.assert_allclose(found[name].energy, errors.energy, rtol=1e-4)


def test_the_prior_sees_ranges_and_weights(depthwise: Planted) -> None:
    found = prior(depthwise.model, depthwise.statistics, depthwise.encodings)
    assert set(found) == set(by_layer(depthwise.encodings))
    assert next(iter(found)) == depthwise.layer_of("b0.depthwise_relu6")
    assert [n.total for n in found.values()] == sorted((n.total for n in found.values()), reverse=True)
    per_channel = resolve(Recipe(), depthwise.statistics, depthwise.model)
    better = prior(depthwise.model, depthwise.statistics, per_channel)
    assert better[next(iter(found))].sqnr_db > found[next(iter(found))].sqnr_db + 10.0


def test_flags_are_relative() -> None:
    loss = np.array([-30.0, -31.0, -29.5, -30.5, -8.0, np.inf, -np.inf])
    assert stands_out(loss).tolist() == [False, False, False, False, True, True, False]
    assert not stands_out([-30.0, -8.0]).any()
    assert not stands_out(np.full(10, -30.0)).any()
