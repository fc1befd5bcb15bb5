"""Constants that the branches of an If or Loop have in common are stored once."""

import hashlib
from collections import defaultdict

import onnx_ir as ir

LEAST_BYTES = 1024  # smaller ones are not worth a value that crosses graphs


def share_constants_of_branches(model: ir.Model) -> None:
    """Move equal constants of subgraphs to the main graph, which all of them can read; changes `model`.

    Loading computes what is constant in each branch by itself, so that weights which a file has once may be
    there once a branch. A branch's own output stays in it.
    """
    found: dict[tuple[object, ...], list[tuple[ir.Graph, ir.Value]]] = defaultdict(list)
    names = {str(value.name) for value in (*model.graph.inputs, *model.graph.initializers.values())}
    names |= {str(value.name) for node in model.graph.all_nodes() for value in node.outputs}
    for graph in model.graph.subgraphs():
        names |= {str(name) for name in graph.initializers}
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is None or tensor.nbytes < LEAST_BYTES or value.is_graph_output():
                continue
            digest = hashlib.sha256(tensor.tobytes()).digest()
            found[tensor.dtype, tuple(tensor.shape.numpy()), digest].append((graph, value))
    for equal in found.values():
        if len(equal) < 2:
            continue
        first = equal[0][1]
        name = str(first.name) + "_shared"
        while name in names:
            name += "_"
        names.add(name)
        shared = ir.Value(name=name, shape=first.shape, type=first.type, const_value=first.const_value)
        model.graph.register_initializer(shared)
        for graph, value in equal:
            value.replace_all_uses_with(shared)
            del graph.initializers[str(value.name)]
