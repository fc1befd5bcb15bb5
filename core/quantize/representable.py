"""Tensors whose information no integer range can hold, found from their histogram: they stay in float.

Two kinds occur in real networks, both made by attention masks: infinite values, which an integer cannot
express, and values so far from the others (-10000, -65504, -3.4e38) that the range spends its steps on the
distance and has few left for those near 0, which carry the information. How many are enough depends on what
reads them: before a Softmax the far values only mean "none", and the near ones are logits, whose rounding
error grows exponentially.
"""

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from quantscope.core.calibration import Histogram
from quantscope.core.quant import QuantSpec, Range, encoding_from_range

Bins = npt.NDArray[np.int64]

FAR_SHARE = 1e-3  # of the values: rarer ones are outliers, which clipping deals with
GAP_SHARE = 0.75  # of the range, empty
CUT_SHARE = 0.125  # of the range: the least of those gaps; sums of masks leave several
NEAR_STEPS = 2.0  # quantization steps that near values span at most where they are lost
SCORE_STEPS = 16.0  # the same for what a Softmax reads, half of 8 bits
# Wider types promise more: with fewer steps than 8 bits alone would give the near values, int8, which leaves
# the tensor in float, would be the more exact choice.
WIDE_STEPS = 256.0

LEVEL_STEPS = 8.0  # times as many steps from 0: a value that integers express well by itself

SATURATING = frozenset({"Softmax", "LogSoftmax", "Exp"})  # give 0, or its logarithm, for values far below
_PASSING = frozenset(
    {
        "Add", "Sub", "Mul", "Div", "Where", "Max", "Min", "Clip", "Cast", "Identity", "Dropout", "Concat",
        "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Expand", "Tile", "Slice", "Split",
        "Gather",
    }
)  # fmt: skip


def score_tensors(graph: ir.Graph) -> frozenset[str]:
    """Tensors that reach a Softmax (or what works like it) through arithmetic and changes of shape only."""
    found: set[str] = set()
    waiting = [node.inputs[0] for node in graph if node.op_type in SATURATING]
    while waiting:
        value = waiting.pop()
        if value is None or value.name in found:
            continue
        found.add(str(value.name))
        producer = value.producer()
        if producer is not None and producer.op_type in _PASSING:
            waiting.extend(producer.inputs)
    return frozenset(found)


def why_float(histogram: Histogram, spec: QuantSpec, *, scores: bool = False) -> str | None:
    """Why quantizing a tensor would destroy it, in one sentence; None for ordinary tensors.

    A mask alone, two values with nothing between, is ordinary, and so are biases that grow with the distance.

    Args:
        histogram: Of the tensor.
        spec: How it would be quantized.
        scores: Whether it is one of `score_tensors`. Then values far below matter however rare they are.
    """
    return _why(histogram, spec, scores)


def _why(h: Histogram, spec: QuantSpec, scores: bool) -> str | None:
    if h.infs:
        return "it holds infinite values, which integers cannot express"
    if h.count == 0 or h.counts.size == 0:
        return None
    span = max(h.max, 0.0) - min(h.min, 0.0)
    occupied = np.flatnonzero(h.counts) + h.first
    found = _near(occupied, h.width, span, h.zeros > 0)
    if found is None:
        return None
    first, last = found
    low, high = np.searchsorted(occupied, (first, last + 1))
    counts = h.counts[occupied - h.first]
    near, below, above = int(counts[low:high].sum()), int(counts[:low].sum()), int(counts[high:].sum())
    masked = scores and below > 0
    if not near or (not masked and min(near, below + above) < FAR_SHARE * h.count):
        return None
    step = float(encoding_from_range(Range(h.min, h.max), spec).scale)
    steps = float(last - first + 1) * h.width / step
    few = SCORE_STEPS if masked else NEAR_STEPS
    enough = WIDE_STEPS if spec.type.bits > 8 else few
    if first == last and max(first, -last - 1) * h.width >= LEVEL_STEPS * max(enough, 1.0) * step:
        return None  # one level among others, as parameters are, that lies far enough from 0 itself
    if steps > enough:
        return None
    extreme = h.min if below >= above else h.max
    fate = "become one integer"
    if steps > NEAR_STEPS:
        fate = f"share {steps:.0f} of {spec.levels} steps or fewer"
    return f"values at {extreme:.4g} are so far from the others that those would all {fate}"


def _near(occupied: Bins, width: float, span: float, zeros: bool) -> tuple[int, int] | None:
    """First and last bin of the values nearest to 0, between gaps that fill most of the range.

    Args:
        occupied: Grid indices of bins with non-zero values, rising.
        width: Of a bin.
        span: Of the range, which holds 0.
        zeros: Whether there are zeros too.

    Returns:
        None where the gaps do not fill most of the range, or nothing lies near 0.
    """
    edges = np.union1d(occupied, 0) if zeros else occupied
    gaps = (np.diff(edges) - 1) * width
    wide = gaps >= CUT_SHARE * span
    if gaps[wide].sum() < GAP_SHARE * span:
        return None
    cuts = np.flatnonzero(wide)
    firsts, lasts = edges[np.append(0, cuts + 1)], edges[np.append(cuts, edges.size - 1)]
    distances = np.maximum(np.maximum(firsts, -lasts), 0)
    part = int(distances.argmin())
    if distances[part] * width >= CUT_SHARE * span:  # one of a few even levels, which a range holds well
        return None
    return int(firsts[part]), int(lasts[part])
