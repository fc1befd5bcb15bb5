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

MOST_SAMPLES = 2000  # for top-1 and outputs; more take minutes and change nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """What each half of quantization costs alone, on the preview's samples."""

    weights: OutputComparison  # only weights quantized
    activations: OutputComparison  # only activations quantized
    both: OutputComparison


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


def whole(model: Model, encodings: Encodings, samples: Samples, progress: ProgressFn) -> Comparison:
    """Outputs, accuracy, size and latency over the evaluation data."""
    report(progress, 0, 0, "quantizing")
    data = quantized_bytes(model, encodings)
    return compare(model, data, samples.take(MOST_SAMPLES), layers=False, latency=True, progress=progress)


def halves(
    place: dict[str, Any], model: Model, encodings: Encodings, samples: Samples, progress: ProgressFn
) -> Halves:
    """The loss of weights and of activations alone."""
    floats = reference(place, model, samples, progress)

    def outputs(proto: onnx.ModelProto | bytes, label: str) -> OutputComparison:
        report(progress, 0, 0, label)
        # In float between rounded tensors: ONNX Runtime would quantize weights that were left in float.
        return preview(floats, proto, layers=False, simulate=True).output

    return Halves(
        weights=outputs(weights_only(model, encodings), "only weights quantized"),
        activations=outputs(activations_only(model, encodings), "only activations quantized"),
        both=outputs(quantized_bytes(model, encodings), "both quantized"),
    )
