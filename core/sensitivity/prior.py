"""What quantizing each layer should cost, read off histograms and weights: nothing is run."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Statistics
from quantscope.core.jit import compiled
from quantscope.core.model import Model
from quantscope.core.quant import fake_quantize
from quantscope.core.quantize import Encodings
from quantscope.core.sensitivity.quantizers import Quantizers, by_layer
from quantscope.core.thresholds import channel_rows, encoding_errors

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Error energy over signal energy that a layer's own quantizers cause."""

    weights: float = 0.0  # mean over the output channels, so that small channels count as much as large ones
    tensors: float = 0.0  # of what the layer computes, from its histogram

    @property
    def total(self) -> float:
        """Both; rounding errors are independent enough to add up."""
        return self.weights + self.tensors

    @property
    def sqnr_db(self) -> float:
        """As signal to noise; inf without noise."""
        return -10.0 * math.log10(self.total) if self.total > 0.0 else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightNoise:
    """What rounding does to a weight, by output channel."""

    node: str
    axis: int | None  # output channels; None where they are not known
    reach: Floats  # largest magnitude of each channel
    steps: Floats  # of the quantizer, from 0 to that magnitude
    noise: Floats  # error energy over energy; 0 for channels of zeros
    crest: Floats  # that magnitude over the rms; 0 for channels of zeros

    @property
    def mean(self) -> float:
        """Over the channels that are not all zero."""
        used = self.reach > 0.0
        return float(self.noise[used].mean()) if used.any() else 0.0

    @property
    def spread(self) -> float:
        """Widest channel over the median one; 1 where all are alike."""
        used = self.reach[self.reach > 0.0]
        return float(used.max() / np.median(used)) if used.size else 1.0


def prior(model: Model, statistics: Statistics, encodings: Encodings) -> dict[str, Noise]:
    """For every layer with quantizers of its own what they should cost, worst first."""
    found = {
        layer: layer_noise(model, statistics, encodings, own) for layer, own in by_layer(encodings).items()
    }
    return dict(sorted(found.items(), key=lambda item: -item[1].total))


def layer_noise(model: Model, statistics: Statistics, encodings: Encodings, own: Quantizers) -> Noise:
    """What some quantizers should cost, at the output of the layer they belong to."""
    weights = sum(weight_noise(model, encodings, node).mean for node in sorted(own.weights))
    tensors = sum(tensor_noise(model, statistics, encodings, tensor) for tensor in sorted(own.tensors))
    return Noise(weights=weights, tensors=tensors)


def tensor_noise(model: Model, statistics: Statistics, encodings: Encodings, tensor: str) -> float:
    """Error energy over energy of an activation or a constant under its encoding; 0 if nothing is known."""
    if tensor in encodings.constants:
        values = _weight_array(model, tensor)
        return _error_ratio(values, fake_quantize(values, encodings.constants[tensor]))
    histogram, encoding = statistics.histograms.get(tensor), encodings.activations.get(tensor)
    if histogram is None or encoding is None:
        return 0.0
    sqnr = encoding_errors(histogram, encoding).sqnr_db
    return 0.0 if math.isinf(sqnr) or math.isnan(sqnr) else float(10.0 ** (-sqnr / 10.0))


def weight_noise(model: Model, encodings: Encodings, node: str) -> WeightNoise:
    """What rounding does to the weight of a node."""
    place = encodings.placement.weights[node]
    encoding = encodings.weights[node]
    values = _weight_array(model, place.initializer)
    axis = encoding.axis if place.axis is None else place.axis
    rounded = channel_rows(encodings.rounded_weight(node, values), axis)
    energy, error, reach = _row_sums(channel_rows(values, axis), rounded)
    rms = np.sqrt(energy / max(rounded.shape[1], 1))
    return WeightNoise(
        node=node,
        axis=axis,
        reach=reach,
        steps=reach / np.broadcast_to(encoding.scale.astype(np.float64), reach.shape),
        noise=np.divide(error, energy, out=np.zeros_like(error), where=energy > 0.0),
        crest=np.divide(reach, rms, out=np.zeros_like(reach), where=rms > 0.0),
    )


def _weight_array(model: Model, initializer: str) -> npt.NDArray[np.float32]:
    value = model.ir.graph.initializers[initializer].const_value
    assert value is not None
    return np.asarray(value.numpy(), np.float32)


def _error_ratio(f: npt.NDArray[np.float32], q: npt.NDArray[np.float32]) -> float:
    energy, error, _ = _row_sums(channel_rows(f, None), channel_rows(q, None))
    return float(error[0] / energy[0]) if energy[0] > 0.0 else 0.0


@compiled
def _row_sums(x: npt.NDArray[np.float32], rounded: npt.NDArray[np.float32]) -> tuple[Floats, Floats, Floats]:
    """For each row the sum of x², of the squared error, and the largest magnitude."""
    energy, error, reach = np.zeros(x.shape[0]), np.zeros(x.shape[0]), np.zeros(x.shape[0])
    for row in range(x.shape[0]):
        for column in range(x.shape[1]):
            value = np.float64(x[row, column])
            delta = value - np.float64(rounded[row, column])
            energy[row] += value * value
            error[row] += delta * delta
            reach[row] = max(reach[row], abs(value))
    return energy, error, reach
