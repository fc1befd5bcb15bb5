"""Let ONNX and ONNX Runtime work on a graph without pushing its weights through protobuf."""

import contextlib
import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort

from quantscope.core.errors import ModelError
from quantscope.core.model.loading.modelfile import PROTOBUF_LIMIT
from quantscope.core.runtime import open_session, session_options

_LIGHT = 1024  # bytes; larger initializers are kept out of serialized graphs (ONNX Runtime's own limit, too)
_OPTIMIZED, _WEIGHTS = "model.onnx", "model.onnx.data"


@contextlib.contextmanager
def weights_aside(model: ir.Model) -> Iterator[dict[str, ir.TensorProtocol]]:
    """Inside, large initializers of the main graph are mere references; yields their contents by name."""
    aside: dict[str, ir.TensorProtocol] = {}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.nbytes <= _LIGHT or tensor.dtype == ir.DataType.STRING:
            continue
        aside[name] = tensor
        value.const_value = ir.ExternalTensor(
            "absent", 0, tensor.nbytes, tensor.dtype, shape=ir.Shape(tensor.shape.numpy()), name=name
        )
    try:
        yield aside
    finally:
        for name, tensor in aside.items():
            model.graph.initializers[name].const_value = tensor


def serialize(model: ir.Model) -> bytes:
    """Protobuf bytes.

    Raises:
        ModelError: they would exceed 2 GB (only weights nested in subgraphs can be that large here).
    """
    proto = ir.to_proto(model)
    try:
        return bytes(proto.SerializeToString())
    except Exception as error:  # upb's EncodeError and ValueError have no common base
        raise ModelError(
            f"the graph is larger than the {PROTOBUF_LIMIT:,} bytes that protobuf allows ({error}). Save its "
            "weights as initializers with external data, outside of subgraphs."
        ) from error


def _looking() -> ort.SessionOptions:
    """For sessions that only look at a graph, and shall leave its integers as they are."""
    return session_options(entries={"session.disable_prepacking": "1"}, exact=False)


@functools.cache
def newest_opset() -> int:
    """The newest opset that this ONNX Runtime accepts."""
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
    graph.output[0].name = "y"
    newest = onnx.defs.onnx_opset_version()
    for opset in range(newest, 13, -1):
        imports = [onnx.helper.make_opsetid("", opset)]
        probe = onnx.helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()
        try:
            open_session(probe, _looking())
        except Exception:  # not known yet, or no kernel for it
            continue
        return opset
    return newest


def fold(model: ir.Model, folder: Path, *, basic: bool = True) -> ir.Model:
    """What ONNX Runtime's basic optimizations make of a model; they use standard operators only.

    They fold constants and BatchNormalization, turn MatMul + Add into Gemm, and remove Identity, Dropout
    and no-ops. The large weights of the result lie in `folder`, memory-mapped; see `read_weights`.

    Raises:
        Exception: of ONNX Runtime, when it cannot load the model.
    """
    options = _looking()
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_BASIC if basic else level.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(folder / _OPTIMIZED)
    if not _has_strings(model):  # which cannot be written to a file of weights
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", _WEIGHTS)
    with weights_aside(model) as weights:
        light = serialize(model)
        values = _give_weights(options, weights)
        # ConstantSharing would only rename scalars.
        session = open_session(light, options, disabled_optimizers=["ConstantSharing"])
        del session, values
    return _load_written(folder)


def _has_strings(model: ir.Model) -> bool:
    values = (v.const_value for g in model.graphs() for v in g.initializers.values())
    attributes = (a for n in model.graph.all_nodes() for a in n.attributes.values() if not a.is_ref())
    constants = (a.as_tensor() for a in attributes if a.type == ir.AttributeType.TENSOR)
    return any(t is not None and t.dtype == ir.DataType.STRING for t in itertools.chain(values, constants))


def _load_written(folder: Path) -> ir.Model:
    """The model that ONNX Runtime wrote; it may keep a Constant node beside the initializer it became."""
    proto = onnx.load(str(folder / _OPTIMIZED), load_external_data=False)
    _drop_doubles(proto.graph, set())
    model = ir.from_proto(proto)
    locate_weights(model, {_WEIGHTS: folder / _WEIGHTS})
    return model


def _drop_doubles(graph: onnx.GraphProto, outer: set[str]) -> None:
    known = outer | {tensor.name for tensor in graph.initializer}
    kept = [n for n in graph.node if not (n.op_type == "Constant" and n.output[0] in known)]
    if len(kept) < len(graph.node):
        del graph.node[:]
        graph.node.extend(kept)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _drop_doubles(attribute.g, known)


def _give_weights(options: ort.SessionOptions, weights: dict[str, ir.TensorProtocol]) -> list[ort.OrtValue]:
    """Hand weights to a session in memory; the result must outlive the session."""
    values = [
        ort.OrtValue.ortvalue_from_numpy_with_onnx_type(_storage(tensor), int(tensor.dtype))
        for tensor in weights.values()
    ]
    options.add_external_initializers(list(weights), values)
    return values


def _storage(tensor: ir.TensorProtocol) -> npt.NDArray[np.generic]:
    array = tensor.numpy()
    if array.dtype.kind == "V" or array.dtype.name.startswith(("bfloat", "float8", "int4", "uint4")):
        unsigned = {1: np.uint8, 2: np.uint16}[array.dtype.itemsize]
        array = array.view(unsigned)
    return np.ascontiguousarray(array).reshape(array.shape)


def read_weights(model: ir.Model) -> None:
    """Read memory-mapped initializers into memory, so that their file is no longer needed."""
    for value in external_values(model):
        assert isinstance(value.const_value, ir.ExternalTensor)
        value.const_value = _read_external(value.const_value)


def locate_weights(model: ir.Model, files: Mapping[str, Path]) -> None:
    """Point external tensors at the real files behind their locations; these have been checked."""

    def located(tensor: ir.ExternalTensor) -> ir.ExternalTensor:
        file = files[str(tensor.location)]
        shape = ir.Shape(tensor.shape.numpy())
        return ir.ExternalTensor(
            file.name,
            tensor.offset,
            tensor.length,
            tensor.dtype,
            shape=shape,
            name=tensor.name or "",
            base_dir=file.parent,
        )

    for value in external_values(model):
        assert isinstance(value.const_value, ir.ExternalTensor)
        value.const_value = located(value.const_value)
    for node, name, tensor in _external_attributes(model):
        node.attributes[name] = ir.AttrTensor(name, located(tensor))


def read_small_weights(model: ir.Model) -> None:
    """Read into memory all but the large initializers of the main graph, which alone stay out of protobuf."""
    for value in external_values(model):
        tensor = value.const_value
        assert isinstance(tensor, ir.ExternalTensor)
        if tensor.nbytes <= _LIGHT or value.graph is not model.graph:
            value.const_value = _read_external(tensor)
    for node, name, tensor in _external_attributes(model):
        node.attributes[name] = ir.AttrTensor(name, _read_external(tensor))


def _external_attributes(model: ir.Model) -> list[tuple[ir.Node, str, ir.ExternalTensor]]:
    return [
        (node, name, tensor)
        for node in model.graph.all_nodes()
        for name, attribute in node.attributes.items()
        if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref()
        if isinstance(tensor := attribute.as_tensor(), ir.ExternalTensor)
    ]


def _read_external(tensor: ir.ExternalTensor) -> ir.TensorProtocol:
    kind = tensor.dtype
    if kind.bitwidth < 8:  # packed
        return ir.Tensor(np.array(tensor.numpy()), dtype=kind, name=tensor.name)
    raw = np.fromfile(tensor.path, np.uint8, count=tensor.nbytes, offset=tensor.offset or 0)
    return ir.Tensor(raw.view(kind.numpy()).reshape(tensor.shape.numpy()), dtype=kind, name=tensor.name)


def external_values(model: ir.Model) -> list[ir.Value]:
    """Initializers, in all graphs, whose data lie in another file."""
    values = (v for g in model.graphs() for v in g.initializers.values())
    return [v for v in values if isinstance(v.const_value, ir.ExternalTensor)]


def weight_bytes(model: ir.Model) -> int:
    """Bytes of all initializers, subgraphs included."""
    tensors = (v.const_value for g in model.graphs() for v in g.initializers.values())
    return sum(t.nbytes for t in tensors if t is not None)


def infer_shapes(model: ir.Model) -> None:
    """Fill in types and shapes by ONNX's inference, in place; what it cannot tell stays as it was."""
    with weights_aside(model):
        proto = ir.to_proto(model)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except Exception:  # an operator that ONNX objects to; ONNX Runtime has the last word
        return
    _fill(model.graph, inferred.graph)


def _fill(graph: ir.Graph, proto: onnx.GraphProto) -> None:
    """Copy what was inferred; `proto` has the same nodes in the same order."""
    found = {info.name: info for infos in (proto.value_info, proto.output) for info in infos}
    for node, twin in zip(graph, proto.node, strict=True):
        for value in node.outputs:
            info = found.get(value.name or "")
            if info is not None and info.type.HasField("tensor_type"):
                _merge(value, info.type.tensor_type)
            elif info is not None and value.type is None:
                value.type = ir.from_proto(info).type
        for attribute in twin.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _fill(node.attributes[attribute.name].as_graph(), attribute.g)


def _merge(value: ir.Value, found: onnx.TypeProto.Tensor) -> None:
    if value.type is None and found.elem_type:
        value.type = ir.TensorType(ir.DataType(found.elem_type))
    if not found.HasField("shape"):
        return
    dims: list[int | str | None] = [
        d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in found.shape.dim
    ]
    if value.shape is not None and len(value.shape) == len(dims):
        # A number is better than a name, and the file's own name better than a made-up one.
        old = [d if isinstance(d, int) else d.value for d in value.shape]
        dims = [
            new if isinstance(new, int) or name is None else name for name, new in zip(old, dims, strict=True)
        ]
        if dims == old:
            return
    value.shape = ir.Shape(dims)


_TENSOR_TYPE = re.compile(r"tensor\((\w+)\)")


def probe_types(model: ir.Model) -> None:
    """Ask ONNX Runtime for the element types that ONNX could not infer (operators of other domains)."""
    unknown = [v for node in model.graph for v in node.outputs if v.name and v.type is None]
    if not unknown:
        return
    names = {str(v.name) for v in unknown} - {str(v.name) for v in model.graph.outputs}
    options = _looking()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    with weights_aside(model) as weights:
        proto = ir.to_proto(model)
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(names))
        values = _give_weights(options, weights)
        session = open_session(proto.SerializeToString(), options)
        found = {out.name: out for out in session.get_outputs()}
        del session, values
    for value in unknown:
        out = found.get(str(value.name))
        match = _TENSOR_TYPE.fullmatch(out.type) if out is not None else None
        if out is None or match is None:
            continue
        value.type = ir.TensorType(_ORT_TYPES.get(match[1], ir.DataType.UNDEFINED))
        if value.shape is None and out.shape:
            value.shape = ir.Shape(out.shape)


_ORT_TYPES = {
    "float": ir.DataType.FLOAT,
    "double": ir.DataType.DOUBLE,
    "float16": ir.DataType.FLOAT16,
    "bfloat16": ir.DataType.BFLOAT16,
    "string": ir.DataType.STRING,
    "bool": ir.DataType.BOOL,
    **{
        f"{sign}int{bits}": ir.DataType[f"{sign}INT{bits}".upper()]
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
}


_SOURCE_LINE = re.compile(
    r"\S*\.(?:cc|h|cpp|hpp):\d+ \S.*?\)(?:::<lambda\(\)>)?(?: const)?(?: \[with [^\]]*\])? (?=\S)"
)


def short_reason(error: BaseException) -> str:
    """The root cause as one readable line: without codes, paths of sources, and stack traces."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split())
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"Load model from \S* ?failed: ?", "", text)
    text = re.sub(r"Exception during initialization: |Exception caught: |Fatal error: ", "", text)
    # "<file>:<line> <signature> <message>": only the message is for readers.
    text = _SOURCE_LINE.sub("", text).replace("Status Message: ", "").strip()
    return text if len(text) <= 300 else f"{text[:297]}…"
