"""The end of a network: what lies between the layers that compute its outputs and the outputs."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import onnx_ir as ir

from quantscope.core.model.layers import STANDARD_DOMAINS
from quantscope.core.model.model import Model

# Operators whose outputs hold values of their inputs, unchanged.
MOVES = frozenset(
    {
        "Concat", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Split", "Identity",
        "Gather", "GatherElements", "GatherND", "Expand", "Tile", "DepthToSpace", "SpaceToDepth", "Cast",
        "Pad", "TopK", "Dropout",
    }
)  # fmt: skip
_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPath:
    """The end of a network, as far as it only moves values, or computes without weights."""

    nodes: tuple[ir.Node, ...]  # from the outputs backwards
    feeds: tuple[ir.Value, ...]  # tensors that nodes before it, or the inputs, give

    def feeders(self) -> tuple[ir.Node, ...]:
        """The nodes that give values to it."""
        return tuple(node for value in self.feeds if (node := value.producer()) is not None)

    def tensors(self) -> frozenset[str]:
        """Names of all its tensors, those given to it included."""
        made = (str(value.name) for node in self.nodes for value in node.outputs)
        return frozenset([*made, *(str(value.name) for value in self.feeds)])


def output_path_of(model: Model, outputs: Collection[str], *, compute: bool = False) -> OutputPath:
    """Walk back from some outputs over all that only moves values.

    Args:
        model: The float model.
        outputs: Names of outputs.
        compute: Go on over what computes without weights, too.
    """
    waiting = [value for value in model.ir.graph.outputs if value.name in outputs]
    seen: set[ir.Value] = set()
    nodes: dict[ir.Node, None] = {}
    feeds: dict[ir.Value, None] = {}
    while waiting:
        value = waiting.pop()
        if value in seen or value.const_value is not None:
            continue
        seen.add(value)
        node = value.producer()
        if node is None or not (_moves(node) or (compute and _weightless(model, node))):
            if value.dtype == ir.DataType.FLOAT:
                feeds[value] = None
            continue
        nodes[node] = None
        given = node.inputs if not _moves(node) or node.op_type == "Concat" else node.inputs[:1]
        waiting += [v for v in given if v is not None and v.dtype in _FLOATS]
    return OutputPath(nodes=tuple(nodes), feeds=tuple(feeds))


def _moves(node: ir.Node) -> bool:
    return node.op_type in MOVES and node.domain in STANDARD_DOMAINS


def _weightless(model: Model, node: ir.Node) -> bool:
    layer = model.layer_of(str(node.outputs[0].name))
    return layer is not None and layer.kind == "compute" and layer.weight is None and layer.op != "MatMul"


def quoted_names(layers: Iterable[str], most: int = 4) -> str:
    """Names for a sentence."""
    shown = [f"'{name}'" for name in layers]
    more = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {more} more" if more > 0 else "")
