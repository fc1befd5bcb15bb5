"""Why a layer is bad and what to do about it, in one sentence each, from measured figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.model import Model
from core.quant import Encoding
from core.recipe import Encodings, Recipe
from core.statistics import Statistics
from core.targets import Granularity, Precision
from ui.rows import Row
from ui.tensor_view import LABELS, TensorView, view_tensor, weights
from ui.text import decibel, percent

GAIN = 1.0  # dB that another range must win to be named
UNEVEN = 8.0  # largest channel range over the median one


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A layer that hurts."""

    row: Row
    reason: str
    remedy: str


def worst(
    model: Model,
    statistics: Statistics,
    recipe: Recipe,
    encodings: Encodings,
    rows: Sequence[Row],
    *,
    count: int = 3,
) -> list[Diagnosis]:
    """The layers that lose most on their own, worst first.

    A layer is judged alone (its inputs float) where that was measured, else by its output's range:
    what it inherits from the layers before it is not its fault.
    """
    judged = [(row, _own_loss(row)) for row in rows if row.precision != Precision.FLOAT and not row.shared]
    known = sorted(((row, loss) for row, loss in judged if loss is not None), key=lambda pair: pair[1])
    return [_diagnose(model, statistics, recipe, encodings, row) for row, _ in known[:count]]


def _own_loss(row: Row) -> float | None:
    return row.local_sqnr if row.local_sqnr is not None else row.tensor_sqnr


def _diagnose(
    model: Model, statistics: Statistics, recipe: Recipe, encodings: Encodings, row: Row
) -> Diagnosis:
    layer = model.layer(row.name)
    seen = view_tensor(model, statistics, recipe, encodings, layer)
    channels = weights(model, encodings, layer)
    tensor = row.tensor_sqnr
    if channels is not None and not channels.per_channel and channels.spread > UNEVEN and _by_weights(row):
        return Diagnosis(
            row=row,
            reason=f"One scale serves all channels of the weight, but the widest is {channels.spread:.0f} "
            "times the median: small channels vanish in rounding.",
            remedy="Give the weights one scale per channel.",
        )
    if seen is not None and seen.quantized and tensor is not None:
        better = _better_range(seen)
        if better is not None:
            return Diagnosis(row=row, reason=_range_reason(seen), remedy=better)
    if _by_weights(row):
        uneven = ""
        if channels is not None and channels.wasted_bits > 0.5:
            uneven = f" (half of the channels leave {channels.wasted_bits:.1f} of 8 bits unused)"
        return Diagnosis(
            row=row,
            reason=f"Its output's range alone would give {decibel(tensor)}: the loss is in its "
            f"weights{uneven}.",
            remedy="Try another weight range (Inspector, Weights), or leave this layer in float.",
        )
    if row.precision == Precision.INT8:
        return Diagnosis(
            row=row,
            reason="The range is as good as any for 8 bits; the values spread too far for 256 levels.",
            remedy="Give this layer int16 activations, or leave it in float.",
        )
    return Diagnosis(row=row, reason="It loses more than other layers.", remedy="Leave this layer in float.")


def _by_weights(row: Row) -> bool:
    """Whether the layer alone is clearly worse than its output's range explains."""
    if row.weights == "" or row.local_sqnr is None:
        return row.weights == Granularity.PER_TENSOR
    return row.tensor_sqnr is None or row.local_sqnr < row.tensor_sqnr - 3.0


def _range_reason(seen: TensorView) -> str:
    e = seen.error
    if e.mse > 0 and e.clipping_mse > 0.5 * e.mse:
        share = percent(e.clipped_share, 3)
        part = 100 * e.clipping_mse / e.mse
        return f"Clipping makes {part:.0f} % of the error: {share} of the values are cut off."
    return (
        f"A few far values stretch the range to {_span(seen.encoding)}: steps of "
        f"{float(seen.encoding.scale):.3g} are too coarse for the rest."
    )


def _span(encoding: Encoding) -> str:
    return f"{float(encoding.low):.3g} … {float(encoding.high):.3g}"


def _better_range(seen: TensorView) -> str | None:
    """The method whose range would win most, if it wins enough."""
    method = max(seen.errors, key=lambda m: seen.errors[m].sqnr_db)
    gain = seen.errors[method].sqnr_db - seen.error.sqnr_db
    return f"{LABELS[method]}'s range wins {gain:.1f} dB on this tensor." if gain > GAIN else None
