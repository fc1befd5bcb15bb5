"""Cross-layer equalization: rescale channels so that one quantization step suits all that share it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantscope.core.data import Samples
from quantscope.core.model import Model
from quantscope.core.passes.absorb import absorb_biases
from quantscope.core.passes.channels import Channels
from quantscope.core.passes.following import find_channels
from quantscope.core.passes.gains import gate, noise_gains
from quantscope.core.passes.noise import noise_model
from quantscope.core.passes.observe import Observed, observe
from quantscope.core.passes.rewrite import Difference, difference, with_constants
from quantscope.core.progress import ProgressFn
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Granularity, Placement, Precision, find_placement, target

LARGEST = 2.0**10  # scales stay within [1 / LARGEST, LARGEST]
MARGIN = 1.1  # an unseen activation may be that much larger than all seen ones

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRange:
    """One weighted layer: how unevenly its channels use the range of its weight."""

    layer: str
    before: float  # largest |weight| of all, over that of the median output channel
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Equalized:
    """A float model with other weights and the same outputs."""

    model: Model
    layers: tuple[LayerRange, ...]  # that changed, in the order of the network
    noise_db: tuple[float, float]  # predicted signal to noise of the 8-bit model, before and after
    absorbed: tuple[str, ...]  # layers whose biases were absorbed by the next
    difference: Difference


def equalize(
    model: Model,
    samples: Samples,
    recipe: Recipe | None = None,
    *,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> Equalized:
    """Divide each channel by a scale where it is made, and multiply by it where it is read.

    Nagel et al. (2019, section 4.1) choose s_i = sqrt(r1_i / r2_i) for two layers, so that the weights'
    ranges agree. Here the scales of the whole network, through residual connections and concatenations too,
    are those of least predicted noise (`core.passes.noise`), which counts weights per tensor or per channel
    as the recipe has them, and the activations between. Relu, LeakyRelu, PRelu and pooling commute with the
    scales; a Clip at an upper bound keeps its bound, see `clip_bounds`. Biases that keep a channel far from
    0 are absorbed afterwards (section 4.1.3).

    Args:
        model: The float model.
        samples: Calibration samples; up to 128, chosen by content, are used.
        recipe: Gives the granularity of weights, and the layers that stay float.
        threads: Samples run at the same time; None = one a processor.
        progress: Told after each sample; may raise `Cancelled`.

    Raises:
        DataError: There are no samples, or they do not fit the model.
    """
    chosen = recipe or Recipe()
    channels = find_channels(model.ir.graph)
    if channels.fixed.all():
        same = Difference(largest=0.0, sqnr_db=float("inf"), samples=0)
        return Equalized(model=model, layers=(), noise_db=(0.0, 0.0), absorbed=(), difference=same)
    placement = placement_of(model, chosen)
    observed = observe(model, _watched(channels, placement), samples, threads=threads, progress=progress)
    low, high = (np.log(bound) for bound in clip_bounds(channels, observed))
    per_channel = {
        name: chosen.choice(place.layer).weights is Granularity.PER_CHANNEL
        for name, place in placement.weights.items()
        if name in channels.linears
    }
    gains = noise_gains(model.ir.graph, channels, observed)
    noise = noise_model(channels, observed, gains, per_channel, {*placement.tensors, *placement.constants})
    logs = noise.least(low, high)
    scaled = rescaled(model, channels, np.exp(logs))
    result, absorbed = absorb_biases(scaled, samples, threads=threads)
    return Equalized(
        model=result,
        layers=_changed(model, channels, result),
        noise_db=(_decibels(noise.noise(np.zeros_like(logs))[0]), _decibels(noise.noise(logs)[0])),
        absorbed=absorbed,
        difference=difference(model, result, samples, threads=threads),
    )


def clip_bounds(channels: Channels, observed: Mapping[str, Observed]) -> tuple[Float64, Float64]:
    """Between which values each scale may lie, (count,) each, so that Clips cut off what they did.

    Clip(x / s, 0, u) equals Clip(x, 0, u) / s where neither cuts anything off. A channel that never reaches
    the bound may therefore be scaled until it nearly does; one that reaches it keeps its scale. The Clip
    itself stays, so that the quantizer behind it still does its work.
    """
    low, high = np.full(channels.count, 1 / LARGEST), np.full(channels.count, LARGEST)
    low[channels.fixed] = high[channels.fixed] = 1.0
    for clip in channels.clips:
        reach = np.clip(observed[clip.tensor].high * MARGIN / clip.upper, 1 / LARGEST, None)
        free = reach <= 1.0
        np.maximum.at(low, clip.ids, np.where(free, reach, 1.0))
        np.minimum.at(high, clip.ids, np.where(free, LARGEST, 1.0))
    return np.minimum(low, high), high


def rescaled(model: Model, channels: Channels, scales: Float64) -> Model:
    """The model with every channel divided by its scale where it is made, and multiplied where it is read."""
    arrays: dict[str, Float32] = {}
    for name, node in channels.linears.items():
        weight = node.split(node.weight).astype(np.float64)
        if name in channels.inputs:
            weight = weight * scales[channels.inputs[name]].reshape(node.groups, 1, -1, 1)
        if name in channels.outputs:
            own = scales[channels.outputs[name]]
            weight = weight / own.reshape(node.groups, -1, 1, 1)
            if node.bias is not None and node.bias.const_value is not None and (own != 1.0).any():
                arrays[str(node.bias.name)] = np.asarray(node.bias.const_value.numpy() / own, np.float32)
        changed = node.joined(weight).astype(np.float32)
        if not np.array_equal(changed, node.weight):
            arrays[node.initializer] = changed
    for constant in channels.constants:
        own = scales[constant.ids]
        value = model.ir.graph.initializers[constant.name].const_value
        if value is not None and (own != 1.0).any():
            column = own.reshape(-1, *(1,) * (-1 - constant.axis))
            arrays[constant.name] = np.asarray(value.numpy() / column, np.float32)
    return with_constants(model, arrays)


def placement_of(model: Model, recipe: Recipe) -> Placement:
    """Which tensors a recipe quantizes, as far as that can be told without statistics."""
    kept = [x.name for x in model.layers if recipe.choice(x.name).precision is Precision.FLOAT]
    return find_placement(model, target(recipe.target), kept)


def _watched(channels: Channels, placement: Placement) -> dict[str, int]:
    """Tensors that the noise model and the bounds ask for, with their channel axes."""
    axes = {node.input: node.in_axis for node in channels.linears.values()}
    # A MatMul may read along another axis than the channels', which matter more.
    axes |= {name: axis for name, (axis, _) in channels.tensors.items() if name in placement.tensors}
    for node in channels.linears.values():
        axes[node.output] = axes[gate(node.node)] = node.out_axis
    axes |= {str(c.node.outputs[0].name): c.axis for c in channels.constants}
    return axes | {clip.tensor: clip.axis for clip in channels.clips}


def _changed(model: Model, channels: Channels, result: Model) -> tuple[LayerRange, ...]:
    ranges = []
    for node in channels.linears.values():
        after = result.ir.graph.initializers[node.initializer].const_value
        layer = model.layer_of(node.output)
        assert after is not None
        if layer is None or np.array_equal(after.numpy(), node.weight):
            continue
        spread = (
            _channel_spread(node.split(w)) for w in (node.weight, np.asarray(after.numpy(), np.float32))
        )
        ranges.append(LayerRange(layer=layer.name, before=next(spread), after=next(spread)))
    return tuple(ranges)


def _channel_spread(split: Float32) -> float:
    peaks = np.abs(split).max(axis=(2, 3), initial=0.0).reshape(-1)
    live = peaks[peaks > 0]
    return float(live.max() / np.median(live)) if live.size else 1.0


def _decibels(noise: float) -> float:
    return float(-10.0 * np.log10(noise)) if noise > 0 else float("inf")
