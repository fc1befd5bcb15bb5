"""Passes in recipes: they replay from YAML to the byte, in their order, and unknown ones are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from quantscope.core.data import Samples
from quantscope.core.errors import RecipeError
from quantscope.core.pipeline import prepare, quantize
from quantscope.core.progress import Cancelled, Progress
from quantscope.core.quantize import resolve
from quantscope.core.recipe import PASSES, PassChoice, Recipe, pass_choices, recipe_from_yaml, recipe_to_yaml
from quantscope.core.targets import Granularity
from tests.networks import NETWORKS, feeds
from tests.quantizing import network, run, sqnr
from tests.test_passes_bias_correction import samples_of

ALL = ("rotate", "equalize", PassChoice(name="smooth", options={"alpha": 0.3}), "bias_correction", "rounding")
RECIPE = Recipe().with_default(weights=Granularity.PER_TENSOR).with_passes(*ALL)


def data(name: str, folder: Path, count: int = 12, back: bool = False) -> Samples:
    runs = feeds(name, count)
    return samples_of(network(name), folder, runs[::-1] if back else runs, "back" if back else "data")


@pytest.mark.parametrize("name", NETWORKS)
def test_recipes_replay_to_the_byte(name: str, tmp_path: Path) -> None:
    first = quantize(network(name), RECIPE, data(name, tmp_path), cache=False)
    read = recipe_from_yaml(recipe_to_yaml(RECIPE))
    assert read == RECIPE
    again = quantize(network(name), read, data(name, tmp_path, back=True), cache=False, threads=1)
    assert first.proto.SerializeToString(deterministic=True) == again.proto.SerializeToString(
        deterministic=True
    )
    onnx.checker.check_model(first.proto, full_check=True)
    assert [record.choice.name for record in first.records] == [
        "rotate", "equalize", "smooth", "rounding", "bias_correction"
    ]  # fmt: skip
    assert all(sentence.endswith(".") for sentence in first.log)
    model = network(name)
    floats = run(model.proto(), feeds(name, 12, seed=5))
    plain = quantize(model, RECIPE.with_passes(), data(name, tmp_path), cache=False)
    gain = sqnr(floats, run(first.proto, feeds(name, 12, seed=5))) - sqnr(
        floats, run(plain.proto, feeds(name, 12, seed=5))
    )
    assert gain > -1.5  # these networks have nothing to repair, and are fitted to 12 random samples


def test_without_passes_it_is_the_plain_way(tmp_path: Path) -> None:
    model, samples = network("residual_cnn"), data("residual_cnn", tmp_path)
    ready = prepare(model, Recipe(), samples, cache=False)
    assert ready.model is model
    assert not ready.records
    assert prepare(model, Recipe(), samples, statistics=ready.statistics).statistics is ready.statistics
    result = quantize(model, Recipe().with_passes("bias_correction"), samples, statistics=ready.statistics)
    assert result.statistics is ready.statistics
    assert (
        resolve(Recipe(), ready.statistics, model).activations.keys() == result.encodings.activations.keys()
    )


def test_statistics_are_of_the_changed_model(tmp_path: Path) -> None:
    model, samples = network("mobile_cnn"), data("mobile_cnn", tmp_path)
    recipe = Recipe().with_passes("equalize")
    ready = prepare(model, recipe, samples, cache=False)
    assert ready.model.hash != model.hash
    assert ready.statistics.model_hash == ready.model.hash
    assert prepare(model, recipe.with_default(percentile=99.9), samples, cache=False) is ready
    other = prepare(model, recipe.with_default(weights=Granularity.PER_TENSOR), samples, cache=False)
    assert other.model.hash != ready.model.hash


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[equalise]", "unknown pass 'equalise'; the passes are rotate"),
        ("[equalize, equalize]", "twice"),
        ("equalize", "should be a list"),
        ("[{smooth: {beta: 1}}]", "no option 'beta'; its options: alpha"),
        ("[{smooth: {alpha: 2}}]", "0 to 1, not 2"),
        ("[{smooth: {alpha: much}}]", "should be a number"),
        ("[{smooth: 0.5}]", "expected options such as"),
        ("[{smooth: {alpha: .nan}}]", "not nan"),
        ("[{equalize: {}, smooth: {}}]", "one name with options"),
        ("[7]", "unknown pass '7'"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        recipe_from_yaml(f"quantscope: 1\npasses: {text}\n")


def test_passes_read_from_yaml() -> None:
    text = "quantscope: 1\npasses: [equalize, {smooth: {alpha: 0.75}}, {rounding: null}]\n"
    assert recipe_from_yaml(text).passes == pass_choices(
        "equalize", PassChoice(name="smooth", options={"alpha": 0.75}), "rounding"
    )
    assert "passes" not in recipe_to_yaml(Recipe())
    assert (
        Recipe().with_passes("smooth").passes[0].option("alpha") == PASSES["smooth"].options["alpha"].default
    )


def test_every_pass_says_what_it_does() -> None:
    for entry in PASSES.values():
        assert "Changes" in entry.sentence
        assert ("float outputs stay" in entry.sentence) == entry.changes_model
        for option in entry.options.values():
            assert option.low <= option.default <= option.high


def test_progress_can_cancel(tmp_path: Path) -> None:
    model, samples = network("residual_cnn"), data("residual_cnn", tmp_path)
    seen: list[str] = []

    def stop(progress: Progress) -> None:
        seen.append(progress.label)
        if progress.label == "correcting biases":
            raise Cancelled

    with pytest.raises(Cancelled):
        quantize(model, RECIPE, samples, cache=False, progress=stop)
    assert {"looking at channels", "calibrating", "rounding weights", "correcting biases"} <= set(seen)


def test_integers_and_shifts_are_in_the_file(tmp_path: Path) -> None:
    model, samples = network("mobile_cnn"), data("mobile_cnn", tmp_path)
    plain = quantize(model, Recipe(), samples, cache=False)
    both = quantize(model, Recipe().with_passes("bias_correction", "rounding"), samples, cache=False)

    def stored(proto: onnx.ModelProto, suffix: str) -> dict[str, np.ndarray]:
        return {
            t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer if t.name.endswith(suffix)
        }

    for suffix, least in ((".w_quantized", 5), (".b_quantized", 5)):
        before, after = stored(plain.proto, suffix), stored(both.proto, suffix)
        assert before.keys() == after.keys()
        assert sum(not np.array_equal(before[k], after[k]) for k in before) >= least
    difference = [np.abs(stored(plain.proto, ".w_quantized")[k].astype(int) - v) for k, v in
                  stored(both.proto, ".w_quantized").items()]  # fmt: skip
    assert max(d.max() for d in difference) <= 8  # rounded elsewhere, not replaced
