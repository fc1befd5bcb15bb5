"""A float graph cut at its quantized tensors, each piece a session of its own with float or rounded weights.

A run in which a few quantizers differ from an earlier one repeats only the pieces that depend on them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from graphlib import CycleError, TopologicalSorter
from itertools import chain, combinations
from threading import Lock

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from quantscope.core.model import Array, Model, light_graph
from quantscope.core.model.loading import unique_name
from quantscope.core.quant import INT8, Encoding, dequantize
from quantscope.core.quantize import Encodings, dequantizer, quantize_ir
from quantscope.core.runtime import Session, names_read
from quantscope.core.sensitivity.quantizers import Quantizers, restricted

Switch = str  # a node whose weight is rounded, or a constant quantized like an activation

_MOST_SWITCHES = 4  # of one node that work one by one; with more constants, all are rounded if one is


class InputVersion(Enum):
    """Which version of a quantized tensor a piece reads."""

    ROUNDED = "rounded"  # it computes on integers in the quantized model
    GIVEN = "given"  # rounded only where its producer computes on integers
    RAW = "raw"  # it only copies


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A piece with some of its constants rounded."""

    nodes: tuple[int, ...]  # indices into the graph's nodes, in an order in which they can run
    gives: tuple[str, ...]  # the graph's names for what the piece gives


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Nodes that run together."""

    reads: tuple[str, ...]  # values that other pieces give, and inputs of the graph
    gives: tuple[str, ...]  # values that others read, quantized tensors, and outputs of the graph
    switches: frozenset[Switch]  # what can be rounded inside
    version: InputVersion
    variants: Mapping[frozenset[Switch], Variant]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PieceGraph:
    """All pieces of a model in an order in which they can run; sessions are made when they are needed."""

    proto: onnx.ModelProto  # the nodes of all variants; large weights left out
    weights: Mapping[str, ort.OrtValue]  # initializers that are left out
    types: Mapping[str, onnx.TypeProto]  # of the values that pieces read or give
    pieces: tuple[Piece, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, str]  # value → the model's tensor that it holds
    optimized: bool = False  # the nodes are ONNX Runtime's own choice, and not to be changed again
    sessions: dict[tuple[int, frozenset[Switch]], Session] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def run(self, number: int, on: frozenset[Switch], feed: Mapping[str, Array]) -> dict[str, Array]:
        """What piece `number` gives, with the constants in `on` rounded.

        Raises:
            ModelError: ONNX Runtime does not accept the piece.
            DataError: The sample does not fit the model.
        """
        piece = self.pieces[number]
        chosen = on & piece.switches
        if chosen not in piece.variants:
            chosen = piece.switches
        with self.lock:
            session = self.sessions.get((number, chosen))
        if session is None:
            session = self._session(piece, piece.variants[chosen])
            with self.lock:
                session = self.sessions.setdefault((number, chosen), session)
        own = piece.variants[chosen].gives
        given = session.run(feed, own)
        return {name: given[o] for name, o in zip(piece.gives, own, strict=True)}

    def _session(self, piece: Piece, variant: Variant) -> Session:
        part = onnx.ModelProto(
            ir_version=self.proto.ir_version,
            opset_import=self.proto.opset_import,
            functions=self.proto.functions,
        )
        part.graph.name = "piece"
        part.graph.node.extend(self.proto.graph.node[index] for index in variant.nodes)
        wanted = {name for node in part.graph.node for name in names_read(node)}
        part.graph.initializer.extend(t for t in self.proto.graph.initializer if t.name in wanted)
        for name in piece.reads:
            part.graph.input.add(name=name).type.CopyFrom(self.types[name])
        for name, own in zip(piece.gives, variant.gives, strict=True):
            part.graph.output.add(name=own).type.CopyFrom(self.types[name])
        weights = {name: self.weights[name] for name in wanted if name in self.weights}
        data = bytes(part.SerializeToString())
        return Session(data, weights=weights, optimize=not self.optimized, what="a part of the model")


def piece_graph(model: Model, encodings: Encodings) -> PieceGraph:
    """Cut a model at the tensors that `encodings` quantize."""
    proto, weights = light_graph(model)
    rounded = _rounded_constants(model, encodings)
    types = {v.name: _rankless(v.type) for v in _value_infos(proto.graph)}
    outputs = tuple(v.name for v in proto.graph.output)
    pieces = tuple(_cut_graph(proto.graph, encodings, rounded.switch, types))
    names = {name for node in proto.graph.node for name in node.output} | {
        t.name for t in proto.graph.initializer
    }
    for name, value in rounded.values.items():
        proto.graph.initializer.append(_placeholder(name, value))
    doubled = tuple(_with_variants(piece, proto.graph, rounded, names) for piece in pieces)
    return PieceGraph(
        proto=proto,
        weights={**weights, **rounded.values},
        types=types,
        pieces=doubled,
        outputs=outputs,
        tensors={t: t for t in encodings.placement.tensors},
    )


def _value_infos(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    return chain(graph.value_info, graph.input, graph.output)


def _rankless(type_: onnx.TypeProto) -> onnx.TypeProto:
    """Without a tensor's shape, so that none has to be right."""
    if not type_.HasField("tensor_type"):
        return type_
    out = onnx.TypeProto()
    out.tensor_type.elem_type = type_.tensor_type.elem_type
    return out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _RoundedConstants:
    """The constants of a quantized model as float values."""

    nodes: Mapping[str, onnx.NodeProto]  # node name → the node as the quantized model has it
    switch: Mapping[tuple[str, int], Switch]  # node and operand → what rounds it
    values: Mapping[str, ort.OrtValue]  # by the names that `nodes` use


def _rounded_constants(model: Model, encodings: Encodings) -> _RoundedConstants:
    """The weights, biases and constants that the quantized model would compute with."""
    placement = encodings.placement
    constants = Quantizers(weights=frozenset(placement.weights), tensors=frozenset(placement.constants))
    only = restricted(encodings, constants)
    # Rows taken from a constant share its scale: rounded with it, and not once more behind it.
    only = replace(only, placement=replace(only.placement, tensors={}, sources={}))
    quantized = quantize_ir(model, only)
    originals = {str(node.name): node for node in model.ir.graph}
    nodes: dict[str, onnx.NodeProto] = {}
    switch: dict[tuple[str, int], Switch] = {}
    values: dict[str, ort.OrtValue] = {}
    for node in quantized.graph:
        name = str(node.name)
        for k, value in enumerate(node.inputs):
            maker = dequantizer(value)
            if name not in originals or maker is None:
                continue
            weight = placement.weights.get(name)
            if weight is not None and k in (weight.operand, 2):
                switch[name, k] = name
            else:
                switch[name, k] = str(originals[name].inputs[k].name)  # type: ignore[union-attr]
            nodes[name] = ir.to_proto(node)
            own = nodes[name].input[k]
            if own not in values:
                values[own] = ort.OrtValue.ortvalue_from_numpy(_dequantized(maker))
    return _RoundedConstants(nodes=nodes, switch=switch, values=values)


def _dequantized(node: ir.Node) -> Array:
    """The value of a DequantizeLinear of constants."""
    q, scale, zero = (_constant_array(value) for value in node.inputs)
    axis = node.attributes.get_int("axis", 1) if scale.ndim else None
    values = dequantize(q, Encoding(scale, zero.astype(np.int32), INT8, axis))
    return np.ascontiguousarray(values).reshape(q.shape)


def _constant_array(value: ir.Value | None) -> Array:
    assert value is not None
    assert value.const_value is not None
    return np.asarray(value.const_value.numpy())


def _placeholder(name: str, value: ort.OrtValue) -> onnx.TensorProto:
    """An initializer whose content is given apart."""
    shape = value.shape()
    tensor = onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT, dims=shape)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    size = 4 * int(np.prod(shape, dtype=np.int64))
    for key, entry in (("location", "absent"), ("offset", "0"), ("length", str(size))):
        tensor.external_data.add(key=key, value=entry)
    return tensor


def _cut_graph(
    graph: onnx.GraphProto,
    encodings: Encodings,
    switch: Mapping[tuple[str, int], Switch],
    types: Mapping[str, onnx.TypeProto],
) -> Iterator[Piece]:
    """Pieces in an order in which they can run, with nothing rounded.

    Cuts are at quantized tensors, and where a value goes from a node that computes on rounded values to one
    that does not, or back: within a piece all nodes see the same version of a tensor.
    """
    integer = [node.name in encodings.placement.nodes for node in graph.node]
    maker = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    readers: dict[str, list[int]] = {}
    for i, node in enumerate(graph.node):
        for name in dict.fromkeys(names_read(node)):
            readers.setdefault(name, []).append(i)
    cut = {
        name
        for name, i in maker.items()
        if name in encodings.placement.tensors
        or (name in types and any(integer[i] != integer[j] for j in readers.get(name, ())))
    }
    kept = cut | {v.name for v in graph.output}
    sources = maker.keys() | {v.name for v in graph.input}
    for group in _connected_nodes(graph, maker, readers, cut):
        inside = set(group)
        made = [name for i in group for name in graph.node[i].output if name]
        gives = tuple(n for n in made if n in kept or not inside.issuperset(readers.get(n, ())))
        read = dict.fromkeys(name for i in group for name in names_read(graph.node[i]) if name in sources)
        yield Piece(
            reads=tuple(name for name in read if maker.get(name) not in inside),
            gives=gives,
            switches=frozenset(s for i in group for s in _switches_of(graph.node[i], switch)),
            version=InputVersion.ROUNDED if any(integer[i] for i in group) else InputVersion.GIVEN,
            variants={frozenset(): Variant(nodes=tuple(group), gives=gives)},
        )


def _switches_of(node: onnx.NodeProto, switch: Mapping[tuple[str, int], Switch]) -> Iterator[Switch]:
    return (switch[node.name, k] for k in range(len(node.input) + 1) if (node.name, k) in switch)


def _connected_nodes(
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
        root: {find(maker[name]) for i in group for name in names_read(graph.node[i]) if name in maker}
        - {root}
        for root, group in groups.items()
    }
    try:
        return [groups[root] for root in TopologicalSorter(needs).static_order()]
    except CycleError:  # a value passes a cut on one way and not on another
        return [[i] for i in range(len(graph.node))]


def _with_variants(
    piece: Piece, graph: onnx.GraphProto, rounded: _RoundedConstants, taken: set[str]
) -> Piece:
    """The piece with a copy of its nodes, appended to the graph, for every set of constants to round."""
    plain = piece.variants[frozenset()]
    variants = dict(piece.variants)
    for on in _subsets(piece.switches):
        own: dict[str, str] = {}
        first = len(graph.node)
        for index in plain.nodes:
            node = _rounded_node(graph.node[index], rounded, on)
            node.name = f"{node.name}/rounded{len(variants)}"
            node.input[:] = [own.get(name, name) for name in node.input]
            for k, name in enumerate(node.output):
                if name:
                    own[name] = node.output[k] = unique_name(f"{name}/rounded{len(variants)}", taken)
            graph.node.append(node)
        nodes = tuple(range(first, len(graph.node)))
        variants[on] = Variant(nodes=nodes, gives=tuple(own[name] for name in piece.gives))
    return Piece(
        reads=piece.reads,
        gives=piece.gives,
        switches=piece.switches,
        version=piece.version,
        variants=variants,
    )


def _subsets(switches: frozenset[Switch]) -> Iterator[frozenset[Switch]]:
    """All of them but the empty one; of many switches only the whole."""
    ordered = sorted(switches)
    sizes = range(1, len(ordered) + 1) if len(ordered) <= _MOST_SWITCHES else [len(ordered)]
    return (frozenset(chosen) for size in sizes for chosen in combinations(ordered, size))


def _rounded_node(node: onnx.NodeProto, rounded: _RoundedConstants, on: frozenset[Switch]) -> onnx.NodeProto:
    """A copy with the operands in `on` rounded."""
    copy = onnx.NodeProto()
    known = rounded.nodes.get(node.name)
    copy.CopyFrom(known if known is not None and node.name in on else node)
    for k in range(len(node.input)):
        switch = rounded.switch.get((node.name, k))
        if known is not None and switch is not None and switch != node.name:
            copy.input[k] = (known if switch in on else node).input[k]
    copy.output[:] = node.output  # the quantized model may have renamed them
    return copy
