"""What passes ask of a single node: the tensors that it reads, and the axes that it works along."""

from collections.abc import Iterator

import onnx_ir as ir


def values_read(node: ir.Node) -> Iterator[ir.Value]:
    """Tensors of the main graph that a node reads, also inside its subgraphs."""
    yield from (v for v in node.inputs if v is not None)
    for attribute in node.attributes.values():
        if attribute.type not in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
            continue
        single = attribute.type == ir.AttributeType.GRAPH
        for graph in [attribute.as_graph()] if single else attribute.as_graphs():
            for inner in graph.all_nodes():
                yield from (v for v in inner.inputs if v is not None and v.graph is node.graph)


def constant_axes(node: ir.Node) -> list[int] | None:
    """The axes of a reduction, Squeeze or the like, an attribute or a second input; None where unknown."""
    if "axes" in node.attributes:
        return list(node.attributes.get_ints("axes", ()))
    value = node.inputs[1] if len(node.inputs) > 1 else None
    return None if value is None or value.const_value is None else value.const_value.numpy().tolist()
