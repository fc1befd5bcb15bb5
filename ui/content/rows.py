"""The layer table: what is set for every layer, what it costs, and which layers stand out."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from quantscope.core.calibration import Statistics
from quantscope.core.evaluate import LayerError, TensorError
from quantscope.core.memo import Recent
from quantscope.core.model import Layer, Model
from quantscope.core.quantize import Encodings
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Precision
from quantscope.core.thresholds import FLAGS, RangeError, Search, errors_at
from quantscope.ui.content.tensor_view import LABELS, clipped
from quantscope.ui.content.text import cosine

ALARMING = ("nan", "inf", "huge", "near_zero", "all_zero", "empty")  # flags of a search; others are facts
RANGE_ERRORS = 20_000  # kept: a few for every layer and range that was tried


MASKED = (
    "No figure: values of a mask, such as −1e9, make up the energy of this tensor, and an error over that "
    "says nothing of the other values."
)


class RangeErrors(Recent[RangeError]):
    """Errors read off histograms."""

    def __init__(self) -> None:
        super().__init__(RANGE_ERRORS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One layer."""

    name: str
    kind: str
    op: str  # operators that run as one, joined by " + "
    shape: str
    strategy: str  # label of the method; "" where there is nothing to choose
    own: bool  # chosen for this layer, not inherited from the default
    precision: str
    weights: str  # granularity; "" without weights
    low: float | None
    high: float | None
    clipped: float | None  # share of values
    tensor_sqnr: float | None  # dB, of the output tensor's own rounding and clipping, from the histogram
    local_sqnr: float | None = None  # dB, the layer alone quantized, measured
    cumulative_sqnr: float | None = None  # dB, everything before it quantized too, measured
    cumulative_cosine: float | None = None
    shared: str  # layer whose range it takes over, or ""
    scale: float | None = None  # of the output's integers
    zero_point: int | None = None
    masked: bool = False  # values of a mask make up the tensor's energy, so that errors over it say nothing
    flag: str = ""  # what stands out, "" if nothing

    @property
    def cosine_text(self) -> str:
        """Cumulative cosine with enough digits."""
        return cosine(self.cumulative_cosine)

    @property
    def best_known(self) -> float | None:
        """The figure to mark it at: cumulative if known, else local, else the tensor's."""
        known = (self.cumulative_sqnr, self.local_sqnr, self.tensor_sqnr)
        return next((value for value in known if value is not None), None)


def layer_rows(
    model: Model,
    statistics: Statistics,
    recipe: Recipe,
    encodings: Encodings,
    *,
    cumulative: Sequence[LayerError] = (),
    local: Mapping[str, LayerError] | None = None,
    masked: Collection[str] = (),
    cache: Recent[RangeError] | None = None,
) -> list[Row]:
    """A row for each layer, in order; nothing is flagged yet (`flagged`).

    Args:
        model: The float model.
        statistics: Its histograms.
        recipe: The choices shown.
        encodings: What they amount to.
        cumulative: Measured errors, where there are any yet.
        local: Measured errors of layers quantized alone.
        masked: Tensors whose energy is that of a mask; their rows have no figures of errors.
        cache: Keeps errors read off histograms between calls.
    """
    measured = {error.layer: error.cumulative for error in cumulative}
    alone = {name: error.local for name, error in (local or {}).items()}
    known: Recent[RangeError] = Recent(len(model.layers)) if cache is None else cache
    weighted = {weight.layer for weight in encodings.placement.weights.values()}
    return [
        _with_errors(
            _row(layer, model, statistics, recipe, encodings, known, masked, weighted),
            measured.get(layer.name),
            alone.get(layer.name),
        )
        for layer in model.layers
    ]


def _row(
    layer: Layer,
    model: Model,
    statistics: Statistics,
    recipe: Recipe,
    encodings: Encodings,
    cache: Recent[RangeError],
    masked: Collection[str],
    weighted: Collection[str],
) -> Row:
    """What is set for a layer, and what its histogram tells; `weighted` are those with quantized weights."""
    placement = encodings.placement
    source = placement.sources.get(layer.output, layer.output)
    owner = model.layer_of(source)
    choice = recipe.choice(layer.name)
    found = encodings.searches.get(source)
    encoding = encodings.activations.get(layer.output)
    quantized = encoding is not None
    error = _error(source, statistics, encodings, cache) if quantized else None
    shared = owner.name if owner is not None and source != layer.output else ""
    stays = choice.precision is Precision.FLOAT or not (quantized or layer.name in weighted)
    return Row(
        name=layer.name,
        kind=layer.kind,
        op=" + ".join(layer.ops) if layer.kind == "compute" else "Input",
        shape="×".join("?" if d is None else str(d) for d in layer.shape) if layer.shape is not None else "?",
        strategy=LABELS[choice.method] if choice.method is not None else "",
        own=layer.name in recipe.layers,
        precision=Precision.FLOAT.value if stays else str(choice.precision),
        weights=str(choice.weights) if layer.weight is not None else "",
        low=found.range.low if found is not None and quantized else None,
        high=found.range.high if found is not None and quantized else None,
        clipped=_clipped(statistics, source, found, error),
        tensor_sqnr=error.sqnr_db if error is not None else None,
        shared=shared,
        scale=float(encoding.scale) if encoding is not None and encoding.scale.ndim == 0 else None,
        zero_point=int(encoding.zero_point) if encoding is not None and encoding.scale.ndim == 0 else None,
        masked=layer.output in masked or source in masked,
    )


def _with_errors(row: Row, cumulative: TensorError | None, local: TensorError | None) -> Row:
    """The row with what was measured."""
    if row.masked:
        return row
    return replace(
        row,
        local_sqnr=local.sqnr_db if local is not None else None,
        cumulative_sqnr=cumulative.sqnr_db if cumulative is not None else None,
        cumulative_cosine=cumulative.cosine if cumulative is not None else None,
    )


def _clipped(
    statistics: Statistics, tensor: str, found: Search | None, error: RangeError | None
) -> float | None:
    """Share of values outside the range; None where there is none."""
    if error is None or found is None:
        return None
    return clipped(statistics.histograms[tensor], found.range, error)


def _error(
    tensor: str, statistics: Statistics, encodings: Encodings, cache: Recent[RangeError]
) -> RangeError | None:
    """Error of a tensor under its search's range, remembered."""
    histogram, found = statistics.histograms.get(tensor), encodings.searches.get(tensor)
    if histogram is None or found is None:
        return None
    key = (tensor, encodings.keys.get(tensor), found.range)
    known = cache.get(key)
    if known is None:
        known = errors_at(histogram, found.range, encodings.specs[tensor])
        cache.put(key, known)
    return known


def flagged(rows: Sequence[Row], found: Mapping[str, str], encodings: Encodings, model: Model) -> list[Row]:
    """The rows with flags: what stands out by its cost, and what a search remarked.

    A layer whose output is exact has no flag.

    Args:
        rows: The layers.
        found: Why layers stand out, by name.
        encodings: With what their searches remarked.
        model: The float model.
    """
    out = []
    for row in rows:
        said = [found[row.name]] if row.name in found else []
        search = encodings.searches.get(model.layer(row.name).output)
        if search is not None and row.low is not None and row.cumulative_sqnr != math.inf:
            said += [FLAGS[flag].rstrip(".") for flag in ALARMING if flag in search.flags]
        out.append(replace(row, flag="; ".join(said)))
    return out


def edges(model: Model) -> list[tuple[str, str]]:
    """Which layer reads which, by name."""
    found = dict.fromkeys(
        (maker.name, layer.name)
        for layer in model.layers
        for tensor in layer.inputs
        if (maker := model.layer_of(tensor)) is not None and maker.name != layer.name
    )
    return list(found)
