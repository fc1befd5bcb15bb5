"""What the quantized model does, measured by running it: the work behind the figures of every page."""

from dataclasses import dataclass
from typing import Any

import onnx

from core.evaluate import (
    Comparison,
    FloatReference,
    LayerError,
    Preview,
    compare,
    float_reference,
    layer_errors,
    preview,
    read_quantized,
)
from core.evaluate.outputs import OutputComparison
from core.halves import activations_only, weights_only
from core.model import Model
from core.progress import ProgressFn, report
from core.qdq import quantize_model
from core.recipe import Encodings
from core.samples import Samples

ACCURACY_SAMPLES = 2000  # runs of the whole model for top-1 and latency; more take minutes and change nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """The quantized model over the evaluation data, and what each half of quantization costs alone."""

    comparison: Comparison
    weights: OutputComparison  # only weights quantized, on the preview's samples
    activations: OutputComparison  # only activations quantized
    both: OutputComparison  # on the same samples


def quantized_bytes(model: Model, encodings: Encodings) -> bytes:
    """The file that would be exported."""
    return bytes(quantize_model(model, encodings).SerializeToString())


def reference(place: dict[str, Any], model: Model, samples: Samples, progress: ProgressFn) -> FloatReference:
    """What the float model computes on the preview's samples; made once and kept in `place`."""
    if "reference" not in place:
        place["reference"] = float_reference(model, samples, count=len(samples), progress=progress)
    known: FloatReference = place["reference"]
    return known


def effect(
    place: dict[str, Any], model: Model, encodings: Encodings, samples: Samples, progress: ProgressFn
) -> Preview:
    """Outputs and cumulative layer errors of the exported model, on a few samples."""
    floats = reference(place, model, samples, progress)
    report(progress, 0, 0, "quantizing")
    data = quantized_bytes(model, encodings)
    report(progress, 0, 0, "running the quantized model")
    return preview(floats, data)


def local_errors(
    model: Model, encodings: Encodings, samples: Samples, progress: ProgressFn
) -> dict[str, LayerError]:
    """Every layer quantized alone, its inputs float."""
    file = read_quantized(quantized_bytes(model, encodings))
    errors = layer_errors(model, file, samples, local=True, threads=2, progress=progress)
    return {error.layer: error for error in errors}


def whole(
    place: dict[str, Any],
    model: Model,
    encodings: Encodings,
    samples: Samples,
    few: Samples,
    progress: ProgressFn,
) -> Whole:
    """Accuracy and latency over the evaluation data, and the loss of weights and activations alone."""
    floats = reference(place, model, few, progress)

    def outputs(proto: onnx.ModelProto | bytes) -> OutputComparison:
        # In float between rounded tensors: ONNX Runtime would quantize weights that were left in float.
        return preview(floats, proto, layers=False, simulate=True).output

    data = quantized_bytes(model, encodings)
    both = outputs(data)
    report(progress, 0, 0, "only weights quantized")
    weights = outputs(weights_only(model, encodings))
    report(progress, 0, 0, "only activations quantized")
    activations = outputs(activations_only(model, encodings))
    comparison = compare(
        model, data, samples.take(ACCURACY_SAMPLES), layers=False, latency=True, progress=progress
    )
    return Whole(comparison=comparison, weights=weights, activations=activations, both=both)
