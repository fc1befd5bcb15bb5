"""What is chosen for a layer, and the specs that its tensors are quantized by."""

from dataclasses import dataclass, fields, replace

from core.quant import QuantSpec, QuantType, Range, ScaleRule
from core.targets.placement import WeightPlacement
from core.targets.target import Granularity, Precision, Target
from core.thresholds import Method
from core.thresholds.weights import WeightMethod


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is chosen for a layer; None leaves it to the recipe's default.

    A layer's choice governs the tensor it produces and its own weights.
    """

    method: Method | None = None
    percentile: float | None = None  # share kept, in percent; for Method.PERCENTILE
    range: Range | None = None  # for Method.MANUAL
    symmetric: bool | None = None
    precision: Precision | None = None
    weights: Granularity | None = None
    weight_method: WeightMethod | None = None
    scale_rule: ScaleRule | None = None  # for the output and the weights
    # What the weights' scales are multiplied by after `weight_method`: one factor a channel, or only one.
    weight_factors: tuple[float, ...] | None = None

    def over(self, default: "Choice") -> "Choice":
        """This choice, with what it leaves open taken from `default`."""
        open_ = {f.name: getattr(default, f.name) for f in fields(self) if getattr(self, f.name) is None}
        return replace(self, **open_)


DEFAULT = Choice(
    method=Method.MINMAX,
    percentile=99.99,
    symmetric=False,
    precision=Precision.INT8,
    weights=Granularity.PER_CHANNEL,
    weight_method=WeightMethod.MINMAX,
    scale_rule=ScaleRule.FREE,
)


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
