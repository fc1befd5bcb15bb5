"""A model as figures: what `quantscope inspect` shows."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from quantscope.core.model import Model, TensorInfo
from quantscope.core.targets import Placement, find_placement, target

MAX_SCALES = 8  # of a per-channel parameter that are listed; there may be thousands


def inspection(model: Model, target_name: str = "onnxruntime-cpu") -> dict[str, Any]:
    """Interface, operators, layers, and what the target can take in integers."""
    placement = None if model.quantized else find_placement(model, target(target_name))
    layers = [_layer(model, layer.name, placement) for layer in model.layers]
    compute = [layer for layer in layers if layer["kind"] == "compute"]
    return {
        "name": model.name,
        "path": None if model.path is None else str(model.path),
        "opset": model.opset,
        "ir_version": model.ir_version,
        "size_bytes": model.size_bytes,
        "parameters": model.parameters,
        "hash": model.hash,
        "quantized": model.quantized,
        "inputs": [_tensor(info) for info in model.inputs],
        "outputs": [_tensor(info) for info in model.outputs],
        "ops": dict(model.op_counts),
        "target": None if placement is None else target_name,
        "quantizable": None
        if placement is None
        else {
            "layers": sum(layer["quantizable"] for layer in compute),
            "of_layers": len(compute),
            "activations": len(placement.tensors),
            "weights": len(placement.weights),
        },
        "layers": layers,
        "scales": _scales(model) if model.quantized else [],
        "notes": list(model.notes),
    }


def _layer(model: Model, name: str, placement: Placement | None) -> dict[str, Any]:
    layer = model.layer(name)
    if placement is None:
        quantizable = False
    elif layer.kind == "input":
        quantizable = layer.output in placement.tensors
    else:
        quantizable = not placement.nodes.isdisjoint(layer.nodes)
    return {
        "name": layer.name,
        "kind": layer.kind,
        "op": layer.op,
        "ops": list(layer.ops),
        "inputs": list(layer.inputs),
        "output": layer.output,
        "shape": None if layer.shape is None else list(layer.shape),
        "weight": layer.weight,
        "bias": layer.bias,
        "parameters": layer.parameters,
        "macs": layer.macs,
        "quantizable": quantizable,
    }


def _tensor(info: TensorInfo) -> dict[str, Any]:
    shape = None if info.shape is None else list(info.shape)
    kind = "string" if info.dtype.hasobject else str(info.dtype)
    return {"name": info.name, "type": kind, "shape": shape}


def _scales(model: Model) -> list[dict[str, Any]]:
    """The parameters that an already quantized model carries."""
    out = []
    for node in model.ir.graph:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or len(node.inputs) < 2:
            continue
        scale, zero = _constant(node.inputs[1]), _constant(node.inputs[2] if len(node.inputs) > 2 else None)
        if scale is None or node.inputs[0] is None:
            continue
        out.append(
            {
                "node": node.name,
                "op": node.op_type,
                "tensor": node.inputs[0].name,
                "type": "uint8" if zero is None else str(zero.dtype),
                "channels": int(scale.size),
                "scale": scale.reshape(-1)[:MAX_SCALES].tolist(),
                "zero_point": [0] if zero is None else zero.reshape(-1)[:MAX_SCALES].tolist(),
            }
        )
    return out


def _constant(value: ir.Value | None) -> Any:
    """The array behind a value, or None."""
    return None if value is None or value.const_value is None else value.const_value.numpy()
