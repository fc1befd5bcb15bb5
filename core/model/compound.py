"""Functions that exporters spell out in several nodes, seen as one: HardSwish, SiLU, GELU, normalizations.

Such a function is one step of the network. Whether it is rounded inside is the target's matter: where a few
integer kernels do it, that saves time; else it is computed in float (`core.targets.placement`).
"""

import heapq
import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

STANDARD_DOMAINS = ("", "ai.onnx")
Float64 = npt.NDArray[np.float64]

_LARGEST = 48  # nodes of one function; real ones have up to about 12
_TOLERANCE = (
    1e-3  # of a known function's size: how far a spelled-out form may be off, as constants are rounded
)
_ERF = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Float64) -> Float64:
    return np.asarray(1 / (1 + np.exp(-x)))


def _float_attribute(node: ir.Node, name: str, default: float) -> float:
    return float(node.attributes.get_float(name, default))


_Numeric = Callable[[ir.Node, Sequence[Float64]], Float64]

# Operators of one value for each value, and how NumPy computes them.
_POINTWISE: Mapping[str, _Numeric] = {
    "Add": lambda _, v: v[0] + v[1],
    "Sub": lambda _, v: v[0] - v[1],
    "Mul": lambda _, v: v[0] * v[1],
    "Div": lambda _, v: v[0] / v[1],
    "Neg": lambda _, v: -v[0],
    "Abs": lambda _, v: np.abs(v[0]),
    "Pow": lambda _, v: np.power(v[0], v[1]),
    "Sqrt": lambda _, v: np.sqrt(v[0]),
    "Reciprocal": lambda _, v: 1 / v[0],
    "Exp": lambda _, v: np.exp(v[0]),
    "Log": lambda _, v: np.log(v[0]),
    "Erf": lambda _, v: _ERF(v[0]),
    "Tanh": lambda _, v: np.tanh(v[0]),
    "Sigmoid": lambda _, v: _sigmoid(v[0]),
    "HardSigmoid": lambda n, v: np.clip(
        _float_attribute(n, "alpha", 0.2) * v[0] + _float_attribute(n, "beta", 0.5), 0, 1
    ),
    "Softplus": lambda _, v: np.logaddexp(0, v[0]),
    "Relu": lambda _, v: np.maximum(v[0], 0),
    "Clip": lambda _, v: np.minimum(np.maximum(v[0], v[1]), v[2]),
    "Min": lambda _, v: reduce(np.minimum, v),
    "Max": lambda _, v: reduce(np.maximum, v),
}
# Operators that a normalization reduces an axis with; what they give is spread over the tensor again.
_REDUCING = frozenset({"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSumSquare"})

_KNOWN: Mapping[str, Callable[[Float64], Float64]] = {
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "HardSigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "SiLU": lambda x: x * _sigmoid(x),
    "Gelu": lambda x: x * (1 + _ERF(x / math.sqrt(2))) / 2,
    "QuickGelu": lambda x: x * _sigmoid(1.702 * x),
    "Mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compound:
    """A function of one tensor, and its nodes in topological order; the last one gives its value."""

    input: ir.Value
    nodes: tuple[ir.Node, ...]
    name: str  # of the function where it is a known one, or what kind it is


def compound_at(node: ir.Node, position: Mapping[ir.Node, int], taken: Container[ir.Node]) -> Compound | None:
    """The longest function of one tensor that this node belongs to and reads the tensor of.

    All nodes of a function depend on its input and constants alone, nothing else reads what is between them,
    and its input goes more than one way: of steps in a row, each is a layer of its own.

    Args:
        node: A node of the graph whose only variable operand would be the input.
        position: Topological position of each node of the graph.
        taken: Nodes that belong to other layers.
    """
    variable = _variables(node)
    if len(variable) != 1 or not _is_float32(variable[0]):
        return None
    x = variable[0]
    found = _depending_on(x, position, taken)
    if node not in found:
        return None
    for last in reversed(found):
        nodes = _leading_to(last, found, x)
        joins = any(len(_variables(n)) > 1 for n in nodes)
        if joins and node in nodes and _is_closed(nodes, last):
            return Compound(input=x, nodes=tuple(nodes), name=_function_name(x, nodes))
    return None


def _variables(node: ir.Node) -> list[ir.Value]:
    return list(dict.fromkeys(v for v in node.inputs if v is not None and v.const_value is None))


def _is_float32(value: ir.Value) -> bool:
    return bool(value.dtype == ir.DataType.FLOAT)


def _depending_on(x: ir.Value, position: Mapping[ir.Node, int], taken: Container[ir.Node]) -> list[ir.Node]:
    """Nodes that compute on x and constants alone, in topological order, up to `_LARGEST`."""
    known = {x}
    waiting = [(position[n], n) for n in set(x.consumers()) if n in position]
    heapq.heapify(waiting)
    seen = {n for _, n in waiting}
    found: list[ir.Node] = []
    while waiting and len(found) < _LARGEST:
        _, node = heapq.heappop(waiting)
        if node in taken or not _takes_part(node) or any(v not in known for v in _variables(node)):
            continue
        found.append(node)
        known.add(node.outputs[0])
        for after in set(node.outputs[0].consumers()) - seen:
            if after in position:
                seen.add(after)
                heapq.heappush(waiting, (position[after], after))
    return found


def _takes_part(node: ir.Node) -> bool:
    if node.domain not in STANDARD_DOMAINS or len(node.outputs) != 1 or not _is_float32(node.outputs[0]):
        return False
    if node.op_type in _REDUCING:
        return bool(node.attributes.get_int("keepdims", 1)) and len(_variables(node)) == 1
    if node.op_type not in _POINTWISE or any(v is None for v in node.inputs[:1]):
        return False
    constants = [v.const_value for v in node.inputs if v is not None and v.const_value is not None]
    return all(keeps_shape(c.shape.numpy(), v) for c in constants for v in _variables(node))


def keeps_shape(shape: Sequence[int], x: ir.Value) -> bool:
    """Whether broadcasting a constant of this shape against x gives x's shape, as far as that is known."""
    if x.shape is None or not shape:
        return not shape
    dims = list(x.shape)[max(0, len(x.shape) - len(shape)) :]
    return len(shape) <= len(x.shape) and all(s in (1, d) for s, d in zip(shape, dims, strict=True))


def _leading_to(last: ir.Node, found: Sequence[ir.Node], x: ir.Value) -> list[ir.Node]:
    """The nodes among `found` that `last` depends on, and itself."""
    needed = {last}
    nodes = []
    for node in reversed(found):
        if node in needed:
            nodes.append(node)
            needed.update(p for v in _variables(node) if v is not x and (p := v.producer()) is not None)
    return nodes[::-1]


def _is_closed(nodes: Sequence[ir.Node], last: ir.Node) -> bool:
    """Whether nothing outside reads what is between the nodes."""
    inside = set(nodes)
    between = (node.outputs[0] for node in nodes if node is not last)
    return all(not v.is_graph_output() and inside.issuperset(v.consumers()) for v in between)


def _function_name(x: ir.Value, nodes: Sequence[ir.Node]) -> str:
    """What people call the function, found by its values; scales and shifts behind it do not count."""
    grid = np.linspace(-8.0, 8.0, 129)
    values: dict[ir.Value, Float64] = {x: grid}
    name = ""
    for node in nodes:
        if node.op_type in _REDUCING:
            return "Normalization"
        operands = [_operand(v, values) for v in node.inputs]
        if node.op_type == "Clip":  # whose bounds may be left out
            given = [*node.inputs[1:3], None, None]
            bounds = zip(given, (-np.inf, np.inf), strict=False)
            operands = [operands[0], *(np.array(b) if v is None else _operand(v, values) for v, b in bounds)]
        if any(o is None for o in operands):
            continue  # of one constant a channel
        with np.errstate(all="ignore"):
            values[node.outputs[0]] = result = np.asarray(
                _POINTWISE[node.op_type](node, [o for o in operands if o is not None])
            )
        name = next((known for known, f in _KNOWN.items() if _is_multiple(result, f(grid))), name)
    return name or "Elementwise"


def _operand(value: ir.Value | None, values: Mapping[ir.Value, Float64]) -> Float64 | None:
    """What is known of an operand: a tensor's values on the grid, or a constant that is one number."""
    if value is None or value.const_value is None:
        return None if value is None else values.get(value)
    array = value.const_value.numpy()
    return array.astype(np.float64).reshape(()) if array.size == 1 else None


def _is_multiple(values: Float64, of: Float64) -> bool:
    if values.shape != of.shape or not np.isfinite(values).all():
        return False
    factor = float((values * of).sum() / (of * of).sum())
    return factor != 0.0 and float(np.abs(values - factor * of).max()) <= _TOLERANCE * abs(factor)
