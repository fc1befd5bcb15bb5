"""How two recipes differ, in words."""

from __future__ import annotations

from quantscope.core.recipe import Recipe
from quantscope.core.thresholds import Method
from quantscope.ui.content.choices import choice_changes
from tests.quantizing import network

NET = network("residual_cnn")
NAMES = [layer.name for layer in NET.layers]
WEIGHTED = [layer.name for layer in NET.layers if layer.weight is not None]


def said(before: Recipe, after: Recipe) -> list[str]:
    return [f"{change.what}: {change.words}" for change in choice_changes(before, after, NET)]


def test_equal_recipes_do_not_differ() -> None:
    assert choice_changes(Recipe(), Recipe(), NET) == ()
    same = Recipe().with_layer(NAMES[1], method="minmax")  # what the default says too
    assert choice_changes(Recipe(), same, NET) == ()


def test_layers_are_grouped_by_what_was_changed() -> None:
    after = Recipe().with_default(method="percentile", percentile=99.9)
    after = after.with_layer(NAMES[2], method="kl").with_layer(NAMES[3], precision="float")
    found = choice_changes(Recipe(), after, NET)
    assert [(c.what, c.words, len(c.layers)) for c in found] == [
        ("Range", "MinMax → Percentile 99.9 %", len(NAMES) - 2),
        ("Range", "MinMax → KL", 1),
        ("Precision", "int8 → float", 1),
    ]
    assert found[1].layers == (NAMES[2],)
    assert not found[0].everywhere
    whole = choice_changes(Recipe(), Recipe().with_default(method="kl"), NET)
    assert whole[0].everywhere


def test_it_reads_backwards_as_it_reads_forwards() -> None:
    after = Recipe().with_default(method="mse", weights="per_tensor").with_passes("equalize")
    forwards, backwards = said(Recipe(), after), said(after, Recipe())
    assert forwards == [
        "Cross-layer equalization: off → on",
        "Range: MinMax → MSE",
        "Scales of weights: per channel → per tensor",
    ]
    assert backwards == [
        "Cross-layer equalization: on → off",
        "Range: MSE → MinMax",
        "Scales of weights: per tensor → per channel",
    ]


def test_weights_are_counted_where_there_are_any() -> None:
    found = choice_changes(Recipe(), Recipe().with_default(weight_method="mse"), NET)
    assert [c.layers for c in found] == [tuple(WEIGHTED)]
    assert found[0].everywhere


def test_ranges_set_by_hand_are_told_for_few_layers() -> None:
    after = Recipe().with_layer(NAMES[1], range=(0.0, 1.5))
    found = choice_changes(Recipe(), after, NET)
    assert [(c.words, c.details) for c in found] == [("MinMax → by hand", ("0 … 1.5",))]
    moved = choice_changes(after, after.with_layer(NAMES[1], range=(0.0, 2.0)), NET)
    assert [(c.words, c.details) for c in moved] == [("moved by hand", ("0 … 1.5 → 0 … 2",))]
    many = Recipe()
    for number, name in enumerate(NAMES):
        many = many.with_layer(name, range=(0.0, 1.0 + number))
    (change,) = choice_changes(Recipe(), many, NET)
    assert (change.words, change.details, change.everywhere) == ("MinMax → by hand", (), True)


def test_targets_and_options_of_fixes() -> None:
    smooth, smoother = ({"smooth": {"alpha": alpha}} for alpha in (0.5, 0.7))
    found = said(Recipe().with_passes(smooth), Recipe(target="onnxruntime-7bit").with_passes(smoother))
    assert found[0].startswith("Target: ONNX Runtime")
    assert found[1] == "SmoothQuant: alpha 0.5 → alpha 0.7"


def test_methods_that_no_longer_matter_are_not_told() -> None:
    """A layer in float has no range, whatever method stands there."""
    before = Recipe().with_layer(NAMES[1], precision="float")
    after = Recipe().with_layer(NAMES[1], precision="float", method=Method.KL)
    assert choice_changes(before, after, NET) == ()
