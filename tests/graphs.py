"""Small ONNX graphs in a line or two each, and a plain run of them, for the loader's tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from quantscope.core.model import Model
from tests.sessions import options
from tests.sessions import session as open_session

FLOAT, HALF, INT64, BOOL = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.BOOL
Feeds = dict[str, np.ndarray]
Build = Callable[[], onnx.ModelProto]
node = helper.make_node


def value(name: str, shape: Sequence[int | str] | None = None, kind: int = FLOAT) -> onnx.ValueInfoProto:
    """A typed graph input or output; `shape` None leaves even the rank open."""
    return helper.make_tensor_value_info(name, kind, shape)


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Mapping[str, np.ndarray] | None = None,
) -> onnx.GraphProto:
    """A graph; weights become initializers."""
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()]
    return helper.make_graph(list(nodes), "g", list(inputs), list(outputs), tensors)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Mapping[str, np.ndarray] | None = None,
    *,
    opset: int = 13,
    ir_version: int = 8,
    domains: Mapping[str, int] | None = None,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A model of one graph."""
    opsets = [helper.make_opsetid(d, v) for d, v in {"": opset, **(domains or {})}.items()]
    body = graph(nodes, inputs, outputs, weights)
    return helper.make_model(body, opset_imports=opsets, ir_version=ir_version, functions=list(functions))


def randn(*shape: int, seed: int = 0) -> np.ndarray:
    """Seeded normal float32."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def session(proto: onnx.ModelProto | bytes | str, folder: str | None = None) -> ort.InferenceSession:
    """A session without any optimization, so that nothing hides a change."""
    settings = options(plain=True)
    if folder is not None:
        settings.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    return open_session(proto, settings)


def random_feeds(loaded: Model, *, unknown: int = 2, seed: int = 0) -> Feeds:
    """Random values for each input; dynamic dimensions become `unknown`."""
    rng = np.random.default_rng(seed)
    feeds: Feeds = {}
    for info in loaded.inputs:
        dims = (unknown,) if info.shape is None else info.shape
        shape = [d if isinstance(d, int) else unknown for d in dims]
        feeds[info.name] = np.asarray(rng.normal(0, 3, shape), info.dtype)
    return feeds


def assert_same_function(
    original: onnx.ModelProto, loaded: Model, feeds: Feeds | None = None, *, tolerance: float = 1e-5
) -> None:
    """The cleaned model has the original's interface, and its outputs within float round-off.

    `tolerance` is relative to the largest value of each output.
    """
    feeds = random_feeds(loaded) if feeds is None else feeds
    before, after = session(original), session(loaded.float_bytes())
    assert [(i.name, i.type) for i in after.get_inputs()] == [(i.name, i.type) for i in before.get_inputs()]
    assert [(o.name, o.type) for o in after.get_outputs()] == [(o.name, o.type) for o in before.get_outputs()]
    for expected, got in zip(before.run(None, feeds), after.run(None, feeds), strict=True):
        assert got.shape == expected.shape
        assert got.dtype == expected.dtype
        scale = max(1.0, float(np.abs(expected).max(initial=0)))
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale)
