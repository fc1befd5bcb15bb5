"""Make a changed float model out of a model: new constants, and how far its outputs moved."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from quantscope.core.data import Sample, Samples, pick
from quantscope.core.model import Model, build_layers, float_session, float_tensors
from quantscope.core.model.loading import add_initializer, graph_hash, names_in_use, set_constant, unique_name
from quantscope.core.runtime import parallel_map, thread_count

Float32 = npt.NDArray[np.float32]


def rebuilt(model: Model, graph: ir.Model) -> Model:
    """The model with another graph of the same inputs and outputs."""
    return replace(
        model,
        ir=graph,
        hash=graph_hash(graph),
        layers=build_layers(graph.graph),
        tensors=float_tensors(graph.graph),
    )


def with_constants(model: Model, arrays: Mapping[str, Float32]) -> Model:
    """The model with other values, perhaps of another shape, in some initializers."""
    graph = model.ir.clone()
    for name, array in arrays.items():
        set_constant(graph.graph.initializers[name], array)
    return rebuilt(model, graph)


def add_constant(graph: ir.Graph, name: str, array: Float32) -> ir.Value:
    """A new initializer, called `name` unless that is taken."""
    return add_initializer(graph, unique_name(name, names_in_use(graph)), array)


def set_bias(graph: ir.Graph, node: ir.Node, array: Float32) -> None:
    """Give a Conv, ConvTranspose or Gemm another bias, or its first one."""
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and len(bias.uses()) == 1:
        set_constant(bias, array)
        return
    node.resize_inputs(3)
    node.replace_input_with(2, add_constant(graph, f"{node.name}.bias", array))


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far a changed float model's outputs are from the original's."""

    largest: float  # |Δ| over all outputs and samples
    sqnr_db: float  # infinite where nothing differs
    samples: int


def difference(
    model: Model, changed: Model, samples: Samples, *, count: int = 32, threads: int | None = None
) -> Difference:
    """Run both float models on up to `count` samples, chosen by content.

    Raises:
        DataError: There are no samples, or they do not fit the model.
    """
    if changed.hash == model.hash:
        return Difference(largest=0.0, sqnr_db=float("inf"), samples=0)
    names = [info.name for info in model.outputs]
    picked = pick(samples, count)
    sessions = float_session(model, names), float_session(changed, names)

    def work(run: Sample) -> tuple[float, float, float]:
        largest = signal = noise = 0.0
        for (_, one), (_, other) in zip(*(session.values(run) for session in sessions), strict=True):
            if one.dtype.kind != "f" or one.shape != other.shape:
                continue
            wide = one.astype(np.float64)
            delta = wide - other
            largest = max(largest, float(np.abs(delta).max(initial=0.0)))
            signal += float(np.square(wide).sum())
            noise += float(np.square(delta).sum())
        return largest, signal, noise

    total = len(picked.runs)
    found = list(parallel_map(work, picked.runs, total=total, threads=thread_count(threads)))
    largest = max(part[0] for part in found)
    signal, noise = sum(part[1] for part in found), sum(part[2] for part in found)
    sqnr = 10 * np.log10(signal / noise) if signal > 0 and noise > 0 else np.inf if noise == 0 else -np.inf
    return Difference(largest=largest, sqnr_db=float(sqnr), samples=len(picked.runs))
