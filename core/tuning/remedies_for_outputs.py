"""Remedies for outputs whose small values are lost: their last layers in float, or a narrower range.

One range serves all values of a tensor. Where quantities of different size are joined, as a detector's boxes
and scores, the small ones are lost. What joins them can stay in float: each of them has a range of its own
before.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import onnx_ir as ir

from quantscope.core.calibration import Statistics
from quantscope.core.evaluate import OutputError, Part
from quantscope.core.model import Model, OutputPath, output_path_of, quoted_names
from quantscope.core.quant import Range
from quantscope.core.recipe import ChoiceChanges, Recipe
from quantscope.core.targets import Precision, Role, target
from quantscope.core.thresholds import Method

_SELECTS = frozenset({"Slice", "Split", "Gather", "GatherElements", "GatherND", "TopK"})
# Layers of these roles ask for integers; those that keep what they are given follow by themselves.
_ASKS = frozenset({Role.OWN, Role.NORM, Role.SPLIT, Role.GATHER, Role.PAD, Role.SELECT, Role.LINEAR})
_WEAK_DB = 10.0  # an output that keeps less has lost much of what it says
_WORSE_BY_DB = 10.0  # a part that keeps so much less than the best one suffers from its company
_GOOD_DB = 30.0  # unless it keeps that
_NARROWER = 4.0  # a tensor's range over what the outputs read of it, for another range to be worth a trial


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRemedy:
    """Changes of a recipe that spare the end of a network."""

    label: str  # in a sentence: "leaving 'cat' in float"
    why: str = ""  # it may help, in a sentence
    layers: Mapping[str, ChoiceChanges]  # for `Recipe.with_layer`

    def applied(self, recipe: Recipe) -> Recipe:
        """The recipe with the changes."""
        for layer, changes in self.layers.items():
            recipe = recipe.without_layer(layer).with_layer(layer, **changes)
        return recipe

    @property
    def float_layers(self) -> tuple[str, ...]:
        """The layers that it leaves in float; empty where it does something else."""
        kept = [n for n, c in self.layers.items() if c.get("precision") is Precision.FLOAT]
        return tuple(kept) if len(kept) == len(self.layers) else ()


def weak_outputs(outputs: Iterable[OutputError]) -> tuple[str, ...]:
    """Outputs with lost channels, little signal left, or a part far worse than another of any output."""
    found = [o for o in outputs if o.channels is not None]
    best = max((p.sqnr_db for o in found for p in _channel_parts(o)), default=0.0)
    return tuple(
        o.name
        for o in found
        if (o.channels is not None and o.channels.lost)
        or (o.noise or 0.0) > 10.0 ** (-_WEAK_DB / 10.0)
        or any(p.sqnr_db < min(best - _WORSE_BY_DB, _GOOD_DB) for p in _channel_parts(o))
    )


def _channel_parts(output: OutputError) -> tuple[Part, ...]:
    return () if output.channels is None else output.channels.parts


def output_remedies(
    model: Model,
    recipe: Recipe,
    outputs: Iterable[OutputError],
    statistics: Statistics | None = None,
    leave: Collection[str] = (),
) -> tuple[OutputRemedy, ...]:
    """What may bring back small values of some outputs, the least change first.

    A range without values that the outputs do not read; what only moves values to the outputs in float; all
    that computes without weights, too; and the layers that give their values.

    Args:
        model: The float model.
        recipe: Its layers in float are left as they are.
        outputs: As the recipe's quantized model gives them.
        statistics: Of the model; without them no range is offered.
        leave: Layers that are not to be changed.
    """
    found = list(outputs)
    names = weak_outputs(found)
    if not names:
        return ()
    offered: list[OutputRemedy] = []
    near, far = output_path_of(model, names), output_path_of(model, names, compute=True)
    if statistics is not None:
        offered += _narrower_range(model, [o for o in found if o.name in names], near, statistics, leave)
    roles = target(recipe.target).roles
    sets = [near.nodes, far.nodes, *((*far.nodes, *end.feeders()) for end in (near, far))]
    for nodes in sets:
        layers = dict.fromkeys(reversed(list(_integer_layers(model, nodes, roles))))
        wanted = [n for n in layers if n not in leave and recipe.choice(n).precision is not Precision.FLOAT]
        option = OutputRemedy(label=f"leaving {quoted_names(wanted)} in float", layers=_all_float(wanted))
        if wanted and option.layers.keys() not in [o.layers.keys() for o in offered if o.float_layers]:
            offered.append(option)
    return tuple(offered)


def _all_float(layers: Iterable[str]) -> Mapping[str, ChoiceChanges]:
    return MappingProxyType({name: ChoiceChanges(precision=Precision.FLOAT) for name in layers})


def _integer_layers(model: Model, nodes: Iterable[ir.Node], roles: Mapping[str, Role]) -> Iterator[str]:
    """Layers of nodes that ask for integers."""
    for node in nodes:
        layer = model.layer_of(str(node.outputs[0].name))
        if layer is not None and layer.kind == "compute" and roles.get(layer.op) in _ASKS:
            yield layer.name


def _narrower_range(
    model: Model, outputs: list[OutputError], near: OutputPath, statistics: Statistics, leave: Collection[str]
) -> Iterator[OutputRemedy]:
    """A range of what the outputs read of a tensor, where the rest of it is larger and goes nowhere else."""
    if len(near.feeds) != 1 or not any(node.op_type in _SELECTS for node in near.nodes):
        return
    value = near.feeds[0]
    layer, histogram = model.layer_of(str(value.name)), statistics.histograms.get(str(value.name))
    read = all(node in near.nodes for node in value.consumers()) and not value.is_graph_output()
    if layer is None or histogram is None or not read or layer.output != value.name or layer.name in leave:
        return
    limits = [o.channels for o in outputs if o.channels is not None]
    low, high = min(0.0, *(c.low for c in limits)), max(0.0, *(c.high for c in limits))
    if not low < high or histogram.abs_max < _NARROWER * max(-low, high):
        return
    changes: ChoiceChanges = {"method": Method.MANUAL, "range": Range(low, high)}
    yield OutputRemedy(
        label=f"a narrower range for '{layer.name}', {low:.4g} … {high:.4g}",
        why="the outputs read nothing beyond it",
        layers=MappingProxyType({layer.name: changes}),
    )
