"""Which layer an error of ONNX Runtime is about, and what to do about it."""

import re

from quantscope.core.model import Model

_NAMED = re.compile(r"[Nn]ame:\s*'([^']+)'|\(([^()]+)\)|'([^']+)'")


def explained(error: str, model: Model) -> str:
    """The error, and a way out where it names a layer of the model.

    ONNX Runtime names a node it has fused or added after the one it replaces, with a suffix: of all layers
    whose nodes' names begin one that is said, the longest is meant.
    """
    if not error:
        return error
    said = [next(filter(None, found)) for found in _NAMED.findall(error)]
    fits = [
        (len(node), layer.name)
        for layer in model.layers
        if layer.kind == "compute"
        for node in layer.nodes
        if any(name == node or name.startswith((f"{node}_", f"{node}/")) for name in said)
    ]
    if not fits:
        return error
    name = max(fits)[1]
    return f"{error.rstrip('. ')}. This is the layer {name}: set its precision to float on the page Layers."
