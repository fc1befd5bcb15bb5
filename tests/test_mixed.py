"""Mixed precision: close to what trying everything finds, monotone, repeatable, and true on other samples."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import onnx
import pytest

from quantscope.core.calibration import Statistics, calibrate
from quantscope.core.data import Samples, open_samples
from quantscope.core.errors import RecipeError
from quantscope.core.evaluate import FloatReference, closeness_db, float_reference, preview
from quantscope.core.model import Model, load_model
from quantscope.core.pipeline import Quantized, quantize
from quantscope.core.progress import Cancelled, Progress
from quantscope.core.recipe import Recipe, recipe_from_yaml, recipe_to_yaml
from quantscope.core.targets import Precision, find_placement, target
from quantscope.core.tuning.mixed import Cost, Front, mixed_precision
from quantscope.core.tuning.mixed.costs import CostModel
from quantscope.core.tuning.mixed.knapsack import additive_front
from quantscope.core.tuning.sample_split import split_samples
from quantscope.sample_data import SAMPLES
from tests.networks import Net

MLP, MOBILE = SAMPLES["digits_mlp"], SAMPLES["digits_mobilenet"]
INT8_FLOAT = (Precision.INT8, Precision.FLOAT)
TOLERANCE_DB = 1.5  # what choosing on other samples than those that judge may cost


def small_cnn(seed: int, side: int) -> onnx.ModelProto:
    """Four layers with weights, the second of them ten times as hard to quantize as the others."""
    net = Net(seed)
    x = net.add("Relu", [net.conv("image", "a", 3, 16)], "a_relu")
    hard = net.rng.standard_normal((24, 16, 3, 3)) * np.where(
        net.rng.random((24, 16, 3, 3)) < 0.01, 2.0, 0.05
    )
    x = net.add("Conv", [x, net.const("b.w", hard)], "b", pads=[1] * 4, strides=[2, 2], kernel_shape=[3, 3])
    x = net.add("Relu", [net.conv(net.add("Relu", [x], "b_relu"), "c", 24, 32)], "c_relu")
    x = net.add("Flatten", [net.add("GlobalAveragePool", [x], "gap")], "flat")
    net.add("Gemm", [x, net.random("fc.w", 10, 32), net.random("fc.b", 10)], "logits", transB=1)
    return net.model({"image": ["N", 3, side, side]}, {"logits": ["N", 10]})


def noise_samples(folder: Path, model: Model, side: int) -> Samples:
    rng = np.random.default_rng(5)
    loud = np.exp(0.3 * rng.standard_normal((90, 1, 1, 1)))
    images = (rng.standard_normal((90, 3, side, side)) * loud).astype(np.float32)
    np.savez(folder / "data.npz", image=images)
    return open_samples(folder / "data.npz", model)


def held_against(model: Model, samples: Samples) -> tuple[Samples, FloatReference, Statistics]:
    """Samples that choose, the float outputs of those that judge, and statistics of the former."""
    fitted, held = split_samples(samples)
    assert held is not None
    judge = float_reference(model, held, count=len(held), layers=False)
    return fitted, judge, calibrate(model, fitted, cache=False)


def figures(built: Quantized, judge: FloatReference, costs: CostModel, kind: Cost) -> tuple[float, float]:
    """Cost and SQNR of a quantized model, apart from all that the search does."""
    seen = preview(judge, built.proto, layers=False)
    if kind is Cost.SIZE:
        return float(len(built.proto.SerializeToString())), closeness_db(seen)
    wide = {name for name, e in built.encodings.activations.items() if e.type.bits > 8}
    return costs.time(built.encodings.placement, wide), closeness_db(seen)


ONE_FIXED = Recipe().with_layer("c_Conv", precision=Precision.INT8)


@pytest.mark.parametrize(
    ("kind", "precisions", "start", "side"),
    [
        (Cost.SIZE, tuple(Precision), ONE_FIXED, 8),  # 243 assignments
        (Cost.SIZE, INT8_FLOAT, Recipe(), 16),
        (Cost.LATENCY, INT8_FLOAT, Recipe(), 32),
    ],
)
def test_the_front_is_close_to_that_of_all_assignments(
    tmp_path: Path, kind: Cost, precisions: tuple[Precision, ...], start: Recipe, side: int
) -> None:
    model = load_model(small_cnn(0, side).SerializeToString(), name="small")
    samples = noise_samples(tmp_path, model, side)
    front = mixed_precision(model, start, samples, cost=kind, precisions=precisions)
    fitted, judge, statistics = held_against(model, samples)
    costs = CostModel(model, statistics)
    own = ("Input", "Conv", "GlobalAveragePool", "Gemm")
    layers = [la.name for la in model.layers if la.op in own and la.name not in start.layers]
    assert front.layers == len(layers)
    every = find_placement(model, target(start.target), [layer.name for layer in model.layers])
    unit = 1.0 if kind is Cost.SIZE else costs.time(every)
    gaps = []
    for given in itertools.product(precisions, repeat=len(layers)):
        recipe = start
        for name, precision in zip(layers, given, strict=True):
            recipe = recipe.with_layer(name, precision=precision)
        built = quantize(model, recipe, fitted, statistics=statistics, cache=False)
        cost, sqnr = figures(built, judge, costs, kind)
        afford = [p.sqnr_db for p in front.points if p.cost(kind) <= cost / unit * (1.0 + 1e-6)]
        best = max(afford, default=-math.inf)
        gaps.append(0.0 if best == math.inf else sqnr - best)
    assert max(gaps) <= TOLERANCE_DB
    assert sum(gap > 0.1 for gap in gaps) <= 0.05 * len(gaps)  # close nearly everywhere
    assert len(front.points) > 2


def test_sums_are_solved_exactly() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        costs = [rng.integers(0, 9, options).astype(float) for options in (3, 2, 3, 3, 1)]
        errors = [rng.random(cost.size) for cost in costs]
        sums = []
        for choice in itertools.product(*(range(cost.size) for cost in costs)):
            cost = sum(c[i] for c, i in zip(costs, choice, strict=True))
            sums.append((cost, sum(e[i] for e, i in zip(errors, choice, strict=True))))
        true = {s for s in sums if not any(o[0] <= s[0] and o[1] < s[1] for o in sums)}
        true = {min(s for s in true if s[0] == cost) for cost, _ in true}
        found = []
        for choice in additive_front(costs, errors):
            cost = sum(c[i] for c, i in zip(costs, choice, strict=True))
            found.append((cost, sum(e[i] for e, i in zip(errors, choice, strict=True))))
        assert [c for c, _ in found] == sorted(c for c, _ in true)
        assert [e for _, e in found] == pytest.approx([e for _, e in sorted(true)])


@pytest.fixture(scope="module")
def mobile() -> tuple[Model, Samples, Recipe, Front]:
    """MinMax, which loses much on this network, with a pass, and a layer that the user has decided about."""
    model = load_model(MOBILE.model)
    samples = open_samples(MOBILE.calibration, model)
    recipe = Recipe().with_passes("bias_correction").with_layer("stem", precision=Precision.INT8)
    return model, samples, recipe, mixed_precision(model, recipe, samples, precisions=INT8_FLOAT)


def test_dearer_points_are_closer_to_float(mobile: tuple[Model, Samples, Recipe, Front]) -> None:
    front = mobile[3]
    for before, after in itertools.pairwise(front.points):
        assert before.size_bytes < after.size_bytes
        assert before.sqnr_db < after.sqnr_db
    for point in front.beaten:
        assert any(p.size_bytes <= point.size_bytes and p.sqnr_db >= point.sqnr_db for p in front.points)
    assert not front.plain.layers
    assert front.held_out


def test_what_the_user_chose_stays(mobile: tuple[Model, Samples, Recipe, Front]) -> None:
    _, _, recipe, front = mobile
    assert len(front.points) > 1
    for point in front.points:
        assert point.recipe.passes == recipe.passes
        assert point.recipe.choice("stem").precision is Precision.INT8
        assert "stem" not in dict(point.layers)


def test_a_point_says_what_its_recipe_gives(mobile: tuple[Model, Samples, Recipe, Front]) -> None:
    model, samples, _, front = mobile
    fitted, held = split_samples(samples)
    assert held is not None
    judge = float_reference(model, held, count=len(held), layers=False)
    point = front.points[len(front.points) // 2]
    built = quantize(model, recipe_from_yaml(recipe_to_yaml(point.recipe)), fitted, cache=False)
    seen = preview(judge, built.proto, layers=False)
    assert closeness_db(seen) == point.sqnr_db
    assert len(built.proto.SerializeToString()) == point.size_bytes
    assert seen.output.accuracy is not None
    assert seen.output.accuracy.quantized_top1 == point.top1
    given = {name: point.recipe.choice(name).precision for name, _ in point.layers}
    assert given == dict(point.layers)


def test_the_accuracy_asked_for_is_there_on_new_samples(
    mobile: tuple[Model, Samples, Recipe, Front],
) -> None:
    model, samples, _, front = mobile
    point = front.cheapest(max_drop=0.5)
    assert point.drop is not None
    assert point.drop <= 0.5
    evaluation = open_samples(MOBILE.evaluation, model)
    judge = float_reference(model, evaluation, count=len(evaluation), layers=False)
    drops = []
    for recipe in (Recipe(), point.recipe):
        built = quantize(model, recipe, samples, cache=False)
        scores = preview(judge, built.proto, layers=False).output.accuracy
        assert scores is not None
        assert scores.float_top1 is not None
        assert scores.quantized_top1 is not None
        drops.append(100.0 * (scores.float_top1 - scores.quantized_top1))
    assert drops[0] > 5.0  # or there would be nothing to win
    assert drops[1] <= 0.5
    assert point.size_bytes < 0.9 * front.float_bytes


def test_neither_order_nor_threads_matter() -> None:
    model = load_model(MLP.model)
    samples = open_samples(MLP.calibration, model).take(48)
    shuffled = samples.select([int(i) for i in np.random.default_rng(0).permutation(len(samples))])
    first = mixed_precision(model, Recipe(), samples, threads=2)
    second = mixed_precision(model, Recipe(), shuffled, threads=1)
    assert [recipe_to_yaml(p.recipe) for p in first.points] == [
        recipe_to_yaml(p.recipe) for p in second.points
    ]
    assert first == second


def test_with_all_in_float_nothing_is_lost() -> None:
    model = load_model(MLP.model)
    front = mixed_precision(model, Recipe(), open_samples(MLP.calibration, model))
    last = front.points[-1]
    assert last.sqnr_db == math.inf
    assert {precision for _, precision in last.layers} == {Precision.FLOAT}
    assert len(last.layers) == front.layers
    assert last.time == pytest.approx(1.0)
    assert front.best(math.inf) is last
    assert any("16-bit" in note for note in front.notes)  # rounded, but computed in float


def test_estimates_are_near_what_is_written() -> None:
    for sample in SAMPLES.values():
        model = load_model(sample.model)
        samples = open_samples(sample.calibration, model).take(4)
        statistics = calibrate(model, samples, cache=False)
        costs = CostModel(model, statistics)
        times = {}
        for precision in Precision:
            recipe = Recipe().with_default(precision=precision)
            built = quantize(model, recipe, samples, statistics=statistics, cache=False)
            wide = {name for name, e in built.encodings.activations.items() if e.type.bits > 8}
            written = len(built.proto.SerializeToString())
            assert costs.size(built.encodings.placement, wide) == pytest.approx(written, rel=0.05)
            times[precision] = costs.time(built.encodings.placement, wide)
        assert times[Precision.INT16] > 1.5 * max(times[Precision.INT8], times[Precision.FLOAT])


def test_an_activation_behind_a_quantizer_costs_a_conversion(tmp_path: Path) -> None:
    def time(*ops: str) -> float:
        net = Net()
        x = net.conv("image", "c", 3, 8)
        for i, op in enumerate(ops):
            how = {"kernel_shape": [3, 3], "pads": [1] * 4} if op == "MaxPool" else {}
            x = net.add(op, [x], f"{i}", **how)
        model = load_model(net.model({"image": ["N", 3, 8, 8]}, {x: ["N", 8, 8, 8]}).SerializeToString())
        statistics = calibrate(model, noise_samples(tmp_path, model, 8).take(4), cache=False)
        return CostModel(model, statistics).time(find_placement(model, target("onnxruntime-cpu")))

    assert time("Relu", "MaxPool") == time("MaxPool")
    assert time("MaxPool", "Relu") > time("Relu", "MaxPool")


def test_a_weight_that_several_layers_share_is_counted_as_it_is_written(tmp_path: Path) -> None:
    net = Net(0)
    weight, bias = net.random("w", 24, 24, 3, 3), net.random("b", 24)
    x = net.conv("image", "first", 3, 24)
    for i in range(4):
        x = net.add("Relu", [x], f"r{i}")
        x = net.add("Conv", [x, weight, bias], f"c{i}", pads=[1] * 4, kernel_shape=[3, 3])
    model = load_model(net.model({"image": ["N", 3, 8, 8]}, {x: ["N", 24, 8, 8]}).SerializeToString())
    samples = noise_samples(tmp_path, model, 8)
    statistics = calibrate(model, samples.take(4), cache=False)
    costs = CostModel(model, statistics)
    for count in (0, 1, 4):
        recipe = Recipe()
        for i in range(count):
            recipe = recipe.with_layer(f"c{i}_Conv", precision=Precision.FLOAT)
        built = quantize(model, recipe, samples, statistics=statistics, cache=False)
        assert costs.size(built.encodings.placement) == pytest.approx(built.proto.ByteSize(), rel=0.05)


def test_int8_outputs_that_are_not_finite_only_lose(tmp_path: Path) -> None:
    net = Net(0)
    x = net.add("Relu", [net.conv("image", "a", 3, 48)], "a_relu")
    net.add("Div", [net.conv(x, "b", 48, 48), net.conv(x, "c", 48, 48)], "ratio")  # small ones round to 0
    proto = net.model({"image": ["N", 3, 6, 6]}, {"ratio": ["N", 48, 6, 6]})
    model = load_model(proto.SerializeToString())
    front = mixed_precision(model, Recipe(), noise_samples(tmp_path, model, 6).take(24), points=3)
    assert front.plain.sqnr_db == -math.inf
    assert front.points[-1].sqnr_db == math.inf
    assert len(front.points) + len(front.beaten) == 3


def test_progress_grows_and_a_cancel_is_heard_at_once() -> None:
    model = load_model(MLP.model)
    samples = open_samples(MLP.calibration, model).take(20)
    seen: list[Progress] = []
    mixed_precision(model, Recipe(), samples, progress=seen.append)
    own = [p for p in seen if p.label != "calibrating"]
    assert {p.label for p in own} == {"trying precisions", "measuring recipes"}
    assert all(a.done <= b.done <= b.total for a, b in itertools.pairwise(own))
    assert own[-1].done == own[-1].total
    heard: list[Progress] = []

    def stop(progress: Progress) -> None:
        heard.append(progress)
        if progress.label == "measuring recipes":
            raise Cancelled

    with pytest.raises(Cancelled):
        mixed_precision(model, Recipe(), samples, progress=stop)
    assert sum(p.label == "measuring recipes" for p in heard) == 1


def test_what_cannot_be_mixed_is_refused() -> None:
    model = load_model(MLP.model)
    samples = open_samples(MLP.calibration, model).take(20)
    with pytest.raises(RecipeError, match="int4"):
        mixed_precision(model, Recipe(), samples, precisions=("int4", "float"))
    with pytest.raises(RecipeError, match="at least two"):
        mixed_precision(model, Recipe(), samples, precisions=("int8",))
    with pytest.raises(RecipeError, match="energy"):
        mixed_precision(model, Recipe(), samples, cost="energy")
    fixed = Recipe()
    for layer in model.layers:
        fixed = fixed.with_layer(layer.name, precision=Precision.INT8)
    with pytest.raises(RecipeError, match="no layer"):
        mixed_precision(model, fixed, samples)
