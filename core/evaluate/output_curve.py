"""How the range of a tensor changes the outputs of the layers that read it: a curve for the Inspector."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantscope.core.data import Samples, pick
from quantscope.core.errors import DataError
from quantscope.core.evaluate.layer_output import (
    by_tensor,
    reader_of,
    readers_of,
    row_count,
    sample_rows,
    spec_of,
)
from quantscope.core.model import Model
from quantscope.core.progress import ProgressFn, report
from quantscope.core.quant import Range, encoding_from_range
from quantscope.core.quantize import Encodings

Float64 = npt.NDArray[np.float64]

SAMPLES = 16
EFFORT = 3e10  # multiplications for the whole curve; about a second


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputCurve:
    """Cosine of layers' outputs against the range of the tensor they read."""

    tensor: str
    readers: tuple[str, ...]
    lows: Float64  # (ranges,)
    highs: Float64
    cosine: Float64  # (ranges, readers), mean over the samples
    samples: int


def layer_output_curve(
    model: Model,
    encodings: Encodings,
    layer: str,
    samples: Samples,
    ranges: Sequence[Range],
    *,
    count: int = SAMPLES,
    progress: ProgressFn | None = None,
) -> OutputCurve:
    """`tensor_output_curve` for the tensor that `layer` reads, and this layer only.

    Raises:
        DataError: As there; also where the layer has no weight that could be looked at.
    """
    reader = reader_of(model, encodings, layer)
    if isinstance(reader, str):
        raise DataError(f"{layer} has no output to compare: {reader}")
    tensor = reader.product.linear.input
    return tensor_output_curve(
        model, encodings, tensor, samples, ranges, readers=(layer,), count=count, progress=progress
    )


def tensor_output_curve(
    model: Model,
    encodings: Encodings,
    tensor: str,
    samples: Samples,
    ranges: Sequence[Range],
    *,
    readers: Sequence[str] | None = None,
    count: int = SAMPLES,
    effort: float = EFFORT,
    progress: ProgressFn | None = None,
) -> OutputCurve:
    """Cosine between float and quantized output of the layers that read `tensor`, for ranges of it.

    Args:
        model: The float model.
        encodings: Weights are quantized as here.
        tensor: A quantized activation.
        samples: Calibration samples; up to `count` are used.
        ranges: Candidates; each becomes a scale and zero point of the type that the tensor has.
        readers: Layers to look at; None: all with weights that read it, also through layers that share it.
        count: Most samples to use.
        effort: Multiplications to spend; decides how many positions are looked at.
        progress: Told after each range; may raise `Cancelled`.

    Raises:
        DataError: There are no samples, they do not fit, or no layer with weights reads the tensor.
    """
    names = [layer.name for layer in model.layers] if readers is None else list(readers)
    root = encodings.placement.sources.get(tensor, tensor)
    found, _ = readers_of(model, encodings, names)
    group = by_tensor(encodings, found).get(root, [])
    if not group:
        raise DataError(f"no layer with quantized weights reads {tensor!r}")
    picked = pick(samples, count)
    most = {r.layer: row_count(r, effort / max(len(ranges), 1)) for r in group}
    sampled = sample_rows(model, group, picked, most=most)
    matrices = {r.layer: r.rounded(encodings.weights[r.node]) for r in group}
    spec = spec_of(encodings.activations[root])
    cosine = np.empty((len(ranges), len(group)))
    for i, range_ in enumerate(ranges):
        encoding = encoding_from_range(range_, spec)
        for j, r in enumerate(group):
            one = sampled[r.layer]
            cosine[i, j] = one.cosine(one.quantized_rows(encoding), matrices[r.layer])
        report(progress, i + 1, len(ranges), "layer output")
    return OutputCurve(
        tensor=root,
        readers=tuple(r.layer for r in group),
        lows=np.array([r.low for r in ranges]),
        highs=np.array([r.high for r in ranges]),
        cosine=cosine,
        samples=len(picked.runs),
    )
