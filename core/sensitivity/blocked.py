"""Pieces in the memory layout that ONNX Runtime's convolutions work in, so that nothing is converted between.

ONNX Runtime computes convolutions on channels in blocks. A piece of its own would bring its input into
blocks and its output back, which for a ResNet costs more than the rest. So the graph with every tensor of
interest as an output is optimized as a whole, and the result is cut at the same tensors, in blocks as
they are: rounding does not care about the order of elements.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from quantscope.core.runtime import BLOCKED_DOMAIN, ORT_ERRORS, WEIGHTS_FILE, names_read, optimized_graph
from quantscope.core.sensitivity.pieces import InputVersion, Piece, PieceGraph, Variant

_REORDER = frozenset({"ReorderInput", "ReorderOutput"})


class _Unfit(Exception):
    """The optimized graph does not compute every tensor from the same tensors as the model."""


_FAILURES: tuple[type[Exception], ...] = (_Unfit, CycleError, OSError, *ORT_ERRORS)


def blocked(plain: PieceGraph) -> PieceGraph | None:
    """The same pieces in blocks; None where there is nothing to gain, or where it cannot be done."""
    if not any(node.op_type == "Conv" for node in plain.proto.graph.node):
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="quantscope-", ignore_cleanup_errors=True) as scratch:
            proto, weights = _optimized(plain, Path(scratch))
        return _Relayout(plain, proto).graph(weights)
    except _FAILURES:
        return None


def _optimized(plain: PieceGraph, folder: Path) -> tuple[onnx.ModelProto, dict[str, ort.OrtValue]]:
    """What ONNX Runtime makes of the graph with everything that pieces give as an output, and its weights."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(plain.proto)
    have = {v.name for v in exposed.graph.output}
    for piece in plain.pieces:
        for variant in piece.variants.values():
            for name, own in zip(piece.gives, variant.gives, strict=True):
                if own not in have:
                    exposed.graph.output.add(name=own).type.CopyFrom(plain.types[name])
    proto = optimized_graph(exposed, plain.weights, folder)
    file = folder / WEIGHTS_FILE
    data = np.fromfile(file, np.uint8) if file.exists() else np.zeros(0, np.uint8)
    stored = (t for t in proto.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL)
    return proto, {tensor.name: _weight(tensor, data) for tensor in stored}


def _weight(tensor: onnx.TensorProto, data: npt.NDArray[np.uint8]) -> ort.OrtValue:
    """An initializer that lies in `data`, used where it is."""
    where = {entry.key: entry.value for entry in tensor.external_data}
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    start = int(where.get("offset", "0"))
    size = int(np.prod(tensor.dims, dtype=np.int64)) * dtype.itemsize
    return ort.OrtValue.ortvalue_from_numpy(data[start : start + size].view(dtype).reshape(tensor.dims))


class _Relayout:
    """Finds the pieces of the plain graph in the optimized one."""

    def __init__(self, plain: PieceGraph, proto: onnx.ModelProto) -> None:
        self.plain, self.proto = plain, proto
        self.nodes = proto.graph.node
        self.maker = {name: i for i, node in enumerate(self.nodes) for name in node.output if name}
        self.constants = {t.name for t in proto.graph.initializer}
        self.held: dict[str, str] = {
            v.name: v.name for v in proto.graph.input
        }  # value → value of the plain graph
        for piece in plain.pieces:
            for name in piece.gives:
                value = self.carrier(name)
                if self.held.setdefault(value, name) != name:
                    raise _Unfit(name)
        self.copies = dict(self._copies())

    def carrier(self, name: str) -> str:
        """The value that holds a tensor where it is computed: in blocks, if it is then brought into order."""
        index = self.maker.get(name)
        if index is None:
            raise _Unfit(name)
        node = self.nodes[index]
        return node.input[0] if _is_reorder(node) else name

    def _copies(self) -> Iterator[tuple[str, Piece]]:
        """A piece for every node that brings a tensor into another layout."""
        for i, node in enumerate(self.nodes):
            if _is_reorder(node) and node.input[0] in self.held:
                given = node.output[0]
                self.held[given] = self.held[node.input[0]]
                yield (
                    given,
                    Piece(
                        reads=(node.input[0],),
                        gives=(given,),
                        switches=frozenset(),
                        version=InputVersion.RAW,
                        variants={frozenset(): Variant(nodes=(i,), gives=(given,))},
                    ),
                )

    def graph(self, weights: Mapping[str, ort.OrtValue]) -> PieceGraph:
        """The pieces, in an order in which they can run."""
        pieces = [self._piece(piece) for piece in self.plain.pieces]
        needed = set(self.plain.outputs) | {name for piece in pieces for name in piece.reads}
        waiting = [name for name in needed if name in self.copies]
        chosen: dict[str, Piece] = {}
        while waiting:
            name = waiting.pop()
            if name not in chosen:
                chosen[name] = self.copies[name]
                waiting += [given for given in chosen[name].reads if given in self.copies]
        ordered = _ordered([*pieces, *(chosen[name] for name in sorted(chosen))])
        return PieceGraph(
            proto=self.proto,
            weights=weights,
            types={name: self.plain.types[held] for name, held in self.held.items()},
            pieces=ordered,
            outputs=self.plain.outputs,
            tensors={
                value: self.plain.tensors[held]
                for value, held in self.held.items()
                if held in self.plain.tensors
            },
            optimized=True,
        )

    def _piece(self, piece: Piece) -> Piece:
        gives = tuple(self.carrier(name) for name in piece.gives)
        variants: dict[frozenset[str], Variant] = {}
        read: dict[str, None] = {}
        for on, variant in piece.variants.items():
            own = tuple(self.carrier(name) for name in variant.gives)
            nodes, found = self._closure(own)
            if {self.held[name] for name in found} != set(piece.reads):
                raise _Unfit(piece.gives[0])
            read |= dict.fromkeys(found)
            variants[on] = Variant(nodes=nodes, gives=own)
        return replace(piece, reads=tuple(read), gives=gives, variants=variants)

    def _closure(self, values: Sequence[str]) -> tuple[tuple[int, ...], list[str]]:
        """Nodes that compute the values from tensors that other pieces give, and these."""
        nodes: set[int] = set()
        found: dict[str, None] = {}
        waiting = list(values)
        while waiting:
            name = waiting.pop()
            if name in self.held and name not in values:
                found[name] = None
                continue
            index = self.maker.get(name)
            if index is None or index in nodes:
                continue
            nodes.add(index)
            inside = dict.fromkeys(names_read(self.nodes[index]))
            waiting += [n for n in inside if n in self.held or n in self.maker]
        return tuple(sorted(nodes)), sorted(found)


def _is_reorder(node: onnx.NodeProto) -> bool:
    """Whether a node only changes the layout; one with channels last is a Transpose, too."""
    if node.domain != BLOCKED_DOMAIN or node.op_type not in _REORDER:
        return False
    return not any(attribute.name == "channels_last" and attribute.i for attribute in node.attribute)


def _ordered(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    maker = {name: i for i, piece in enumerate(pieces) for name in piece.gives}
    needs: Mapping[int, set[int]] = {
        i: {maker[name] for name in piece.reads if name in maker} for i, piece in enumerate(pieces)
    }
    return tuple(pieces[i] for i in TopologicalSorter(needs).static_order())
