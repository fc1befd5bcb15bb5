"""Float against quantized over a whole data set: outputs, layers, task accuracy, size, latency."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import onnx

from core.errors import DataError
from core.evaluate.latency import Latency, measure_latency
from core.evaluate.layers import LayerError, layer_errors, quantized_session
from core.evaluate.outputs import OutputError, OutputTotals, RunOutputs, compare_run, scores_spec
from core.evaluate.reference import row_spans
from core.evaluate.scores import Accuracy
from core.evaluate.sums import TensorError
from core.evaluate.view import QuantizedFile, check_interface, read_quantized
from core.model import Model
from core.progress import ProgressFn
from core.runtime import Session, parallel_map, thread_count
from core.samples import Load, Samples
from core.session import model_session


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
    samples: int
    layer_samples: int  # samples that the layers' errors come from
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: numbers, strings, lists and None; an infinite SQNR becomes None beside `exact: true`."""
        accuracy = None
        if self.accuracy is not None:
            a = self.accuracy
            accuracy = {
                "output": a.output,
                "rows": a.rows,
                "float": a.float_top1,
                "quantized": a.quantized_top1,
                "float_top5": a.float_top5,
                "quantized_top5": a.quantized_top5,
                "agreement": a.agreement,
            }
        latency = None
        if self.latency is not None:
            latency = {
                "float": self.latency.float_ms,
                "quantized": self.latency.quantized_ms,
                "runs": self.latency.runs,
                "threads": self.latency.threads,
            }
        return {
            "output": error_dict(self.output),
            "outputs": [
                {
                    "name": o.name,
                    "equal_share": o.equal_share,
                    "mismatched": o.mismatched,
                    **(error_dict(o.error) or {}),
                }
                for o in self.outputs
            ],
            "accuracy": accuracy,
            "size_bytes": {"float": self.float_bytes, "quantized": self.quantized_bytes},
            "latency_ms": latency,
            "layers": [
                {
                    "name": item.layer,
                    "tensor": item.tensor,
                    "type": item.type or "float",
                    "cumulative": error_dict(item.cumulative),
                    "local": error_dict(item.local),
                }
                for item in self.layers
            ],
            "samples": self.samples,
            "layer_samples": self.layer_samples,
            "warnings": list(self.warnings),
        }


def error_dict(error: TensorError | None) -> dict[str, Any] | None:
    """A `TensorError` for JSON, which knows no infinity."""
    if error is None:
        return None
    figures: Mapping[str, Any] = asdict(error)
    finite = {k: v if v is None or math.isfinite(v) else None for k, v in figures.items()}
    return {**finite, "exact": error.sqnr_db == math.inf}


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
    latency_threads: int = 1,
    threads: int | None = None,
    max_bytes: int = 1 << 30,
    progress: ProgressFn | None = None,
) -> Comparison:
    """Run both models on every sample with ONNX Runtime, and compare.

    Figures do not depend on the order of the samples or on `threads`, latency apart.

    Args:
        model: The float model.
        quantized: A quantized version of it, from any tool, with the same inputs and outputs.
        samples: What to run; with labels, accuracy is measured too.
        layers: Also compare layer by layer.
        local: Also quantize each layer alone.
        layer_samples: Samples to compare layers on, the first ones; None = all.
        simulate: Run the quantized model in float with tensors rounded, rather than on integer kernels;
            time is measured on integer kernels all the same.
        latency: Also measure time.
        latency_threads: Threads of one run when time is measured.
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
    pair = model_session(model), quantized_session(file, simulate=simulate)
    outputs = _outputs(*pair, samples, workers, progress).result()
    time = _latency(model, file, samples, latency_threads) if latency else None
    shown: tuple[LayerError, ...] = ()
    few = samples if layer_samples is None else samples.take(layer_samples)
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
    return Comparison(
        output=outputs.overall,
        outputs=outputs.outputs,
        accuracy=outputs.accuracy,
        layers=shown,
        latency=time,
        float_bytes=model.size_bytes,
        quantized_bytes=file.size_bytes,
        samples=len(samples),
        layer_samples=len(few) if layers else 0,
        warnings=tuple(_warnings(outputs.outputs, shown)),
    )


def _outputs(
    float_session: Session,
    integer_session: Session,
    samples: Samples,
    workers: int,
    progress: ProgressFn | None,
) -> OutputTotals:
    names = list(float_session.outputs)
    first = next(iter(samples))
    spec = scores_spec(float_session.run(first, names), samples)
    spans = row_spans(samples)
    totals = OutputTotals(names=names, spec=spec)

    def work(item: tuple[Load, tuple[int, int, int]]) -> RunOutputs:
        load, rows = item
        sample = load()
        floats = float_session.run(sample, names)
        return compare_run(floats, integer_session.run(sample, names), rows=rows, spec=spec)

    for run in parallel_map(
        work,
        zip(samples.loads(), spans, strict=True),
        total=len(samples),
        threads=workers,
        progress=progress,
        label="outputs",
    ):
        totals.add(run)
    return totals


def _latency(model: Model, file: QuantizedFile, samples: Samples, threads: int) -> Latency:
    pair = model_session(model, threads=threads), quantized_session(file, threads=threads)
    return measure_latency(*pair, list(islice(iter(samples), 4)), threads=threads)


def _warnings(outputs: tuple[OutputError, ...], layers: tuple[LayerError, ...]) -> list[str]:
    out = []
    for item in outputs:
        if item.error is not None and item.error.non_finite:
            out.append(
                f"output '{item.name}' of the quantized model has {item.error.non_finite:,} values that are "
                "NaN or infinite where the float model's are not, or the other way round: no errors are given"
            )
        if item.mismatched:
            out.append(f"output '{item.name}' has other shapes in {item.mismatched:,} runs: not compared")
    broken = [e.layer for e in layers if e.cumulative is not None and e.cumulative.non_finite]
    if broken:
        out.append(f"{len(broken)} layers hold NaN or infinities, first '{broken[0]}'")
    return out
