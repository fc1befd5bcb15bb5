"""ONNX Runtime sessions of a float model: made without copying its weights, one thread a run."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort

from quantscope.core.model.model import Model
from quantscope.core.runtime import Session

Array = npt.NDArray[Any]

_INSIDE_BYTES = 1024  # smaller constants stay in the graph, where optimizations can read them
_SHARED_TYPES = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FloatSession:
    """A float model ready to run; several threads may run it at once."""

    session: Session
    tensors: tuple[str, ...]  # exposed

    def values(self, sample: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
        """The exposed tensors; raises one of `ORT_ERRORS` where the sample does not fit."""
        yield from zip(self.tensors, self.session.ort.run(list(self.tensors), dict(sample)), strict=True)


def float_session(model: Model, tensors: Iterable[str] = ()) -> FloatSession:
    """A session of the float model for its `tensors`; as `model_session`."""
    names = tuple(tensors)
    return FloatSession(session=model_session(model, names), tensors=names)


def model_session(
    model: Model, tensors: Iterable[str] = (), *, threads: int = 1, arena: bool = True
) -> Session:
    """A session of the float model that gives `tensors` besides the outputs.

    Only they are exposed, so that everything else stays fused. The graph goes to ONNX Runtime without its
    weights, which are used where they are: for ResNet-50 this takes 60 ms rather than 400, and a model
    may be larger than protobuf's 2 GB. One thread computes a run, so results do not depend on the machine's
    core count. Raises `ModelError` if ONNX Runtime does not accept the model.
    """
    graph, weights = light_graph(model, tuple(tensors))
    data = bytes(graph.SerializeToString())
    return Session(data, weights=weights, threads=threads, arena=arena, what="the float model")


def light_graph(model: Model, tensors: Iterable[str] = ()) -> tuple[onnx.ModelProto, dict[str, ort.OrtValue]]:
    """The graph with `tensors` as further outputs and without its large weights, and these by name."""
    copy = model.ir.clone()
    weights = {}
    for name, value in copy.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.nbytes <= _INSIDE_BYTES or tensor.dtype not in _SHARED_TYPES:
            continue
        array = np.ascontiguousarray(tensor.numpy())
        weights[name] = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, int(tensor.dtype))
        value.const_value = ir.ExternalTensor(
            "absent", 0, tensor.nbytes, tensor.dtype, shape=ir.Shape(array.shape), name=name
        )
    types = {v.name: v.dtype for node in copy.graph for v in node.outputs}
    proto = ir.to_proto(copy)
    have = {output.name for output in proto.graph.output}
    for name in tensors:
        if name not in have:
            elem_type = int(types.get(name) or ir.DataType.FLOAT)
            proto.graph.output.add(name=name).type.tensor_type.elem_type = elem_type
    return proto, weights
