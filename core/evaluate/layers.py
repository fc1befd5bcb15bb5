"""Errors layer by layer: of the real integer run (cumulative), and of each layer quantized alone (local)."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy.typing as npt

from quantscope.core.data import Load, Sample, Samples
from quantscope.core.errors import ModelError
from quantscope.core.evaluate.correspondence import Counterpart, QdqView, QuantizedFile, expose, match_tensors
from quantscope.core.evaluate.isolated import IsolatedModel, isolated_model
from quantscope.core.evaluate.sums import ErrorSums, ErrorTotal, TensorError, error_sums
from quantscope.core.model import Layer, Model, model_session
from quantscope.core.progress import ProgressFn
from quantscope.core.runtime import Arrays, Session, parallel_map

# ONNX Runtime folds dequantized weights into float constants only where it does not look for Q/DQ pairs.
NO_FUSION = {"session.disable_quant_qdq": "1"}
_UNKNOWN_BYTES = 1 << 20  # assumed for a tensor whose shape is not known before the run


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerError:
    """How far one layer's output is from the float model's; a figure that could not be had is None."""

    layer: str
    tensor: str  # the float tensor compared
    type: str  # integer type of the quantized tensor; "" where it stays float
    cumulative: TensorError | None  # everything before the layer is quantized too
    local: TensorError | None  # the layer alone is quantized, its inputs are float


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A layer, and what stands for its output in the quantized model."""

    layer: Layer
    counterpart: Counterpart | None


def probes(model: Model, matched: QdqView) -> tuple[Probe, ...]:
    """One for each layer; an input that is not quantized has no counterpart."""
    out = []
    for layer in model.layers:
        found = matched.counterpart(layer.output)
        if found is not None and not found.quantized and found.tensor not in matched.produced:
            found = None
        out.append(Probe(layer=layer, counterpart=found))
    return tuple(out)


def layer_errors(
    model: Model,
    quantized: QuantizedFile,
    samples: Samples,
    *,
    local: bool = True,
    simulate: bool = False,
    threads: int = 1,
    max_bytes: int = 1 << 30,
    progress: ProgressFn | None = None,
) -> tuple[LayerError, ...]:
    """Compare every layer's output, streaming over the samples.

    Memory stays near `max_bytes`: where the tensors of one run exceed it, the layers are taken a few at
    a time, with one pass over the samples for each group. The result does not depend on the order of the
    samples or on `threads`.

    Args:
        model: The float model.
        quantized: A quantized version of it, with QuantizeLinear / DequantizeLinear pairs or of integer
            operators.
        samples: What to run.
        local: Also quantize each layer alone; not done for files of integer operators.
        simulate: Run the quantized model in float, with tensors rounded (see `quantized_session`).
        threads: Samples run at the same time.
        max_bytes: About how much the compared tensors may take.
        progress: Told after each sample.
    """
    matched = match_tensors(model, quantized.proto)
    all_probes = probes(model, matched)
    sizes = _output_bytes(model, next(iter(samples)))
    groups = list(_probes_in_memory(all_probes, sizes, max_bytes // (2 * (threads + 1))))
    results: dict[str, LayerError] = {}
    for number, group in enumerate(groups, 1):
        label = "layers" if len(groups) == 1 else f"layers, part {number} of {len(groups)}"
        # Sessions of a large model would each keep the memory of its largest run.
        run = _GroupRun(model, quantized, matched, group, local, simulate, arena=len(groups) == 1)
        cumulative = {p.layer.name: ErrorTotal() for p in group}
        alone = {name: ErrorTotal() for name in run.alone_names}
        for sums, alone_sums in parallel_map(
            run, samples.loads(), total=len(samples), threads=threads, progress=progress, label=label
        ):
            _accumulate(cumulative, sums)
            _accumulate(alone, alone_sums)
        for probe in group:
            name = probe.layer.name
            results[name] = layer_error(probe, cumulative.get(name), alone.get(name))
    return tuple(results.get(p.layer.name) or layer_error(p, None, None) for p in all_probes)


def layer_error(probe: Probe, cumulative: ErrorTotal | None, local: ErrorTotal | None) -> LayerError:
    """Figures from totals; None stays None."""
    return LayerError(
        layer=probe.layer.name,
        tensor=probe.layer.output,
        type=probe.counterpart.integer_type if probe.counterpart is not None else "",
        cumulative=cumulative.error() if cumulative is not None and cumulative.comparable else None,
        local=local.error() if local is not None and local.comparable else None,
    )


def _accumulate(totals: Mapping[str, ErrorTotal], parts: Mapping[str, ErrorSums | None]) -> None:
    for name, part in parts.items():
        totals[name].add(part)


class _GroupRun:
    """The sessions for a group of layers; called with a load, it runs one sample."""

    def __init__(
        self,
        model: Model,
        quantized: QuantizedFile,
        matched: QdqView,
        group: Sequence[Probe],
        local: bool,
        simulate: bool,
        arena: bool,
    ) -> None:
        self.group = group
        counterparts = {p.layer.name: p.counterpart for p in group if p.counterpart is not None}
        self.alone: IsolatedModel | None = None
        if local and not matched.integer_operators:  # these take no float tensors
            self.alone = isolated_model(model, quantized.proto, matched, counterparts)
        self.alone_names = tuple(self.alone.outputs) if self.alone is not None else ()
        model_inputs = {v.name for v in model.proto().graph.input}
        needed = dict.fromkeys(p.layer.output for p in group)
        needed |= dict.fromkeys(self.alone.inputs if self.alone is not None else ())
        self.float_names = [name for name in needed if name not in model_inputs]
        self.float_session = model_session(model, self.float_names, arena=arena)
        self.quantized_session = quantized_session(
            quantized, counterparts.values(), simulate=simulate, arena=arena
        )
        self.quantized_names = list(dict.fromkeys(c.tensor for c in counterparts.values()))
        self.alone_session = (
            Session(
                self.alone.proto.SerializeToString(),
                folder=quantized.folder,
                entries=NO_FUSION,
                arena=arena,
                what="the isolated layers",
            )
            if self.alone is not None
            else None
        )

    def __call__(self, load: Load) -> tuple[dict[str, ErrorSums | None], dict[str, ErrorSums | None]]:
        sample = load()
        floats = {**sample, **self.float_session.run(sample, self.float_names)}
        integers = self.quantized_session.run(sample, self.quantized_names)
        sums = compare_tensors(self.group, floats, integers)
        del integers
        alone_sums: dict[str, ErrorSums | None] = {}
        if self.alone is not None and self.alone_session is not None:
            alone = self.alone_session.run(floats)
            for probe in self.group:
                name = self.alone.outputs.get(probe.layer.name)
                if name is not None and probe.counterpart is not None:
                    alone_sums[probe.layer.name] = _difference_sums(
                        floats.get(probe.layer.output), alone[name], probe.counterpart
                    )
        return sums, alone_sums


def quantized_session(
    quantized: QuantizedFile,
    counterparts: Iterable[Counterpart] = (),
    *,
    simulate: bool = False,
    threads: int = 1,
    arena: bool = True,
    exact: bool = True,
) -> Session:
    """A session of the quantized model that also gives the counterparts' tensors.

    With `simulate`, nothing is fused into integer kernels: every node computes in float between rounded
    tensors, as runtimes do that round elsewhere. Without `exact`, products are added as a default session on
    this processor adds them.
    """
    outputs = {c.tensor: c.elem_type for c in counterparts}
    already = {v.name for v in quantized.proto.graph.output}
    make = partial(
        Session,
        expose(quantized.data, outputs, already),
        folder=quantized.folder,
        threads=threads,
        entries=NO_FUSION if simulate else None,
        arena=arena,
        what="the quantized model",
    )
    try:
        return make(exact=exact)
    except ModelError:
        # For exact sums ONNX Runtime makes weights unsigned, on every processor, and lacks kernels for signed
        # activations beside them, in files of QLinear operators; what a default session does is exact there.
        if not exact:
            raise
        return make(exact=False)


def compare_tensors(
    group: Sequence[Probe], floats: Mapping[str, npt.NDArray[Any]], integers: Arrays
) -> dict[str, ErrorSums | None]:
    """Sums for each layer of one run; None for a pair that cannot be compared."""
    return {
        p.layer.name: _difference_sums(
            floats.get(p.layer.output), integers.get(p.counterpart.tensor), p.counterpart
        )
        for p in group
        if p.counterpart is not None
    }


def _difference_sums(
    f: npt.NDArray[Any] | None, q: npt.NDArray[Any] | None, counterpart: Counterpart
) -> ErrorSums | None:
    if f is None or q is None or f.shape != q.shape:
        return None
    return error_sums(f, q, counterpart.encoding)


def _output_bytes(model: Model, sample: Sample) -> dict[str, int]:
    """About how many bytes each layer's float output takes for a sample like this one."""
    bound: dict[str, int] = {}
    for info in model.inputs:
        for dim, size in zip(info.shape or (), sample[info.name].shape, strict=False):
            if isinstance(dim, str):
                bound[dim] = size
    sizes = {}
    for layer in model.layers:
        shape = layer.shape if layer.shape is not None else (None,)
        dims = [bound.get(dim) if isinstance(dim, str) else dim for dim in shape]
        known = 4 * math.prod(dim for dim in dims if dim is not None)
        sizes[layer.name] = max(known, _UNKNOWN_BYTES) if None in dims else known
    return sizes


def _probes_in_memory(
    all_probes: Sequence[Probe], sizes: Mapping[str, int], max_bytes: int
) -> Iterator[tuple[Probe, ...]]:
    """Runs of neighbouring layers whose outputs stay within `max_bytes`, at least one layer each."""
    group: list[Probe] = []
    total = 0
    for probe in all_probes:
        if probe.counterpart is None:
            continue
        size = sizes[probe.layer.name]
        if group and total + size > max_bytes:
            yield tuple(group)
            group, total = [], 0
        group.append(probe)
        total += size
    if group:
        yield tuple(group)
