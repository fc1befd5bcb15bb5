"""What is known about a layer, and how it is put into words."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram, Statistics
from quantscope.core.model import Layer, Model
from quantscope.core.quant import Encoding
from quantscope.core.quantize import Encodings
from quantscope.core.sensitivity import ChannelErrors, Noise, Quantizers, WeightNoise
from quantscope.core.targets import WeightPlacement
from quantscope.core.thresholds import RangeError, encoding_errors
from quantscope.core.tuning.remedies import Forecast, Remedy

Floats = npt.NDArray[np.float64]

MANY = 64  # samples from which on more hardly change a range
UNEVEN = 8.0  # widest channel (or input) over the median (or narrowest) one
_MINUS = re.compile(r"(?<=[ (])-(?=\d)")
UNEXPLAINED = 2.0  # dB that measured and predicted figures of a layer differ by, at least, to be spoken of
MATTERS = 0.25  # share of the layer's noise from which on a part of it is a cause


class Reason(StrEnum):
    """What can be wrong with a layer."""

    UNEVEN_WEIGHTS = "uneven_weights"
    WEIGHT_OUTLIERS = "weight_outliers"
    COARSE_WEIGHTS = "coarse_weights"
    CLIPPED = "clipped"
    STRETCHED = "stretched"
    OUTLIER_CHANNEL = "outlier_channel"
    QUIET_CHANNELS = "quiet_channels"
    SHIFT = "shift"
    SOFTMAX = "softmax"
    GATED = "gated"
    SHARED_RANGE = "shared_range"
    WIDE = "wide"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One thing that is wrong with a layer."""

    layer: str
    reason: Reason
    sentence: str
    share: float  # of the layer's own noise that it stands for, 0 to 1; an estimate
    figures: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))  # in the sentence
    remedies: tuple[Remedy, ...] = ()  # most promising first


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFacts:
    """All that is known about a layer."""

    model: Model
    statistics: Statistics
    encodings: Encodings
    layer: Layer
    own: Quantizers
    noise: Noise  # measured where it was, else predicted
    channel_errors: ChannelErrors | None
    alone_db: float | None  # SQNR of the layer alone as measured, where that is not in `channel_errors`
    weights: tuple[WeightNoise, ...]
    tensor: "TensorFacts | None"  # what the layer computes; None where nothing of it is rounded
    forecast: Forecast

    def cause(
        self, reason: Reason, sentence: str, share: float, figures: Mapping[str, float], *remedies: Remedy
    ) -> Cause:
        """A cause of this layer."""
        return Cause(
            layer=self.layer.name,
            reason=reason,
            sentence=_MINUS.sub("−", sentence[:1].upper() + sentence[1:]),
            share=share,
            figures=MappingProxyType(dict(figures)),
            remedies=remedies,
        )

    @property
    def weight_share(self) -> float:
        """Of the layer's noise that its weights make."""
        return self.noise.weights / self.noise.total if self.noise.total > 0.0 else 0.0

    @property
    def tensor_share(self) -> float:
        """Of the layer's noise that rounding its output makes."""
        return self.noise.tensors / self.noise.total if self.noise.total > 0.0 else 0.0

    @property
    def unexplained_db(self) -> float:
        """What was measured of the layer alone beyond what weights and histograms predict; 0 if little."""
        if self.alone_db is None or self.channel_errors is not None or not self.noise.total > 0.0:
            return 0.0
        gap = -10.0 * math.log10(self.noise.total) - self.alone_db
        return gap if gap >= UNEXPLAINED else 0.0

    def placement(self, node: str) -> WeightPlacement:
        """Where the weight of a node is."""
        return self.encodings.placement.weights[node]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFacts:
    """A tensor, how it is rounded, and what that costs."""

    histogram: Histogram
    encoding: Encoding
    error: RangeError

    @property
    def levels(self) -> int:
        """Integers that it may use."""
        return self.encoding.qmax - self.encoding.qmin + 1

    @property
    def cut_share(self) -> float:
        """Share of values that are cut off, 0 to 1.

        A rounded zero point moves the range by up to half a step: the extremes of the values, however many
        they are, may lie outside of it then, though they are rounded and not cut off.
        """
        half = float(self.encoding.scale) / 2.0 * (1.0 + 1e-6)
        low, high = float(self.encoding.low) - half, float(self.encoding.high) + half
        inside = low <= self.histogram.min and self.histogram.max <= high
        return 0.0 if inside else self.error.clipped_share


def bits_used(steps: float, *, signed: bool) -> float:
    """Bits that a quantizer uses for values that reach `steps` steps (on both sides of 0 if signed)."""
    return math.log2((2.0 * steps if signed else steps) + 1.0)


def tensor_facts(
    statistics: Statistics, encodings: Encodings, layer: Layer, own: Quantizers
) -> TensorFacts | None:
    """The layer's output, or another tensor that it sets the scale of."""
    name = layer.output if layer.output in own.tensors else min(own.tensors, default="")
    histogram, encoding = statistics.histograms.get(name), encodings.activations.get(name)
    if histogram is None or encoding is None:
        return None
    return TensorFacts(histogram=histogram, encoding=encoding, error=encoding_errors(histogram, encoding))


def encoding_text(encoding: Encoding) -> str:
    """The range that an encoding keeps."""
    return range_text(float(encoding.low), float(encoding.high))


def range_text(low: float, high: float) -> str:
    """A range in words."""
    return f"{low:.3g} … {high:.3g}"


def noise_text(noise: float) -> str:
    """Error over signal as signal to noise."""
    return f"{-10.0 * math.log10(noise):.1f} dB" if noise > 0.0 else "no loss"


def percent(share: float) -> str:
    """A share from 0 to 1; 0 % and 100 % are said only of none and all."""
    value = 100.0 * share
    if 0.0 < value < 0.01:
        return "less than 0.01 %"
    if 99.0 < value < 100.0:
        return f"{min(value, 99.9):.3g} %"
    return f"{value:.0f} %" if value >= 10.0 else f"{value:.2g} %"


def noise_left_when_even(reach: Floats, energy: Floats) -> float:
    """What evening out channels leaves of the noise of one scale for all, as a factor.

    A step is the widest reach over a number of levels, and noise counts relative to each channel's energy
    (`ChannelErrors.by_channel`). Equalization and SmoothQuant share a channel's excess between the two sides
    of a layer, so that channels that reach r times the median reach √r times it afterwards.

    Args:
        reach: Largest magnitude of each channel, (channels,).
        energy: Mean square of each, (channels,).
    """
    used = (reach > 0.0) & (energy > 0.0)
    if not used.any():
        return 1.0
    reach, energy = reach[used], energy[used]
    middle = float(np.median(reach))
    before = float(reach.max()) ** 2 * float(np.mean(1.0 / energy))
    after = float(reach.max()) * middle * float(np.mean(reach / (middle * energy)))
    return min(after / before, 1.0)
