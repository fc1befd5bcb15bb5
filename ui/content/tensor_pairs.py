"""Two versions tensor by tensor: range, scale and zero point of each, and what became of the error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantscope.core.evaluate import LayerEncodings, LayerError
from quantscope.core.model import Model
from quantscope.core.quant import Encoding

SAME = 0.001  # share by which two scales may differ and count as one
FLOAT = "float"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRange:
    """How one version quantizes a tensor; of the widest channel where there are several scales."""

    type: str  # "uint8"; "float"; "" where the version has no such tensor
    low: float | None = None
    high: float | None = None
    scale: float | None = None
    zero_point: int | None = None
    scales: int = 0  # how many there are


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorPair:
    """One tensor in two versions."""

    layer: str
    op: str
    what: str  # "output" or "weights"
    ours: TensorRange  # of the version that is held against
    theirs: TensorRange
    ratio: float | None  # width of their range over that of ours
    differs: bool
    our_sqnr: float | None = None  # cumulative, dB; outputs only
    their_sqnr: float | None = None

    @property
    def gain(self) -> float | None:
        """DB by which the layer's cumulative SQNR is better in theirs."""
        if self.our_sqnr is None or self.their_sqnr is None or self.our_sqnr == self.their_sqnr:
            return 0.0 if self.our_sqnr is not None and self.our_sqnr == self.their_sqnr else None
        return self.their_sqnr - self.our_sqnr


def tensor_pairs(
    model: Model,
    ours: Mapping[str, LayerEncodings],
    theirs: Mapping[str, LayerEncodings],
    our_errors: Sequence[LayerError] = (),
    their_errors: Sequence[LayerError] = (),
) -> tuple[TensorPair, ...]:
    """Outputs and weights of every layer, in order, as far as either version quantizes them.

    Args:
        model: The float model.
        ours: Encodings of the version that is held against, by layer.
        theirs: Encodings of the other one.
        our_errors: Errors of its layers, where known.
        their_errors: Errors of the other one's layers.
    """
    before, after = _sqnr(our_errors), _sqnr(their_errors)
    found = []
    for layer in model.layers:
        a, b = ours.get(layer.name), theirs.get(layer.name)
        if a is None or b is None:
            continue
        op = " + ".join(layer.ops) if layer.kind == "compute" else "Input"
        pair = _output(a), _output(b)
        if any(side.type not in ("", FLOAT) for side in pair):
            found.append(
                _pair(layer.name, op, "output", *pair, sqnr=(before.get(layer.name), after.get(layer.name)))
            )
        if layer.weight is not None and (a.weight is not None or b.weight is not None):
            found.append(_pair(layer.name, op, "weights", _weight(a), _weight(b)))
    return tuple(found)


def _sqnr(errors: Sequence[LayerError]) -> dict[str, float | None]:
    return {e.layer: e.cumulative.sqnr_db for e in errors if e.cumulative is not None}


def _pair(
    layer: str,
    op: str,
    what: str,
    ours: TensorRange,
    theirs: TensorRange,
    sqnr: tuple[float | None, float | None] = (None, None),
) -> TensorPair:
    ratio = None
    if ours.low is not None and ours.high is not None and theirs.low is not None and theirs.high is not None:
        width = ours.high - ours.low
        ratio = (theirs.high - theirs.low) / width if width > 0 else None
    same = (ours.type, ours.zero_point, ours.scales) == (theirs.type, theirs.zero_point, theirs.scales)
    if same and ours.scale is not None and theirs.scale is not None:
        same = abs(theirs.scale - ours.scale) <= SAME * ours.scale
    return TensorPair(
        layer=layer,
        op=op,
        what=what,
        ours=ours,
        theirs=theirs,
        ratio=ratio,
        differs=not same,
        our_sqnr=sqnr[0],
        their_sqnr=sqnr[1],
    )


def _output(found: LayerEncodings) -> TensorRange:
    if not found.matched:
        return TensorRange(type="")
    return _range(found.output, found.type or FLOAT)


def _weight(found: LayerEncodings) -> TensorRange:
    return _range(found.weight, found.weight.type.name if found.weight is not None else FLOAT)


def _range(encoding: Encoding | None, kind: str) -> TensorRange:
    """Of an encoding; the channel with the largest scale stands for all."""
    if encoding is None:
        return TensorRange(type=kind)
    scales: Any = np.atleast_1d(encoding.scale).astype(np.float64)
    zeros: Any = np.broadcast_to(np.atleast_1d(encoding.zero_point), scales.shape)
    at = int(np.argmax(scales))
    scale, zero = float(scales[at]), int(zeros[at])
    return TensorRange(
        type=kind,
        low=(encoding.qmin - zero) * scale,
        high=(encoding.qmax - zero) * scale,
        scale=scale,
        zero_point=zero,
        scales=int(scales.size),
    )
