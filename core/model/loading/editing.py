"""What rewriting a graph needs: names that are free, constants, and a node in the place of another."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from quantscope.core.model.layers import STANDARD_DOMAINS

CUT = ".cut"  # ends the names of tensors that a limit of ours made
MOVED = ".moved"  # ends the names of tensors that are made before values are moved


class Editor:
    """Changes the main graph of a model in place.

    A tensor keeps its name as long as it keeps its values, so that files which other tools made of the same
    model can be compared by name; every other tensor gets a new one.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._taken = names_in_use(graph) | {str(n.name) for n in graph.all_nodes()}

    def holds(self, node: ir.Node) -> bool:
        """Whether a node is (still) one of the graph's, and of the standard's operators."""
        return node.graph is self.graph and node.domain in STANDARD_DOMAINS

    def free(self, name: str) -> str:
        """The name, or with a number behind it where the graph uses it; taken from now on."""
        return unique_name(name, self._taken)

    def constant(self, name: str, array: npt.ArrayLike) -> ir.Value:
        """A new float32 initializer."""
        return add_initializer(self.graph, self.free(name), array)

    def node(
        self, op: str, inputs: Sequence[ir.Value | None], like: ir.Value, name: str
    ) -> tuple[ir.Node, ir.Value]:
        """A new node that is in no graph yet, and its output, of the type and shape of `like`."""
        node = ir.node(op, inputs, name=self.free(name))
        value = node.outputs[0]
        value.name, value.type, value.shape = node.name, like.type, like.shape
        return node, value

    def replace(
        self,
        node: ir.Node,
        op: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, float] | None = None,
        *,
        name: str = "",
    ) -> None:
        """Put another node in the place of a node; its output takes over name and readers.

        Args:
            node: Goes.
            op: Operator of the one that comes.
            inputs: Its operands.
            attributes: Its attributes.
            name: Its name, if it shall not be called as the one that goes.
        """
        new = ir.node(op, inputs, attributes or {}, name=name or node.name)
        old, value = node.outputs[0], new.outputs[0]
        value.type, value.shape = old.type, old.shape
        self.graph.insert_before(node, new)
        self.redirect(old, value)
        self.graph.remove(node, safe=True)
        value.name = old.name

    def redirect(self, old: ir.Value, new: ir.Value) -> None:
        """Let everything that reads one value read another, the graph's outputs too."""
        for i, output in enumerate(self.graph.outputs):
            if output is old:
                self.graph.outputs[i] = new
        old.replace_all_uses_with(new)


def unique_name(name: str, taken: set[str]) -> str:
    """The name, or with a number behind it where the model has used it for something else; taken from now."""
    candidate, number = name, 0
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate


def names_in_use(graph: ir.Graph) -> set[str]:
    """Of all tensors of a graph and of the graphs inside it."""
    names = {str(v.name) for n in graph.all_nodes() for v in n.outputs}
    return names | {str(v.name) for v in graph.inputs} | set(graph.initializers)


def add_initializer(graph: ir.Graph, name: str, array: npt.ArrayLike) -> ir.Value:
    """A new float32 initializer of a name that is free."""
    value = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT))
    set_constant(value, array)
    graph.initializers[name] = value
    return value


def set_constant(value: ir.Value, array: npt.ArrayLike) -> None:
    """Give an initializer another value, and perhaps another shape; a number keeps its rank of 0."""
    values = np.asarray(array, np.float32)
    value.const_value = ir.Tensor(np.ascontiguousarray(values).reshape(values.shape), name=value.name)
    value.shape = ir.Shape(values.shape)


def is_made_by_loading(tensor: str) -> bool:
    """Whether loading put in the Relu or Clip that makes a tensor, so that other files do not have it."""
    return tensor.endswith((CUT, MOVED))


def number_of(value: ir.Value | None) -> float | None:
    """A finite float32 constant of one number."""
    if value is None or value.const_value is None or value.dtype != ir.DataType.FLOAT:
        return None
    array = value.const_value.numpy()
    return float(array.reshape(())) if array.size == 1 and np.isfinite(array).all() else None


def fits_rank(constant: ir.Value, x: ir.Value) -> bool:
    """Whether a constant of one number has no more dimensions than what it meets, and so adds none."""
    rank = 0 if constant.const_value is None else len(constant.const_value.shape)
    return rank == 0 or (x.shape is not None and rank <= len(x.shape))


def maker_of(value: ir.Value | None, *ops: str) -> ir.Node | None:
    """The node that makes a value, if it is one of these standard operators in the value's own graph."""
    node = None if value is None else value.producer()
    if node is None or node.op_type not in ops or node.domain not in STANDARD_DOMAINS:
        return None
    return node


def is_read_once(value: ir.Value) -> bool:
    """Whether one node reads it, once, and nothing else sees it."""
    return len(value.uses()) == 1 and not value.is_graph_output()
