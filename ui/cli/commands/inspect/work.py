"""A model as figures: what `quantscope inspect` shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from quantscope.core.model import Model, TensorInfo
from quantscope.core.targets import Placement, find_placement, target

MAX_SCALES = 8  # of a per-channel parameter that are listed; there may be thousands


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFigures:
    """An input or output of the model."""

    name: str
    type: str
    shape: tuple[int | str | None, ...] | None  # None = unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFigures:
    """A layer, and whether the target takes it in integers."""

    name: str
    kind: str
    op: str
    ops: tuple[str, ...]
    inputs: tuple[str, ...]
    output: str
    shape: tuple[int | str | None, ...] | None
    weight: str | None
    bias: str | None
    parameters: int
    macs: int | None
    quantizable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantizable:
    """How much of the model the target takes in integers."""

    layers: int
    of_layers: int
    activations: int
    weights: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredScale:
    """A parameter of an already quantized model: the first `MAX_SCALES` channels."""

    node: str | None
    op: str
    tensor: str | None
    type: str
    channels: int
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """All that is shown of a model."""

    name: str
    path: str | None
    opset: int
    ir_version: int
    size_bytes: int
    parameters: int
    hash: str
    quantized: bool
    inputs: tuple[TensorFigures, ...]
    outputs: tuple[TensorFigures, ...]
    ops: Mapping[str, int]
    target: str | None  # None for a model that is quantized already
    quantizable: Quantizable | None
    layers: tuple[LayerFigures, ...]
    scales: tuple[StoredScale, ...]
    notes: tuple[str, ...]


def inspection(model: Model, target_name: str = "onnxruntime-cpu") -> Inspection:
    """Interface, operators, layers, and what the target can take in integers."""
    placement = None if model.quantized else find_placement(model, target(target_name))
    layers = tuple(_layer(model, layer.name, placement) for layer in model.layers)
    return Inspection(
        name=model.name,
        path=None if model.path is None else str(model.path),
        opset=model.opset,
        ir_version=model.ir_version,
        size_bytes=model.size_bytes,
        parameters=model.parameters,
        hash=model.hash,
        quantized=model.quantized,
        inputs=tuple(map(_tensor, model.inputs)),
        outputs=tuple(map(_tensor, model.outputs)),
        ops=dict(model.op_counts),
        target=None if placement is None else target_name,
        quantizable=None if placement is None else _quantizable(placement, layers),
        layers=layers,
        scales=tuple(_scales(model)) if model.quantized else (),
        notes=tuple(model.notes),
    )


def _quantizable(placement: Placement, layers: tuple[LayerFigures, ...]) -> Quantizable:
    compute = [layer for layer in layers if layer.kind == "compute"]
    return Quantizable(
        layers=sum(layer.quantizable for layer in compute),
        of_layers=len(compute),
        activations=len(placement.tensors),
        weights=len(placement.weights),
    )


def _layer(model: Model, name: str, placement: Placement | None) -> LayerFigures:
    layer = model.layer(name)
    if placement is None:
        quantizable = False
    elif layer.kind == "input":
        quantizable = layer.output in placement.tensors
    else:
        quantizable = not placement.nodes.isdisjoint(layer.nodes)
    return LayerFigures(
        name=layer.name,
        kind=layer.kind,
        op=layer.op,
        ops=tuple(layer.ops),
        inputs=tuple(layer.inputs),
        output=layer.output,
        shape=None if layer.shape is None else tuple(layer.shape),
        weight=layer.weight,
        bias=layer.bias,
        parameters=layer.parameters,
        macs=layer.macs,
        quantizable=quantizable,
    )


def _tensor(info: TensorInfo) -> TensorFigures:
    return TensorFigures(
        name=info.name,
        type="string" if info.dtype.hasobject else str(info.dtype),
        shape=None if info.shape is None else tuple(info.shape),
    )


def _scales(model: Model) -> Iterator[StoredScale]:
    """The parameters that an already quantized model carries."""
    for node in model.ir.graph:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or len(node.inputs) < 2:
            continue
        scale, zero = _constant(node.inputs[1]), _constant(node.inputs[2] if len(node.inputs) > 2 else None)
        if scale is None or node.inputs[0] is None:
            continue
        yield StoredScale(
            node=node.name,
            op=node.op_type,
            tensor=node.inputs[0].name,
            type="uint8" if zero is None else str(zero.dtype),
            channels=int(scale.size),
            scale=tuple(scale.reshape(-1)[:MAX_SCALES].tolist()),
            zero_point=(0,) if zero is None else tuple(zero.reshape(-1)[:MAX_SCALES].tolist()),
        )


def _constant(value: ir.Value | None) -> npt.NDArray[np.generic] | None:
    """The array behind a value, or None."""
    return None if value is None or value.const_value is None else value.const_value.numpy()
