"""Whether loading a model keeps its function, for tests of what it rewrites."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from quantscope.core.model import Model, load_model
from tests.networks import Net
from tests.sessions import session

Shapes = dict[str, list[object]]


def values(proto: onnx.ModelProto, feed: np.ndarray, names: Sequence[str] = ()) -> list[np.ndarray]:
    """All outputs for the input x, or these tensors."""
    shown = onnx.ModelProto.FromString(proto.SerializeToString())
    if names:
        del shown.graph.output[:]
        shown.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in names)
    return list(session(shown).run(None, {"x": feed}))


def load_and_compare(net: Net, inputs: Shapes, outputs: Shapes, feed: np.ndarray) -> Model:
    """Load a network and compare all outputs with the file's own; the graph is checked with its shapes."""
    proto = net.model(inputs, outputs)
    loaded = load_model(proto.SerializeToString())
    for one, other in zip(values(proto, feed), values(loaded.proto(), feed), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=2e-5 * max(1.0, float(np.abs(one).max())))
    onnx.shape_inference.infer_shapes(loaded.proto(), strict_mode=True)
    onnx.checker.check_model(loaded.proto())
    return loaded
