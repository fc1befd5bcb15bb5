"""Everything about one tensor's range: histogram, every method's choice, curves for each clip line."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram, Statistics
from quantscope.core.memo import Recent
from quantscope.core.model import Layer, Model
from quantscope.core.quant import Encoding, QuantSpec, Range, ScaleRule, encoding_from_range, kept_range
from quantscope.core.quantize import Encodings, activation_spec
from quantscope.core.recipe import Choice, Recipe
from quantscope.core.thresholds import (
    AUTOMATIC,
    FLAGS,
    METHODS,
    Method,
    RangeError,
    Search,
    encoding_errors,
    errors_at,
    search,
)
from quantscope.ui.content.text import typeset

SEARCHED = 4096  # tensors and specs whose searches are kept
LABELS = {method: method.facts.label for method in METHODS}
RULES = {
    ScaleRule.FREE: "Any",
    ScaleRule.POWER_OF_TWO_UP: "2ᵏ, next larger",
    ScaleRule.POWER_OF_TWO_NEAREST: "2ᵏ, nearest",
    ScaleRule.POWER_OF_TWO_MSE: "2ᵏ, least MSE",
}
# One clip line; two that mirror each other; two. The chart's script knows the same words.
ClipLines = Literal["nonneg", "symmetric", "asymmetric"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeView:
    """A set of values, the range that is kept of them, and what every method would keep."""

    tensor: str  # name of the values
    histogram: Histogram
    choice: Choice  # method and percentile
    spec: QuantSpec
    mode: ClipLines
    asked: Range  # what the method chose, or the user set; where the clip lines stand
    range: Range  # what is kept: the same, unless a rule for scales or a kernel needs another scale
    encoding: Encoding
    error: RangeError
    searches: dict[Method, Search]  # what every automatic method would choose
    errors: dict[Method, RangeError]  # and what that would cost
    reason: str  # why the range is what it is
    remarks: tuple[str, ...]  # what is unusual about the values


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A range from elsewhere, drawn beside those of the methods."""

    id: str
    label: str
    low: float
    high: float
    text: str  # shown while the pointer is on it


class Searched(Recent[dict[Method, Search]]):
    """What every automatic method chose for tensors of one model, with the specs last asked for."""

    def __init__(self) -> None:
        super().__init__(SEARCHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorView(RangeView):
    """One tensor as the Inspector shows it; its `choice` is the owner's."""

    layer: Layer
    owner: str  # the layer whose choice sets the range
    shared: bool  # the layer takes its range over from the owner
    quantized: bool  # False: the layer's output stays float


def clipped(histogram: Histogram, range_: Range, error: RangeError) -> float:
    """Share of values outside of `range_`, 0 to 1.

    `error` counts values outside of what the encoding holds. A rounded zero point moves that by up to half a
    step: the extremes themselves then lie outside, though they are rounded and not clipped.
    """
    inside = range_.low <= histogram.min and histogram.max <= range_.high
    return 0.0 if inside else error.clipped_share


def view_tensor(
    model: Model,
    statistics: Statistics,
    recipe: Recipe,
    encodings: Encodings,
    layer: Layer,
    searched: Searched | None = None,
) -> TensorView | None:
    """What there is to see about a layer's output; None where nothing was recorded of it.

    `searched` keeps what the methods chose between calls; it must belong to these statistics.
    """
    placement = encodings.placement
    tensor = placement.sources.get(layer.output, layer.output)
    histogram = statistics.histograms.get(tensor)
    if histogram is None:
        return None
    maker = model.layer_of(tensor)
    owner = placement.tensors.get(tensor, maker.name if maker is not None else layer.name)
    choice = recipe.choice(owner)
    spec = activation_spec(placement.target, choice)  # float: shown as int8 would be
    percentile = choice.percentile or 99.99
    key = (tensor, spec, percentile)
    known = searched.get(key) if searched is not None else None
    if known is None:
        shown = statistics.by_sample.get(tensor)
        known = {m: search(m, histogram, spec, percentile=percentile, by_sample=shown) for m in AUTOMATIC}
        if searched is not None:
            searched.put(key, known)
    found = encodings.searches.get(tensor)
    chosen = found if found is not None else known[Method.MINMAX]
    planned = encoding_from_range(chosen.range, spec)
    encoding = encodings.activations.get(tensor) or planned
    return TensorView(
        layer=layer,
        tensor=tensor,
        owner=owner,
        shared=tensor != layer.output,
        quantized=layer.output in encodings.activations,
        histogram=histogram,
        choice=choice,
        spec=spec,
        mode=mode_of(histogram, spec),
        asked=chosen.asked or chosen.range,
        range=chosen.range if encoding == planned else kept_range(encoding, spec),
        encoding=encoding,
        error=encoding_errors(histogram, encoding),
        searches=known,
        errors={m: errors_at(histogram, s.range, spec) for m, s in known.items()},
        reason=typeset(found.reason) if found is not None else "",
        remarks=tuple(FLAGS[flag] for flag in found.flags) if found is not None else (),
    )


def view_range(
    histogram: Histogram,
    spec: QuantSpec,
    choice: Choice,
    *,
    name: str,
    methods: tuple[Method, ...] = AUTOMATIC,
) -> RangeView:
    """Values that belong to no layer; `choice` is filled in (method, percentile, range if manual)."""
    percentile = choice.percentile or 99.99
    searches = {m: search(m, histogram, spec, percentile=percentile) for m in methods}
    method = choice.method or Method.MINMAX
    found = searches.get(method) or search(method, histogram, spec, manual=choice.range)
    return RangeView(
        tensor=name,
        histogram=histogram,
        choice=choice,
        spec=spec,
        mode=mode_of(histogram, spec),
        asked=found.asked or found.range,
        range=found.range,
        encoding=encoding_from_range(found.range, spec),
        error=errors_at(histogram, found.range, spec),
        searches=searches,
        errors={m: errors_at(histogram, s.range, spec) for m, s in searches.items()},
        reason=typeset(found.reason),
        remarks=tuple(FLAGS[flag] for flag in found.flags),
    )


def mode_of(histogram: Histogram, spec: QuantSpec) -> ClipLines:
    """How many clip lines a tensor has."""
    if histogram.min >= 0.0 and not (spec.symmetric and spec.type.signed):
        return "nonneg"
    return "symmetric" if spec.symmetric else "asymmetric"


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


def levels(view: RangeView, *, most: int = 1024) -> Levels:
    """How many values end on each quantized level (bins are split evenly; zeros are exact)."""
    h, e = view.histogram, view.encoding
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
        value=np.asarray(value[used] + step * (group - 1) / 2, np.float64),
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
