"""What the pictures of a deck show: a tensor whose range matters, and a weight."""

import numpy as np

from quantscope.core.calibration import Histogram, Statistics
from quantscope.core.model import Model
from quantscope.core.quant import Encoding
from quantscope.core.quantize import Encodings, masked_tensors
from quantscope.ui.content.story_facts import ValuesOfTensor, WeightExample

TAIL = 0.001  # share of the values on each side that is no bulk
MOST = 1e4  # times the bulk: what reaches further is a mask, or broken
FEWEST = 100  # different bins, or the picture shows nothing


def telling(model: Model, statistics: Statistics, encodings: Encodings) -> tuple[str, str] | None:
    """Layer and tensor with the furthest outliers, among those that are quantized; ties go to the first.

    None where no tensor is quantized.
    """
    masked = masked_tensors(statistics, model)
    best: tuple[float, str, str] | None = None
    for layer in model.layers:
        tensor = encodings.placement.sources.get(layer.output, layer.output)
        counts, encoding = statistics.histograms.get(tensor), encodings.activations.get(tensor)
        if counts is None or encoding is None or encoding.scale.ndim or tensor in masked:
            continue
        score = _reach(counts)
        if best is None or score > best[0]:
            maker = model.layer_of(tensor)
            best = (score, layer.name if maker is None else maker.name, tensor)
    return None if best is None else best[1:]


def values_of(
    model: Model, statistics: Statistics, encodings: Encodings, before: Encoding | None
) -> ValuesOfTensor | None:
    """The telling tensor with its values.

    Args:
        model: The float model.
        statistics: Its calibration.
        encodings: Of the shown recipe.
        before: The tensor's encoding in the version that this is held against; None where it is the same.
    """
    found = telling(model, statistics, encodings)
    if found is None:
        return None
    name, tensor = found
    return ValuesOfTensor(
        layer=name,
        is_input=model.layer(name).kind == "input",
        histogram=statistics.histograms[tensor],
        now=encodings.activations[tensor],
        before=before,
    )


def example_weight(model: Model, encodings: Encodings) -> WeightExample | None:
    """A weight of the first layer that has some: of middling size, with what is stored for it."""
    for place in encodings.placement.weights.values():
        encoding = encodings.weights.get(place.node)
        constant = model.ir.graph.initializers[place.initializer].const_value
        if encoding is None or constant is None:
            continue
        array = np.asarray(constant.numpy(), np.float64)
        flat = np.abs(array).reshape(-1)
        if not flat.size or not flat.any():
            continue
        at = int(np.argsort(flat, kind="stable")[int(0.8 * (flat.size - 1))])
        value = float(array.reshape(-1)[at])
        scale, zero = encoding.scale.astype(np.float64), encoding.zero_point.astype(np.float64)
        if encoding.axis is not None and scale.ndim:
            channel = np.unravel_index(at, array.shape)[encoding.axis]
            scale, zero = scale[channel], zero[channel]
        stored = np.clip(np.rint(value / scale) + zero, encoding.qmin, encoding.qmax)
        return WeightExample(value=value, stored=int(stored), bits=encoding.type.bits)
    return None


def _reach(counts: Histogram) -> float:
    """How far the values reach beyond their bulk: 1 for none, 0 where there is nothing to be seen."""
    if counts.counts.size < FEWEST or not counts.max > counts.min:
        return 0.0
    below = np.cumsum(counts.counts)
    few = max(1, int(TAIL * below[-1]))  # a whole number: counts are not converted to look it up
    low = counts.width * (counts.first + int(np.searchsorted(below, few)))
    high = counts.width * (counts.first + int(np.searchsorted(below, below[-1] - few)) + 1)
    whole = max(counts.max, 0.0) - min(counts.min, 0.0)
    bulk = max(high, 0.0) - min(low, 0.0)
    reach = whole / bulk if bulk > 0 else 0.0
    return reach if reach <= MOST else 0.0
