"""The graph that ONNX Runtime makes of a model before it runs it, to be taken apart."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
import onnxruntime as ort

from quantscope.core.runtime.sessions import open_session, session_options

BLOCKED_DOMAIN = "com.microsoft.nchwc"  # operators on channels in blocks
WEIGHTS_FILE = "weights"
EXTERNAL_WEIGHTS = "session.optimized_model_external_initializers_file_name"


def optimized_graph(
    graph: onnx.ModelProto, weights: Mapping[str, ort.OrtValue], folder: Path
) -> onnx.ModelProto:
    """The graph as ONNX Runtime runs it; its larger weights lie in `folder` under `WEIGHTS_FILE`.

    Raises one of `ORT_ERRORS` if ONNX Runtime does not accept it.

    Args:
        graph: What is computed, without the weights that are given apart.
        weights: Those.
        folder: An empty folder.
    """
    options = session_options()
    options.add_external_initializers(list(weights), list(weights.values()))
    options.optimized_model_filepath = str(folder / "model.onnx")
    options.add_session_config_entry(EXTERNAL_WEIGHTS, WEIGHTS_FILE)
    options.add_session_config_entry("session.disable_prepacking", "1")
    open_session(graph.SerializeToString(), options)
    return onnx.load(str(folder / "model.onnx"), load_external_data=False)


def names_read(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node, or a graph inside it, reads; those made inside are among them."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            yield from (output.name for output in graph.output)
            for inner in graph.node:
                yield from names_read(inner)
