"""Empirical bias correction: shift each bias by the mean error that quantization makes in its layer."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from quantscope.core.calibration import data_rows
from quantscope.core.data import Picked, Sample, Samples, pick
from quantscope.core.model import Model, float_session
from quantscope.core.passes.segments import Segments
from quantscope.core.progress import ProgressFn, report
from quantscope.core.quant import (
    Encoding,
    Range,
    ScaleRule,
    dequantize,
    encoding_from_range,
    quantize_values,
    raised_scale,
)
from quantscope.core.quantize import (
    Encodings,
    accumulated_bias,
    bias_scale,
    fitted_weight,
    gemm_factors,
    quantize_ir,
)
from quantscope.core.runtime import parallel_map, thread_count
from quantscope.core.targets import WeightPlacement

SAMPLES = 32  # measured on; more hardly changes the means
LABEL = "correcting biases"
MAX_BYTES = 1 << 30  # of tensors held at the same time

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShift:
    """What the correction found in one layer, in units of its output before the activation."""

    layer: str
    before: float  # largest |mean error| of a channel, as quantized
    shift: float  # largest |shift| of a channel


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasCorrection:
    """Encodings whose biases make up for the mean errors."""

    encodings: Encodings
    layers: tuple[LayerShift, ...]  # in the order of the network
    left_out: Mapping[str, str]  # layer → why it has no bias that could be shifted
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _ShiftSite:
    """A place where a shift can be added."""

    place: WeightPlacement
    adder: str  # node whose constant takes the shift: the weighted node, or the Add behind a MatMul
    channel: int  # channel axis of that node's output
    constant: str | None  # constant of the Add, quantized like an activation


def correct_biases(
    model: Model,
    encodings: Encodings,
    samples: Samples,
    *,
    count: int = SAMPLES,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> BiasCorrection:
    """Make the mean of every weighted layer's output, by channel, that of the float model.

    Layer after layer in the order of the network, the quantized model, with the corrections so far, is run up
    to the layer's output before its activation; the mean difference to the float model becomes a shift of
    the bias (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
    section 4.2, with measured instead of derived means). A mean is taken over samples and positions, and
    shrunk towards 0 where it is no larger than its own standard error. A layer without bias gets one; where
    an Add behind a MatMul is the bias, its constant is shifted.

    Args:
        model: The float model.
        encodings: As `resolve` gives them; shifts in them are replaced.
        samples: Calibration samples; up to `count`, chosen by content, are used.
        count: Most samples to use.
        threads: Samples run at the same time; None = one a processor.
        progress: Told after each layer; may raise `Cancelled`.

    Raises:
        DataError: There are no samples, or they do not fit the model.
        ModelError: ONNX Runtime does not run the quantized model.
    """
    sites, left_out = _sites(model, encodings)
    workers = thread_count(threads)
    bare = replace(encodings, bias_shifts={})
    if not sites:
        return BiasCorrection(encodings=bare, layers=(), left_out=left_out, samples=0)
    picked = pick(samples, count)
    wanted = _node_outputs(model.ir, {site.adder for site in sites})
    picked = _fitting(model, list(wanted.values()), picked)
    floats = _float_means(model, sites, wanted, picked, workers)
    quantized = quantize_ir(model, bare)
    cuts = _node_outputs(quantized, wanted)
    shifts: dict[str, Float32] = {}
    layers: list[LayerShift] = []
    constants: dict[str, Encoding] = {}
    pieces = Segments(quantized, [cuts[site.adder] for site in sites], picked.runs, workers)
    for number, (site, cut) in enumerate(zip(sites, pieces, strict=True), 1):
        outputs = [held[cut] for held in pieces.values]
        shift, before = _mean_shift(floats[site.adder], _channel_means(outputs, picked, site.channel))
        if site.constant is not None:
            constants[site.constant], shifts[site.adder], applied = _shifted_constant(
                model, encodings, site.constant, shift
            )
        else:
            shifts[site.adder], applied = _shifted_bias(model, encodings, site.place, shift)
        for held in pieces.values:
            held[cut] = held[cut] + _broadcastable(applied, site.channel, held[cut].ndim)
        layers.append(LayerShift(layer=site.place.layer, before=before, shift=float(np.abs(shift).max())))
        report(progress, number, len(sites), LABEL)
    return BiasCorrection(
        encodings=with_bias_shifts(model, encodings, shifts, constants),
        layers=tuple(layers),
        left_out=left_out,
        samples=len(picked.runs),
    )


def with_bias_shifts(
    model: Model,
    encodings: Encodings,
    shifts: Mapping[str, Float32],
    constants: Mapping[str, Encoding] | None = None,
) -> Encodings:
    """Encodings with these shifts, whose weights leave room for the shifted biases.

    Args:
        model: The float model.
        encodings: As `resolve` gives them.
        shifts: Node → one value an output channel, in units of its output.
        constants: Encodings of constants that changed with the shifts.
    """
    nodes = {str(node.name): node for node in model.ir.graph}
    stored = model.ir.graph.initializers
    weights, integers = dict(encodings.weights), dict(encodings.integers)
    for name, shift in shifts.items():
        place = encodings.placement.weights.get(name)
        if place is None:
            continue
        bias = None if place.bias is None else _constant_array(stored[place.bias])
        room = {
            given is shift: fitted_weight(
                nodes[name],
                place,
                _constant_array(stored[place.initializer]),
                encodings.raw_weights[name],
                bias,
                encodings.activations[place.input],
                given,
            )
            for given in (None, shift)
        }
        if room[True] != room[False]:
            widened = np.maximum(weights[name].scale, room[True].scale)
            rule = encodings.weight_specs[name].scale_rule
            weights[name] = replace(weights[name], scale=raised_scale(widened, rule))
            integers.pop(name, None)  # they were found for other scales
    return replace(
        encodings,
        weights=weights,
        integers=integers,
        constants={**encodings.constants, **(constants or {})},
        bias_shifts=dict(shifts),
    )


def _node_outputs(model: ir.Model, nodes: Collection[str]) -> dict[str, str]:
    """What some nodes compute, in topological order; the quantized model may call it otherwise."""
    return {str(n.name): str(n.outputs[0].name) for n in model.graph if str(n.name) in nodes}


def _sites(model: Model, encodings: Encodings) -> tuple[list[_ShiftSite], dict[str, str]]:
    """Where shifts can go, in topological order; and the layers where none can, with the reason."""
    sites: list[_ShiftSite] = []
    left_out: dict[str, str] = {}
    placement = encodings.placement
    for node in model.ir.graph:
        place = placement.weights.get(str(node.name))
        if place is None:
            continue
        found = _site(node, place, encodings)
        if isinstance(found, str):
            left_out[place.layer] = found
        else:
            sites.append(found)
    return sites, left_out


def _site(node: ir.Node, place: WeightPlacement, encodings: Encodings) -> _ShiftSite | str:
    if place.operand != 1:
        return "its weight is the left operand"
    if node.op_type == "MatMul":
        return _behind_matmul(node, place, encodings)
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if given is not None and given.const_value is None:
        return "its bias is computed"
    if given is not None and given.const_value is not None:
        shape = given.const_value.shape.numpy()
        if len(shape) > 1 and any(d != 1 for d in shape[:-1]):
            return "its bias is a full matrix"
    if place.input not in encodings.activations:
        return "its input stays float"
    channel = -1 if node.op_type == "Gemm" else 1
    return _ShiftSite(place=place, adder=place.node, channel=channel, constant=None)


def _behind_matmul(node: ir.Node, place: WeightPlacement, encodings: Encodings) -> _ShiftSite | str:
    users = list(node.outputs[0].uses())
    add = users[0].node if len(users) == 1 else None
    if add is None or add.op_type != "Add" or str(add.name) not in encodings.placement.nodes:
        return "no constant is added to its output"
    constant = next((v for v in add.inputs if v is not None and v.const_value is not None), None)
    if constant is None or str(constant.name) not in encodings.constants or len(constant.uses()) != 1:
        return "no constant of its own is added to its output"
    assert constant.const_value is not None
    if any(d != 1 for d in constant.const_value.shape.numpy()[:-1]):
        return "what is added to its output varies by more than the channel"
    return _ShiftSite(place=place, adder=str(add.name), channel=-1, constant=str(constant.name))


def _fitting(model: Model, tensors: Sequence[str], picked: Picked) -> Picked:
    """Fewer samples where so many would not fit memory."""
    session = float_session(model, tensors)
    sizes = [values.nbytes for _, values in session.values(picked.runs[0])]
    room = max(1, MAX_BYTES // max(3 * max(sizes), 1))
    return replace(picked, runs=picked.runs[:room], valid=picked.valid[:room])


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChannelMeans:
    """Per-channel means of one tensor in each sample."""

    means: Float64  # (samples, channels)
    counts: Float64  # (samples,) values a channel


def _float_means(
    model: Model, sites: Sequence[_ShiftSite], wanted: Mapping[str, str], picked: Picked, workers: int
) -> dict[str, _ChannelMeans]:
    session = float_session(model, list(wanted.values()))
    channel = {wanted[site.adder]: site.channel for site in sites}
    adders = {tensor: adder for adder, tensor in wanted.items()}

    def work(item: tuple[Sample, int]) -> dict[str, tuple[Float64, int]]:
        sample, valid = item
        return {
            adders[tensor]: _channel_mean(data_rows(values, picked.batch, valid), channel[tensor])
            for tensor, values in session.values(sample)
        }

    items = list(zip(picked.runs, picked.valid, strict=True))
    runs = list(parallel_map(work, items, total=len(items), threads=workers))
    return {adder: _stack(run[adder] for run in runs) for adder in wanted}


def _channel_means(outputs: Sequence[Float32], picked: Picked, channel: int) -> _ChannelMeans:
    return _stack(
        _channel_mean(data_rows(values, picked.batch, valid), channel)
        for values, valid in zip(outputs, picked.valid, strict=True)
    )


def _stack(parts: Iterator[tuple[Float64, int]] | Sequence[tuple[Float64, int]]) -> _ChannelMeans:
    items = list(parts)
    return _ChannelMeans(
        means=np.stack([m for m, _ in items]), counts=np.array([n for _, n in items], np.float64)
    )


def _channel_mean(values: Float32, channel: int) -> tuple[Float64, int]:
    """Mean of each channel, and values a channel."""
    axes = tuple(axis for axis in range(values.ndim) if axis != channel % values.ndim)
    channels = values.shape[channel]
    count = values.size // channels if channels else 0
    return values.sum(axis=axes, dtype=np.float64) / max(count, 1), count


def _mean_shift(target: _ChannelMeans, found: _ChannelMeans) -> tuple[Float32, float]:
    """Per-channel shift, and the largest mean error."""
    weights = found.counts / found.counts.sum()
    errors = target.means - found.means
    mean = weights @ errors
    peak = float(np.abs(mean).max(initial=0.0))
    if len(errors) > 1:
        variance = np.square(weights) @ np.square(errors - mean) * len(errors) / (len(errors) - 1)
        mean = mean * np.maximum(0.0, 1.0 - variance / np.maximum(np.square(mean), np.finfo(np.float64).tiny))
    return np.asarray(np.where(np.isfinite(mean), mean, 0.0), np.float32), peak


# The error measured is that of the integers, so that a shift counts from what these hold.


def _shifted_bias(
    model: Model, encodings: Encodings, place: WeightPlacement, shift: Float32
) -> tuple[Float32, Float32]:
    """What to add to a bias, and what that amounts to after rounding."""
    node = next(n for n in model.ir.graph if str(n.name) == place.node)
    weight = encodings.weights[place.node]
    bias = None if place.bias is None else _constant_array(model.ir.graph.initializers[place.bias])
    values = accumulated_bias(node, place, bias, None, weight)
    if values is None:
        return shift, shift
    input_ = encodings.activations[place.input]
    step = bias_scale(weight, input_, place.groups, gemm_factors(node)[0]).astype(np.float64)
    stored = np.rint(values / step) * step
    moved = stored + shift
    applied = np.rint(moved / step) * step - stored
    return np.asarray(moved - values, np.float32), np.asarray(applied, np.float32)


def _shifted_constant(
    model: Model, encodings: Encodings, name: str, shift: Float32
) -> tuple[Encoding, Float32, Float32]:
    """Encoding of the shifted constant, what to add to that, and what it amounts to after rounding."""
    values = _constant_array(model.ir.graph.initializers[name])
    before = encodings.constants[name]
    spec = encodings.specs[name]
    stored = dequantize(quantize_values(values, before), before)
    moved = stored + shift
    low, high = float(before.low), float(before.high)
    after = before
    if moved.min() < low or moved.max() > high:
        wide = Range(min(low, float(moved.min())), max(high, float(moved.max())))
        # The scale grows at least to where nothing is clipped, as `raised_scale` has it.
        rule = spec.scale_rule if spec.scale_rule is ScaleRule.FREE else ScaleRule.POWER_OF_TWO_UP
        after = encoding_from_range(wide, replace(spec, scale_rule=rule))
    rounded = dequantize(quantize_values(moved, after), after) - stored
    return after, np.asarray(moved - values, np.float32).reshape(-1), rounded.reshape(-1)


def _broadcastable(values: Float32, channel: int, ndim: int) -> Float32:
    shape = [1] * ndim
    shape[channel] = -1
    return values.reshape(shape)


def _constant_array(value: ir.Value) -> Float32:
    assert value.const_value is not None
    return np.asarray(value.const_value.numpy(), np.float32)
