"""SmoothQuant: move outlier channels of an activation into the weights that read it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from quantscope.core.data import Samples
from quantscope.core.errors import RecipeError
from quantscope.core.model import Model
from quantscope.core.model.loading import set_constant
from quantscope.core.passes.channels import Channels
from quantscope.core.passes.equalize import clip_bounds, placement_of, rescaled
from quantscope.core.passes.following import find_channels
from quantscope.core.passes.linear import LinearWeight, linear_weight
from quantscope.core.passes.observe import Observed, observe
from quantscope.core.passes.rewrite import Difference, add_constant, difference, rebuilt
from quantscope.core.progress import ProgressFn
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Placement

WORTH = 3.0  # largest channel over the median one, from which an operator more pays
SUFFIX = "/smooth"  # of the names of divisions that are inserted
ALPHA = 0.5  # how much of the difficulty moves into the weights; the paper's choice for most networks

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothed:
    """One activation: how far its largest channel stands out of the median one."""

    tensor: str
    before: float
    after: float
    inserted: bool  # a division was added; otherwise the layers before it were rescaled


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothing:
    """A float model with other weights and the same outputs."""

    model: Model
    tensors: tuple[Smoothed, ...]  # in the order of the network
    left_out: Mapping[str, str]  # activation read by a product → why its channels cannot be scaled
    difference: Difference


def smooth(
    model: Model,
    samples: Samples,
    recipe: Recipe | None = None,
    *,
    alpha: float = ALPHA,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> Smoothing:
    """Divide channel j of what a MatMul or Gemm reads by s_j, and multiply the weights that read it.

    s_j = max|X_j|^alpha / max|W_j|^(1 - alpha) (Xiao et al. 2022, equation 4), over all products that read X.
    The division goes into the scale and bias of the LayerNormalization or RMSNorm before, or into the linear
    layers whose output X is. Where channels of X stand out, X is an input of the model or comes from an
    operator that stays float (Gelu written out, …), and no other integer layer reads it, a Div is inserted,
    which stays float too. Where neither is possible nothing is done.

    Args:
        model: The float model.
        samples: Calibration samples; up to 128, chosen by content, are used.
        recipe: Gives the target.
        alpha: 0 leaves the activations as they are, 1 makes their channels equal.
        threads: Samples run at the same time; None = one a processor.
        progress: Told after each sample; may raise `Cancelled`.

    Raises:
        RecipeError: `alpha` is not between 0 and 1.
        DataError: There are no samples, or they do not fit the model.
    """
    if not 0.0 <= alpha <= 1.0:
        raise RecipeError(f"smooth: alpha should be between 0 and 1, not {alpha}")
    channels = find_channels(model.ir.graph)
    placement = placement_of(model, recipe or Recipe())
    readers = _readers(model.ir.graph, placement)
    axes = dict.fromkeys(readers, -1) | {clip.tensor: clip.axis for clip in channels.clips}
    observed = observe(model, axes, samples, threads=threads, progress=progress)
    scales = _scales(channels, readers, observed, alpha)
    folded = {t for t in readers if t in channels.tensors and (scales[channels.tensors[t][1]] != 1).any()}
    changed = rescaled(model, channels, scales)
    standing_out = {t for t in readers if t not in folded and _outstanding(observed[t], 1.0) >= WORTH}
    divided, left_out = _divisions(
        model.ir.graph, placement, {t: readers[t] for t in readers if t in standing_out}
    )
    result = _with_divisions(changed, {t: _rule(readers[t], observed[t], alpha) for t in divided})
    tensors = []
    for name in readers:
        if name in folded or name in divided:
            own = (
                scales[channels.tensors[name][1]]
                if name in folded
                else _rule(readers[name], observed[name], alpha)
            )
            before, after = _outstanding(observed[name], 1.0), _outstanding(observed[name], own)
            tensors.append(Smoothed(tensor=name, before=before, after=after, inserted=name in divided))
    return Smoothing(
        model=result,
        tensors=tuple(tensors),
        left_out=left_out,
        difference=difference(model, result, samples, threads=threads),
    )


def _readers(graph: ir.Graph, placement: Placement) -> dict[str, list[LinearWeight]]:
    """Activations that quantized MatMul and Gemm nodes read, with these nodes."""
    readers: dict[str, list[LinearWeight]] = {}
    for node in graph:
        found = linear_weight(node) if node.op_type in ("MatMul", "Gemm") else None
        if found is not None and found.name in placement.weights:
            readers.setdefault(found.input, []).append(found)
    return readers


def _magnitude(observed: Observed) -> Float64:
    return np.maximum(np.abs(observed.lowest), np.abs(observed.highest))


def _rule(readers: list[LinearWeight], observed: Observed, alpha: float) -> Float64:
    """Scales by channel, of geometric mean 1; 1 for channels that are 0 or that nothing reads."""
    weights = np.max([np.abs(r.split(r.weight)).max(axis=(0, 1, 3)) for r in readers], axis=0)
    return _balanced(_magnitude(observed), weights.astype(np.float64), alpha)


def _balanced(activations: Float64, weights: Float64, alpha: float) -> Float64:
    live = (activations > 0) & (weights > 0)
    if not live.any():
        return np.ones(activations.shape)
    logs = np.zeros(activations.shape)
    logs[live] = alpha * np.log(activations[live]) - (1.0 - alpha) * np.log(weights[live])
    logs[live] -= logs[live].mean()
    return np.exp(logs)


def _scales(
    channels: Channels,
    readers: Mapping[str, list[LinearWeight]],
    observed: Mapping[str, Observed],
    alpha: float,
) -> Float64:
    """Scales of all variables that a product reads and that may change; 1 for the others."""
    activations, weights = np.zeros(channels.count), np.zeros(channels.count)
    # A product along another axis than the channels' does not see them.
    along = {t for t, nodes in readers.items() if any(node.name in channels.inputs for node in nodes)}
    for tensor, nodes in readers.items():
        if tensor in along:
            np.maximum.at(activations, channels.tensors[tensor][1], _magnitude(observed[tensor]))
        for node in nodes:
            if node.name in channels.inputs:
                peaks = np.abs(node.split(node.weight)).max(axis=(1, 3)).reshape(-1)
                np.maximum.at(weights, channels.inputs[node.name], peaks)
    scales = np.ones(channels.count)
    for tensor in readers:
        if tensor in along:
            ids = np.unique(channels.tensors[tensor][1])
            scales[ids] = _balanced(activations[ids], weights[ids], alpha)
    low, high = clip_bounds(channels, observed)
    return np.clip(scales, low, high)


def _divisions(
    graph: ir.Graph, placement: Placement, readers: Mapping[str, list[LinearWeight]]
) -> tuple[set[str], dict[str, str]]:
    """Activations before which a division helps, and why the others are left alone."""
    values = _values_by_name(graph)
    divided: set[str] = set()
    left_out: dict[str, str] = {}
    for tensor, nodes in readers.items():
        value = values[tensor]
        products = [found.node for found in nodes]
        producer = value.producer()
        if producer is not None and str(producer.name) in placement.nodes:
            left_out[tensor] = "it is rounded before its channels could be scaled"
        elif any(user not in products and str(user.name) in placement.nodes for user, _ in value.uses()):
            left_out[tensor] = "other layers read it too"
        elif any(len(graph.initializers[n.initializer].uses()) != 1 for n in nodes):
            left_out[tensor] = "the weights that read it are shared"
        else:
            divided.add(tensor)
    return divided, left_out


def _with_divisions(model: Model, scales: Mapping[str, Float64]) -> Model:
    """The model with X / s in front of the products that read X, and their weights times s."""
    scales = {name: s for name, s in scales.items() if (s != 1.0).any()}
    if not scales:
        return model
    copy = model.ir.clone()
    graph = copy.graph
    values = _values_by_name(graph)
    products: list[ir.Node] = []
    for node in list(graph):
        found = linear_weight(node)
        if found is None or found.input not in scales or node.op_type not in ("MatMul", "Gemm"):
            continue
        weight = found.split(found.weight).astype(np.float64) * scales[found.input][None, None, :, None]
        set_constant(graph.initializers[found.initializer], found.joined(weight).astype(np.float32))
        products.append(node)
    for name, own in scales.items():
        value = values[name]
        divisor = add_constant(graph, f"{name}.smooth", np.asarray(own, np.float32))
        div = ir.node("Div", [value, divisor], name=f"{name}{SUFFIX}")
        div.outputs[0].name = f"{name}/smoothed"
        div.outputs[0].type, div.outputs[0].shape = value.type, value.shape
        for user, index in list(value.uses()):
            if user in products:
                user.replace_input_with(index, div.outputs[0])
        producer = value.producer()
        if producer is None:
            graph.insert_before(graph[0], div)
        else:
            graph.insert_after(producer, div)
    return rebuilt(model, copy)


def _values_by_name(graph: ir.Graph) -> dict[str, ir.Value]:
    """Inputs of the graph and what its nodes give, by name."""
    made = (value for node in graph for value in node.outputs)
    return {str(value.name): value for value in (*graph.inputs, *made)}


def _outstanding(observed: Observed, scales: Float64 | float) -> float:
    """Largest channel over the median one."""
    peaks = _magnitude(observed) / scales
    live = peaks[peaks > 0]
    return float(live.max() / np.median(live)) if live.size else 1.0
