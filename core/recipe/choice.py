"""What is chosen for a layer, and what holds where nothing is chosen."""

from dataclasses import dataclass, fields, replace
from typing import TypedDict

from quantscope.core.quant import Range, ScaleRule
from quantscope.core.targets import Granularity, Precision
from quantscope.core.thresholds import Method, WeightMethod


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


class ChoiceChanges(TypedDict, total=False):
    """Fields of a `Choice` that are given another value; those that are left out stay as they are."""

    method: Method | None
    percentile: float | None
    range: Range | None
    symmetric: bool | None
    precision: Precision | None
    weights: Granularity | None
    weight_method: WeightMethod | None
    scale_rule: ScaleRule | None
    weight_factors: tuple[float, ...] | None


DEFAULT = Choice(
    method=Method.MINMAX,
    percentile=99.99,
    symmetric=False,
    precision=Precision.INT8,
    weights=Granularity.PER_CHANNEL,
    weight_method=WeightMethod.MINMAX,
    scale_rule=ScaleRule.FREE,
)
