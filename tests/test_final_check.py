"""A finished quantized model is judged: what it lost, what helps, and why one is all float."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from quantscope.core.calibration import calibrate
from quantscope.core.data import Samples
from quantscope.core.errors import ExportError
from quantscope.core.evaluate import FloatReference, float_reference
from quantscope.core.model import Model, load_model
from quantscope.core.pipeline import quantize
from quantscope.core.quant import Range
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Precision
from quantscope.core.thresholds import Method
from quantscope.core.tuning import (
    AllFloat,
    AllFloatReason,
    FinalCheck,
    all_float,
    check_quantized,
    check_runs,
    check_tuned,
    why_all_float,
)
from tests.evaluating import list_samples
from tests.graphs import model, node, randn, value
from tests.heads import HEADS, samples_for


def opened(name: str) -> tuple[Model, Samples]:
    return load_model(HEADS[name]().SerializeToString(), name=name), list_samples(samples_for(name))


def checked(name: str, recipe: Recipe, *, beside_minmax: bool = False) -> FinalCheck:
    net, samples = opened(name)
    statistics = calibrate(net, samples, cache=False)
    made = quantize(net, recipe, samples, statistics=statistics)
    return check_quantized(net, recipe, statistics, samples, made.proto, beside_minmax=beside_minmax)


def test_lost_channels_are_found_with_the_least_change_that_helps() -> None:
    found = checked("joined_first", Recipe())
    (lost,) = found.lost
    assert lost.channels == (4, 5, 6)
    assert found.faults() == (lost.sentence,)
    assert found.faults(lambda one: one.advice) == (lost.advice,)
    assert found.remedy is not None
    assert found.remedy.option.float_layers == ("cat_Concat",)
    assert found.remedy.after_db > found.remedy.before_db + 1.0
    assert found.remedy.sentence.startswith("leaving 'cat_Concat' in float helps")


def test_a_recipe_that_keeps_what_matters_in_float_has_no_faults() -> None:
    found = checked("joined_first", Recipe().with_layer("cat_Concat", precision=Precision.FLOAT))
    assert (found.faults(), found.remedy, found.minmax) == ((), None, None)


def narrow() -> tuple[Model, Samples]:
    """A product, of whose outputs a range of ours keeps a small part."""
    nodes = [node("MatMul", ["x", "w"], ["y"], name="product")]
    proto = model(nodes, [value("x", ["N", 8])], [value("y", ["N", 4])], {"w": randn(8, 4)})
    items = [{"x": row[None]} for row in randn(16, 8, seed=1)]
    return load_model(proto.SerializeToString(), name="narrow"), list_samples(items)


def test_minmax_is_named_where_it_is_closer_and_asked_about() -> None:
    net, samples = narrow()
    statistics = calibrate(net, samples, cache=False)
    recipe = Recipe().with_default(method=Method.MSE)
    bad = quantize(
        net,
        recipe.with_layer("product", method=Method.MANUAL, range=Range(-0.1, 0.1)),
        samples,
        statistics=statistics,
    )
    found = check_quantized(net, recipe, statistics, samples, bad.proto, beside_minmax=True)
    assert found.minmax is not None
    assert found.minmax.method is Method.MSE
    assert found.minmax.minmax_db > found.minmax.asked_db + 1.0
    assert found.minmax.sentence.endswith("(8 samples)")
    assert check_quantized(net, recipe, statistics, samples, bad.proto).minmax is None
    plain = Recipe()
    assert check_quantized(net, plain, statistics, samples, bad.proto, beside_minmax=True).minmax is None


def test_the_float_model_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(*arguments: Any, **more: Any) -> FloatReference:
        made.append(float_reference(*arguments, **more))
        return made[-1]

    monkeypatch.setattr("quantscope.core.tuning.final_check.float_reference", counted)
    net, samples = narrow()
    statistics, recipe = calibrate(net, samples, cache=False), Recipe().with_default(method=Method.MSE)
    proto = quantize(net, recipe, samples, statistics=statistics).proto
    check_quantized(net, recipe, statistics, samples, proto, beside_minmax=True)
    assert [len(reference) for reference in made] == [8]


def test_why_nothing_is_quantized() -> None:
    net, samples = narrow()
    statistics = calibrate(net, samples, cache=False)
    assert all_float(net, Recipe()) is None
    assert all_float(net, Recipe(), statistics) is None
    kept = Recipe()
    for layer in net.layers:
        kept = kept.with_layer(layer.name, precision=Precision.FLOAT)
    for found in (all_float(net, kept), all_float(net, kept, statistics), why_all_float(net, kept)):
        assert found == AllFloat(model="narrow", reason=AllFloatReason.RECIPE)
        assert found.sentence == "the recipe leaves all layers of narrow in float"
    reached = check_tuned(net, Recipe(), kept, statistics, samples)
    assert isinstance(reached, AllFloat)
    assert reached.reason is AllFloatReason.AIM
    asked = check_tuned(net, kept, kept, statistics, samples)
    assert isinstance(asked, AllFloat)
    assert asked.reason is AllFloatReason.RECIPE
    assert isinstance(check_tuned(net, Recipe(), Recipe(), statistics, samples), FinalCheck)


def test_a_model_without_integer_kernels_and_values_that_no_integers_hold() -> None:
    sine = model([node("Sin", ["x"], ["y"], name="s")], [value("x", ["N", 8])], [value("y", ["N", 8])])
    found = all_float(load_model(sine.SerializeToString(), name="sine"), Recipe())
    assert found is not None
    assert found.reason is AllFloatReason.OPERATORS
    several = AllFloat(model="m", reason=AllFloatReason.VALUES, kept=dict.fromkeys("abcd", "it is odd"))
    assert several.sentence == (
        "no layer of m can be quantized ('a' stays float: it is odd; 'b' stays float: it is odd; and 2 more)"
    )


def test_a_file_that_does_not_run_is_refused() -> None:
    net, samples = narrow()
    made = quantize(net, Recipe(), samples, statistics=calibrate(net, samples, cache=False))
    check_runs(made.proto, samples)
    check_runs(made.proto, None)
    broken = onnx.ModelProto.FromString(made.proto.SerializeToString())
    broken.graph.node[0].op_type = "Nothing"
    with pytest.raises(ExportError, match="Leave that layer in float"):
        check_runs(broken, samples)
    with pytest.raises(ExportError):
        check_runs(made.proto, list_samples([{"x": np.zeros((1, 9), np.float32)}]))
