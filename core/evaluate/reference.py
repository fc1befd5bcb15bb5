"""Float results kept in memory: a changed recipe is compared without running the float model again."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx

from quantscope.core.data import Load, Sample, Samples
from quantscope.core.errors import DataError
from quantscope.core.evaluate.correspondence import check_interface, match_tensors, read_quantized
from quantscope.core.evaluate.layers import (
    LayerError,
    compare_tensors,
    layer_error,
    probes,
    quantized_session,
)
from quantscope.core.evaluate.outputs import (
    OutputComparison,
    OutputTotals,
    RunOutputs,
    ScoresSpec,
    compare_run,
    scores_spec,
)
from quantscope.core.evaluate.sums import ErrorSums, ErrorTotal, warm_up
from quantscope.core.model import Model, model_session
from quantscope.core.progress import ProgressFn
from quantscope.core.runtime import Arrays, parallel_map, thread_count


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FloatReference:
    """What the float model computes for a few samples. Read-only; may be used from several threads."""

    model: Model
    inputs: tuple[Sample, ...]
    outputs: tuple[Arrays, ...]
    activations: tuple[Mapping[str, npt.NDArray[Any]], ...] = field(repr=False)  # by tensor: layers' outputs
    rows: tuple[tuple[int, int, int], ...]  # batch size, rows that are data, rows before, of each sample
    scores: ScoresSpec | None
    left_out: tuple[str, ...]  # layers' outputs that are not kept: they did not fit, or were not asked for
    size_bytes: int  # of the activations

    def __len__(self) -> int:
        return len(self.inputs)


def float_reference(
    model: Model,
    samples: Samples,
    *,
    count: int = 8,
    layers: bool = True,
    maps: bool = False,
    max_bytes: int = 1 << 30,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> FloatReference:
    """Run the float model on the first samples and keep what it computes.

    Args:
        model: The float model.
        samples: The first `count` of them are taken.
        count: Most samples to take.
        layers: Keep the layers' outputs too, for previews with layers.
        maps: Count agreement of pixels, too, where an output looks like their scores (`scores_spec`).
        max_bytes: Limit for those. Where `count` samples exceed it, fewer are taken; where one sample
            does, its largest tensors are left out.
        threads: Samples run at the same time; None = one a processor.
        progress: Told after each sample; may raise `Cancelled`.

    Raises:
        DataError: There are no samples, or they do not fit the model.
    """
    chosen = samples.take(count)
    if not len(chosen):
        raise DataError("there are no samples to run the model on")
    workers = thread_count(threads)
    found = _run_reference(model, chosen, max_bytes if layers else None, workers, progress)
    return replace(found, scores=scores_spec(found.outputs[0], chosen, maps=True)) if maps else found


def whole_reference(model: Model, samples: Samples, threads: int | None) -> FloatReference:
    """The outputs of the float model on all of some samples, to measure recipes against."""
    return float_reference(model, samples, count=len(samples), layers=False, threads=threads)


def _run_reference(
    model: Model, chosen: Samples, max_bytes: int | None, workers: int, progress: ProgressFn | None
) -> FloatReference:
    """`max_bytes` None = outputs only."""
    inputs = {v.name for v in model.proto().graph.input}
    names = [layer.output for layer in model.layers if layer.output not in inputs]
    plain = exposed = model_session(model)
    kept: list[str] = []
    left_out = frozenset(names)
    if max_bytes is not None and names:
        warm_up()
        exposed = model_session(model, names)
        sizes = {name: array.nbytes for name, array in exposed.run(next(iter(chosen)), names).items()}
        left_out = _too_much(sizes, max_bytes)
        kept = [name for name in names if name not in left_out]
        each = sum(sizes[name] for name in kept)
        chosen = chosen.take(max(1, min(len(chosen), max_bytes // max(each, 1))))

    def work(load: Load) -> tuple[Sample, Arrays, Arrays]:
        sample = load()
        return sample, plain.run(sample), exposed.run(sample, kept) if kept else {}

    loads, total = chosen.loads(), len(chosen)
    runs = list(
        parallel_map(work, loads, total=total, threads=workers, progress=progress, label="float model")
    )
    return FloatReference(
        model=model,
        inputs=tuple(run[0] for run in runs),
        outputs=tuple(run[1] for run in runs),
        activations=tuple({**run[0], **run[2]} for run in runs),
        rows=tuple(row_spans(chosen)),
        scores=scores_spec(runs[0][1], chosen),
        left_out=tuple(sorted(left_out)),
        size_bytes=sum(array.nbytes for run in runs for array in run[2].values()),
    )


def _too_much(sizes: Mapping[str, int], max_bytes: int) -> frozenset[str]:
    """The largest tensors, as many as must go for the rest to fit."""
    total = sum(sizes.values())
    out = set()
    for name in sorted(sizes, key=lambda n: (-sizes[n], n)):
        if total <= max_bytes:
            break
        out.add(name)
        total -= sizes[name]
    return frozenset(out)


def row_spans(samples: Samples) -> Iterator[tuple[int, int, int]]:
    """Batch size, rows that are data and rows in earlier samples, for each sample."""
    before = 0
    for position in range(len(samples)):
        valid = samples.valid(position)
        yield samples.batch, valid, before
        before += valid


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A quantized model held against a `FloatReference`."""

    output: OutputComparison  # of the model exactly as it would be exported
    layers: tuple[LayerError, ...]  # cumulative errors; `local` is None throughout
    samples: int
    size_bytes: int  # of the quantized model


def preview(
    reference: FloatReference,
    quantized: bytes | str | Path | onnx.ModelProto,
    *,
    layers: bool = True,
    simulate: bool = False,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> Preview:
    """Run a quantized model on the reference's samples.

    Outputs come from a session of the unchanged model. Layers come from a second one, in which the
    integer tensors are outputs too: that leaves ONNX Runtime's fusions alone in most graphs, but only the
    first session is the exported model for certain.

    Args:
        reference: What to compare with.
        quantized: The model as it would be exported.
        layers: Also compare layer by layer.
        simulate: Run it in float with tensors rounded, rather than on integer kernels.
        threads: Samples run at the same time; None = one a processor.
        progress: Told after each sample; may raise `Cancelled`.

    Raises:
        ModelError: The model does not run, or is not a version of the reference's.
    """
    file = read_quantized(quantized)
    check_interface(reference.model, file.proto)
    workers = thread_count(threads)
    group = probes(reference.model, match_tensors(reference.model, file.proto)) if layers else ()
    counterparts = [p.counterpart for p in group if p.counterpart is not None]
    names = list(dict.fromkeys(c.tensor for c in counterparts))
    with ThreadPoolExecutor(max(1, min(2, workers))) as pool:
        making = pool.submit(quantized_session, file, counterparts, simulate=simulate) if names else None
        plain = quantized_session(file, simulate=simulate)
        exposed = making.result() if making is not None else None
    outputs = [v.name for v in file.proto.graph.output]
    totals = OutputTotals(names=list(reference.outputs[0]), spec=reference.scores)
    cumulative = {p.layer.name: ErrorTotal() for p in group if p.counterpart is not None}

    def work(at: int) -> tuple[RunOutputs, dict[str, ErrorSums | None]]:
        sample, floats = reference.inputs[at], reference.outputs[at]
        given = plain.run(sample, outputs)
        run = compare_run(floats, given, rows=reference.rows[at], spec=reference.scores, channels=True)
        if exposed is None:
            return run, {}
        return run, compare_tensors(group, reference.activations[at], exposed.run(sample, names))

    total = len(reference)
    for run, sums in parallel_map(work, range(total), total=total, threads=workers, progress=progress):
        totals.add(run)
        for name, part in sums.items():
            cumulative[name].add(part)
    return Preview(
        output=totals.result(),
        layers=tuple(layer_error(p, cumulative.get(p.layer.name), None) for p in group),
        samples=len(reference),
        size_bytes=file.size_bytes,
    )
