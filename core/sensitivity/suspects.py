"""Which layers cost the model's output most, as far as it can be told without a run for each of them.

Three things are known of a quantized model that has been run once: the error of every layer's output with all
before it quantized too (cumulative), where that was measured its error alone (local), and the error of all
outputs. A layer is held to account for its own error, and for a cliff behind it that only its small values
explain; and neither can cost the outputs more than what arrives along the best path to them.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from quantscope.core.evaluate import LayerError
from quantscope.core.model import Model
from quantscope.core.sensitivity.rankings import stands_out
from quantscope.core.sensitivity.turning_point import LIMIT_DB, db, drop_db, nmse, reaching_noise, worst_input

CLIFF_DB = 6.0  # SQNR that a layer's output has less than what it reads, at least, to be a cliff
OWN_SHARE = 0.25  # of the error at a cliff; with less, the layer itself is not the cause
LEAST_IQR = 1.5  # dB; where all layers are alike, a small difference is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A layer, and how much of the outputs' error it can be the cause of. SQNR in dB; larger is better."""

    layer: str
    reached_db: float  # that its error leaves at the outputs at most; inf without error, -inf not finite
    own_db: float | None  # of its output by itself: alone, or of its range where that was not measured
    alone: bool  # whether `own_db` was measured with the layer alone quantized
    cliff: str  # the layer at whose output its error shows as a drop of SQNR; "" without
    before_db: float | None = None  # of what the cliff's layer reads; inf where nothing is lost before it
    after_db: float | None = None  # of what it gives; -inf where it is not finite
    flagged: bool  # stands out, and costs enough to be looked at


def suspects(
    model: Model,
    errors: Sequence[LayerError],
    ranges: Mapping[str, float] | None = None,
    *,
    passive: Collection[str] = (),
    untold: Collection[str] = (),
) -> tuple[Suspect, ...]:
    """All layers, those first that can cost the outputs most.

    A layer whose output is exact is never flagged, nor is one whose error cannot leave less than
    `LIMIT_DB` at the outputs.

    Args:
        model: The float model.
        errors: Cumulative errors of its layers, and local ones as far as there are any.
        ranges: SQNR in dB of layers' outputs by their ranges alone, for layers without a local error.
        passive: Layers that add no error of their own: they stay in float, or share what they read.
        untold: Layers whose errors say nothing, such as those of masked attention scores.
    """
    found = {error.layer: error for error in errors if error.layer not in untold}
    after, before = reaching_noise(model, found)
    own, alone = _own(model, found, ranges or {}, {*untold, *passive})
    cliffs = _cliffs(model, after, before, {name: own[name] for name in alone}, passive)
    passing = _passing(model, after)
    reached, noise = {}, {}
    for name in model.layer_names:
        mine, seen = own.get(name, 0.0), cliffs.get(name)
        noise[name] = mine if seen is None else max(mine, after[seen])
        # What small values lose does not show in the layer's own error, but at the cliff.
        hidden = 0.0 if seen is None else min(after[seen], passing[seen])
        reached[name] = max(min(mine, passing[name]), hidden)
    flags = _standing_out({name: -db(value) for name, value in reached.items() if value > 0.0})
    order = {layer.name: at for at, layer in enumerate(model.layers)}
    return tuple(
        Suspect(
            layer=name,
            reached_db=-db(reached[name]),
            own_db=-db(own[name]) if name in own else None,
            alone=name in alone,
            cliff=(seen := cliffs.get(name, "")),
            before_db=-db(before[seen]) if seen else None,
            after_db=-db(after[seen]) if seen else None,
            flagged=-db(reached[name]) < LIMIT_DB
            and (bool(seen) or name in flags or math.isinf(reached[name])),
        )
        for name in sorted(order, key=lambda name: (-reached[name], -noise[name], order[name]))
    )


def _own(
    model: Model,
    found: Mapping[str, LayerError],
    ranges: Mapping[str, float],
    without: Collection[str],
) -> tuple[dict[str, float], frozenset[str]]:
    """Noise over signal of layers by themselves, and for which of them it was measured."""
    own: dict[str, float] = {}
    alone = set()
    for name in model.layer_names:
        error = found.get(name)
        whole = nmse(error.cumulative) if error is not None else None
        if name in without or whole == 0.0:
            continue
        local = nmse(error.local) if error is not None else None
        if local is not None:
            own[name] = local
            alone.add(name)
        elif (figure := ranges.get(name)) is not None:
            own[name] = 10.0 ** (-figure / 10.0)
    return own, frozenset(alone)


def _cliffs(
    model: Model,
    after: Mapping[str, float],
    before: Mapping[str, float],
    alone: Mapping[str, float],
    passive: Collection[str],
) -> dict[str, str]:
    """Layers with a cliff on their account, and the layer where it shows; of several, the deepest."""
    found: dict[str, str] = {}
    for name, noise in after.items():
        if -db(noise) >= LIMIT_DB or drop_db(before[name], noise) < CLIFF_DB:
            continue
        cause = name
        if name in alone and alone[name] < OWN_SHARE * noise and before[name] > 0.0:
            cause = worst_input(model, name, after)
        while cause in passive and (above := worst_input(model, cause, after)) != cause:
            cause = above
        if cause not in passive and (cause not in found or after[found[cause]] < noise):
            found[cause] = name
    return found


def _passing(model: Model, after: Mapping[str, float]) -> dict[str, float]:
    """Noise over signal that can arrive at the outputs from every layer: the least on the best path there."""
    outputs = {str(value.name) for value in model.ir.graph.outputs}
    passing: dict[str, float] = dict.fromkeys(model.layer_names, 0.0)
    for layer in reversed(model.layers):
        ends = layer.output in outputs or any(name in outputs for name in (*layer.outputs, *layer.inner))
        arriving = after.get(layer.name, math.inf)
        own = arriving if ends else min(arriving, passing[layer.name])
        passing[layer.name] = own
        for name in layer.inputs:
            maker = model.layer_of(name)
            if maker is not None:
                passing[maker.name] = max(passing[maker.name], own)
    return passing


def _standing_out(loss: Mapping[str, float]) -> frozenset[str]:
    """Layers beyond the others, by losses in dB."""
    flags = stands_out([-value for value in loss.values()], LEAST_IQR)
    return frozenset(name for name, out in zip(loss, flags, strict=True) if out)
