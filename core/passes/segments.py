"""Run a model piece by piece over a few samples, with a chance to change a tensor between two pieces."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from quantscope.core.data import Sample
from quantscope.core.passes.nodes import values_read
from quantscope.core.runtime import Session, parallel_map

Array = npt.NDArray[Any]


@dataclass(slots=True)
class _Segment:
    """The nodes that one cut needs beyond those of earlier cuts."""

    cut: str
    nodes: list[ir.Node]  # in topological order
    inputs: dict[str, None]  # tensors it takes from earlier pieces, or from the sample
    outputs: dict[str, None] = field(default_factory=dict)  # the cut, and what later pieces take


class Segments:
    """A model cut behind given tensors.

    Iterating runs one piece after another, each over all samples, and gives the tensor at its end; what is
    written into `values` before the next step is what the rest of the model reads. Every node runs once for
    a sample (DequantizeLinear apart, which is repeated so that tensors wait as integers), and nodes behind
    the last cut never run. Only the tensors that are still needed are held.
    """

    def __init__(self, model: ir.Model, cuts: Sequence[str], samples: Sequence[Sample], threads: int) -> None:
        """`cuts`: tensors of the main graph in topological order."""
        self.model, self.samples, self.threads = model, samples, threads
        self.pieces = _segments(model.graph, cuts)
        self.values: list[dict[str, Array]] = [dict(sample) for sample in samples]
        self.last = {name: i for i, piece in enumerate(self.pieces) for name in piece.inputs}

    def __iter__(self) -> Iterator[str]:
        for number, piece in enumerate(self.pieces):
            self._run(piece)
            yield piece.cut
            for held in self.values:
                for name in [n for n in held if self.last.get(n, -1) <= number]:
                    del held[name]

    def _run(self, piece: _Segment) -> None:
        types = {name: self.values[0][name].dtype for name in piece.inputs}
        session = Session(_proto(self.model, piece, types), arena=False, what="a part of the model")
        wanted = list(piece.outputs)

        def work(held: dict[str, Array]) -> dict[str, Array]:
            return session.run({name: held[name] for name in piece.inputs}, wanted)

        results = parallel_map(work, self.values, total=len(self.values), threads=self.threads)
        for held, found in zip(self.values, results, strict=True):
            held.update(found)


def _segments(graph: ir.Graph, cuts: Sequence[str]) -> list[_Segment]:
    order = {node: i for i, node in enumerate(graph)}
    values = {str(v.name): v for node in order for v in node.outputs}
    owner: dict[ir.Node, int] = {}
    pieces: list[_Segment] = []
    for number, cut in enumerate(cuts):
        nodes: set[ir.Node] = set()
        inputs: dict[str, None] = {}
        waiting = [values[cut]]
        while waiting:
            value = waiting.pop()
            node = value.producer()
            if value.const_value is not None or node in nodes:
                continue
            if node is None or owner.get(node, number) != number:
                inputs[str(value.name)] = None
                continue
            nodes.add(node)
            if not _repeatable(node):
                owner[node] = number
            waiting.extend(values_read(node))
        pieces.append(_Segment(cut, sorted(nodes, key=order.__getitem__), inputs, {cut: None}))
    for piece in pieces:
        for name in piece.inputs:
            producer = values[name].producer() if name in values else None
            if producer is not None:
                pieces[owner[producer]].outputs[name] = None
    return pieces


def _repeatable(node: ir.Node) -> bool:
    """Nodes that run in every piece that reads them: cheap ones, and those that give no plain tensor."""
    return node.op_type == "DequantizeLinear" or any(
        v.type is not None and not isinstance(v.type, ir.TensorType) for v in node.outputs
    )


def _proto(model: ir.Model, piece: _Segment, types: dict[str, np.dtype[Any]]) -> bytes:
    out = onnx.ModelProto(ir_version=model.ir_version)
    for domain, version in model.opset_imports.items():
        out.opset_import.add(domain=domain, version=version)
    out.functions.extend(ir.to_proto(function) for function in model.functions.values())
    out.graph.name = "piece"
    constants: dict[str, ir.TensorProtocol] = {}
    for node in piece.nodes:
        out.graph.node.append(ir.to_proto(node))
        constants |= {str(v.name): v.const_value for v in values_read(node) if v.const_value is not None}
    for name, tensor in constants.items():
        if isinstance(tensor, ir.ExternalTensor):
            tensor = ir.Tensor(np.array(tensor.numpy()), dtype=tensor.dtype, name=name)
        stored = ir.to_proto(tensor)
        stored.name = name
        out.graph.initializer.append(stored)
    for name, dtype in types.items():
        value = out.graph.input.add(name=name)
        value.type.tensor_type.elem_type = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    out.graph.output.extend(onnx.ValueInfoProto(name=name) for name in piece.outputs)
    return bytes(out.SerializeToString())
