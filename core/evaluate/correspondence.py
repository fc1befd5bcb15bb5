"""Which tensors of a quantized model stand for which tensors of the float model, whoever wrote the file.

Works on the serialized protobuf: names are all that the two files have in common, and adding outputs to
a serialized model is appending bytes, which spares the edit loop a second copy of the weights.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from quantscope.core.data.sources import text
from quantscope.core.errors import ModelError
from quantscope.core.evaluate.qlinear import float_name, has_integer_operators, output_scales
from quantscope.core.model import Model, TensorInfo
from quantscope.core.model.loading import is_made_by_loading, read_model_file
from quantscope.core.quant import TYPES, Encoding, QuantType

_EXPOSED_TYPES = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16))


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedFile:
    """A quantized model, parsed and serialized."""

    proto: onnx.ModelProto
    data: bytes  # serialized; external data stay outside
    folder: Path | None  # where external data lie; None if it has none
    size_bytes: int  # the file and its external data


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterpart:
    """The tensor of the quantized model that stands for a float tensor."""

    tensor: str  # its name there
    encoding: Encoding | None  # of integers; None = a float tensor, or dequantized
    quantized: bool  # False = stays float
    integer_type: str  # e.g. "uint8"; "" if it stays float
    elem_type: int  # ONNX type


@dataclass(frozen=True, slots=True, kw_only=True)
class QdqView:
    """A quantized model seen from the float one."""

    names: Mapping[str, str]  # tensor of the quantized model → the float tensor it stands for
    quantizers: Mapping[str, onnx.NodeProto]  # float tensor → the QuantizeLinear node that rounds it
    constants: Mapping[str, onnx.TensorProto]  # constants of the main graph
    produced: frozenset[str]  # all tensors that nodes of the main graph produce
    dequantized: Mapping[str, str] = field(repr=False)  # DequantizeLinear output → its integer input
    # Integers → the DequantizeLinear that reads them with another zero point than they were written with.
    shifted: Mapping[str, onnx.NodeProto] = field(default_factory=dict, repr=False)
    integers: Mapping[str, Counterpart]  # float tensor → what an operator computes in integers for it
    integer_operators: bool  # it has such operators

    def counterpart(self, tensor: str) -> Counterpart | None:
        """What stands for a float tensor; None if nothing does."""
        node = self.quantizers.get(tensor)
        if node is not None:
            return self._quantized(node)
        if tensor in self.integers:
            return self.integers[tensor]
        if self.names.get(tensor) != tensor:
            return None
        return Counterpart(
            tensor=tensor, encoding=None, quantized=False, integer_type="", elem_type=onnx.TensorProto.FLOAT
        )

    def _quantized(self, node: onnx.NodeProto) -> Counterpart:
        encoding = encoding_of(self.shifted.get(node.output[0], node), self.constants)
        if encoding is not None and encoding.type.name in _EXPOSED_TYPES:
            return _integer_tensor(node.output[0], encoding)
        # 4-bit and float8 tensors, and block scales: let ONNX Runtime dequantize.
        shown = next((out for out, q in self.dequantized.items() if q == node.output[0]), node.input[0])
        kind = "" if encoding is None else encoding.type.name
        return Counterpart(
            tensor=shown, encoding=None, quantized=True, integer_type=kind, elem_type=onnx.TensorProto.FLOAT
        )


def _integer_tensor(tensor: str, encoding: Encoding) -> Counterpart:
    return Counterpart(
        tensor=tensor,
        encoding=encoding,
        quantized=True,
        integer_type=encoding.type.name,
        elem_type=onnx.helper.np_dtype_to_tensor_dtype(encoding.type.dtype),
    )


def read_quantized(source: bytes | str | Path | onnx.ModelProto) -> QuantizedFile:
    """Take a quantized model in any form.

    Raises:
        ModelError: It is no readable ONNX model.
    """
    if isinstance(source, onnx.ModelProto):
        data = source.SerializeToString()
        return QuantizedFile(proto=source, data=data, folder=None, size_bytes=len(data))
    file = read_model_file(source)
    data = source if isinstance(source, bytes) else file.proto.SerializeToString()
    folder = file.path.parent.resolve() if file.path is not None and file.external else None
    return QuantizedFile(proto=file.proto, data=data, folder=folder, size_bytes=file.size_bytes)


def check_interface(model: Model, quantized: onnx.ModelProto) -> None:
    """Make sure that both models take and give the same tensors.

    Raises:
        ModelError: Inputs or outputs differ in name or number, or inputs in type or size.
    """
    graph = quantized.graph
    stored = {t.name for t in graph.initializer}
    theirs = {
        "inputs": [v.name for v in graph.input if v.name not in stored],
        "outputs": [v.name for v in graph.output],
    }
    ours = {"inputs": [i.name for i in model.inputs], "outputs": [o.name for o in model.outputs]}
    for kind, names in ours.items():
        if set(names) != set(theirs[kind]):
            raise ModelError(
                f"the models cannot be compared: {kind} of the float model are {_first_names(names)}, of the "
                f"quantized one {_first_names(theirs[kind])}. Compare with the float model it was made from."
            )
    taken = {v.name: v.type.tensor_type for v in graph.input}
    for own in model.inputs:
        other = _info(own.name, taken[own.name])
        if other is not None and not _same_feed(own, other):
            raise ModelError(
                f"the models cannot be compared: input '{own.name}' of the float model is "
                f"{_described(own)}, of the quantized one {_described(other)}. "
                "Compare with the float model it was made from."
            )


def _info(name: str, type_: onnx.TypeProto.Tensor) -> TensorInfo | None:
    """An input's type and shape; None where the model does not say."""
    if not type_.elem_type:
        return None
    dims = (d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in type_.shape.dim)
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(type_.elem_type))
    return TensorInfo(name=name, dtype=dtype, shape=tuple(dims) if type_.HasField("shape") else None)


def _same_feed(a: TensorInfo, b: TensorInfo) -> bool:
    """Whether the same samples can be fed to both; a size that one leaves open may be the other's."""
    if a.dtype != b.dtype or a.shape is None or b.shape is None:
        return a.dtype == b.dtype
    if len(a.shape) != len(b.shape):
        return False
    pairs = zip(a.shape, b.shape, strict=True)
    return all(m == n for m, n in pairs if isinstance(m, int) and isinstance(n, int))


def _described(info: TensorInfo) -> str:
    return f"{info.dtype} {'of any shape' if info.shape is None else text(info.shape)}"


def _first_names(names: Iterable[str]) -> str:
    shown = [f"'{name}'" for name in names]
    return ", ".join(shown[:4]) + (f" … ({len(shown)} in all)" if len(shown) > 4 else "") if shown else "none"


def match_tensors(model: Model, quantized: onnx.ModelProto) -> QdqView:
    """Match the tensors of the two models by name."""
    known = set(model.tensors) | {i.name for i in model.inputs} | {o.name for o in model.outputs}
    graph = quantized.graph
    constants = {t.name: t for t in graph.initializer}
    dequantized: dict[str, str] = {}
    readers: dict[str, onnx.NodeProto] = {}
    quantize_nodes: list[onnx.NodeProto] = []
    produced: set[str] = set()
    for node in graph.node:
        produced.update(name for name in node.output if name)
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
        elif node.op_type == "QuantizeLinear":
            quantize_nodes.append(node)
        elif node.op_type == "DequantizeLinear":
            dequantized[node.output[0]] = node.input[0]
            readers[node.input[0]] = node
    outputs_of: dict[str, list[str]] = {}
    for out, q in dequantized.items():
        outputs_of.setdefault(q, []).append(out)
    names = {v.name: v.name for v in graph.input if v.name in known}
    names |= {name: name for name in produced if name in known}
    quantizers: dict[str, onnx.NodeProto] = {}
    for node in quantize_nodes:
        source, integers = node.input[0], node.output[0]
        if source in constants or source in dequantized:
            continue
        base = source
        if base not in known:  # at an output of the graph, the dequantized tensor has the float one's name
            base = next((out for out in outputs_of.get(integers, ()) if out in known), "")
        if not base:
            continue
        quantizers.setdefault(base, node)
        names[source] = names[integers] = base
        names |= dict.fromkeys(outputs_of.get(integers, ()), base)
    integers = _integers(model, graph, constants, known, outputs_of)
    _adopt_removed_activations(model, names, quantizers)
    return QdqView(
        names=names,
        quantizers=quantizers,
        constants=constants,
        produced=frozenset(produced),
        dequantized=dequantized,
        shifted={
            q.output[0]: readers[q.output[0]]
            for q in quantize_nodes
            if q.output[0] in readers and readers[q.output[0]].input[2:] != q.input[2:]
        },
        integers=integers,
        integer_operators=has_integer_operators(graph.node),
    )


def _integers(
    model: Model,
    graph: onnx.GraphProto,
    constants: Mapping[str, onnx.TensorProto],
    known: Collection[str],
    outputs_of: Mapping[str, list[str]],
) -> dict[str, Counterpart]:
    """What integer operators compute, by the float tensor that it stands for."""
    found: dict[str, Counterpart] = {}
    for tensor, (scale, zero) in output_scales(graph.node).items():
        base = float_name(tensor, known, outputs_of)
        encoding = _encoding(constants.get(scale), constants.get(zero), {})
        if base and encoding is not None and encoding.type.name in _EXPOSED_TYPES:
            found[base] = _integer_tensor(tensor, encoding)
    made = {name for node in graph.node for name in node.output}
    for layer in model.layers:  # a Relu or Clip that was left to the operator's own clipping
        last = layer.inner[-1] if layer.inner else ""
        ours = is_made_by_loading(layer.output)
        if last in found and layer.output not in found and layer.output not in made and not ours:
            found[layer.output] = found[last]
    return found


def _adopt_removed_activations(
    model: Model, names: dict[str, str], quantizers: dict[str, onnx.NodeProto]
) -> None:
    """Where a Relu or Clip was left to the quantizer's clipping, what feeds it stands for its output.

    Not where loading put it there: a file of another tool does not limit its values so.
    """
    present = set(names.values())
    for layer in model.layers:
        if layer.output in present or not layer.inner or is_made_by_loading(layer.output):
            continue
        last = layer.inner[-1]
        if last in quantizers:
            quantizers[layer.output] = quantizers.pop(last)
            names |= {own: layer.output for own, name in names.items() if name == last}


def encoding_of(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> Encoding | None:
    """Scale and zero point of a Q or DQ node; None if they are not plain constants."""
    scale = constants.get(node.input[1])
    zero = constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    return _encoding(scale, zero, {a.name: a for a in node.attribute})


def plain_encoding(scale: onnx.TensorProto | None, zero: onnx.TensorProto | None) -> Encoding | None:
    """Scale and zero point of an integer operator; None if they are not plain constants."""
    return _encoding(scale, zero, {})


def _encoding(
    scale: onnx.TensorProto | None,
    zero: onnx.TensorProto | None,
    attributes: Mapping[str, onnx.AttributeProto],
) -> Encoding | None:
    if scale is None or ("block_size" in attributes and attributes["block_size"].i):
        return None
    scales = np.asarray(numpy_helper.to_array(scale), np.float32)
    kind: QuantType | None = TYPES["uint8"]
    zeros: npt.NDArray[Any] = np.zeros(scales.shape, np.int32)
    if zero is not None:
        kind = TYPES.get(onnx.TensorProto.DataType.Name(zero.data_type).lower())
        zeros = numpy_helper.to_array(zero)
    elif "output_dtype" in attributes and attributes["output_dtype"].i:
        kind = TYPES.get(onnx.TensorProto.DataType.Name(attributes["output_dtype"].i).lower())
    if kind is None:
        return None
    axis = None
    if scales.size == 1:
        scales, zeros = scales.reshape(()), zeros.reshape(())
    else:
        axis = attributes["axis"].i if "axis" in attributes else 1
    return Encoding(scales, np.asarray(zeros, np.int32), kind, axis, kind.qmin, kind.qmax)


def expose(data: bytes, outputs: Mapping[str, int], already: Collection[str] = ()) -> bytes:
    """A serialized model with more graph outputs: {tensor: ONNX type}, except those in `already`.

    Serialized protobuf messages merge when they are concatenated (repeated fields append), so the model
    itself is not decoded.
    """
    extra = onnx.ModelProto()
    for name, elem_type in outputs.items():
        if name not in already:
            value = extra.graph.output.add()
            value.name = name
            value.type.tensor_type.elem_type = elem_type
    return data + extra.SerializeToString() if extra.graph.output else data
