"""How much noise quantization adds to a network, as a function of the scales of its channels."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantscope.core.passes.channels import Channels, Ids, ScaledConstant
from quantscope.core.passes.gains import Gains
from quantscope.core.passes.linear import LinearWeight
from quantscope.core.passes.observe import Observed

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

POWER = 16  # the largest of some values is taken as (Σ v^16)^(1/16), which has a gradient for all of them
WEIGHT_STEPS, ACTIVATION_STEPS = 127.0, 255.0
CORRECTED = 0.25  # of the noise in a layer's mean is counted: bias correction takes care of most
ROUNDS = 400
RATE = 0.1
SETTLED = 1e-5  # relative change of the noise over `PATIENCE` rounds
PATIENCE = 20
DEAD = -60.0  # stands for the log of 0
TINY = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weight:
    """A linear node; G groups, O outputs and C inputs a group."""

    powers: Float32  # (G, O, C) Σ over kernel positions of (|w| / (row · column))^POWER
    rows: Float64  # (G, O) logs of factors that keep these powers in the range of float32
    columns: Float64  # (G, C)
    inputs: Ids | None  # (G, C) variables; None = scale 1
    outputs: Ids | None  # (G, O)
    energy: Float64  # (G, C) mean square of what the weights of an input meet, times kernel positions
    gain: Float64  # (G, O) what noise in an output amounts to at the end
    per_channel: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Activation:
    """A quantized tensor, or a constant that is quantized like one."""

    ids: Ids
    high: Float64  # (channels,) largest value, >= 0
    low: Float64  # (channels,) magnitude of the smallest, >= 0
    gain: Float64


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseModel:
    """Predicted noise of the 8-bit network relative to its signals, summed over layers.

    Rounding adds step²/12 to a weight or activation, and the step is the largest of the scaled magnitudes
    that share it. A weight's noise is carried by the mean square of the inputs; what noise in a channel is
    worth is told by `core.passes.gains`. In the logarithms of the scales the sum is convex (every term is a
    product of powers of sums of exponentials), so that descent finds the best scales there are.
    """

    count: int
    weights: tuple[_Weight, ...]
    activations: tuple[_Activation, ...]

    def noise(self, logs: Float64) -> tuple[float, Float64]:
        """The noise at log scales (count,), and its gradient."""
        total, gradient = 0.0, np.zeros(self.count)
        for weight in self.weights:
            total += (_per_channel if weight.per_channel else _per_tensor)(weight, logs, gradient)
        for activation in self.activations:
            total += _activation_noise(activation, logs, gradient)
        return total, gradient

    def least(self, low: Float64, high: Float64) -> Float64:
        """Log scales of least noise between two bounds (Adam, projected; deterministic)."""
        logs = np.clip(np.zeros(self.count), low, high)
        mean, square = np.zeros(self.count), np.zeros(self.count)
        best, history = logs, [np.inf]
        for i in range(ROUNDS):
            noise, gradient = self.noise(logs)
            if noise < min(history):
                best = logs
            history.append(noise)
            if noise <= 0.0 or (i > 2 * PATIENCE and min(history[:-PATIENCE]) <= noise * (1 + SETTLED)):
                break
            gradient /= noise
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.99 * square + 0.01 * np.square(gradient)
            rate = RATE * 0.5 * (1 + np.cos(np.pi * i / ROUNDS))
            step = mean / (1 - 0.9 ** (i + 1)) / (np.sqrt(square / (1 - 0.99 ** (i + 1))) + 1e-8)
            logs = np.clip(logs - rate * step, low, high)
        return best


def noise_model(
    channels: Channels,
    observed: Mapping[str, Observed],
    gains: Gains,
    per_channel: Mapping[str, bool],
    quantized: Collection[str],
) -> NoiseModel:
    """The model of a network.

    Args:
        channels: Its scale variables.
        observed: Of the inputs of all its linear nodes, of products with constant factors, and of quantized
            tensors.
        gains: Of its channels.
        per_channel: Linear nodes with quantized weights → whether these have a scale for each channel.
        quantized: Activations and constants that are quantized.
    """
    nodes = {name: node for name, node in channels.linears.items() if name in per_channel}
    weights = [
        _weight_noise(channels, node, observed[node.input], gains.outputs[name], per_channel[name])
        for name, node in nodes.items()
    ]
    activations = []
    for name, (_, ids) in channels.tensors.items():
        if name in quantized and name in observed:
            found = observed[name]
            activations.append(
                _Activation(
                    ids=ids,
                    high=np.maximum(found.highest, 0.0),
                    low=np.maximum(-found.lowest, 0.0),
                    gain=gains.tensors[name] * found.nonzero,
                )
            )
    for constant in channels.constants:
        if constant.name in quantized and str(constant.node.outputs[0].name) in gains.tensors:
            activations.append(_constant_noise(constant, observed, gains))
    return NoiseModel(count=channels.count, weights=tuple(weights), activations=tuple(activations))


def _constant_noise(constant: ScaledConstant, observed: Mapping[str, Observed], gains: Gains) -> _Activation:
    """A factor's noise is carried by what it multiplies, an added constant's by nothing."""
    output = str(constant.node.outputs[0].name)
    low, high = (np.broadcast_to(end, constant.ids.shape).astype(np.float64) for end in constant.extremes())
    carried = np.ones(high.shape)
    if constant.factor:  # one value a channel
        carried = observed[output].square / np.where(high == 0, np.inf, np.square(high))
    return _Activation(
        ids=constant.ids,
        high=np.maximum(high, 0.0),
        low=np.maximum(-low, 0.0),
        gain=gains.tensors[output] * carried,
    )


def _weight_noise(
    channels: Channels,
    node: LinearWeight,
    found: Observed,
    gain: Float64,
    per_channel: bool,
) -> _Weight:
    magnitudes = node.split(np.abs(node.weight))  # (G, O, C, positions)
    groups, positions = node.groups, magnitudes.shape[3]
    rows, columns = _balance(magnitudes.max(axis=3))
    factors = np.exp(rows)[:, :, None, None] * np.exp(columns)[:, None, :, None]
    energy = found.variance + CORRECTED * np.square(found.mean)
    if energy.size != node.in_channels:  # seen along the axis by which other nodes read it
        energy = np.full(node.in_channels, energy.mean())
    ins, outs = channels.inputs.get(node.name), channels.outputs.get(node.name)
    return _Weight(
        powers=np.power(magnitudes / factors.astype(np.float32), POWER).sum(axis=3),
        rows=rows,
        columns=columns,
        inputs=None if ins is None else ins.reshape(groups, -1),
        outputs=None if outs is None else outs.reshape(groups, -1),
        energy=energy.reshape(groups, -1) * positions,
        gain=gain.reshape(groups, -1),
        per_channel=per_channel,
    )


def _balance(magnitudes: Float32) -> tuple[Float64, Float64]:
    """Logs of factors for rows and columns of (G, O, C), such that magnitude / (row · column) <= 1.

    In every row and column that is not all 0, the largest comes near 1.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(magnitudes.astype(np.float64))
    logs = np.maximum(logs, DEAD)
    rows, columns = np.zeros(logs.shape[:2]), np.zeros(logs.shape[::2])
    for _ in range(4):
        columns = (logs - rows[:, :, None]).max(axis=1)
        rows = (logs - columns[:, None, :]).max(axis=2)
    return rows, columns


def _input_powers(weight: _Weight, logs: Float64) -> tuple[Float64, Float64, Float64]:
    """(s · column)^POWER of the inputs, relative to the group's largest; Σ_c powers · that; its log."""
    own = weight.columns if weight.inputs is None else weight.columns + logs[weight.inputs]
    top = own.max(axis=1, keepdims=True)
    raised = np.exp(POWER * (own - top))
    sums = weight.powers @ raised[..., None].astype(np.float32)
    return raised, np.maximum(sums[..., 0].astype(np.float64), TINY), top


def _per_channel(weight: _Weight, logs: Float64, gradient: Float64) -> float:
    raised, sums, top = _input_powers(weight, logs)
    step = np.square(np.exp(weight.rows + top) / WEIGHT_STEPS) / 12.0 * sums ** (2.0 / POWER)
    carried = weight.energy if weight.inputs is None else weight.energy * np.exp(-2.0 * logs[weight.inputs])
    noise = weight.gain * step * carried.sum(axis=1)[:, None]
    if weight.inputs is not None:
        share = ((noise / sums).astype(np.float32)[:, None] @ weight.powers)[:, 0]
        back = 2.0 * (raised * share - carried * (weight.gain * step).sum(axis=1)[:, None])
        np.add.at(gradient, weight.inputs, back)
    return float(noise.sum())


def _per_tensor(weight: _Weight, logs: Float64, gradient: Float64) -> float:
    raised, sums, top = _input_powers(weight, logs)
    outs = np.zeros(weight.gain.shape) if weight.outputs is None else logs[weight.outputs]
    heights = weight.rows + top - outs
    highest = float(heights.max())
    lowered = np.exp(POWER * (heights - highest))
    parts = sums * lowered
    whole = float(parts.sum())
    step = (np.exp(highest) / WEIGHT_STEPS) ** 2 / 12.0 * whole ** (2.0 / POWER)
    carried = weight.energy if weight.inputs is None else weight.energy * np.exp(-2.0 * logs[weight.inputs])
    read = weight.gain * np.exp(2.0 * outs)
    noise = step * float((read.sum(axis=1) * carried.sum(axis=1)).sum())
    if weight.inputs is not None:
        share = (lowered.astype(np.float32)[:, None] @ weight.powers)[:, 0] * raised
        back = 2.0 * (noise / whole * share - step * carried * read.sum(axis=1)[:, None])
        np.add.at(gradient, weight.inputs, back)
    if weight.outputs is not None:
        back = 2.0 * (step * read * carried.sum(axis=1)[:, None] - noise / whole * parts)
        np.add.at(gradient, weight.outputs, back)
    return float(noise)


def _activation_noise(activation: _Activation, logs: Float64, gradient: Float64) -> float:
    own = logs[activation.ids]
    ends = [_soft_peak(values * np.exp(-own)) for values in (activation.high, activation.low)]
    width = sum(peak for peak, _ in ends)
    if width == 0.0:
        return 0.0
    read = activation.gain * np.exp(2.0 * own)
    step = (width / ACTIVATION_STEPS) ** 2 / 12.0
    noise = step * float(read.sum())
    shares = sum((share for _, share in ends), np.zeros(own.shape))
    np.add.at(gradient, activation.ids, 2.0 * (step * read - noise / width * shares))
    return float(noise)


def _soft_peak(values: Float64) -> tuple[float, Float64]:
    """(Σ v^POWER)^(1/POWER), and its derivative by the logarithm of each value."""
    top = float(values.max(initial=0.0))
    if top == 0.0:
        return 0.0, np.zeros(values.shape)
    raised = np.power(values / top, POWER)
    peak = top * float(raised.sum()) ** (1.0 / POWER)
    return peak, peak * raised / float(raised.sum())
