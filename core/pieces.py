"""A float graph cut at its quantized tensors, each piece a session of its own with float or rounded weights.

A run in which a few quantizers differ from an earlier one repeats only the pieces that depend on them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from threading import Lock

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from core.errors import ModelError
from core.model import Model
from core.qdq import quantize_ir
from core.quant import INT8, Encoding, dequantize
from core.quantizers import Quantizers, restricted
from core.recipe import Encodings
from core.session import ORT_ERRORS, Array, first_line, light_graph, session_options

Switch = str  # a node whose weight is rounded, or a constant quantized like an activation


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Nodes that run together."""

    nodes: tuple[int, ...]  # indices into the graph's nodes, ascending
    reads: tuple[str, ...]  # values that other pieces give, and inputs of the graph
    gives: tuple[str, ...]  # values that others read, quantized tensors, and outputs of the graph
    switches: frozenset[Switch]  # what can be rounded inside
    integer: bool  # computes on rounded values in the quantized model; False: reads some as they are


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoundedConstants:
    """The constants of a quantized model as float values."""

    nodes: Mapping[str, onnx.NodeProto]  # node name → the node as the quantized model has it
    switch: Mapping[tuple[str, int], Switch]  # node and operand → what rounds it
    values: Mapping[str, ort.OrtValue]  # by the names that `nodes` use


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PieceGraph:
    """All pieces of a model in an order in which they can run; sessions are made when they are needed."""

    graph: onnx.GraphProto  # large weights left out
    opsets: Sequence[onnx.OperatorSetIdProto]
    ir_version: int
    weights: Mapping[str, ort.OrtValue]
    rounded: RoundedConstants
    types: Mapping[str, onnx.TypeProto]
    pieces: tuple[Piece, ...]
    outputs: tuple[str, ...]
    sessions: dict[tuple[int, frozenset[Switch]], ort.InferenceSession] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def run(self, number: int, on: frozenset[Switch], feed: Mapping[str, Array]) -> dict[str, Array]:
        """What piece `number` gives, with the constants in `on` rounded.

        Raises:
            ModelError: ONNX Runtime does not accept the piece.
            One of `ORT_ERRORS`: the run failed.
        """
        piece = self.pieces[number]
        key = (number, on & piece.switches)
        with self.lock:
            session = self.sessions.get(key)
        if session is None:
            session = self._session(piece, key[1])
            with self.lock:
                session = self.sessions.setdefault(key, session)
        return dict(zip(piece.gives, session.run(list(piece.gives), feed), strict=True))

    def _session(self, piece: Piece, on: frozenset[Switch]) -> ort.InferenceSession:
        part = onnx.ModelProto(ir_version=self.ir_version, opset_import=self.opsets)
        part.graph.name = "piece"
        part.graph.node.extend(self._node(index, on) for index in piece.nodes)
        wanted = {name for node in part.graph.node for name in reads(node)}
        options = session_options()
        for tensor in self.graph.initializer:
            if tensor.name in wanted:
                part.graph.initializer.append(tensor)
                if tensor.name in self.weights:
                    options.add_external_initializers([tensor.name], [self.weights[tensor.name]])
        for name in sorted(wanted & self.rounded.values.keys()):
            value = self.rounded.values[name]
            part.graph.initializer.append(_placeholder(name, value))
            options.add_external_initializers([name], [value])
        for name in piece.reads:
            part.graph.input.add(name=name).type.CopyFrom(self.types[name])
        for name in piece.gives:
            part.graph.output.add(name=name).type.CopyFrom(self.types[name])
        try:
            return ort.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except ORT_ERRORS as error:
            raise ModelError(f"ONNX Runtime does not run a part of the model: {first_line(error)}") from error

    def _node(self, index: int, on: frozenset[Switch]) -> onnx.NodeProto:
        """A node with the operands in `on` rounded."""
        node: onnx.NodeProto = self.graph.node[index]
        rounded = self.rounded.nodes.get(node.name)
        if rounded is None:
            return node
        changed = onnx.NodeProto()
        changed.CopyFrom(rounded if node.name in on else node)
        for k in range(len(node.input)):
            switch = self.rounded.switch.get((node.name, k))
            if switch is not None and switch != node.name:
                changed.input[k] = (rounded if switch in on else node).input[k]
        del changed.output[:]
        changed.output.extend(node.output)
        return changed


def _placeholder(name: str, value: ort.OrtValue) -> onnx.TensorProto:
    """An initializer whose content is given apart."""
    tensor = onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT, dims=value.shape())
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, entry in (
        ("location", "absent"),
        ("offset", "0"),
        ("length", str(4 * int(np.prod(value.shape())))),
    ):
        tensor.external_data.add(key=key, value=entry)
    return tensor


def piece_graph(model: Model, encodings: Encodings) -> PieceGraph:
    """Cut a model at the tensors that `encodings` quantize."""
    proto, weights = light_graph(model)
    graph = proto.graph
    rounded = _rounded_constants(model, encodings)
    types = {v.name: _rankless(v.type) for v in (*graph.value_info, *graph.input, *graph.output)}
    return PieceGraph(
        graph=graph,
        opsets=proto.opset_import,
        ir_version=proto.ir_version,
        weights=weights,
        rounded=rounded,
        types=types,
        pieces=tuple(_cut(graph, encodings, rounded.switch, types)),
        outputs=tuple(v.name for v in graph.output),
    )


def _rankless(type_: onnx.TypeProto) -> onnx.TypeProto:
    """Without a tensor's shape, so that none has to be right."""
    if not type_.HasField("tensor_type"):
        return type_
    out = onnx.TypeProto()
    out.tensor_type.elem_type = type_.tensor_type.elem_type
    return out


def _rounded_constants(model: Model, encodings: Encodings) -> RoundedConstants:
    """The weights, biases and constants that the quantized model would compute with."""
    placement = encodings.placement
    constants = Quantizers(weights=frozenset(placement.weights), tensors=frozenset(placement.constants))
    quantized = quantize_ir(model, restricted(encodings, constants))
    originals = {str(node.name): node for node in model.ir.graph}
    nodes: dict[str, onnx.NodeProto] = {}
    switch: dict[tuple[str, int], Switch] = {}
    values: dict[str, ort.OrtValue] = {}
    for node in quantized.graph:
        name = str(node.name)
        for k, value in enumerate(node.inputs):
            maker = value.producer() if value is not None else None
            if name not in originals or maker is None or maker.op_type != "DequantizeLinear":
                continue
            given = originals[name].inputs[k]
            weight = placement.weights.get(name)
            owned = weight is not None and k in (weight.operand, 2)
            switch[name, k] = name if owned else str(given.name if given is not None else "")
            nodes[name] = ir.to_proto(node)
            own = str(value.name)  # type: ignore[union-attr]
            if own not in values:
                values[own] = ort.OrtValue.ortvalue_from_numpy(_dequantized(maker))
    return RoundedConstants(nodes=nodes, switch=switch, values=values)


def _dequantized(node: ir.Node) -> Array:
    """The value of a DequantizeLinear of constants."""
    q, scale, zero = (_constant(value) for value in node.inputs)
    axis = node.attributes.get_int("axis", 1) if scale.ndim else None
    values = dequantize(q, Encoding(scale, zero.astype(np.int32), INT8, axis))
    return np.ascontiguousarray(values).reshape(q.shape)


def _constant(value: ir.Value | None) -> Array:
    assert value is not None
    assert value.const_value is not None
    return np.asarray(value.const_value.numpy())


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node, or a graph inside it, reads; those made inside are among them."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            yield from (output.name for output in graph.output)
            for inner in graph.node:
                yield from reads(inner)


def _cut(
    graph: onnx.GraphProto,
    encodings: Encodings,
    switch: Mapping[tuple[str, int], Switch],
    types: Mapping[str, onnx.TypeProto],
) -> Iterator[Piece]:
    """Pieces in an order in which they can run.

    Cuts are at quantized tensors, and where a value goes from a node that computes on rounded values to one
    that does not, or back: within a piece all nodes see the same version of a tensor.
    """
    integer = [node.name in encodings.placement.nodes for node in graph.node]
    maker = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    readers: dict[str, list[int]] = {}
    for i, node in enumerate(graph.node):
        for name in dict.fromkeys(reads(node)):
            readers.setdefault(name, []).append(i)
    cut = {
        name
        for name, i in maker.items()
        if name in encodings.placement.tensors
        or (name in types and any(integer[i] != integer[j] for j in readers.get(name, ())))
    }
    kept = cut | {v.name for v in graph.output}
    sources = maker.keys() | {v.name for v in graph.input}
    for group in _groups(graph, maker, readers, cut):
        inside = set(group)
        given = [name for i in group for name in graph.node[i].output if name]
        read = dict.fromkeys(name for i in group for name in reads(graph.node[i]) if name in sources)
        yield Piece(
            nodes=tuple(group),
            reads=tuple(name for name in read if maker.get(name) not in inside),
            gives=tuple(n for n in given if n in kept or not inside.issuperset(readers.get(n, ()))),
            switches=frozenset(s for i in group for s in _switches(graph.node[i], switch)),
            integer=any(integer[i] for i in group),
        )


def _switches(node: onnx.NodeProto, switch: Mapping[tuple[str, int], Switch]) -> Iterator[Switch]:
    return (switch[node.name, k] for k in range(len(node.input) + 1) if (node.name, k) in switch)


def _groups(
    graph: onnx.GraphProto,
    maker: Mapping[str, int],
    readers: Mapping[str, Sequence[int]],
    cut: Collection[str],
) -> list[list[int]]:
    """Nodes joined by values that are no cuts, in an order in which the groups can run."""
    head = list(range(len(graph.node)))

    def find(i: int) -> int:
        while head[i] != i:
            head[i] = i = head[head[i]]
        return i

    for name, i in maker.items():
        for j in () if name in cut else readers.get(name, ()):
            head[find(j)] = find(i)
    groups: dict[int, list[int]] = {}
    for i in range(len(graph.node)):
        groups.setdefault(find(i), []).append(i)
    needs = {
        root: {find(maker[name]) for i in group for name in reads(graph.node[i]) if name in maker} - {root}
        for root, group in groups.items()
    }
    try:
        return [groups[root] for root in TopologicalSorter(needs).static_order()]
    except CycleError:  # a value passes a cut on one way and not on another
        return [[i] for i in range(len(graph.node))]
