"""What the quantized model does, measured by running it: the work behind the figures of every page."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx

from quantscope.core.data import Samples
from quantscope.core.data.sources import IGNORED
from quantscope.core.evaluate import (
    Accuracy,
    Comparison,
    FloatReference,
    LayerError,
    OutputComparison,
    Preview,
    activations_only,
    compare,
    float_reference,
    layer_errors,
    preview,
    read_quantized,
    weights_only,
)
from quantscope.core.memo import Recent
from quantscope.core.model import Model
from quantscope.core.progress import ProgressFn, report
from quantscope.core.quantize import Encodings, quantize_model
from quantscope.ui.session.jobs import acquired

REFERENCES = 2  # of a project in memory, up to 1 GiB each: one more than is shown, for undo
FEW_ROWS = 50  # from fewer it cannot be told whether a model guesses
CLASS_ROWS = 2000  # that are looked at for the classes there are
GUESSED = 1.5  # times what chance gives: still no better than a guess
MOST_KEPT = 1 << 28  # bytes of a quantized file that is kept for the next measurement
SIDE_BY_SIDE = 64 << 20  # bytes of a model, up to which two of its sessions may be in memory at once
MOST_SAMPLES = 2000  # for top-1 and outputs; more take minutes and change nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class LossByPart:
    """What each half of quantization costs alone, on the preview's samples."""

    weights: OutputComparison  # only weights quantized
    activations: OutputComparison  # only activations quantized
    both: OutputComparison


def guessing(found: Accuracy | None, labels: npt.ArrayLike) -> bool:
    """Whether already the float model is right no more often than a guess: data or labels do not fit it."""
    few = np.asarray(labels)[:CLASS_ROWS]
    classes = len(np.unique(few[few != IGNORED]))
    if found is None or found.float_top1 is None or classes < 2:
        return False
    return found.rows >= FEW_ROWS and found.float_top1 <= GUESSED / classes


class References:
    """What float models of a project compute, each run once, and the quantized file that is measured now.

    The first thread that asks makes them.
    """

    def __init__(self) -> None:
        self.making = threading.Lock()  # two at a time would need the memory of both
        self.by_model: Recent[FloatReference] = Recent(REFERENCES)  # by its hash
        self.quantizing = threading.Lock()
        self.file: tuple[Encodings, bytes] | None = None  # what became of encodings; all measurements read it


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUnderTest:
    """What is measured."""

    references: References  # keeps what float models compute
    original: Model  # as opened; what outputs are compared with
    model: Model  # as the recipe's model fixes leave it; what layers are compared with
    encodings: Encodings
    samples: Samples  # the preview's
    masked: frozenset[str] = frozenset()  # layers whose errors say nothing: a mask makes up their energy


def quantized_bytes(model: Model, encodings: Encodings) -> bytes:
    """The file that would be exported."""
    return bytes(quantize_model(model, encodings).SerializeToString())


def _file(tested: ModelUnderTest, progress: ProgressFn) -> bytes:
    """The file that is measured; made once for all measurements of the same encodings."""
    kept = tested.references
    with acquired(kept.quantizing, progress, "quantizing"):
        if kept.file is None or kept.file[0] is not tested.encodings:
            report(progress, 0, 0, "quantizing")
            data = quantized_bytes(tested.model, tested.encodings)
            if len(data) > MOST_KEPT:
                return data
            kept.file = tested.encodings, data
        return kept.file[1]


def reference(tested: ModelUnderTest, progress: ProgressFn) -> FloatReference:
    """What the float model computes on the preview's samples; made once and kept.

    Outputs are those of the original model, so that what a fix changes in float counts as error too.
    """
    known = tested.references.by_model.get(tested.model.hash)
    if known is not None:
        return known
    with acquired(tested.references.making, progress):
        known = tested.references.by_model.get(tested.model.hash)  # made by the thread that held the lock
        if known is not None:
            return known
        samples, count = tested.samples, len(tested.samples)
        found = float_reference(tested.model, samples, count=count, maps=True, progress=progress)
        if tested.model is not tested.original:
            first = float_reference(
                tested.original, samples, count=len(found), layers=False, progress=progress
            )
            found = replace(found, outputs=first.outputs)
        tested.references.by_model.put(tested.model.hash, found)
        return found


def effect(tested: ModelUnderTest, progress: ProgressFn) -> Preview:
    """Outputs and cumulative layer errors of the exported model, on a few samples."""
    floats = reference(tested, progress)
    data = _file(tested, progress)
    report(progress, 0, 0, "running the quantized model")
    found = preview(floats, data)
    return replace(found, layers=tuple(_told(error, tested) for error in found.layers))


def _told(error: LayerError, tested: ModelUnderTest) -> LayerError:
    """The error; without figures where they would be over the energy of a mask."""
    return replace(error, cumulative=None, local=None) if error.layer in tested.masked else error


def local_errors(tested: ModelUnderTest, progress: ProgressFn) -> dict[str, LayerError]:
    """Every layer quantized alone, its inputs float."""
    file = read_quantized(_file(tested, progress))
    errors = layer_errors(tested.model, file, tested.samples, local=True, threads=2, progress=progress)
    return {error.layer: _told(error, tested) for error in errors}


def whole(tested: ModelUnderTest, samples: Samples, progress: ProgressFn) -> Comparison:
    """Outputs, accuracy, size and latency over the evaluation data."""
    data = _file(tested, progress)
    some = samples.take(MOST_SAMPLES)
    return compare(tested.original, data, some, layers=False, latency=True, progress=progress)


def loss_by_part(tested: ModelUnderTest, progress: ProgressFn) -> LossByPart:
    """The loss of weights and of activations alone."""
    floats = reference(tested, progress)

    def outputs(proto: onnx.ModelProto | bytes, label: str, *, simulate: bool = True) -> OutputComparison:
        report(progress, 0, 0, label)
        # In float between rounded tensors: ONNX Runtime would quantize weights that were left in float.
        return preview(floats, proto, layers=False, simulate=simulate).output

    def weights() -> OutputComparison:
        return outputs(weights_only(tested.model, tested.encodings), "only weights quantized")

    def activations() -> OutputComparison:
        return outputs(activations_only(tested.model, tested.encodings), "only activations quantized")

    def both() -> OutputComparison:
        return outputs(_file(tested, progress), "both quantized", simulate=False)

    # Sessions of many small nodes take one processor each; of large models, one at a time is in memory.
    small = tested.model.size_bytes <= SIDE_BY_SIDE
    with ThreadPoolExecutor(2 if small else 1) as workers:
        parts = [workers.submit(part) for part in (weights, activations, both)]
        found = [part.result() for part in parts]
    return LossByPart(weights=found[0], activations=found[1], both=found[2])
