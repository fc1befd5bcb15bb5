"""Every model fix (pass) of the table goes through the same checks; a new one is covered by being listed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest

from quantscope.core.data import Samples
from quantscope.core.errors import RecipeError
from quantscope.core.model import Model, load_model
from quantscope.core.passes import PassRecord, apply
from quantscope.core.pipeline import Quantized, prepare, quantize
from quantscope.core.recipe import PASSES, PassChoice, Recipe, recipe_from_yaml, recipe_to_yaml
from quantscope.core.targets import Granularity
from quantscope.core.tuning import switch_pass
from quantscope.core.tuning.autotune_search import FIXES
from tests.exported import check_rules
from tests.networks import NETWORKS, feeds
from tests.quantizing import network, run
from tests.test_passes_bias_correction import samples_of
from tests.test_passes_rotate import Runs, language_model, sentences

SAME_DB = 100.0  # float32 arithmetic in another order stays above it
START = Recipe().with_default(weights=Granularity.PER_TENSOR)


# Two image networks, a transformer and a language model with a residual stream, each with its samples.
CASES: dict[str, tuple[Callable[[], Model], Runs]] = {
    **{
        name: (partial(network, name), feeds(name, 8)) for name in ("mobile_cnn", "shapes_cnn", "transformer")
    },
    "language_model": (partial(language_model, massive=30.0), sentences(8)),
}


def case(name: str, folder: Path) -> tuple[Model, Samples]:
    """A network that nothing was prepared for yet, and its samples."""
    model = CASES[name][0]()
    return model, samples_of(model, folder, CASES[name][1], name)


def float_faults(name: str, before: Model, after: Model, runs: Runs) -> Iterator[str]:
    """What is wrong with the float model that a pass left behind; `runs` are the samples it was given."""
    if not PASSES[name].changes_model:
        if after is not before:
            yield f"{name} changed the float model"
        return
    onnx.checker.check_model(after.proto(), full_check=True)
    for old, new in zip(run(before.proto(), runs), run(after.proto(), runs), strict=True):
        error = float(np.square(old - new, dtype=np.float64).sum())
        energy = float(np.square(old, dtype=np.float64).sum())
        if error > energy * 10 ** (-SAME_DB / 10):
            yield f"{name} changed the float outputs"
            return


def record_faults(name: str, records: tuple[PassRecord, ...]) -> Iterator[str]:
    """What is wrong with what a pass says about its work."""
    if [record.choice.name for record in records] != [name]:
        yield f"{name} left {len(records)} records"
        return
    (record,) = records
    if not record.sentences or not all(re.fullmatch(r"[^\n]+\.", said) for said in record.sentences):
        yield f"{name} does not say what it did in sentences"
    if not record.measure:
        yield f"{name} does not say what its numbers are"
    if not all(math.isfinite(t.before) and math.isfinite(t.after) and t.name for t in record.touched):
        yield f"{name} has numbers that are not finite"
    if (record.difference is not None) is not PASSES[name].changes_model:
        yield f"{name} does not say how the float outputs differ, or says so without a reason"


def made(model: Model, recipe: Recipe, samples: Samples) -> Quantized:
    return quantize(model, recipe, samples, cache=False, threads=1)


def content(result: Quantized) -> bytes:
    return bytes(result.proto.SerializeToString(deterministic=True))


def test_the_tables_hold_every_pass() -> None:
    assert len(PASSES) >= 5
    assert all(name == entry.name for name, entry in PASSES.items())
    assert set(apply.MODEL_PASSES) == {name for name, entry in PASSES.items() if entry.changes_model}
    assert set(apply.ENCODING_PASSES) == {name for name, entry in PASSES.items() if not entry.changes_model}
    assert [name for name, _ in FIXES if name in PASSES] == list(PASSES)


@pytest.mark.parametrize("name", PASSES)
def test_each_pass_is_described(name: str) -> None:
    entry = PASSES[name]
    assert [other.label for other in PASSES.values()].count(entry.label) == 1
    assert entry.label
    assert entry.sentence.endswith(".")
    assert re.fullmatch(r"[a-z][^.]*", entry.phrase)
    for option in entry.options.values():
        assert option.low <= option.default <= option.high
        assert option.what


@pytest.mark.parametrize("network_name", CASES)
@pytest.mark.parametrize("name", PASSES)
def test_a_pass_does_its_work_and_can_be_taken_out_again(
    name: str, network_name: str, tmp_path: Path
) -> None:
    model, samples = case(network_name, tmp_path)
    on = switch_pass(START, name, True)
    assert switch_pass(on, name, False) == START
    result = made(model, on, samples)
    assert list(float_faults(name, model, result.model, CASES[network_name][1])) == []
    assert list(record_faults(name, result.records)) == []
    onnx.checker.check_model(result.proto, full_check=True)
    seen = check_rules(result.proto, on)
    assert seen["activations"]
    assert seen["weights"]
    again, _ = case(network_name, tmp_path)
    plain = content(made(again, START, samples))
    assert content(made(again, on, samples)) == content(result)
    assert content(made(again, switch_pass(on, name, False), samples)) == plain
    if result.records[0].touched:
        assert content(result) != plain


@pytest.mark.parametrize("name", PASSES)
def test_each_pass_finds_work_somewhere(name: str, tmp_path: Path) -> None:
    for network_name in CASES:
        model, samples = case(network_name, tmp_path)
        result = made(model, START.with_passes(name), samples)
        if result.records[0].touched:
            return
    pytest.fail(f"{name} touches nothing in any of the networks")


@pytest.mark.parametrize("name", PASSES)
def test_options_are_kept_and_bad_ones_are_refused(name: str) -> None:
    options = PASSES[name].options
    for end in ("low", "default", "high"):
        chosen = {key: getattr(option, end) for key, option in options.items()}
        recipe = Recipe().with_passes(PassChoice(name=name, options=chosen))
        assert recipe_from_yaml(recipe_to_yaml(recipe)) == recipe
        assert all(recipe.passes[0].option(key) == value for key, value in chosen.items())
    for key, option in options.items():
        for wrong in (option.low - 1, option.high + 1, math.nan, math.inf):
            with pytest.raises(RecipeError, match=re.escape(f"{name}: {key} is {option.what}")):
                PassChoice(name=name, options={key: wrong})
    with pytest.raises(RecipeError, match=f"{name} has no option 'nonsense'"):
        PassChoice(name=name, options={"nonsense": 1.0})
    with pytest.raises(RecipeError, match=f"{name} stands there twice"):
        Recipe().with_passes(name, name)


def test_a_planted_change_of_the_outputs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = load_model(NETWORKS["mobile_cnn"][0](7).SerializeToString(), name="other")

    def bad(model: Model, recipe: Recipe, inputs: object) -> tuple[Model, PassRecord]:
        choice = recipe.passes[0]
        return other, PassRecord(
            choice=choice, touched=(), measure="", sentences=("No full stop",), difference=None
        )

    monkeypatch.setitem(apply.MODEL_PASSES, "equalize", bad)
    model, samples = case("mobile_cnn", tmp_path)
    runs = CASES["mobile_cnn"][1]
    ready = prepare(model, START.with_passes("equalize"), samples, cache=False)
    found = [*float_faults("equalize", model, ready.model, runs), *record_faults("equalize", ready.records)]
    assert found == [
        "equalize changed the float outputs",
        "equalize does not say what it did in sentences",
        "equalize does not say what its numbers are",
        "equalize does not say how the float outputs differ, or says so without a reason",
    ]
    assert list(float_faults("rounding", model, ready.model, runs)) == ["rounding changed the float model"]
