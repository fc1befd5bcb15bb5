"""Scales, zero points and chosen integers of a model: what a recipe becomes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.quant import Encoding, QuantSpec, dequantize, fake_quantize
from quantscope.core.targets import Placement, Target
from quantscope.core.thresholds import Float32, Search


@dataclass(frozen=True, slots=True, kw_only=True)
class Encodings:
    """Scales and zero points of every quantized tensor: a recipe applied to the statistics of a model."""

    placement: Placement
    activations: Mapping[str, Encoding]  # every quantized activation; those that share hold the same object
    constants: Mapping[str, Encoding]  # constants quantized like activations
    weights: Mapping[str, Encoding]  # node name → its weight
    raw_weights: Mapping[str, Encoding]  # the same before they made room for the bias
    searches: Mapping[
        str, Search
    ]  # activation (or constant) with parameters of its own → how they were found
    kept_float: Mapping[str, str]  # tensor that no range can hold, and that stays float → why
    keys: Mapping[
        str, tuple[object, ...]
    ]  # what each search depended on, to find those that an edit leaves alone
    specs: Mapping[str, QuantSpec]  # activation (or constant) with parameters of its own → what they obey
    weight_specs: Mapping[str, QuantSpec]  # node name → what its weight's scales obey
    # Activation or constant → its encoding as its range alone has it, for `previous`.
    of_ranges: Mapping[str, Encoding] = field(default_factory=dict)
    # What passes found for these very encodings (core.passes); never taken over from `previous`.
    bias_shifts: Mapping[str, Float32] = field(default_factory=dict)  # node → added to its bias, by channel
    integers: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)  # node → its weight's, as stored

    def rounded_weight(self, node: str, values: Float32) -> Float32:
        """The weight of a node as its stored integers give it back, in float32.

        Args:
            node: Name of the node.
            values: Its weight, in the layout that is stored.
        """
        chosen = self.integers.get(node)
        encoding = self.weights[node]
        return fake_quantize(values, encoding) if chosen is None else dequantize(chosen, encoding)


_COARSER = 1.125  # at most, for a shift to be a whole number of steps: half a decibel on average
_WHOLE = 1e-3  # of a step: what a shift may miss a whole number by


def with_whole_steps(encoding: Encoding, shift: float) -> Encoding:
    """The encoding, a little coarser, so that a shift of its tensor is a whole number of steps.

    Then adding the shift is a matter of the zero point (`whole_steps`), and costs nothing. Where the scale
    would have to grow by more than an eighth, it stays as it is.

    Args:
        encoding: Of the shifted tensor, with one scale.
        shift: What the last step before the quantizer adds.
    """
    exact = abs(shift) / float(encoding.scale)
    steps = math.floor(exact * (1 + 1e-6))
    if steps < 1 or exact > _COARSER * steps or not has_8_bits(encoding):
        return encoding
    return replace(encoding, scale=np.asarray(abs(shift) / steps, np.float32))


def whole_steps(encoding: Encoding, shift: float) -> int | None:
    """What the zero point before a shift has more; None where no zero point can stand for the shift."""
    exact = shift / float(encoding.scale)
    steps = round(exact)
    zero = int(encoding.zero_point) + steps
    fits = encoding.qmin <= zero <= encoding.qmax and abs(exact - steps) <= _WHOLE
    return steps if fits and has_8_bits(encoding) else None


def adds_pairs(target: Target, input_: Encoding | None) -> bool:
    """Whether a weight must keep products of neighbours within 16 bits (`core.quantize.saturation`).

    It must if the target says so and the weight meets 8-bit activations: others have no integer kernel.

    Args:
        target: That the weight is for.
        input_: Of the activation that it meets; None = one that stays float.
    """
    return target.avoids_saturation and has_8_bits(input_)


def has_8_bits(encoding: Encoding | None) -> bool:
    """Whether a tensor is quantized to at most 8 bits; None = it stays float."""
    return encoding is not None and encoding.type.bits <= 8
