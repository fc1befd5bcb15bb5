"""The integers that a choice and a target come to, tensor by tensor."""

from dataclasses import replace

from quantscope.core.quant import QuantSpec, QuantType, ScaleRule
from quantscope.core.recipe import Choice
from quantscope.core.targets import Granularity, Precision, Target, WeightPlacement


def activation_spec(target_: Target, choice: Choice) -> QuantSpec:
    """How a choice quantizes the layer's output."""
    # A float layer's output is an 8-bit tensor where an integer neighbour reads it.
    base = target_.activations.get(choice.precision or Precision.INT8, target_.activations[Precision.INT8])
    return replace(base, symmetric=bool(choice.symmetric), scale_rule=choice.scale_rule or ScaleRule.FREE)


def weight_spec(target_: Target, place_: WeightPlacement, choice: Choice) -> QuantSpec:
    """How a choice, with nothing left open, quantizes its layer's weight."""
    axis = place_.axis if choice.weights is Granularity.PER_CHANNEL else None
    spec = replace(target_.weight, axis=axis, scale_rule=choice.scale_rule or ScaleRule.FREE)
    if place_.operand == 0:  # kernels take no signed left operand beside unsigned activations
        spec = replace(spec, type=QuantType(spec.type.bits, False), narrow_range=False)
    return spec
