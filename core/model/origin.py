"""What the user's file says beside its graph, for files made of it to say the same."""

from dataclasses import dataclass

import onnx

from quantscope.core.model.loading.externaldata import all_graphs


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Remarks of a model file: what no computation needs, but readers of the file may."""

    described: frozenset[str] = frozenset()  # inner tensors whose types and shapes it writes down
    metadata: tuple[tuple[str, str], ...] = ()  # as it has them: class names, sizes, licences …
    documentation: str = ""
    graph_documentation: str = ""
    value_documentation: tuple[tuple[str, str], ...] = ()  # of inputs and outputs, by name


def origin_of(proto: onnx.ModelProto) -> Origin:
    """The remarks of a model as it was read."""
    graph = proto.graph
    return Origin(
        described=frozenset(v.name for each in all_graphs(proto) for v in each.value_info),
        metadata=tuple((entry.key, entry.value) for entry in proto.metadata_props),
        documentation=proto.doc_string,
        graph_documentation=graph.doc_string,
        value_documentation=tuple(
            (v.name, v.doc_string) for v in (*graph.input, *graph.output) if v.doc_string
        ),
    )
