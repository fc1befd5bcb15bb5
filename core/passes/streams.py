"""Residual streams: values between linear layers that may be turned to any other basis of their channels."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

import numpy as np
import onnx_ir as ir

from quantscope.core.passes.linear import LinearWeight, linear_weight
from quantscope.core.passes.nodes import constant_axes, values_read


class StreamPart(Enum):
    """What a value is to its stream."""

    TURNED = auto()  # in the basis of the stream
    SCALED = (
        auto()
    )  # the same, times a factor for each channel of the original basis: only products may read it
    SQUARE = auto()  # elementwise square: only its sum over the channels means anything in another basis


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """How a value belongs to a stream."""

    stream: int
    axis: int  # channel axis
    size: int  # channels
    kind: StreamPart = StreamPart.TURNED
    norm: str = ""  # SCALED: node that holds the factors


@dataclass(frozen=True, slots=True, kw_only=True)
class Addend:
    """A constant that is added to, or joined with, a stream."""

    node: ir.Node
    operand: int
    axis: int  # channel axis, counted from the end: negative
    rank: int


@dataclass(slots=True)
class Stream:
    """One residual stream."""

    size: int
    blocked: bool = False
    centered: bool = False  # a LayerNormalization takes its mean: the basis must keep the direction of ones
    makers: list[LinearWeight] = field(default_factory=list)
    tables: list[ir.Node] = field(default_factory=list)  # Gather nodes that look up rows of a constant
    addends: list[Addend] = field(default_factory=list)
    readers: list[tuple[LinearWeight, str]] = field(
        default_factory=list
    )  # with the norm whose factors they meet
    norms: dict[str, ir.Node] = field(default_factory=dict)
    axes: dict[str, int] = field(default_factory=dict)  # TURNED values → their channel axis

    def absorb(self, other: "Stream") -> None:
        """Take over what another stream has, as both turned out to be one."""
        self.blocked |= other.blocked or other.size != self.size
        self.centered |= other.centered
        for name in ("makers", "tables", "addends", "readers"):
            getattr(self, name).extend(getattr(other, name))
        self.norms |= other.norms
        self.axes |= other.axes


def find_streams(graph: ir.Graph) -> tuple[Stream, ...]:
    """Streams that can be turned: x → x R in all that makes them, and R⁻¹ first in all that reads them.

    Linear layers and tables make a stream, linear layers read it; between them are Adds, operators that move
    whole channel vectors, and normalizations: the root mean square of a vector does not change when it is
    turned, nor does its deviation from the mean if R keeps (1, 1, …). What anything else reads is no stream.
    """
    walk = _StreamWalk()
    for node in graph:
        handler = _HANDLERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        done = handler is not None and handler(walk, node)
        if not done:
            for value in values_read(node):
                walk.block(value)
        for value in node.outputs:
            if value.is_graph_output():
                walk.block(value)
    return tuple(s for s in walk.whole() if not s.blocked and (s.makers or s.tables) and s.readers)


@dataclass(slots=True)
class _StreamWalk:
    streams: list[Stream] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    tags: dict[ir.Value, Tag] = field(default_factory=dict)

    def find(self, stream: int) -> int:
        while self.parents[stream] != stream:
            stream = self.parents[stream]
        return stream

    def of(self, tag: Tag) -> Stream:
        return self.streams[self.find(tag.stream)]

    def tag(self, value: ir.Value | None) -> Tag | None:
        return self.tags.get(value) if value is not None else None

    def block(self, value: ir.Value | None) -> None:
        tag = self.tag(value)
        if tag is not None:
            self.of(tag).blocked = True

    def start(self, value: ir.Value, axis: int) -> Stream | None:
        """A new stream that begins with a value; None where its shape is not known."""
        size = value.shape[axis] if value.shape is not None and -1 <= axis < len(value.shape) else None
        if not isinstance(size, int) or value.shape is None:
            return None
        stream = Stream(size=size)
        self.parents.append(len(self.streams))
        self.streams.append(stream)
        tag = Tag(stream=len(self.streams) - 1, axis=axis % len(value.shape), size=size)
        self.give(value, tag)
        return stream

    def give(self, value: ir.Value, tag: Tag) -> None:
        """Tag a value, unless its shape says that it cannot be so."""
        fits = value.shape is not None and tag.axis < len(value.shape)
        if not fits or value.shape is None or value.shape[tag.axis] != tag.size:
            self.of(tag).blocked = True
            return
        self.tags[value] = tag
        if tag.kind is StreamPart.TURNED:
            self.of(tag).axes[str(value.name)] = tag.axis

    def tie(self, one: Tag, other: Tag) -> None:
        first, second = sorted((self.find(one.stream), self.find(other.stream)))
        if first != second:
            self.parents[second] = first
            self.streams[first].absorb(self.streams[second])

    def whole(self) -> Iterator[Stream]:
        yield from (s for i, s in enumerate(self.streams) if self.parents[i] == i)


# Each handler says whether it dealt with the node; if not, the streams it reads are blocked.


def _linear(walk: _StreamWalk, node: ir.Node) -> bool:
    found = linear_weight(node)
    if found is None:
        return False
    for value in node.inputs[1:]:
        walk.block(value)
    x = node.inputs[0]
    tag = walk.tag(x)
    if tag is not None and x is not None and x.shape is not None:
        along = tag.axis == found.in_axis % len(x.shape) and found.groups == 1
        if tag.kind is StreamPart.SQUARE or not along:
            walk.block(x)
        else:
            walk.of(tag).readers.append((found, tag.norm))
    bias = found.bias
    plain = bias is None or (bias.const_value is not None and _vector(bias, found.out_channels))
    if found.groups == 1 and plain:
        stream = walk.start(node.outputs[0], found.out_axis)
        if stream is not None:
            stream.makers.append(found)
    return True


def _vector(value: ir.Value, size: int) -> bool:
    """Whether a constant holds one value for each channel, or one for all."""
    assert value.const_value is not None
    shape = value.const_value.shape.numpy()
    return all(d == 1 for d in shape[:-1]) and (not shape or shape[-1] in (1, size))


def _gather(walk: _StreamWalk, node: ir.Node) -> bool:
    table, axis = node.inputs[0], node.attributes.get_int("axis", 0)
    if table is None:
        return False
    if table.const_value is None:
        return _along_other_axes(walk, node, axis)
    rank = len(table.const_value.shape)
    if rank == 2 and axis % rank == 0 and table.dtype == ir.DataType.FLOAT:
        stream = walk.start(node.outputs[0], -1)
        if stream is not None:
            stream.tables.append(node)
    return True


def _along_other_axes(walk: _StreamWalk, node: ir.Node, *axes: int) -> bool:
    """Operators that treat all channels alike, and work along other axes."""
    x, y = node.inputs[0], node.outputs[0]
    tag = walk.tag(x)
    if tag is None or x is None:
        return not any(walk.tag(v) for v in node.inputs)
    if tag.kind is StreamPart.SQUARE or x.shape is None or y.shape is None or len(y.shape) != len(x.shape):
        return False
    if any(axis % len(x.shape) == tag.axis for axis in axes) or any(walk.tag(v) for v in node.inputs[1:]):
        return False
    walk.give(y, tag)
    return True


def _slice(walk: _StreamWalk, node: ir.Node) -> bool:
    axes = node.inputs[3] if len(node.inputs) > 3 else None
    known = axes is not None and axes.const_value is not None
    if walk.tag(node.inputs[0]) is not None and not known:
        return False
    found = axes.const_value.numpy().tolist() if known and axes is not None and axes.const_value else ()
    return _along_other_axes(walk, node, *found)


def _transpose(walk: _StreamWalk, node: ir.Node) -> bool:
    x = node.inputs[0]
    tag = walk.tag(x)
    if tag is None or x is None or x.shape is None:
        return True
    perm = list(node.attributes.get_ints("perm", range(len(x.shape))[::-1]))
    walk.give(node.outputs[0], _with_axis(tag, perm.index(tag.axis)))
    return True


def _with_axis(tag: Tag, axis: int) -> Tag:
    return Tag(stream=tag.stream, axis=axis, size=tag.size, kind=tag.kind, norm=tag.norm)


def _reshape(walk: _StreamWalk, node: ir.Node) -> bool:
    """Where the axes behind the channels stay as they are, or there are none, before and after."""
    x, y = node.inputs[0], node.outputs[0]
    tag = walk.tag(x)
    if tag is None or x is None:
        return True
    if x.shape is None or y.shape is None:
        return False
    behind = list(x.shape[tag.axis :])
    axis = len(y.shape) - len(behind)
    if any(not isinstance(d, int) for d in behind) or axis < 0:
        return False
    if list(y.shape[axis:]) != behind:
        # (N, C, H, W) → (N, C, H·W), and (N, C, 1, 1) → (N, C)
        axis = tag.axis
        leading = axis == 1 or list(y.shape[:axis]) == list(x.shape[:axis])
        if axis >= len(y.shape) or y.shape[axis] != tag.size or not leading:
            return False
    walk.give(y, _with_axis(tag, axis))
    return True


def _reduce(walk: _StreamWalk, node: ir.Node) -> bool:
    x = node.inputs[0]
    tag = walk.tag(x)
    if tag is None or x is None or x.shape is None:
        return True
    rank = len(x.shape)
    axes = constant_axes(node)
    if axes is None:
        return False
    own = sorted(a % rank for a in axes)
    if own == [tag.axis]:
        # The sum of squares is the same in every basis; what is computed from it is no longer of the stream.
        return tag.kind is (StreamPart.TURNED if node.op_type == "ReduceL2" else StreamPart.SQUARE)
    if tag.axis in own or tag.kind is StreamPart.SQUARE or node.op_type not in ("ReduceMean", "ReduceSum"):
        return False
    dropped = 0 if node.attributes.get_int("keepdims", 1) else sum(a < tag.axis for a in own)
    walk.give(node.outputs[0], _with_axis(tag, tag.axis - dropped))
    return True


def _pow(walk: _StreamWalk, node: ir.Node) -> bool:
    tag, exponent = walk.tag(node.inputs[0]), node.inputs[1]
    if tag is None:
        return walk.tag(exponent) is None
    constant = exponent.const_value if exponent is not None else None
    if tag.kind is not StreamPart.TURNED or constant is None or not np.all(constant.numpy() == 2):
        return False
    walk.give(node.outputs[0], _square(tag))
    return True


def _square(tag: Tag) -> Tag:
    return Tag(stream=tag.stream, axis=tag.axis, size=tag.size, kind=StreamPart.SQUARE)


def _mul(walk: _StreamWalk, node: ir.Node) -> bool:
    """Mul, Div: by itself, by a constant, or by something that is the same for all channels."""
    left, right = node.inputs[0], node.inputs[1]
    if left is right and walk.tag(left) is not None and node.op_type == "Mul":
        tag = walk.tag(left)
        assert tag is not None
        if tag.kind is StreamPart.TURNED:
            walk.give(node.outputs[0], _square(tag))
        return tag.kind is StreamPart.TURNED
    x, factor = (left, right) if walk.tag(left) is not None or node.op_type == "Div" else (right, left)
    tag, out = walk.tag(x), node.outputs[0]
    if tag is None or x is None or factor is None:
        return walk.tag(factor) is None
    if walk.tag(factor) is not None or tag.kind is StreamPart.SQUARE or x.shape is None or out.shape is None:
        return False
    if factor.shape is None or len(out.shape) != len(x.shape):
        return False
    at = tag.axis - len(x.shape) + len(factor.shape)
    if at < 0 or factor.shape[at] == 1:
        walk.give(out, tag)
        return True
    constant = factor.const_value
    wide = [d for d in factor.shape if d != 1]
    if constant is None or wide != [tag.size] or tag.kind is not StreamPart.TURNED or node.op_type != "Mul":
        return False
    return _scaled_by_norm(walk, node, tag, out)


def _scaled_by_norm(walk: _StreamWalk, node: ir.Node, tag: Tag, out: ir.Value) -> bool:
    walk.of(tag).norms[str(node.name)] = node
    walk.give(
        out, Tag(stream=tag.stream, axis=tag.axis, size=tag.size, kind=StreamPart.SCALED, norm=str(node.name))
    )
    return True


def _norm(walk: _StreamWalk, node: ir.Node) -> bool:
    x, out = node.inputs[0], node.outputs[0]
    tag = walk.tag(x)
    if tag is None or x is None or x.shape is None:
        return not any(walk.tag(v) for v in node.inputs[1:])
    given = [v for v in node.inputs[1:] if v is not None]
    alone = all(v.const_value is not None and len(v.uses()) == 1 and _vector(v, tag.size) for v in given)
    last = tag.axis == len(x.shape) - 1 == node.attributes.get_int("axis", -1) % len(x.shape)
    if tag.kind is not StreamPart.TURNED or not given or not alone or not last or len(node.outputs) > 1:
        return False
    if node.op_type == "LayerNormalization":
        walk.of(tag).centered = True
    return _scaled_by_norm(walk, node, tag, out)


def _add(walk: _StreamWalk, node: ir.Node) -> bool:
    tags = [walk.tag(v) for v in node.inputs]
    known = [t for t in tags if t is not None]
    out = node.outputs[0]
    if not known:
        return True
    first = known[0]
    if any(t.kind is not StreamPart.TURNED or t.axis != first.axis for t in known) or out.shape is None:
        return False
    for operand, (value, tag) in enumerate(zip(node.inputs, tags, strict=True)):
        if value is None or value.shape is None:
            return False
        if tag is not None:
            if len(value.shape) != len(out.shape):
                return False
            walk.tie(first, tag)
        elif value.const_value is None or len(value.uses()) != 1 or value.is_graph_output():
            return False
        else:
            rank = len(out.shape)
            found = Addend(node=node, operand=operand, axis=first.axis - rank, rank=rank)
            walk.of(first).addends.append(found)
    walk.give(out, first)
    return True


def _concat(walk: _StreamWalk, node: ir.Node) -> bool:
    known = next((t for t in map(walk.tag, node.inputs) if t is not None), None)
    out = node.outputs[0]
    if known is None:
        return True
    if out.shape is None or node.attributes.get_int("axis", 0) % len(out.shape) == known.axis:
        return False
    return _add(walk, node)


def _size_only(walk: _StreamWalk, node: ir.Node) -> bool:
    """Shape, Size: exporters read the size of a value at many places, and no basis changes it."""
    return True


_HANDLERS: Mapping[str, Callable[[_StreamWalk, ir.Node], bool]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), _linear),
    **dict.fromkeys(("Identity", "Dropout", "Expand"), _along_other_axes),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceL2"), _reduce),
    **dict.fromkeys(("Add", "Sub"), _add),
    **dict.fromkeys(("Mul", "Div"), _mul),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _norm),
    **dict.fromkeys(("Shape", "Size"), _size_only),
    "GlobalAveragePool": _along_other_axes,
    "AveragePool": _along_other_axes,
    "Gather": _gather,
    "Slice": _slice,
    "Transpose": _transpose,
    "Pow": _pow,
    "Concat": _concat,
}
