"""A model as figures: what `quantscope inspect` shows."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from core.model import Model, TensorInfo
from core.placement import Placement, place
from core.targets import target

MAX_SCALES = 8  # of a per-channel parameter that are listed; there may be thousands


def inspection(model: Model, target_name: str = "onnxruntime-cpu") -> dict[str, Any]:
    """Interface, operators, layers, and what the target can take in integers."""
    placement = None if model.quantized else place(model, target(target_name))
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
    return {"name": info.name, "type": str(info.dtype), "shape": shape}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Float values and quantized levels as counts per step of the quantizer."""

    float_x: npt.NDArray[np.float64]
    float_y: npt.NDArray[np.float64]
    value: npt.NDArray[np.float64]  # of each level that is used
    count: npt.NDArray[np.float64]
    integer: npt.NDArray[np.int64]
    step: float
    top: float  # log10 of the largest count, and a little room


def levels(seen: Inspection, *, most: int = 1024) -> Levels:
    """How many values end on each quantized level (bins are split evenly; zeros are exact)."""
    h, e = seen.histogram, seen.encoding
    step, zero = float(e.scale), int(e.zero_point)
    integer = np.arange(e.qmin, e.qmax + 1, max(1, (e.qmax - e.qmin + 1) // most), dtype=np.int64)
    group = int(integer[1] - integer[0]) if integer.size > 1 else 1  # 16 bits: several levels a bar
    value = (integer - zero) * step
    borders = value[1:] - step / 2
    below = np.concatenate([[0.0], np.cumsum(h.counts, dtype=np.float64)])
    cumulative = np.interp(borders, h.edges, below) if h.counts.size else np.zeros(borders.size)
    total = float(h.counts.sum())
    count = np.diff(np.concatenate([[0.0], cumulative, [total]]))
    at_zero = int(np.searchsorted(borders, 0.0))
    count[at_zero] += h.zeros
    shown = h
    while shown.width < step / 4 and shown.counts.size > 512:
        shown = shown.coarsen(1)
    density = shown.counts * (step * group / shown.width)
    used = count > 0.0
    peak = max(float(count.max(initial=1.0)), float(density.max(initial=1.0)))
    return Levels(
        float_x=shown.edges,
        float_y=np.append(density, 0.0),
        value=value[used] + step * (group - 1) / 2,
        count=count[used],
        integer=integer[used],
        step=step * group,
        top=float(np.log10(peak)) + 0.25,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Per-channel view of a layer's weight; each array is (channels,)."""

    name: str
    shape: tuple[int, ...]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    limit: npt.NDArray[np.float64]  # largest magnitude that the encoding can express
    steps: npt.NDArray[np.float64]  # (high - low) / scale
    per_channel: bool
    spread: float  # largest channel range / median channel range

    @property
    def wasted_bits(self) -> float:
        """Bits that the median channel leaves unused."""
        return float(np.log2(255.0 / max(1.0, float(np.median(self.steps)))))


def weights(model: Model, encodings: Encodings, layer: Layer) -> Weights | None:
    """Range of every output channel; None where the layer has no quantized weight."""
    entry = next((w for w in encodings.placement.weights.values() if w.layer == layer.name), None)
    if entry is None or entry.node not in encodings.weights:
        return None
    constant = model.ir.graph.initializers[entry.initializer].const_value
    if constant is None:
        return None
    array = np.asarray(constant.numpy(), np.float64)
    axis = entry.axis if entry.axis is not None else 0
    rows = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
    encoding = encodings.weights[entry.node]
    scale = np.broadcast_to(encoding.scale.astype(np.float64), (rows.shape[0],))
    low, high = np.minimum(rows.min(axis=1), 0.0), np.maximum(rows.max(axis=1), 0.0)
    reach = np.maximum(-low, high)
    middle = float(np.median(reach))
    return Weights(
        name=entry.initializer,
        shape=tuple(int(d) for d in array.shape),
        low=low,
        high=high,
        limit=scale * encoding.qmax,
        steps=(high - low) / scale,
        per_channel=encoding.scale.ndim == 1,
        spread=float(reach.max()) / middle if middle else 1.0,
    )
