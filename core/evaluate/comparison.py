"""Float against quantized over a whole data set: outputs, layers, task accuracy, size, latency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import onnx

from quantscope.core.data import Load, Samples
from quantscope.core.errors import DataError
from quantscope.core.evaluate.comparison_json import (
    ComparisonJson,
    DefaultSessionJson,
    accuracy_json,
    error_dict,
    latency_json,
    layers_json,
    outputs_json,
    saturated_json,
    size_parts_json,
)
from quantscope.core.evaluate.correspondence import (
    QuantizedFile,
    check_interface,
    match_tensors,
    read_quantized,
)
from quantscope.core.evaluate.latency import Latency, measure_latency
from quantscope.core.evaluate.layers import LayerError, layer_errors, quantized_session
from quantscope.core.evaluate.lost import LostOutput, lost_outputs, output_warnings
from quantscope.core.evaluate.outputs import (
    OutputComparison,
    OutputError,
    OutputTotals,
    RunOutputs,
    compare_run,
    scores_spec,
)
from quantscope.core.evaluate.qlinear import has_integer_operators
from quantscope.core.evaluate.reference import row_spans
from quantscope.core.evaluate.saturating import SaturatedLayer, may_saturate, saturated_layers
from quantscope.core.evaluate.scores import Accuracy
from quantscope.core.evaluate.size import SizeBreakdown, size_breakdown
from quantscope.core.evaluate.sums import TensorError
from quantscope.core.model import Model, model_session
from quantscope.core.progress import ProgressFn
from quantscope.core.runtime import Session, integer_sums, parallel_map, thread_count
from quantscope.core.words import plural

NOT_ALONE = (
    "the file is made of integer operators (QLinearConv and the like), between which no float tensors can be "
    "put: layers are compared with all before them (cumulative), and none is quantized alone (local)"
)
LATENCY_THREADS = 1  # of one run when time is measured
SATURATED_SAMPLES = 16  # on which the layers that lose by saturation are found


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultSession:
    """What the file does in a default session on this processor, which adds products in 16 bits."""

    equal: bool  # its outputs are those of exact sums, bit for bit, on every sample
    output: TensorError
    outputs: tuple[OutputError, ...]
    accuracy: Accuracy | None
    layers: tuple[SaturatedLayer, ...]  # those that lose by it, the worst first

    def as_dict(self) -> DefaultSessionJson:
        """As `Comparison.as_dict`."""
        return {
            "equal": self.equal,
            "output": error_dict(self.output),
            "outputs": outputs_json(self.outputs),
            "accuracy": accuracy_json(self.accuracy),
            "layers": saturated_json(self.layers),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What quantization costs and saves."""

    output: TensorError  # all float outputs taken as one vector
    outputs: tuple[OutputError, ...]
    accuracy: Accuracy | None  # None if no output looks like class scores
    layers: tuple[LayerError, ...]  # empty if not asked for
    latency: Latency | None  # None if not asked for
    float_bytes: int  # files with their external data
    quantized_bytes: int
    parts: SizeBreakdown  # of the quantized file
    samples: int
    layer_samples: int  # samples that the layers' errors come from
    warnings: tuple[str, ...]
    default: DefaultSession | None  # None where a default session sums exactly, too
    may_saturate: tuple[str, ...]  # layers that can lose on x86 without VNNI, on some input
    lost: tuple[LostOutput, ...] = ()  # outputs with channels that vary in float and are constant here

    def as_dict(self) -> ComparisonJson:
        """For JSON: numbers, strings, lists and None; an infinite SQNR becomes None beside `exact: true`."""
        return {
            "output": error_dict(self.output),
            "outputs": outputs_json(self.outputs),
            "accuracy": accuracy_json(self.accuracy),
            "size_bytes": {"float": self.float_bytes, "quantized": self.quantized_bytes},
            "size_parts": size_parts_json(self.parts),
            "latency_ms": latency_json(self.latency),
            "layers": layers_json(self.layers),
            "samples": self.samples,
            "layer_samples": self.layer_samples,
            "warnings": list(self.warnings),
            "default_session": None if self.default is None else self.default.as_dict(),
            "may_saturate": list(self.may_saturate),
        }


def compare(
    model: Model,
    quantized: bytes | str | Path | onnx.ModelProto,
    samples: Samples,
    *,
    layers: bool = True,
    local: bool = True,
    layer_samples: int | None = 64,
    simulate: bool = False,
    latency: bool = True,
    threads: int | None = None,
    max_bytes: int = 1 << 30,
    progress: ProgressFn | None = None,
) -> Comparison:
    """Run both models on every sample with ONNX Runtime, and compare.

    Figures do not depend on the order of the samples or on `threads`, latency apart. They come from exact
    sums on every processor; where a default session cuts sums off, its own figures stand beside them
    (`default`).

    Args:
        model: The float model.
        quantized: A quantized version of it, from any tool, with the same inputs and outputs.
        samples: What to run; with labels, accuracy is measured too, over samples or over their positions.
        layers: Also compare layer by layer.
        local: Also quantize each layer alone.
        layer_samples: Samples to compare layers on, the first ones; None = all.
        simulate: Run the quantized model in float with tensors rounded, rather than on integer kernels;
            time is measured on integer kernels all the same.
        latency: Also measure time, on one thread.
        threads: Samples run at the same time; None = one a processor.
        max_bytes: About how much memory the compared layers may take.
        progress: Told after each sample; a `Cancelled` that it raises ends the work.

    Raises:
        ModelError: The quantized model is unreadable, does not run, or takes or gives other tensors.
        DataError: There are no samples, they do not fit, or the labels are no class indices.
    """
    file = read_quantized(quantized)
    check_interface(model, file.proto)
    if not len(samples):
        raise DataError("there are no samples to compare the models on")
    workers = thread_count(threads)
    outputs, default = _run_sessions(
        model, file, samples, simulate=simulate, workers=workers, progress=progress
    )
    # Where the default session gives the same, it is what people use, and it is the faster one.
    both = default is not None and not default.equal
    time = _latency(model, file, samples, exact=both, default=both) if latency else None
    few = samples if layer_samples is None else samples.take(layer_samples)
    shown: tuple[LayerError, ...] = ()
    if layers:
        shown = layer_errors(
            model,
            file,
            few,
            local=local,
            simulate=simulate,
            threads=workers,
            max_bytes=max_bytes,
            progress=progress,
        )
    alone_missing = layers and local and has_integer_operators(file.proto.graph.node)
    risky = may_saturate(model, file)
    lost = lost_outputs(model, outputs.outputs, match_tensors(model, file.proto))
    return Comparison(
        output=outputs.overall,
        outputs=outputs.outputs,
        accuracy=outputs.accuracy,
        layers=shown,
        latency=time,
        float_bytes=model.size_bytes,
        quantized_bytes=file.size_bytes,
        parts=size_breakdown(file.proto),
        samples=len(samples),
        layer_samples=len(few) if layers else 0,
        warnings=(
            *_warnings(outputs.outputs, shown, lost, alone_missing=alone_missing),
            *(_inexact(model, file) if default is not None and risky else ()),
        ),
        default=default,
        may_saturate=risky,
        lost=lost,
    )


def _run_sessions(
    model: Model,
    file: QuantizedFile,
    samples: Samples,
    *,
    simulate: bool,
    workers: int,
    progress: ProgressFn | None,
) -> tuple[OutputComparison, DefaultSession | None]:
    """The outputs with exact sums, and what a default session does where this processor cuts sums off."""
    sessions = [quantized_session(file, simulate=simulate)]
    saturating = integer_sums().saturates and not simulate
    if saturating:
        sessions.append(quantized_session(file, exact=False))
    (outputs, *others), equal = _compare_outputs(model_session(model), sessions, samples, workers, progress)
    if not saturating:
        return outputs, None
    return outputs, _default_session(model, file, others[0], equal, samples, workers)


def _default_session(
    model: Model, file: QuantizedFile, found: OutputComparison, equal: bool, samples: Samples, workers: int
) -> DefaultSession:
    few = samples.take(SATURATED_SAMPLES)
    return DefaultSession(
        equal=equal,
        output=found.overall,
        outputs=found.outputs,
        accuracy=found.accuracy,
        layers=() if equal else saturated_layers(model, file, few, threads=workers),
    )


def _compare_outputs(
    float_session: Session,
    sessions: Sequence[Session],
    samples: Samples,
    workers: int,
    progress: ProgressFn | None,
) -> tuple[list[OutputComparison], bool]:
    """The outputs of each session against the float model's, and whether all sessions give the same ones."""
    names = list(float_session.outputs)
    first = next(iter(samples))
    spec = scores_spec(float_session.run(first, names), samples, maps=True)
    spans = row_spans(samples)
    totals = [OutputTotals(names=names, spec=spec) for _ in sessions]
    equal = True

    def work(item: tuple[Load, tuple[int, int, int]]) -> tuple[list[RunOutputs], bool]:
        load, rows = item
        sample = load()
        floats = float_session.run(sample, names)
        given = [session.run(sample, names) for session in sessions]
        same = all(_same(given[0][name], other[name]) for other in given[1:] for name in names)
        runs = [compare_run(floats, found, rows=rows, spec=spec, channels=True) for found in given]
        return runs, same

    for runs, same in parallel_map(
        work,
        zip(samples.loads(), spans, strict=True),
        total=len(samples),
        threads=workers,
        progress=progress,
        label="outputs",
    ):
        equal = equal and same
        for total, run in zip(totals, runs, strict=True):
            total.add(run)
    return [total.result() for total in totals], equal


def _same(a: object, b: object) -> bool:
    """Whether two outputs are equal, bit for bit."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def _latency(model: Model, file: QuantizedFile, samples: Samples, *, exact: bool, default: bool) -> Latency:
    return measure_latency(
        model_session(model, threads=LATENCY_THREADS),
        quantized_session(file, threads=LATENCY_THREADS, exact=exact),
        list(islice(iter(samples), 4)),
        default_session=quantized_session(file, threads=LATENCY_THREADS, exact=False) if default else None,
        threads=LATENCY_THREADS,
    )


def _inexact(model: Model, file: QuantizedFile) -> list[str]:
    """Says so where not even a session for exact sums has them on this processor."""
    found = may_saturate(model, file, exact=True)
    if not found:
        return []
    return [
        f"{plural(len(found), 'product')} of this file, first '{found[0]}', may saturate on this CPU in "
        "every session: their int8 weights are computed at run time, or ONNX Runtime does not convert them. "
        "Figures may be those of this CPU only"
    ]


def _warnings(
    outputs: tuple[OutputError, ...],
    layers: tuple[LayerError, ...],
    lost: tuple[LostOutput, ...],
    *,
    alone_missing: bool,
) -> list[str]:
    """What a reader of the figures must know: values that are not comparable, and outputs that are lost."""
    out = []
    for item in outputs:
        if item.error is not None and item.error.non_finite:
            out.append(
                f"output '{item.name}' of the quantized model has {item.error.non_finite:,} values that are "
                "NaN or infinite where the float model's are not, or the other way round: no errors are given"
            )
        if item.mismatched:
            runs = plural(item.mismatched, "run")
            out.append(f"output '{item.name}' has other shapes in {runs}: not compared")
    broken = [e.layer for e in layers if e.cumulative is not None and e.cumulative.non_finite]
    if broken:
        out.append(f"NaN or infinities in {plural(len(broken), 'layer')}, first '{broken[0]}'")
    out += [NOT_ALONE] if alone_missing else []
    out += output_warnings(outputs, lost, sentence_of=lambda one: one.options)
    return out
