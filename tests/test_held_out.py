"""Steps that claim to help are judged on samples held out: kept, or reported, by the network's outputs."""

from __future__ import annotations

import math
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from quantscope.core.calibration import calibrate
from quantscope.core.data import open_samples, pick
from quantscope.core.data.sources import random_samples
from quantscope.core.evaluate import tensor_values
from quantscope.core.model import Model, load_model
from quantscope.core.quant import Range, fake_quantize
from quantscope.core.quantize import resolve
from quantscope.core.recipe import Recipe, recipe_to_yaml
from quantscope.core.tuning import (
    EasyQuantResult,
    easyquant,
    held_out,
    hold_out,
    judged_easyquant,
    judged_passes,
)
from quantscope.core.tuning.held_out import Closeness
from quantscope.core.words import decibels
from tests.networks import NETWORKS, Net
from tests.quantizing import network
from tests.support import Run


def squaring() -> Model:
    """An input added to itself and squared: values are rare at the ends of the ranges, and count there."""
    n = Net(2)
    w = n.random("w", 8, 8, scale=0.35)
    b = n.add("Add", [n.add("MatMul", ["x", w], "a")] * 2, "b")
    d = n.add("MatMul", [n.add("Mul", [b, b], "c"), w], "d")
    n.add("Concat", [d, d], "y", axis=1)
    return load_model(n.model({"x": ["N", 8]}, {"y": ["N", 16]}).SerializeToString(), name="squaring")


def forked() -> Model:
    """A tensor that one tuned layer reads, and a pooling whose result the user sees."""
    n = Net(4)
    n.conv("x", "a", 3, 6)
    n.add("MaxPool", ["a"], "pooled", kernel_shape=[2, 2], strides=[2, 2])
    n.conv("a", "b", 6, 3)
    outputs: dict[str, list[object]] = {"b": ["N", 3, 8, 8], "pooled": ["N", 6, 4, 4]}
    return load_model(n.model({"x": ["N", 3, 8, 8]}, outputs).SerializeToString(), name="forked")


def ruined(model: Model) -> EasyQuantResult:
    """What a search that went wrong would return: the input's range cut to a hundredth."""
    name = model.inputs[0].name
    return EasyQuantResult(layers=(), ranges={name: Range(-0.03, 0.03)}, left_out={}, samples=3)


@pytest.mark.parametrize("count", [1, 3])
def test_few_samples_are_all_used_for_both_and_that_is_said(count: int) -> None:
    model = squaring()
    samples = random_samples(model, count)
    split = hold_out(samples)
    assert not split.unseen
    assert len(split.fitting) == len(split.judging) == count
    judged = judged_easyquant(model, Recipe(), calibrate(model, samples, cache=False), samples)
    assert any("too few to hold any out" in sentence for sentence in judged.sentences)


@pytest.mark.parametrize("count", [4, 5, 16, 100, 400])
def test_what_judges_was_not_used(count: int) -> None:
    samples = random_samples(squaring(), count)
    split = hold_out(samples)
    assert split.unseen
    assert 1 <= len(split.judging) <= len(split.fitting)
    fitting, judging = set(split.fitting.digests()), set(split.judging.digests())
    assert not fitting & judging
    assert fitting | judging == set(samples.digests())
    turned = hold_out(samples.select(range(count)[::-1]))
    assert set(turned.judging.digests()) == judging


@pytest.mark.parametrize("name", ["squaring", "forked"])
def test_the_network_never_loses_by_what_is_kept(name: str) -> None:
    model = {"squaring": squaring, "forked": forked}[name]()
    samples = random_samples(model, 24)
    judged = judged_easyquant(model, Recipe(), calibrate(model, samples, cache=False), samples)
    if judged.kept:
        assert judged.after.gains_over(judged.before)
        assert judged.recipe != Recipe()
        assert f"{judged.kept} are kept" in " ".join(judged.sentences)
    else:
        assert judged.recipe == Recipe()
        assert "nothing is changed" in " ".join(judged.sentences)


def test_scales_that_ruin_the_network_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model = squaring()
    samples = random_samples(model, 12)
    monkeypatch.setattr(held_out, "easyquant", lambda *_, **__: ruined(model))
    judged = judged_easyquant(model, Recipe(), calibrate(model, samples, cache=False), samples)
    assert judged.recipe == Recipe()
    assert judged.after.loses_to(judged.before)
    assert "on 4 samples not used for it: no gain, so nothing is changed" in judged.sentences[-1]


def test_a_good_half_is_kept_without_the_bad_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network("residual_cnn")
    samples = random_samples(model, 24)

    def half_good(*args: Any, **more: Any) -> EasyQuantResult:
        return replace(easyquant(*args, **more, effort=2e8), ranges=ruined(model).ranges)

    monkeypatch.setattr(held_out, "easyquant", half_good)
    judged = judged_easyquant(model, Recipe(), calibrate(model, samples, cache=False), samples)
    assert judged.kept == "the weights' scales"
    assert model.inputs[0].name not in judged.recipe.layers
    assert judged.after.gains_over(judged.before)


def test_a_range_that_others_read_too_loses_nothing_of_its_own() -> None:
    model = forked()
    samples = random_samples(model, 24)
    statistics = calibrate(model, samples, cache=False)
    given = resolve(Recipe(), statistics, model)
    after = resolve(easyquant(model, Recipe(), given, samples).apply(Recipe()), statistics, model)
    values = tensor_values(model, ["a"], pick(samples, 24), most=10**6)["a"]
    errors = [
        float(np.square(fake_quantize(values, e.activations["a"]) - values).sum()) for e in (given, after)
    ]
    assert errors[1] <= errors[0] * 1.02


def judged_as(monkeypatch: pytest.MonkeyPatch, figures: dict[frozenset[str], float]) -> None:
    """Let networks with these passes have these figures, in dB."""
    monkeypatch.setattr(held_out, "quantize", lambda _model, recipe, *_, **__: SimpleNamespace(proto=recipe))

    def measured(_reference: object, recipe: Recipe, _threads: object) -> Closeness:
        found = figures[frozenset(choice.name for choice in recipe.passes)]
        return Closeness(mean_db=found, overall_db=found)

    monkeypatch.setattr(held_out, "_measured", measured)


def test_passes_that_lose_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = squaring()
    recipe = Recipe().with_passes("smooth", "bias_correction")
    both, smooth, bias = frozenset({"smooth", "bias_correction"}), {"smooth"}, {"bias_correction"}
    figures = {frozenset(): 30.0, both: 25.0, frozenset(smooth): 24.0, frozenset(bias): 31.0}
    judged_as(monkeypatch, figures)
    said = judged_passes(model, recipe, random_samples(model, 12)).sentence
    assert "30.0 dB -> 25.0 dB on 4 samples not used for it" in said
    assert "they lose here; leave out 'smooth' (31.0 dB without it)" in said
    judged_as(monkeypatch, {**figures, both: 33.0})
    said = judged_passes(model, recipe, random_samples(model, 12)).sentence
    assert "30.0 dB -> 33.0 dB" in said
    assert "leave out" not in said
    judged_as(monkeypatch, figures)
    said = judged_passes(model, Recipe().with_passes("smooth"), random_samples(model, 2)).sentence
    assert "30.0 dB -> 24.0 dB on the 2 samples used for it (too few to hold any out)" in said
    assert "leave out 'smooth' (30.0 dB without it)" in said


@pytest.mark.parametrize("name", NETWORKS)
def test_passes_are_measured_as_they_are_built(name: str) -> None:
    model = network(name)
    judged = judged_passes(model, Recipe().with_passes("bias_correction"), random_samples(model, 9))
    assert judged.split.unseen
    assert judged.after != judged.before
    assert bool(judged.better_without) == judged.after.loses_to(judged.before)


def test_the_command_writes_the_same_file_where_easyquant_gains_nothing(
    quantscope: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = squaring()
    path = tmp_path / "squaring.onnx"
    path.write_bytes(model.float_bytes())
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.standard_normal((32, 8)).astype(np.float32))
    words = ["quantize", path, "--data", tmp_path / "data.npz", "--method", "minmax"]
    plain, moved = tmp_path / "plain.onnx", tmp_path / "moved.onnx"
    assert quantscope(*words, "-o", plain).code == 0
    monkeypatch.setattr(held_out, "easyquant", lambda *_, **__: ruined(model))
    done = quantscope(*words, "--easyquant", "-o", moved)
    assert done.code == 0, done.err
    assert "no gain, so nothing is changed" in done.out
    assert moved.read_bytes() == plain.read_bytes()


def test_the_command_says_what_passes_do(quantscope: Run, tmp_path: Path) -> None:
    model = squaring()
    path = tmp_path / "squaring.onnx"
    path.write_bytes(model.float_bytes())
    recipe = tmp_path / "r.yaml"
    recipe.write_text(recipe_to_yaml(Recipe().with_passes("bias_correction")), encoding="utf-8")
    done = quantscope("quantize", path, "--random", 12, "--recipe", recipe, "-o", tmp_path / "q.onnx")
    assert done.code == 0, done.err
    assert "Model fixes: the network's outputs" in done.out
    assert "on 4 samples not used for it" in done.out


def test_outputs_that_every_method_loses_are_said_last(quantscope: Run, tmp_path: Path) -> None:
    n = Net()
    far = n.const("far", 1e4)
    x = n.add("Add", [n.add("MatMul", ["x", n.random("w", 8, 8)], "product"), far], "moved")
    n.add("Sub", [n.add("Relu", [x], "relu"), far], "y")  # which keeps the two from cancelling
    path = tmp_path / "far.onnx"
    path.write_bytes(n.model({"x": ["N", 8]}, {"y": ["N", 8]}).SerializeToString())
    words = ["quantize", path, "--random", 6, "-o", tmp_path / "q.onnx", "--method", "auto"]
    done = quantscope(*words)
    assert done.code == 0, done.err
    fault, remedy = done.err.rstrip().splitlines()[-2:]
    assert fault.startswith("warning: output 'y' ")
    assert "Leave" not in fault  # what was measured to help is named instead
    options = remedy.partition(" helps: ")[2].partition("Quantize with ")[2].partition(", or with")[0]
    assert "--float-layer y_Sub" in options
    kept = quantscope(*words, *shlex.split(options))
    assert kept.code == 0, kept.err
    assert "output 'y'" not in kept.err


CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"


@pytest.mark.skipif(not CASES.is_dir(), reason="the collection of small inputs is not there")
@pytest.mark.parametrize("name", ["resize_split_topk", "dup_input_add"])
def test_known_cases_lose_nothing(name: str) -> None:
    model = load_model(CASES / name / "model.onnx")
    samples = open_samples(CASES / name / "data.npz", model)
    statistics = calibrate(model, samples, cache=False)
    judged = judged_easyquant(model, Recipe(), statistics, samples)
    assert not judged.kept or judged.after.gains_over(judged.before)


def test_outputs_whose_squares_exceed_float32_are_judged_in_float64() -> None:
    n = Net(2)
    n.add("Mul", [n.add("MatMul", ["x", n.random("w", 4, 3, scale=1e25)], "a"), n.const("k", 1e-25)], "y")
    model = load_model(n.model({"x": ["N", 4]}, {"y": ["N", 3]}).SerializeToString(), name="large")
    samples = random_samples(model, 12)
    judged = judged_easyquant(model, Recipe(), calibrate(model, samples, cache=False), samples)
    (layer,) = judged.tuned.layers  # a warning of NumPy's would have been an error
    assert 0.99 < layer.before <= layer.after <= 1.0
    assert "mean cosine of the own outputs of 1 layer 0.99" in judged.sentences[0]


@pytest.mark.parametrize(
    ("value", "digits", "said"),
    [(-0.0, 1, "0.0 dB"), (-0.004, 2, "0.00 dB"), (-0.06, 1, "-0.1 dB"), (math.inf, 1, "no error")],
)
def test_figures_have_no_minus_zero_and_no_infinite_decibels(value: float, digits: int, said: str) -> None:
    assert decibels(value, digits) == said
