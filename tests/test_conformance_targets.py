"""Every target of the table goes through the same checks; a new one is covered by being listed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx
import pytest

from quantscope.core.errors import RecipeError
from quantscope.core.quant import UINT8, QuantSpec
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe, recipe_from_yaml, recipe_to_yaml
from quantscope.core.targets import TARGETS, Precision, Role, Target, table, target
from quantscope.core.targets.placement import VISITS
from tests.documents import coded, option_help, readme_row
from tests.exported import File, check_rules
from tests.networks import NETWORKS, feeds
from tests.quantizing import network, run, sqnr, statistics_of

LEAST_DB = {Precision.INT8: 3.0, Precision.INT16: 15.0}  # an export that computes something else has none


def faults(entry: Target) -> Iterator[str]:
    """What is wrong with a declaration, one line each."""
    if not entry.label or not re.fullmatch(r"[A-Za-z].*\.", entry.note):
        yield "it is not described"
    if Precision.INT8 not in entry.activations or Precision.FLOAT in entry.activations:
        yield "its precisions are not those of integers, 8 bits among them"
    if entry.precisions != (*entry.activations, Precision.FLOAT):
        yield "a layer cannot be left in float"
    for precision, spec in entry.activations.items():
        if spec.type.bits != (16 if precision is Precision.INT16 else 8) or spec.axis is not None:
            yield f"activations of {precision} are {spec.type}"
    if not entry.weight.symmetric or entry.weight.type.bits > 8:
        yield "kernels take symmetric weights of at most 8 bits"
    for op, role in entry.roles.items():
        if not onnx.defs.has(op):
            yield f"there is no operator {op}"
        if role not in VISITS:
            yield f"nothing places quantizers for {role}"
    for op in (*entry.fixed_ranges, *entry.scale_ratio_limits):
        if op not in entry.roles:
            yield f"{op} has a rule and no role"
    if not all(r.low <= 0.0 <= r.high for r in entry.fixed_ranges.values()):
        yield "a fixed range does not hold 0"
    if entry.integer_bits not in (8, 16) or entry.function_kernels < 1:
        yield "its limits make no sense"


def check_export(name: str, entry: Target, precision: Precision) -> None:
    """Quantize a network and hold the file against the target: types, scales, and that it runs."""
    model, samples = network(name), feeds(name, 4)
    recipe = Recipe(target=entry.name).with_default(precision=precision)
    encodings = resolve(recipe, statistics_of(model, samples), model)
    proto = quantize_model(model, encodings)
    onnx.checker.check_model(proto, full_check=True)
    seen = check_rules(proto, recipe)
    assert seen["activations"]
    assert seen["weights"]
    allowed = entry.activations[precision]
    assert all(e.type == allowed.type for e in encodings.activations.values())
    weight = entry.weight
    assert all(e.type == weight.type for e in encodings.weights.values())
    for stored in File(proto).quantizers():
        if stored.integers is not None and stored.integers.dtype != np.int32:
            assert stored.integers.dtype.itemsize * 8 <= max(weight.type.bits + 1, allowed.type.bits)
    assert encodings.placement.target is entry
    outputs = run(proto, samples)
    assert all(np.isfinite(output).all() for output in outputs)
    assert sqnr(run(model.proto(), samples), outputs) > LEAST_DB[precision]


def test_the_table_holds_every_target() -> None:
    assert len(TARGETS) >= 4
    assert all(name == entry.name for name, entry in TARGETS.items())
    assert len({entry.label for entry in TARGETS.values()}) == len(TARGETS)
    assert Recipe().target in TARGETS
    assert set(VISITS) == set(Role)


@pytest.mark.parametrize("name", TARGETS)
def test_each_declaration_makes_sense(name: str) -> None:
    assert list(faults(TARGETS[name])) == []
    assert target(name) is TARGETS[name]


def test_help_and_readme_name_the_targets_that_there_are() -> None:
    assert set(re.findall(r"onnxruntime-\w+(?:-\w+)*", option_help("quantize", "--target"))) == set(TARGETS)
    assert set(coded(readme_row("--target"))) == set(TARGETS)
    with pytest.raises(RecipeError, match=f"the targets are: {', '.join(TARGETS)}"):
        target("nonsense")


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.INT16])
@pytest.mark.parametrize("network_name", NETWORKS)
@pytest.mark.parametrize("name", TARGETS)
def test_an_exported_file_holds_what_the_target_allows_and_runs(
    name: str, network_name: str, precision: Precision
) -> None:
    if precision in TARGETS[name].activations:
        check_export(network_name, TARGETS[name], precision)


@pytest.mark.parametrize("name", TARGETS)
def test_recipes_are_kept_and_checked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = TARGETS[name]
    for precision in entry.precisions:
        recipe = Recipe(target=name).with_layer("a", precision=precision)
        assert recipe_from_yaml(recipe_to_yaml(recipe)) == recipe
        assert recipe.with_target(Recipe().target).with_target(name) == recipe
    narrow = replace(entry, activations={Precision.INT8: entry.activations[Precision.INT8]})
    monkeypatch.setattr(table, "TARGETS", {name: narrow})
    with pytest.raises(RecipeError, match=f"a: target {name} has no precision int16; it has int8, float"):
        Recipe(target=name).with_layer("a", precision=Precision.INT16)


def test_planted_faults_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    good = TARGETS[Recipe().target]
    bad = replace(
        good,
        note="no sentence",
        weight=QuantSpec(type=UINT8, symmetric=False),
        roles={**good.roles, "Nonsense": Role.OWN},
        fixed_ranges={"Tanh": next(iter(good.fixed_ranges.values()))},
        function_kernels=0,
    )
    assert list(faults(bad)) == [
        "it is not described",
        "kernels take symmetric weights of at most 8 bits",
        "there is no operator Nonsense",
        "Tanh has a rule and no role",
        "its limits make no sense",
    ]
    # A target that says other types than those that go into the file.
    monkeypatch.setattr(table, "TARGETS", {good.name: replace(good, weight=bad.weight)})
    with pytest.raises(AssertionError):
        check_export("shapes_cnn", good, Precision.INT8)
