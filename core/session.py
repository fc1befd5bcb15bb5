"""ONNX Runtime sessions of a float model: made without copying its weights, one thread a run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from core.errors import ModelError
from core.model import Model

Array = npt.NDArray[Any]

# ONNX Runtime's exceptions share no base class of their own; feeds of a wrong type raise ValueError.
ORT_ERRORS: tuple[type[Exception], ...] = (
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
    ValueError,
)
_INSIDE_BYTES = 1024  # smaller constants stay in the graph, where optimizations can read them
_SHARED_TYPES = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FloatSession:
    """A float model ready to run; several threads may run it at once."""

    ort: ort.InferenceSession
    tensors: tuple[str, ...]  # exposed
    weights: Sequence[ort.OrtValue] = field(repr=False)  # used in place: must live as long as the session

    def values(self, sample: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
        """The exposed tensors; raises one of `ORT_ERRORS` where the sample does not fit."""
        yield from zip(self.tensors, self.ort.run(list(self.tensors), dict(sample)), strict=True)


def float_session(model: Model, tensors: Iterable[str] = ()) -> FloatSession:
    """A session of the float model that gives `tensors` besides the outputs.

    Only they are exposed, so that everything else stays fused. The graph goes to ONNX Runtime without its
    weights, which are used where they are: for ResNet-50 this takes 60 ms rather than 400, and a model
    may be larger than protobuf's 2 GB. One thread computes a run, so results do not depend on the machine's
    core count. Raises `ModelError` if ONNX Runtime does not accept the model.
    """
    names = tuple(tensors)
    graph, weights = light_graph(model, names)
    options = session_options()
    options.add_external_initializers(list(weights), list(weights.values()))
    try:
        session = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise ModelError(f"ONNX Runtime does not run the model: {first_line(error)}") from error
    return FloatSession(ort=session, tensors=names, weights=list(weights.values()))


def session_options() -> ort.SessionOptions:
    """One thread a run, and no log output."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # failures are raised; a log line would say the same again
    return options


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
    proto = ir.to_proto(copy)
    have = {output.name for output in proto.graph.output}
    for name in tensors:
        if name not in have:
            proto.graph.output.add(name=name).type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return proto, weights


def first_line(error: Exception) -> str:
    """An error of ONNX Runtime without its codes, on one line."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text.split(" : ", 2)[-1].strip()[:300]
