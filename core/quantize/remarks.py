"""A quantized file says beside its graph what the user's file said, and no more."""

import onnx

from quantscope.core.model import Origin
from quantscope.core.model.loading import all_graphs


def say_no_more_than(origin: Origin, proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model, changed in place: with the remarks of the user's file, and without those that it lacked.

    Types and shapes of inner tensors (value_info) stay only where the user's file has them: every runtime
    infers them, and for small models they take more room than the weights. Metadata come over, since programs
    read class names and sizes from them.
    """
    for graph in all_graphs(proto):
        kept = [value for value in graph.value_info if value.name in origin.described]
        if len(kept) < len(graph.value_info):
            del graph.value_info[:]
            graph.value_info.extend(kept)
    proto.doc_string = origin.documentation
    proto.graph.doc_string = origin.graph_documentation
    proto.ClearField("producer_version")  # of the tool that made the float model
    del proto.metadata_props[:]
    for key, text in origin.metadata:
        proto.metadata_props.add(key=key, value=text)
    documents = dict(origin.value_documentation)
    for value in (*proto.graph.input, *proto.graph.output):
        value.doc_string = documents.get(value.name, "")
    return proto
