"""Outputs that join quantities of different size: what is lost is said, and Auto-tune brings it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantscope.core.calibration import calibrate
from quantscope.core.data import Samples, open_samples
from quantscope.core.evaluate import (
    FloatReference,
    LostOutput,
    Preview,
    closeness_db,
    compare,
    float_reference,
    lost_outputs,
    match_tensors,
    preview,
)
from quantscope.core.model import Model, load_model, output_path_of, quoted_names
from quantscope.core.pipeline import quantize
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Precision
from quantscope.core.thresholds import Method
from quantscope.core.tuning import autotune, output_remedies
from quantscope.core.tuning.autotune_result import Verdict
from quantscope.core.tuning.remedies_for_outputs import weak_outputs
from tests.evaluating import list_samples
from tests.graphs import randn
from tests.heads import HEADS, samples_for
from tests.networks import Net, feeds
from tests.quantizing import network

CASE = Path(__file__).resolve().parents[2] / "shared" / "cases"


def opened(name: str) -> tuple[Model, Samples, FloatReference]:
    """A network, samples to tune on, and what the float model gives for others."""
    model = load_model(HEADS[name]().SerializeToString(), name=name)
    others = list_samples(samples_for(name, 16, seed=5))
    reference = float_reference(model, others, count=16, layers=False)
    return model, list_samples(samples_for(name)), reference


def by(model: Model, samples: Samples, reference: FloatReference, recipe: Recipe) -> Preview:
    return preview(reference, quantize(model, recipe, samples, cache=False).proto, layers=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADS)
def test_auto_tune_brings_back_what_a_shared_range_loses(name: str) -> None:
    model, samples, reference = opened(name)
    found = autotune(model, samples)
    assert found.warnings == ()
    before, after = (by(model, samples, reference, recipe) for recipe in (Recipe(), found.recipe))
    assert closeness_db(before) < 12.0
    assert before.output.lost > 0 or name == "decoded"  # whose scores keep two levels
    assert after.output.lost == 0
    assert closeness_db(after) > 30.0
    parts = [p.sqnr_db for o in after.output.outputs if o.channels is not None for p in o.channels.parts]
    assert min(parts) > 30.0
    # What can stay in integers does.
    floats = {layer for layer, choice in found.recipe.layers.items() if choice.precision is Precision.FLOAT}
    assert len(floats) <= 9
    assert quantize(model, found.recipe, samples, cache=False).encodings.placement.nodes


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("joined_first", ["cat_Concat"]),
        ("joined_last", ["y_Concat"]),
        ("three_scales", ["cat0_Concat", "cat1_Concat", "cat2_Concat", "all_Concat"]),
        ("split_at_the_end", ["cat_Concat"]),
        ("one_convolution", ["y_Conv"]),
    ],
)
def test_the_least_change_comes_first(name: str, layers: list[str]) -> None:
    model, samples, reference = opened(name)
    seen = by(model, samples, reference, Recipe())
    offered = output_remedies(model, Recipe(), seen.output.outputs, calibrate(model, samples, cache=False))
    assert list(offered[0].float_layers) == layers
    sizes = [len(option.layers) for option in offered]
    assert sizes == sorted(set(sizes))
    assert closeness_db(by(model, samples, reference, offered[0].applied(Recipe()))) > 30.0
    kept = output_remedies(model, Recipe(), seen.output.outputs, leave=layers)
    assert not any(set(layers) & set(option.layers) for option in kept)


def test_a_range_of_what_the_outputs_read_is_offered_before_float() -> None:
    model, samples, reference = opened("unread_channel")
    statistics = calibrate(model, samples, cache=False)
    seen = by(model, samples, reference, Recipe())
    first, *rest = output_remedies(model, Recipe(), seen.output.outputs, statistics)
    assert first.layers["a_Conv"]["method"] is Method.MANUAL
    assert not first.float_layers
    assert rest[0].float_layers == ("a_Conv",)
    assert output_remedies(model, Recipe(), seen.output.outputs)[0].float_layers == ("a_Conv",)


@pytest.mark.parametrize(
    ("name", "layer", "words"),
    [
        (
            "joined_first",
            "cat_Concat",
            "3 of 7 channels of output 'y' (axis 1: 4, 5, 6) vary in the float model and are 0 after",
        ),
        (
            "depth",
            "y_Concat",
            "1 of 2 channels of output 'y' (axis 1: 1) varies in the float model and is 0 after",
        ),
        ("split_at_the_end", "cat_Concat", "output 'what' varies in the float model and is 0"),
        ("unread_channel", "a_Conv", "output 'y' varies in the float model and is 0"),
        (
            "huge_token",
            "y_MatMul",
            "15 of 16 channels of output 'y' (axis 2: 0, 1, 2, 3, 4, 6, …) vary in the float model",
        ),
    ],
    ids=["joined_first", "depth", "split_at_the_end", "unread_channel", "huge_token"],
)
def test_what_is_lost_is_said_with_the_layer_to_blame(name: str, layer: str, words: str) -> None:
    model, samples, _ = opened(name)
    statistics = calibrate(model, samples, cache=False)
    proto = quantize_model(model, resolve(Recipe(), statistics, model))
    found = compare(model, proto, samples, layers=False, latency=False)
    assert len(found.lost) == 1
    lost: LostOutput = found.lost[0]
    assert lost.layer == layer
    assert layer in lost.spared
    assert words in lost.sentence
    assert f"the integers of '{layer}', which hold larger values, have steps of" in lost.sentence
    assert lost.advice.startswith(f"{lost.sentence}. Leave '{layer}'")
    flags = " ".join(f"--float-layer {spared}" for spared in lost.spared)
    assert f"{lost.sentence}. Leave {quoted_names(lost.spared)} in float: {flags}" in found.warnings
    if lost.advice.endswith("or give it 16 bits"):
        proto = quantize_model(
            model, resolve(Recipe().with_layer(layer, precision=Precision.INT16), statistics, model)
        )
        wider = compare(model, proto, samples, layers=False, latency=False)
        assert not wider.lost
        assert min(p.sqnr_db for o in wider.outputs if o.channels for p in o.channels.parts) > 20.0
    else:
        assert name == "unread_channel"
    outputs = {item["name"]: item for item in found.as_dict()["outputs"]}
    assert outputs[lost.output]["channels"]["lost"] == list(lost.channels)


def test_networks_that_lose_nothing_are_left_alone() -> None:
    model = network("residual_cnn")
    samples = list_samples(feeds("residual_cnn", 12))
    statistics = calibrate(model, samples, cache=False)
    proto = quantize_model(model, resolve(Recipe(), statistics, model))
    reference = float_reference(model, samples, count=8, layers=False)
    seen = preview(reference, proto, layers=False)
    assert weak_outputs(seen.output.outputs) == ()
    assert output_remedies(model, Recipe(), seen.output.outputs, statistics) == ()
    assert lost_outputs(model, seen.output.outputs, match_tensors(model, proto)) == ()


def test_the_end_of_a_network_is_what_only_moves_values() -> None:
    model, *_ = opened("three_scales")
    near = output_path_of(model, ["y"])
    ops = sorted(node.op_type for node in near.nodes)
    assert ops == ["Concat"] * 4 + ["Reshape"] * 3 + ["Transpose"]
    assert {value.name for value in near.feeds} == {f"{k}{i}" for k in ("boxes", "scores") for i in range(3)}
    far = output_path_of(model, ["y"], compute=True)
    assert {n.op_type for n in far.nodes} - set(ops) == {"Sigmoid"}  # the convolutions took in the Muls
    assert {v.name for v in far.feeds} == {f"boxes{i}" for i in range(3)} | {
        f"scores{i}.raw" for i in range(3)
    }


def test_a_result_that_still_has_lost_channels_says_so() -> None:
    """Where the layer to spare was set by hand, it stays as it is."""
    model, samples, _ = opened("joined_first")
    found = autotune(model, samples, Recipe().with_layer("cat_Concat", method=Method.MINMAX))
    assert found.lost == 3
    (warning,) = found.warnings
    assert warning.startswith("3 channels of the outputs vary in the float model and are still constant")
    assert found.story[-1] == warning


def test_all_outputs_as_one_may_lose_only_what_their_parts_win() -> None:
    def verdict(closeness: float, overall: float, lost: int = 0) -> Verdict:
        return Verdict(closeness=closeness, overall_db=overall, disagreeing=0.0, lost=lost)

    plain = verdict(20.0, 40.0)
    assert verdict(30.0, 39.2).not_worse_than(plain)
    assert not verdict(30.0, 38.8).not_worse_than(plain)
    assert not verdict(20.1, 39.2).not_worse_than(plain)
    assert not verdict(30.0, 45.0, lost=1).not_worse_than(plain)


@pytest.mark.parametrize("name", ["yolo_head", "denormal_channel"])
def test_reported_cases(name: str) -> None:
    folder = CASE / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    model = load_model(folder / "model.onnx")
    samples = open_samples(folder / "data.npz", model)
    found = autotune(model, samples)
    reference = float_reference(model, samples, count=len(samples), layers=False)
    seen = by(model, samples, reference, found.recipe)
    assert seen.output.lost == 0
    assert closeness_db(seen) > 30.0


def test_values_too_small_for_a_scale_are_not_called_small_beside_larger_ones() -> None:
    n = Net(3)
    n.add("Mul", [n.add("MatMul", ["x", n.random("w", 4, 3)], "a"), n.const("tiny", 1e-41)], "y")
    model = load_model(n.model({"x": ["N", 4]}, {"y": ["N", 3]}).SerializeToString(), name="tiny")
    samples = list_samples([{"x": randn(2, 4, seed=seed)} for seed in range(20)])
    statistics = calibrate(model, samples, cache=False)
    proto = quantize_model(model, resolve(Recipe(), statistics, model))
    (lost,) = compare(model, proto, samples, layers=False, latency=False).lost
    assert lost.sentence.endswith("are so small that their scale would be denormal")
    assert "16 bits" not in lost.advice
