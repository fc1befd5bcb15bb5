"""Load a float ONNX model: check it, clean it, and show it as layers and tensors."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import onnx
import onnx_ir

from core.cleaning import clean
from core.errors import ModelError
from core.layers import Layer, TensorInfo, build_layers, float_tensors, tensor_info
from core.modelfile import read_model_file

__all__ = ["Layer", "Model", "TensorInfo", "load_model"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A float model, cleaned for quantization; read-only by convention."""

    name: str
    path: Path | None
    ir: onnx_ir.Model = field(repr=False)
    source_hash: str  # sha256 of the file and its external data
    hash: str  # sha256 of the cleaned graph: names, attributes and weights
    opset: int
    ir_version: int
    inputs: tuple[TensorInfo, ...]  # as in the user's file
    outputs: tuple[TensorInfo, ...]
    layers: tuple[Layer, ...]  # graph inputs first, then in topological order
    tensors: Mapping[str, TensorInfo]  # float32 activations of the main graph
    notes: tuple[str, ...]  # what was changed, and what stays float and why
    size_bytes: int  # of the file, external data included
    quantized: bool = False  # already quantized: to look at only

    @cached_property
    def _layers_by_name(self) -> Mapping[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def _layers_by_tensor(self) -> Mapping[str, Layer]:
        return {t: layer for layer in self.layers for t in (*layer.inner, layer.output)}

    @cached_property
    def _proto(self) -> onnx.ModelProto:
        return onnx_ir.to_proto(self.ir)

    @cached_property
    def op_counts(self) -> Mapping[str, int]:
        """Nodes of the main graph by operator, most frequent first."""
        return dict(Counter(node.op_type for node in self.ir.graph).most_common())

    @cached_property
    def parameters(self) -> int:
        """Elements in all weights."""
        return sum(v.const_value.size for v in self.ir.graph.initializers.values() if v.const_value is not None)

    def proto(self) -> onnx.ModelProto:
        """The cleaned float model; made once, not to be changed."""
        return self._proto

    def float_bytes(self) -> bytes:
        """`proto()`, serialized."""
        return bytes(self.proto().SerializeToString(deterministic=True))

    def layer(self, name: str) -> Layer:
        """The layer of that name; KeyError if there is none."""
        return self._layers_by_name[name]

    def layer_of(self, tensor: str) -> Layer | None:
        """The layer that computes a tensor (or is that graph input); None for others."""
        return self._layers_by_tensor.get(tensor)


def load_model(source: str | Path | bytes, *, name: str | None = None, allow_quantized: bool = False) -> Model:
    """Open an ONNX model from a path or from bytes.

    Args:
        source: Path of the .onnx file, or its content.
        name: Shown instead of the file's name.
        allow_quantized: Open an already quantized model read-only instead of refusing it.

    Raises:
        ModelError: the file is missing, broken, not ONNX, or of a kind that cannot be quantized.
    """
    file = read_model_file(source, name)
    quantized = any(_is_quantized_op(n.op_type) for n in file.proto.graph.node)
    if quantized and not allow_quantized:
        raise ModelError(f"'{file.name}' is already quantized. Open the float model it was made from.")
    inputs, outputs = _interface(file.proto)
    model, notes = clean(file.proto)
    return Model(
        name=file.name,
        path=file.path,
        ir=model,
        source_hash=file.source_hash,
        hash=content_hash(model),
        opset=model.opset_imports.get("", 0),
        ir_version=model.ir_version,
        inputs=inputs,
        outputs=outputs,
        layers=build_layers(model.graph),
        tensors=float_tensors(model.graph),
        notes=notes,
        size_bytes=file.size_bytes,
        quantized=quantized,
    )


def _is_quantized_op(op: str) -> bool:
    return op in ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear") or op.startswith("QLinear")


def _interface(proto: onnx.ModelProto) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    graph = proto.graph
    constants = {t.name for t in graph.initializer}
    inputs = [onnx_ir.from_proto(v) for v in graph.input if v.name not in constants]
    outputs = [onnx_ir.from_proto(v) for v in graph.output]
    return tuple(map(tensor_info, inputs)), tuple(map(tensor_info, outputs))


def content_hash(model: onnx_ir.Model) -> str:
    """sha256 of the graph's names, structure, attributes and weights; the same in every process."""
    digest = hashlib.sha256()
    light = onnx_ir.to_proto(model)
    digest.update(light.SerializeToString(deterministic=True))
    return digest.hexdigest()
