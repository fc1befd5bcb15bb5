"""Move elementwise operators in front of Reshape, Transpose and the like, so that weights can absorb them.

TensorFlow's channels-last layout and one-dimensional convolutions come with Transpose, Squeeze, Unsqueeze and
Reshape between a convolution and its bias or activation. What is done to each value alone may be done before
values are moved just as well, and there it becomes part of the convolution.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from quantscope.core.model.layers import STANDARD_DOMAINS
from quantscope.core.model.loading.editing import MOVED, Editor, fits_rank, is_read_once, maker_of
from quantscope.core.model.loading.linear import LINEAR

_MOVES = frozenset({"Transpose", "Squeeze", "Unsqueeze", "Reshape", "Flatten"})
_SCALES = frozenset({"Mul", "Add", "Sub", "Div"})
_LIMITS = frozenset({"Relu", "Clip"})


def elementwise_first(model: ir.Model) -> None:
    """Move constant scales and shifts, Relu and Clip of the main graph before moves of values, in place.

    This happens behind a Conv, ConvTranspose, Gemm or MatMul only, and for a constant that differs along one
    axis only where that axis is known before the moves. Of two Reshapes in a row, the second remains. A
    factor of a product of two activations, as attention scores have, becomes one of the operand that weights
    make.
    """
    editor = Editor(model.graph)
    for node in list(model.graph):
        if editor.holds(node) and node.op_type == "Reshape":
            _skip_reshape(model.graph, node)
    for node in list(model.graph):
        if editor.holds(node) and node.op_type in ("Mul", "Div"):
            _factor_of_operand(editor, node)
    for node in list(model.graph):
        step = _elementwise(node) if editor.holds(node) and node.op_type in (*_SCALES, *_LIMITS) else None
        if step is not None:
            _move_before(editor, step)


def _factor_of_operand(editor: Editor, node: ir.Node) -> None:
    """Turn c · (a @ b) into (c · a) @ b, or a @ (c · b)."""
    variable = [v for v in node.inputs if v is not None and v.const_value is None]
    constants = [v for v in node.inputs if v is not None and v.const_value is not None]
    if (
        len(variable) != 1
        or len(constants) != 1
        or (node.inputs[0] is constants[0] and node.op_type == "Div")
    ):
        return
    product = maker_of(variable[0], "MatMul")
    if product is None or not fits_rank(constants[0], variable[0]):
        return
    factor = constants[0].const_value
    if factor is None or factor.size != 1 or not is_read_once(variable[0]) or not _is_float(product, node):
        return
    for index, operand in enumerate(product.inputs):
        if operand is None or operand.const_value is not None or not is_read_once(operand):
            continue
        source, moves = _unmoved(operand)
        if source is None or not moves or not _comes_from_weights(source):
            continue
        number = editor.constant(f"{node.name}.factor", factor.numpy().reshape(()))
        scale, scaled = editor.node(node.op_type, [operand, number], operand, f"{node.name}.operand")
        editor.graph.insert_before(product, scale)
        inputs = list(product.inputs)
        inputs[index] = scaled
        editor.replace(node, "MatMul", inputs)
        editor.graph.remove(product, safe=True)
        return


def _is_float(*nodes: ir.Node) -> bool:
    return all(node.outputs[0].dtype == ir.DataType.FLOAT for node in nodes)


def _unmoved(value: ir.Value) -> tuple[ir.Value | None, list[ir.Node]]:
    """What the moves before a value read, and these; None where something else reads what is between."""
    moves: list[ir.Node] = []
    x: ir.Value | None = value
    while x is not None and (maker := x.producer()) is not None and maker.op_type in _MOVES:
        if maker.domain not in STANDARD_DOMAINS or not is_read_once(x):
            return None, []
        moves.insert(0, maker)
        x = maker.inputs[0]
    return (x, moves) if x is not None and is_read_once(x) else (None, [])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Elementwise:
    """An elementwise node, the moves before it in the order of the graph, and where it goes."""

    node: ir.Node
    operand: int  # its one variable input
    moves: Sequence[ir.Node]
    source: ir.Value  # what the first move reads
    constants: dict[int, npt.NDArray[np.float32]]  # input index → constant, for the shape of the source


def _skip_reshape(graph: ir.Graph, node: ir.Node) -> None:
    """A Reshape right behind another one reads what that one reads."""
    first = None if node.inputs[0] is None else node.inputs[0].producer()
    shape = node.inputs[1].const_value if node.inputs[1] is not None else None
    if first is None or first.op_type not in ("Reshape", "Flatten") or shape is None:
        return
    if not (shape.numpy() != 0).all() or not is_read_once(first.outputs[0]):  # 0 copies a dimension
        return
    node.replace_input_with(0, first.inputs[0])
    graph.remove(first, safe=True)


def _elementwise(node: ir.Node) -> _Elementwise | None:
    variable = [i for i, v in enumerate(node.inputs) if v is not None and v.const_value is None]
    if len(variable) != 1 or (node.op_type in _LIMITS and variable != [0]):
        return None
    given = node.inputs[variable[0]]
    x, moves = (None, []) if given is None else _unmoved(given)
    if x is None or not moves or not _comes_from_weights(x):
        return None
    if x.dtype != ir.DataType.FLOAT or node.outputs[0].dtype != ir.DataType.FLOAT:
        return None
    constants = {}
    if node.op_type in _SCALES:
        other = 1 - variable[0]
        before = _before(node.inputs[other], moves, x)
        if before is None:
            return None
        constants[other] = before
    return _Elementwise(node=node, operand=variable[0], moves=moves, source=x, constants=constants)


def _comes_from_weights(value: ir.Value) -> bool:
    """Whether a linear operator makes it, perhaps with elementwise steps behind."""
    maker = value.producer()
    while maker is not None and maker.op_type in (*_SCALES, *_LIMITS):
        variable = [v for v in maker.inputs if v is not None and v.const_value is None]
        if len(variable) != 1:
            return False
        maker = variable[0].producer()
    if maker is None or maker.op_type not in LINEAR or maker.domain not in STANDARD_DOMAINS:
        return False
    return any(v is not None and v.const_value is not None for v in maker.inputs[:2])


def _before(
    value: ir.Value | None, moves: Sequence[ir.Node], source: ir.Value
) -> npt.NDArray[np.float32] | None:
    """A constant as it broadcasts against what the moves read; None where that cannot be told."""
    if value is None or value.const_value is None or value.dtype != ir.DataType.FLOAT:
        return None
    array: npt.NDArray[np.float32] = value.const_value.numpy()
    after = moves[-1].outputs[0]
    if after.shape is None or source.shape is None or array.ndim > len(after.shape):
        return None
    if array.size == 1:
        return array.reshape(())
    wide = [i for i, size in enumerate(array.shape) if size != 1]
    axis: int | None = wide[0] + len(after.shape) - array.ndim
    if len(wide) != 1 or axis is None or after.shape[axis] != array.size:
        return None
    for move in reversed(moves):
        axis = _axis_before(move, axis)
        if axis is None:
            return None
    if source.shape[axis] != array.size:
        return None
    return array.reshape(-1, *[1] * (len(source.shape) - 1 - axis))


def _axis_before(move: ir.Node, axis: int) -> int | None:
    """Which axis of its input becomes an axis of its output."""
    x = move.inputs[0]
    if x is None or x.shape is None:
        return None
    rank = len(x.shape)
    if move.op_type == "Transpose":
        order = list(move.attributes.get_ints("perm", tuple(range(rank))[::-1]))
        return int(order[axis])
    given = move.inputs[1] if len(move.inputs) > 1 else None
    if move.op_type not in ("Squeeze", "Unsqueeze") or given is None or given.const_value is None:
        return None
    listed = [int(a) for a in given.const_value.numpy().reshape(-1)]
    if move.op_type == "Squeeze":
        kept = [i for i in range(rank) if i not in {a % rank for a in listed}]
        return kept[axis]
    total = rank + len(listed)
    added = {a % total for a in listed}
    kept = [i for i in range(total) if i not in added]
    return kept.index(axis) if axis in kept else None


def _move_before(editor: Editor, step: _Elementwise) -> None:
    """Put the node before the moves; the last of these gives what the node gave."""
    node, last = step.node, step.moves[-1].outputs[0]
    old = node.outputs[0]
    inputs = list(node.inputs)
    inputs[step.operand] = step.source
    for index, array in step.constants.items():
        inputs[index] = editor.constant(f"{node.name}.constant", array)
    new = ir.node(node.op_type, inputs, node.attributes, name=node.name)
    value = new.outputs[0]
    value.type, value.shape = old.type, step.source.shape
    value.name = _moved_name(editor, old)
    editor.graph.insert_before(step.moves[0], new)
    step.moves[0].replace_input_with(0, value)
    editor.redirect(old, last)
    editor.graph.remove(node, safe=True)
    for move in step.moves[:-1]:
        move.outputs[0].name = _moved_name(editor, move.outputs[0])
    last.name = old.name


def _moved_name(editor: Editor, value: ir.Value) -> str:
    return editor.free(f"{str(value.name).removesuffix(MOVED)}{MOVED}")
