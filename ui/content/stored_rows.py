"""The quantizers of an already quantized model as rows of a table, and as a file."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantscope.core.calibration import Histogram
from quantscope.core.evaluate import Role, StoredQuantizer
from quantscope.core.thresholds import encoding_errors


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRow:
    """One quantizer with what was seen of its values; None where that is not known."""

    name: str
    role: Role
    layer: str
    op: str
    type: str
    scale: float  # the largest, where each channel has its own
    zero_point: int | None  # None: channels differ
    channels: int
    low: float | None  # what it can hold
    high: float | None
    seen_low: float | None
    seen_high: float | None
    used: float | None  # share of the range that the values seen take
    clipped: float | None  # share of the values beyond the range
    sqnr_db: float | None  # of rounding and clipping, by itself
    activation: str = ""  # what the range does besides: exporters leave a Relu out where the range cuts at 0


def stored_row(quantizer: StoredQuantizer, histogram: Histogram | None) -> StoredRow:
    """The row of one quantizer.

    Args:
        quantizer: As the file has it.
        histogram: Of its values, where there is one.
    """
    ends, zeros = quantizer.range, quantizer.zero_point
    seen = histogram if histogram is not None and histogram.count else None
    used = clipped = sqnr = None
    # Weights are stored as integers, and what integer operators give has been rounded: nothing is lost there.
    before = not quantizer.integers and quantizer.role is Role.ACTIVATION and quantizer.channels == 1
    encoding = quantizer.encoding
    if seen is not None and ends is not None and ends[1] > ends[0]:
        used = max(0.0, min(seen.max, ends[1]) - max(seen.min, ends[0])) / (ends[1] - ends[0])
    activation = _activation(quantizer, seen) if before else ""
    if before and seen is not None and encoding is not None and activation != "ReLU6":
        found = encoding_errors(_rectified(seen) if activation else seen, encoding)
        clipped, sqnr = found.clipped_share, found.sqnr_db
    return StoredRow(
        name=quantizer.name,
        role=quantizer.role,
        layer=quantizer.layer,
        op=quantizer.op,
        type=quantizer.type,
        scale=float(quantizer.scale.max(initial=0.0)),
        zero_point=int(zeros[0]) if zeros.size and (zeros == zeros[0]).all() else None,
        channels=quantizer.channels,
        low=ends[0] if ends else None,
        high=ends[1] if ends else None,
        seen_low=seen.min if seen else None,
        seen_high=seen.max if seen else None,
        used=used,
        clipped=clipped,
        sqnr_db=sqnr,
        activation=activation,
    )


def _activation(quantizer: StoredQuantizer, seen: Histogram | None) -> str:
    """The activation that a quantizer's range stands for, if there are values that it then cuts."""
    ends = quantizer.range
    if seen is None or ends is None or ends[0] != 0.0 or seen.min >= 0.0:
        return ""
    return "ReLU6" if abs(ends[1] - 6.0) <= float(quantizer.scale[0]) else "ReLU"


def _rectified(histogram: Histogram) -> Histogram:
    """The histogram of max(0, x)."""
    below = min(max(0, -histogram.first), histogram.counts.size)
    counts = histogram.counts[below:]
    empty = int(np.argmax(counts > 0)) if counts.any() else counts.size
    zeros = histogram.zeros + int(histogram.counts[:below].sum())
    return replace(
        histogram,
        first=histogram.first + below + empty,
        counts=counts[empty:],
        zeros=zeros,
        min=0.0,
        at_min=zeros,
        max=max(0.0, histogram.max),
        at_max=histogram.at_max if histogram.max > 0 else zeros,
    )


def without_quantizer(layers: Sequence[tuple[str, str]], quantizers: Sequence[StoredQuantizer]) -> list[str]:
    """Layers, given with their operators, that no quantizer belongs to."""
    known = {entry.layer for entry in quantizers}
    return [f"{name} ({op})" for name, op in layers if name not in known]


def counts(quantizers: Sequence[StoredQuantizer]) -> Mapping[Role, int]:
    """How many there are of each kind."""
    return {role: sum(entry.role is role for entry in quantizers) for role in Role}


def stored_json(quantizers: Sequence[StoredQuantizer]) -> str:
    """Every scale and zero point, as JSON."""
    body = [
        {
            "name": entry.name,
            "role": str(entry.role),
            "layer": entry.layer,
            "type": entry.type,
            "axis": entry.axis,
            "block_size": entry.block or None,
            "scale": [float(value) if math.isfinite(value) else None for value in entry.scale],
            "zero_point": [int(value) for value in entry.zero_point],
        }
        for entry in quantizers
    ]
    return json.dumps({"quantizers": body}, indent=1, ensure_ascii=False)
