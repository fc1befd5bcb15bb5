"""Follow channels through operators, to find which ones can be rescaled together."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from quantscope.core.passes.channels import Channels, ChannelWalk, ClipSite
from quantscope.core.passes.linear import linear_weight
from quantscope.core.passes.nodes import constant_axes, values_read


def find_channels(graph: ir.Graph) -> Channels:
    """Follow channels through the network.

    Through operators f with f(x / s) = f(x) / s for each channel alone (Relu, LeakyRelu, pooling, Pad with
    zeros, Concat, …) the variable stays the same; an Add ties those of its inputs. Variables begin at linear
    nodes, and at constant factors such as a LayerNormalization's. What any other operator
    reads, and what leaves the network, is fixed.
    """
    walk = ChannelWalk()
    for node in graph:
        handler = _HANDLERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if handler is None or not handler(walk, node):
            for value in values_read(node):
                walk.fix(value)
        for value in node.outputs:
            if value.is_graph_output():
                walk.fix(value)
    return walk.result()


# Each handler says whether it dealt with the node; if not, what the node reads is fixed.


def _linear(walk: ChannelWalk, node: ir.Node) -> bool:
    found = linear_weight(node)
    weight = node.inputs[1]
    if found is None or weight is None or len(weight.uses()) != 1 or weight.is_graph_output():
        return False
    x = node.inputs[0]
    given = walk.maps.get(x) if x is not None else None
    if given is not None and x is not None and x.shape is not None:
        if given.axis == found.in_axis % len(x.shape) and len(given.ids) == found.in_channels:
            walk.inputs[found.name] = given.ids
        else:
            walk.fix(x)
    walk.linears[found.name] = found
    walk.fix(node.inputs[2] if len(node.inputs) > 2 else None)
    out = node.outputs[0]
    if out.shape is not None and _scalable_bias(node, found.out_channels):
        ids = walk.new(found.out_channels)
        walk.outputs[found.name] = ids
        walk.give(out, found.out_axis % len(out.shape), ids)
    return True


def _scalable_bias(node: ir.Node, channels: int) -> bool:
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is None:
        return True
    if bias.const_value is None or len(bias.uses()) != 1 or bias.is_graph_output():
        return False
    shape = bias.const_value.shape.numpy()
    return not shape or shape[-1] in (1, channels)


def _homogeneous(walk: ChannelWalk, node: ir.Node) -> bool:
    x = node.inputs[0]
    given = walk.maps.get(x) if x is not None else None
    if given is None:
        return True
    if any(v is not None and v in walk.maps for v in node.inputs[1:]):
        return False
    walk.give(node.outputs[0], given.axis, given.ids)
    return True


def _resize(walk: ChannelWalk, node: ir.Node) -> bool:
    # Cropping fills with a value that does not scale.
    cropping = "tf_crop_and_resize"
    mode = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    return mode != cropping and _homogeneous(walk, node)


def _prelu(walk: ChannelWalk, node: ir.Node) -> bool:
    slope = node.inputs[1]
    return slope is not None and slope.const_value is not None and _homogeneous(walk, node)


def _clip(walk: ChannelWalk, node: ir.Node) -> bool:
    x = node.inputs[0]
    given = walk.maps.get(x) if x is not None else None
    if given is None or x is None:
        return True
    bounds = [*node.inputs[1:3], None, None][:2]
    if any(v is not None and v.const_value is None for v in bounds):
        return False
    low, high = (None if v is None or v.const_value is None else float(v.const_value.numpy()) for v in bounds)
    if low not in (None, 0.0):
        return False
    if high is not None and np.isfinite(high):
        if high <= 0.0:
            return False
        site = ClipSite(node=node, tensor=str(x.name), upper=high, axis=given.axis, ids=given.ids)
        walk.clips.append(site)
    walk.give(node.outputs[0], given.axis, given.ids)
    return True


def _pad(walk: ChannelWalk, node: ir.Node) -> bool:
    value = node.inputs[2] if len(node.inputs) > 2 else None
    if value is not None and (value.const_value is None or bool(np.any(value.const_value.numpy()))):
        return False
    x, pads = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    given = walk.maps.get(x) if x is not None else None
    if given is None or x is None or x.shape is None:
        return True
    if pads is None or pads.const_value is None or len(node.inputs) > 3:
        return False
    amounts = pads.const_value.numpy().reshape(2, -1)
    if amounts.shape[1] != len(x.shape) or amounts[:, given.axis].any():
        return False
    return _homogeneous(walk, node)


def _reshape(walk: ChannelWalk, node: ir.Node) -> bool:
    """Flatten, Reshape, Squeeze: where axes behind the channels are merged into them."""
    x, y = node.inputs[0], node.outputs[0]
    given = walk.maps.get(x) if x is not None else None
    if given is None or x is None:
        return True
    if x.shape is None or y.shape is None or given.axis >= len(y.shape):
        return False
    before, after = list(x.shape), list(y.shape)
    behind = before[given.axis + 1 :]
    # One leading axis is the batch's; more must be seen to stay.
    leading = given.axis == 1 or before[: given.axis] == after[: given.axis]
    if not leading or any(not isinstance(d, int) for d in behind):
        return False
    repeat = int(np.prod([int(d) for d in behind if isinstance(d, int)], dtype=np.int64))
    if after[given.axis :] == before[given.axis :]:
        repeat = 1
    elif any(d != 1 for d in after[given.axis + 1 :]):
        return False
    walk.give(y, given.axis, np.repeat(given.ids, repeat))
    return True


def _transpose(walk: ChannelWalk, node: ir.Node) -> bool:
    x = node.inputs[0]
    given = walk.maps.get(x) if x is not None else None
    if given is None or x is None or x.shape is None:
        return True
    perm = list(node.attributes.get_ints("perm", range(len(x.shape))[::-1]))
    walk.give(node.outputs[0], perm.index(given.axis), given.ids)
    return True


def _reduce(walk: ChannelWalk, node: ir.Node) -> bool:
    """ReduceMean and the like over other axes than the channels'."""
    x = node.inputs[0]
    given = walk.maps.get(x) if x is not None else None
    if given is None or x is None or x.shape is None:
        return True
    rank = len(x.shape)
    axes = constant_axes(node)
    if axes is None or any(a % rank == given.axis for a in axes):
        return False
    dropped = 0 if node.attributes.get_int("keepdims", 1) else sum(a % rank < given.axis for a in axes)
    walk.give(node.outputs[0], given.axis - dropped, given.ids)
    return True


def _add(walk: ChannelWalk, node: ir.Node) -> bool:
    """Add, Sub: channels are tied; a constant per channel is scaled along."""
    constants = [i for i, v in enumerate(node.inputs) if v is not None and v.const_value is not None]
    if not constants:
        return _tied(walk, node)
    x = next((v for v in node.inputs if v is not None and v.const_value is None), None)
    given = walk.maps.get(x) if x is not None else None
    if given is None or x is None or x.shape is None:
        return True
    out, value = node.outputs[0], node.inputs[constants[0]]
    if not _is_own_constant(value) or out.shape is None or len(out.shape) != len(x.shape):
        return False
    walk.scale_constant(node, constants[0], given.axis - len(x.shape), given.ids, factor=False)
    walk.give(out, given.axis, given.ids)
    return True


def _tied(walk: ChannelWalk, node: ir.Node) -> bool:
    """Elementwise operators of several activations of one shape."""
    maps = [walk.maps.get(v) for v in node.inputs if v is not None]
    out = node.outputs[0]
    first = next((m for m in maps if m is not None), None)
    if first is None:
        return True
    same_rank = out.shape is not None and all(
        v is not None and v.shape is not None and len(v.shape) == len(out.shape) for v in node.inputs
    )
    if not same_rank or any(m is None or m.axis != first.axis or len(m.ids) != len(first.ids) for m in maps):
        return False
    for other in maps[1:]:
        assert other is not None
        walk.tie(first.ids, other.ids)
    walk.give(out, first.axis, first.ids)
    return True


def _mul(walk: ChannelWalk, node: ir.Node) -> bool:
    """A product: one factor that has channels may change their scales, or a constant one makes them."""
    left, right = node.inputs[0], node.inputs[1]
    if left is None or right is None:
        return False
    if node.op_type == "Mul" and not {left, right} & walk.maps.keys():
        _constant_factor(walk, node)
        return True
    scaled = left if left in walk.maps else right if node.op_type == "Mul" else None
    if node.op_type == "Mul" and scaled is left and right in walk.maps and walk.is_stuck(left):
        scaled = right  # the gate of a SwiGLU cannot be scaled, what it is multiplied with can
    walk.fix(right if scaled is left else left)
    if scaled is None:  # divided by
        walk.fix(right)
    out = node.outputs[0]
    given = walk.maps.get(scaled) if scaled is not None else None
    if given is None or scaled is None or scaled.shape is None:
        return True
    if out.shape is None or len(out.shape) != len(scaled.shape):
        return False
    walk.give(out, given.axis, given.ids)
    return True


def _constant_factor(walk: ChannelWalk, node: ir.Node) -> None:
    """A constant with one factor a channel, such as the scale of an RMSNorm written out, makes channels."""
    out = node.outputs[0]
    for operand, value in enumerate(node.inputs):
        if not _is_own_constant(value) or out.shape is None or value is None or value.const_value is None:
            continue
        shape = value.const_value.shape.numpy()
        wide = [axis - len(shape) for axis, size in enumerate(shape) if size != 1]
        if len(wide) == 1 and value.dtype == ir.DataType.FLOAT and len(shape) <= len(out.shape):
            ids = walk.new(shape[wide[0]])
            walk.scale_constant(node, operand, wide[0], ids, factor=True)
            walk.give(out, len(out.shape) + wide[0], ids)


def _is_own_constant(value: ir.Value | None) -> bool:
    """Whether it is a constant that nothing else reads."""
    return (
        value is not None
        and value.const_value is not None
        and len(value.uses()) == 1
        and not value.is_graph_output()
    )


def _norm(walk: ChannelWalk, node: ir.Node) -> bool:
    """LayerNormalization, RMSNormalization over the last axis: scale and bias make channels."""
    out = node.outputs[0]
    given = [v for v in node.inputs[1:] if v is not None]
    if out.shape is None or not given or not all(_is_own_constant(v) for v in given):
        return False
    walk.fix(node.inputs[0])
    axis = node.attributes.get_int("axis", -1) % len(out.shape)
    size = out.shape[axis]
    if axis != len(out.shape) - 1 or not isinstance(size, int) or len(node.outputs) > 1:
        return True
    ids = walk.new(size)
    for operand, value in enumerate(node.inputs):
        if operand and value is not None:
            walk.scale_constant(node, operand, -1, ids, factor=operand == 1)
    walk.give(out, axis, ids)
    return True


def _concat(walk: ChannelWalk, node: ir.Node) -> bool:
    maps = [walk.maps.get(v) for v in node.inputs if v is not None]
    first = next((m for m in maps if m is not None), None)
    if first is None:
        return True
    out = node.outputs[0]
    if out.shape is None or any(m is not None and m.axis != first.axis for m in maps):
        return False
    if node.attributes.get_int("axis", 1) % len(out.shape) != first.axis:
        return _tied(walk, node)
    parts = []
    for value, own in zip(node.inputs, maps, strict=True):
        size = value.shape[first.axis] if value is not None and value.shape is not None else None
        if not isinstance(size, int):
            return False
        if own is None:  # not scalable, but the others are
            ids = walk.new(size)
            walk.stuck.append(ids)
            parts.append(ids)
        else:
            parts.append(own.ids)
    walk.give(out, first.axis, np.concatenate(parts))
    return True


def _split(walk: ChannelWalk, node: ir.Node) -> bool:
    x = node.inputs[0]
    given = walk.maps.get(x) if x is not None else None
    if given is None or x is None or x.shape is None:
        return True
    start = 0
    along = node.attributes.get_int("axis", 0) % len(x.shape) == given.axis
    for out in node.outputs:
        size = out.shape[given.axis] if out.shape is not None else None
        if not isinstance(size, int):
            return False
        walk.give(out, given.axis, given.ids[start : start + size] if along else given.ids)
        start += size
    return True


def _slice(walk: ChannelWalk, node: ir.Node) -> bool:
    x = node.inputs[0]
    given = walk.maps.get(x) if x is not None else None
    if given is None or x is None or x.shape is None:
        return True
    axes = node.inputs[3] if len(node.inputs) > 3 else None
    if axes is None or axes.const_value is None:
        return False
    if any(a % len(x.shape) == given.axis for a in axes.const_value.numpy().tolist()):
        return False
    return _homogeneous(walk, node)


def _size_only(walk: ChannelWalk, node: ir.Node) -> bool:
    """Shape, Size: exporters read the size of a value at many places, and no scale changes it."""
    return True


_SAME = (
    "Relu", "LeakyRelu", "Identity", "Dropout", "Abs", "Neg", "MaxPool", "AveragePool",
    "GlobalAveragePool", "GlobalMaxPool",
)  # fmt: skip
_HANDLERS: Mapping[str, Callable[[ChannelWalk, ir.Node], bool]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), _linear),
    **dict.fromkeys(_SAME, _homogeneous),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), _reduce),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze"), _reshape),
    **dict.fromkeys(("Add", "Sub"), _add),
    **dict.fromkeys(("Max", "Min", "Sum", "Mean"), _tied),
    **dict.fromkeys(("Mul", "Div"), _mul),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"), _norm),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    **dict.fromkeys(("Shape", "Size"), _size_only),
    "PRelu": _prelu,
    "Clip": _clip,
    "Pad": _pad,
    "Transpose": _transpose,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
}
