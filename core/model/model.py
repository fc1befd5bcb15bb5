"""Load a float ONNX model: check it, clean it, and show it as layers and tensors."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import onnx
import onnx_ir

from quantscope.core.errors import ExportError, ModelError
from quantscope.core.memo import Memo
from quantscope.core.model.layers import Layer, TensorInfo, build_layers, float_tensors, shape_of, tensor_info
from quantscope.core.model.loading.cleaning import clean
from quantscope.core.model.loading.graphhash import graph_hash
from quantscope.core.model.loading.modelfile import read_model_file
from quantscope.core.model.loading.ortgraph import external_values, serialize, weight_bytes
from quantscope.core.model.origin import Origin, origin_of

__all__ = ["Layer", "Model", "TensorInfo", "load_model"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A float model, cleaned for quantization; read-only by convention."""

    name: str
    path: Path | None
    ir: onnx_ir.Model = field(
        repr=False
    )  # float32, opset >= 13 where possible; node names unique, never empty
    source_hash: str  # sha256 of the file and its external data
    hash: str  # sha256 of the cleaned graph: names, attributes and weights; the same in every process
    opset: int
    ir_version: int
    inputs: tuple[TensorInfo, ...]  # as in the user's file (float16 stays float16)
    outputs: tuple[TensorInfo, ...]
    layers: tuple[Layer, ...] = field(repr=False)  # float graph inputs first, then in topological order
    tensors: Mapping[str, TensorInfo] = field(repr=False)  # float32 activations of the main graph
    notes: tuple[str, ...]  # what was changed, and what stays float and why
    size_bytes: int  # of the file, external data included
    quantized: bool = False  # already quantized: to look at only
    origin: Origin = field(default=Origin(), repr=False)  # what the user's file says beside its graph
    memo: Memo = field(default_factory=Memo, init=False, repr=False)  # what other modules found out about it

    def __repr__(self) -> str:
        inputs = ", ".join(info.name for info in self.inputs)
        return (
            f"<Model {self.name}: {len(self.layers)} layers, {self.parameters:,} parameters, takes {inputs}>"
        )

    @cached_property
    def _layers_by_name(self) -> Mapping[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def _layers_by_tensor(self) -> Mapping[str, Layer]:
        by_tensor = {t: layer for layer in self.layers for t in (*layer.inner, *layer.outputs)}
        by_tensor.update((layer.name, layer) for layer in self.layers if layer.kind == "input")
        return by_tensor

    @cached_property
    def _layers_by_node(self) -> Mapping[str, Layer]:
        return {node: layer for layer in reversed(self.layers) for node in layer.nodes}

    @cached_property
    def _proto(self) -> onnx.ModelProto:
        return onnx_ir.to_proto(self.ir)

    @cached_property
    def layer_names(self) -> frozenset[str]:
        """Names of all layers."""
        return frozenset(self._layers_by_name)

    @cached_property
    def op_counts(self) -> Mapping[str, int]:
        """Nodes of the main graph by operator, most frequent first."""
        return dict(Counter(node.op_type for node in self.ir.graph).most_common())

    @cached_property
    def parameters(self) -> int:
        """Elements of all floating-point weights."""
        values = self.ir.graph.initializers.values()
        tensors = [v.const_value for v in values if v.const_value is not None]
        return sum(int(t.size) for t in tensors if t.dtype.is_floating_point())

    @cached_property
    def macs(self) -> int | None:
        """Multiply-accumulates of all layers for one sample; None where a shape is unknown."""
        counted = [
            layer.macs for layer in self.layers if layer.op in ("Conv", "ConvTranspose", "Gemm", "MatMul")
        ]
        known = [macs for macs in counted if macs is not None]
        return sum(known) if len(known) == len(counted) else None

    @property
    def external_folder(self) -> Path | None:
        """Where the external data of `proto()` lie; None when all weights are inside.

        ONNX Runtime finds them when this is given as the session configuration
        `session.model_external_initializers_file_folder_path`.
        """
        for value in external_values(self.ir):
            assert isinstance(value.const_value, onnx_ir.ExternalTensor)
            return Path(value.const_value.base_dir)
        return None

    def proto(self) -> onnx.ModelProto:
        """The cleaned float model, made once, not to be changed; inputs and outputs keep their types.

        Weights of a model too large for memory stay external, see `external_folder`.
        """
        return self._proto

    def float_bytes(self) -> bytes:
        """The cleaned float model, serialized with all weights inside.

        Raises:
            ModelError: it is larger than protobuf's 2 GB; use `save`.
        """
        if self.external_folder is not None:
            raise ModelError(
                f"'{self.name}' has {weight_bytes(self.ir):,} bytes of weights, too many for one piece. "
                "Write it with save(), which puts them in a file of their own."
            )
        return serialize(self.ir)

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Write the cleaned float model; weights too large for one file go to `<name>.data` beside it.

        Returns:
            The files written.

        Raises:
            ExportError: the file cannot be written.
        """
        path = Path(path)
        data = path.with_name(f"{path.name}.data")
        external = self.external_folder is not None
        try:
            onnx_ir.save(self.ir, path, external_data=data.name if external else None)
        except OSError as error:
            raise ExportError(f"'{path}' cannot be written: {error.strerror or error}.") from error
        return (path, data) if external else (path,)

    def layer(self, name: str) -> Layer:
        """The layer of that name; KeyError if there is none."""
        return self._layers_by_name[name]

    def layer_of(self, tensor: str) -> Layer | None:
        """The layer that computes a tensor (or is that graph input); None for others."""
        return self._layers_by_tensor.get(tensor)

    def layer_with(self, node: str) -> Layer | None:
        """The layer that a node of the graph is part of; None if there is no such node any more."""
        return self._layers_by_node.get(node)


# What a graph of nonsense makes the code that walks it raise.
_DAMAGE = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def load_model(
    source: str | Path | bytes, *, name: str | None = None, allow_quantized: bool = False
) -> Model:
    """Open an ONNX model from a path or from bytes.

    Args:
        source: Path of the .onnx file, or its content.
        name: Shown instead of the file's name.
        allow_quantized: Open an already quantized model read-only instead of refusing it.

    Raises:
        ModelError: the file is missing, broken, not ONNX, or of a kind that cannot be quantized.
    """
    try:
        file = read_model_file(source, name)
        origin = origin_of(file.proto)  # before it is mended
        cleaned = clean(file, allow_quantized=allow_quantized)
        inputs, outputs = _interface(file.proto, cleaned.model)
    except ModelError as error:
        line = " ".join(str(error).split())  # names inside a damaged file may hold anything
        if line == str(error):
            raise
        raise type(error)(line) from error
    except _DAMAGE as error:
        shown = name or (source.name if isinstance(source, Path) else "model")
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ModelError(
            f"'{shown}' cannot be understood ({reason}). It may be damaged: check it with onnx.checker, or "
            "export it again."
        ) from error
    graph = cleaned.model.graph
    return Model(
        name=file.name,
        path=file.path,
        ir=cleaned.model,
        source_hash=file.source_hash,
        hash=graph_hash(cleaned.model),
        opset=cleaned.model.opset_imports[""],
        ir_version=cleaned.model.ir_version,
        inputs=inputs,
        outputs=outputs,
        layers=build_layers(graph),
        tensors=float_tensors(graph),
        notes=cleaned.notes,
        size_bytes=file.size_bytes,
        quantized=cleaned.quantized,
        origin=origin,
    )


def _interface(
    proto: onnx.ModelProto, cleaned: onnx_ir.Model
) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Inputs (without those that are really weights) and outputs, as the user's file declares them."""
    graph = proto.graph
    constants = {t.name for t in graph.initializer}
    inputs = [tensor_info(onnx_ir.from_proto(v)) for v in graph.input if v.name not in constants]
    found = {str(v.name): v for v in cleaned.graph.outputs}  # shapes that the file leaves open
    outputs = []
    for declared in graph.output:
        info = tensor_info(onnx_ir.from_proto(declared))
        inferred = found.get(info.name)
        if info.shape is None and inferred is not None:
            info = replace(info, shape=shape_of(inferred))
        outputs.append(info)
    return tuple(inputs), tuple(outputs)
