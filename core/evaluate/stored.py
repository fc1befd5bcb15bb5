"""What an already quantized model holds: its scales and zero points, and the values that they round."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from quantscope.core.calibration import Accumulator, Histogram, calibrate, histogram_of
from quantscope.core.data import Samples
from quantscope.core.errors import ModelError
from quantscope.core.evaluate.qlinear import output_scales_at, weight_at
from quantscope.core.model import Model, light_graph, model_session
from quantscope.core.progress import ProgressFn, report
from quantscope.core.quant import TYPES, Encoding, QuantType, dequantize
from quantscope.core.runtime import Session

Array = npt.NDArray[Any]
BIAS_TYPE = "int32"
# Operators whose scales are made while the model runs, or belong to whole blocks of weights.
_DYNAMIC = frozenset({"DynamicQuantizeLinear", "MatMulNBits", "DynamicQuantizeMatMul", "MatMulInteger"})


class Role(StrEnum):
    """What is quantized."""

    ACTIVATION = "activation"
    WEIGHT = "weight"
    BIAS = "bias"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredQuantizer:
    """One quantizer of the file."""

    name: str  # of the float tensor that it stands for; of a weight, as the file stores it
    role: Role
    layer: str  # that computes the tensor, or reads the weight
    op: str  # of that layer
    type: str  # e.g. "uint8"; the file's own name where it is no type of 2 to 16 bits
    scale: npt.NDArray[np.float32]  # (channels,)
    zero_point: npt.NDArray[np.int64]  # (channels,)
    axis: int | None = None  # of the channels; None = one scale for the whole tensor
    block: int = 0  # elements along the axis that share a scale; 0 = all
    observed: str = ""  # the activation's tensor in the model
    integers: bool = False  # that tensor holds the integers, not the values before they are rounded
    stored: Callable[[], Array] | None = field(default=None, repr=False)  # of weights: what the file holds

    @property
    def channels(self) -> int:
        """How many scales there are."""
        return int(self.scale.size)

    @property
    def encoding(self) -> Encoding | None:
        """As an encoding of this package; None for types that it does not have, and for blocks."""
        kind = self.kind
        if kind is None or self.block:
            return None
        scale, zero = self.scale, self.zero_point.astype(np.int32)
        if self.axis is None:
            scale, zero = scale.reshape(()), zero.reshape(())
        return Encoding(scale, zero, kind, self.axis, kind.qmin, kind.qmax)

    @property
    def kind(self) -> QuantType | None:
        """The integer type, where it is one of 2 to 16 bits."""
        return TYPES.get(self.type)

    @property
    def range(self) -> tuple[float, float] | None:
        """Lowest and highest value that any channel can hold; None where the type has no such ends."""
        kind = self.kind
        if kind is None or not self.channels:
            return None
        scale = self.scale.astype(np.float64)
        low = (kind.qmin - self.zero_point) * scale
        high = (kind.qmax - self.zero_point) * scale
        return float(low.min()), float(high.max())

    def values(self) -> npt.NDArray[np.float32] | None:
        """A weight as the network computes with it; None for activations, and where it cannot be told."""
        encoding = self.encoding
        if self.stored is None:
            return None
        held = np.asarray(self.stored())
        if held.dtype.kind == "f":
            return held.astype(np.float32)
        if self.role is Role.BIAS and self.type == BIAS_TYPE:
            return np.asarray((held.astype(np.int64) - self.zero_point) * self.scale, np.float32)
        return dequantize(held.astype(np.int32), encoding) if encoding is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredQuantizers:
    """All quantizers of a model, in the order in which it runs, and what has none that can be told."""

    quantizers: tuple[StoredQuantizer, ...]
    dynamic: Mapping[str, int]  # operators that find their scales while they run, with their counts


def stored_quantizers(model: Model) -> StoredQuantizers:
    """Read the quantizers of a model that was opened with `allow_quantized`; of its main graph."""
    nodes = list(model.ir.graph)
    found = [entry for node in nodes for entry in _of_node(model, node)]
    found += _computed(model, nodes, {entry.observed for entry in found})
    place = {node.name: number for number, node in enumerate(nodes)}
    order = {layer.name: place.get(layer.nodes[-1], 0) if layer.nodes else -1 for layer in model.layers}
    roles = (Role.WEIGHT, Role.BIAS, Role.ACTIVATION)
    found.sort(key=lambda entry: (order.get(entry.layer, len(nodes)), roles.index(entry.role)))
    dynamic = {op: count for op, count in model.op_counts.items() if op in _DYNAMIC}
    return StoredQuantizers(quantizers=tuple(found), dynamic=dynamic)


def _of_node(model: Model, node: ir.Node) -> Iterator[StoredQuantizer]:
    """What a QuantizeLinear, a DequantizeLinear of constants, or a weight of an integer operator says."""
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        value, scale = node.inputs[0], _array(node.inputs[1])
        zero = node.inputs[2] if len(node.inputs) > 2 else None
        if value is None or scale is None:
            return
        held = value.const_value
        constant = held is not None
        if node.op_type == "DequantizeLinear" and not constant:
            return  # reads what another node has written
        axis, block = _axis(node, scale)
        reader = _reader(node.outputs[0])
        kind = _type(zero, value if node.op_type == "DequantizeLinear" else node.outputs[0], node)
        owner = (
            model.layer_with(reader.name or "") if constant and reader else model.layer_of(value.name or "")
        )
        role = Role.ACTIVATION if not constant else Role.BIAS if kind == BIAS_TYPE else Role.WEIGHT
        yield StoredQuantizer(
            name=_output_behind(node) or value.name or "",
            role=role,
            layer=owner.name if owner else (reader.name or "") if reader else "",
            op=owner.op if owner else reader.op_type if reader else "",
            type=kind,
            scale=scale.astype(np.float32).reshape(-1),
            zero_point=_zeros(zero, scale),
            axis=axis,
            block=block,
            observed="" if constant else value.name or "",
            stored=held.numpy if held is not None else None,
        )
    elif (at := weight_at(node.op_type)) is not None and len(node.inputs) > at + 2:
        weight, scale = node.inputs[at], _array(node.inputs[at + 1])
        if weight is None or weight.const_value is None or scale is None:
            return
        owner = model.layer_with(node.name or "")
        tensor = weight.const_value
        yield StoredQuantizer(
            name=weight.name or "",
            role=Role.WEIGHT,
            layer=owner.name if owner else node.name or "",
            op=owner.op if owner else node.op_type,
            type=_type(node.inputs[at + 2], weight, node),
            scale=scale.astype(np.float32).reshape(-1),
            zero_point=_zeros(node.inputs[at + 2], scale),
            axis=None if scale.size == 1 else 0 if node.op_type == "QLinearConv" else len(tensor.shape) - 1,
            stored=tensor.numpy,
        )


def _output_behind(node: ir.Node) -> str:
    """The graph's output that dequantizes what the node writes: its name is the one that the tensor had."""
    behind = (
        reader.outputs[0] for reader, _ in node.outputs[0].uses() if reader.op_type == "DequantizeLinear"
    )
    return next((str(value.name) for value in behind if value.is_graph_output()), "")


def _computed(model: Model, nodes: Iterable[ir.Node], already: set[str]) -> Iterator[StoredQuantizer]:
    """The integer tensors that integer operators compute."""
    for node in nodes:
        at = output_scales_at(node.op_type)
        if at is None or len(node.inputs) <= at:
            continue
        zero = node.inputs[at + 1] if len(node.inputs) > at + 1 else None
        scale, out = _array(node.inputs[at]), node.outputs[0]
        if scale is None or not out.name or out.name in already:
            continue
        owner = model.layer_with(node.name or "")
        yield StoredQuantizer(
            name=out.name,
            role=Role.ACTIVATION,
            layer=owner.name if owner else node.name or "",
            op=owner.op if owner else node.op_type,
            type=_type(zero, out, node),
            scale=scale.astype(np.float32).reshape(-1),
            zero_point=_zeros(zero, scale),
            observed=out.name,
            integers=True,
        )


def _array(value: ir.Value | None) -> Array | None:
    """The array behind a value, or None."""
    return None if value is None or value.const_value is None else value.const_value.numpy()


def _zeros(zero: ir.Value | None, scale: Array) -> npt.NDArray[np.int64]:
    """Zero points, one a scale; zeros where the file leaves them out."""
    held = _array(zero)
    if held is None:
        return np.zeros(scale.size, np.int64)
    zeros = held.astype(np.float64).astype(np.int64).reshape(-1)
    return zeros if zeros.size == scale.size else np.full(scale.size, zeros[0] if zeros.size else 0)


def _type(zero: ir.Value | None, value: ir.Value, node: ir.Node) -> str:
    """The integer type: that of the zero point, else what the node or the values say; uint8 by default."""
    for known in (zero, value):
        if known is not None and known.const_value is not None and known.const_value.dtype.is_integer():
            return str(known.const_value.dtype.name).lower()
        if known is not None and known.const_value is not None and known is zero:
            return str(known.const_value.dtype.name).lower()
    asked = node.attributes.get("output_dtype")
    if asked is not None and asked.value:
        return ir.DataType(asked.value).name.lower()
    return "uint8"


def _axis(node: ir.Node, scale: Array) -> tuple[int | None, int]:
    """Axis of the channels, and the size of blocks along it."""
    block = node.attributes.get("block_size")
    axis = node.attributes.get("axis")
    if scale.size == 1:
        return None, 0
    return int(axis.value) if axis is not None else 1, int(block.value) if block is not None else 0


def _reader(value: ir.Value) -> ir.Node | None:
    """The node that computes with a value: behind Transpose, Reshape and the like of a weight."""
    for _ in range(4):
        node: ir.Node | None = next((use.node for use in value.uses()), None)
        if node is None:
            return None
        if node.op_type not in ("Transpose", "Reshape", "QuantizeLinear", "DequantizeLinear", "Cast"):
            return node
        value = node.outputs[0]
    return None


def observe(
    model: Model,
    samples: Samples,
    quantizers: Sequence[StoredQuantizer],
    progress: ProgressFn | None = None,
    *,
    cache: bool = True,
) -> dict[str, Histogram]:
    """What the quantized model holds while it runs over samples, by the tensor observed.

    Where a quantizer is a node of its own, these are the values before they are rounded; where an operator
    gives integers, what they stand for.

    Args:
        model: Opened with `allow_quantized`.
        samples: What it is fed.
        quantizers: Of activations; others are left out.
        progress: Told about each finished sample; may raise `Cancelled`.
        cache: Whether values before rounding are kept for the next time.

    Raises:
        DataError: A sample does not fit the model.
        ModelError: ONNX Runtime does not accept the model.
    """
    activations = [entry for entry in quantizers if entry.role is Role.ACTIVATION and entry.observed]
    floats = [entry.observed for entry in activations if not entry.integers]
    floats = [name for name in floats if name in model.tensors]
    computed = {entry.observed: entry.encoding for entry in activations if entry.integers}
    integers = {name: encoding for name, encoding in computed.items() if encoding is not None}
    if not floats and not integers:
        return {}
    if not integers:
        return dict(calibrate(model, samples, tensors=floats, progress=progress, cache=cache).histograms)
    return _with_integers(model, samples, floats, integers, progress)


def _with_integers(
    model: Model,
    samples: Samples,
    floats: Sequence[str],
    integers: Mapping[str, Encoding],
    progress: ProgressFn | None,
) -> dict[str, Histogram]:
    """Histograms of float tensors and of integers, these times their scales."""
    given = {info.name for info in model.inputs}
    names = [name for name in (*floats, *integers) if name not in given]
    counted = {name: Accumulator() for name in (*floats, *integers)}
    session = _session(model, names)
    for number, sample in enumerate(samples):
        report(progress, number, len(samples), "running the quantized model")
        for name, values in {**sample, **session.run(sample, names)}.items():
            if name in counted:
                encoding = integers.get(name)
                counted[name].add(values if encoding is None else dequantize(values, encoding), number)
    return {name: counter.histogram() for name, counter in counted.items()}


def _session(model: Model, tensors: Sequence[str]) -> Session:
    """A session with exact sums; signed activations may have no kernels there, and are exact in any other."""
    try:
        return model_session(model, tensors)
    except ModelError:
        graph, weights = light_graph(model, tensors)
        data = bytes(graph.SerializeToString())
        return Session(data, weights=weights, exact=False, what="the quantized model")


def weight_histogram(quantizer: StoredQuantizer) -> Histogram | None:
    """A weight's values; None where they cannot be told."""
    values = quantizer.values()
    return None if values is None else histogram_of(values)
