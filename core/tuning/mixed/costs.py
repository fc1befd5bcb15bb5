"""What a choice of precisions costs: bytes of the file, and an estimate of the time it takes."""

from collections import Counter
from collections.abc import Set
from enum import StrEnum
from math import prod
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from quantscope.core.calibration import Statistics
from quantscope.core.model import Model
from quantscope.core.quantize import shortened
from quantscope.core.targets import REMOVABLE, Placement, Role, WeightPlacement


class Cost(StrEnum):
    """What is to be saved."""

    SIZE = "size"  # bytes of the exported file
    LATENCY = "latency"  # estimated time, as a share of the float model's


class _KernelTime(NamedTuple):
    """Nanoseconds for each multiply-accumulate, and for each value read or written."""

    mac: float
    element: float


# Fitted to ONNX Runtime's own profiles of four convolutional networks on one core of a CPU with VNNI. Only
# their ratios matter, since times are given as a share of the float model's.
_NODE = 1500.0  # ns to call a kernel
_FLOAT, _FLOAT_DEPTHWISE = _KernelTime(0.0084, 0.03), _KernelTime(0.011, 0.02)
_INTEGER, _INTEGER_DEPTHWISE = _KernelTime(0.0022, 0.058), _KernelTime(0.04, 0.004)
_PLAIN, _PLAIN_DEPTHWISE = _KernelTime(0.0102, 0.088), _KernelTime(0.018, 0.46)  # float with integer weights
_TO_INTEGERS, _TO_FLOAT = 0.2, 0.1  # ns for each value through QuantizeLinear, DequantizeLinear
_GUARDED = 0.1  # ns for each value of a weight that is compared with the lowest float on its way
_NO_KERNEL = frozenset({Role.NORM, Role.SELECT})  # between integers, but computed in float
_FREE = frozenset({Role.SHARE, Role.SPLIT, Role.GATHER, Role.PAD})  # move values, whatever their type

# Bytes that a quantizer adds to the file (what `core/quantize/qdq.py` writes of nodes and constants): fixed,
# and for each letter of the part of the tensor's name that the new names repeat.
_PAIR, _STORED, _BIAS = (131, 9), (130, 9), (125, 7)
_GUARD = (54, 3)  # the node behind a weight that shall not become an integer kernel's
_WIDE, _WIDE_BEFORE_21 = 8, 40  # more where it has 16 bits; opsets before 21 name another domain
_SCALE, _ZERO = 4, 1  # bytes for each channel


class CostModel:
    """Costs of any placement on one model."""

    def __init__(self, model: Model, statistics: Statistics) -> None:
        self.model = model
        proto = model.proto()
        self._bare_bytes = proto.ByteSize() - sum(
            v.ByteSize() + 3 for v in proto.graph.value_info if v.name not in model.origin.described
        )
        self._node_bytes = {node.name: node.ByteSize() + 3 for node in proto.graph.node}
        self._nodes = list(model.ir.graph)
        self._ops = {str(node.name): node.op_type for node in self._nodes}
        self._elements = _Elements(model, statistics)
        self._makers = {str(v.name): node for node in self._nodes for v in node.outputs}
        self._macs = {str(node.name): self._macs_of(node) for node in self._nodes}
        self._outputs = {str(v.name) for v in model.ir.graph.outputs}

    def size(self, placement: Placement, wide: Set[str] = frozenset()) -> float:
        """About what the file takes, in bytes.

        Args:
            placement: What is quantized.
            wide: Activations of more than 8 bits.
        """
        total = float(self._bare_bytes)
        total += len(wide) * (_WIDE if self.model.opset >= 21 else _WIDE_BEFORE_21)
        total += sum(_named(_PAIR, tensor) for tensor in placement.tensors)
        total -= sum(self._left_out(tensor, placement) for tensor in placement.tensors)
        for name in placement.constants:
            total += _named(_STORED, name, 2) - 3 * self._elements.constant(name)
        for weight in placement.weights.values():
            channels = self._channels(weight.initializer, weight.axis)
            total += _named(_STORED, weight.initializer, 2) + (_SCALE + _ZERO) * channels
            total += self._elements.constant(weight.initializer)
            if weight.bias is not None and weight.input in placement.tensors:
                total += _named(_BIAS, weight.bias, 2) + _SCALE * channels
                total += 4 * self._elements.constant(weight.bias)
            if self._is_guarded(weight, placement, wide):
                total += _named(_GUARD, weight.initializer)
        return total - 4.0 * self._replaced(placement)

    def _left_out(self, tensor: str, placement: Placement) -> int:
        """Bytes of the Relu or Clip before a quantizer that does its work."""
        node = self._makers.get(tensor)
        before = node.inputs[0] if node is not None and node.op_type in REMOVABLE else None
        if node is None or before is None or len(before.uses()) != 1 or str(before.name) in placement.tensors:
            return 0
        made = before.producer()
        inside = made is not None and {str(made.name), str(node.name)} <= placement.nodes
        return self._node_bytes[str(node.name)] if inside else 0

    def _is_guarded(self, weight: WeightPlacement, placement: Placement, wide: Set[str]) -> bool:
        """Whether the weight meets activations that an integer kernel would round first."""
        product = self._ops[weight.node] in ("Gemm", "MatMul")
        return product and (weight.input not in placement.tensors or weight.input in wide)

    def _replaced(self, placement: Placement) -> int:
        """Float values that the file lacks: every node has integers of its own, also of one initializer."""
        used = Counter(weight.initializer for weight in placement.weights.values())
        biased = (w for w in placement.weights.values() if w.input in placement.tensors)
        used.update(weight.bias for weight in biased if weight.bias is not None)
        stored = self.model.ir.graph.initializers
        gone = (name for name, count in used.items() if count >= len(stored[name].uses()))
        return sum(self._elements.constant(name) for name in gone)

    def time(self, placement: Placement, wide: Set[str] = frozenset()) -> float:
        """About what a sample takes, in nanoseconds of no particular machine.

        Args:
            placement: What is quantized.
            wide: Activations of more than 8 bits, which no integer kernel takes.
        """
        fused = {str(node.name) for node in self._nodes if self._is_fused(node, placement, wide)}
        total = sum(self._node_time(node, placement, str(node.name) in fused, wide) for node in self._nodes)
        readers: dict[str, list[str]] = {}
        makers = {str(v.name): str(node.name) for node in self._nodes for v in node.outputs}
        for node in self._nodes:
            for value in node.inputs:
                if value is not None:
                    readers.setdefault(str(value.name), []).append(str(node.name))
        for tensor in placement.tensors:
            count = self._elements.activation(tensor)
            if makers.get(tensor) not in fused:
                total += _NODE + _TO_INTEGERS * count
            if tensor in self._outputs or any(name not in fused for name in readers.get(tensor, ())):
                total += _NODE + _TO_FLOAT * count
        return total

    def _is_fused(self, node: ir.Node, placement: Placement, wide: Set[str]) -> bool:
        """Whether the node becomes an integer kernel: all that it reads and gives has 8 bits."""
        role = placement.target.roles.get(node.op_type)
        if str(node.name) not in placement.nodes or role is None or role in _NO_KERNEL:
            return False
        if role is Role.ACTIVATION and str(node.inputs[0].name) in placement.tensors:  # type: ignore[union-attr]
            return False  # behind a kernel that has rounded already
        touched = [str(v.name) for v in (*node.inputs, *node.outputs) if v is not None]
        return not any(placement.sources.get(name, name) in wide for name in touched)

    def _node_time(self, node: ir.Node, placement: Placement, fused: bool, wide: Set[str]) -> float:
        name = str(node.name)
        role = placement.target.roles.get(node.op_type)
        if role is Role.ACTIVATION:  # goes into the kernel before it, or into the quantizer behind it
            return 0.0
        if role in _FREE:
            return _NODE
        values = [v for v in (*node.inputs, *node.outputs) if v is not None and v.const_value is None]
        elements = sum(self._elements.activation(str(v.name)) for v in values)
        weight = placement.weights.get(name)
        depthwise = _is_depthwise(node)
        if fused:
            kernel = _INTEGER_DEPTHWISE if depthwise else _INTEGER
        elif weight is None:
            kernel = _FLOAT_DEPTHWISE if depthwise else _FLOAT
        else:
            kernel = _PLAIN_DEPTHWISE if depthwise else _PLAIN
        time = _NODE + kernel.mac * self._macs[name] + kernel.element * elements
        if weight is not None and not fused:  # its weight and bias are converted at every call
            time += _NODE + _TO_FLOAT * self._elements.constant(weight.initializer)
            time += _NODE if weight.bias is not None else 0.0
            if self._is_guarded(weight, placement, wide):
                time += _NODE + _GUARDED * self._elements.constant(weight.initializer)
        return time

    def _macs_of(self, node: ir.Node) -> float:
        """Multiply-accumulates of a node for one sample; 0 for those that have none."""
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or len(node.inputs) < 2:
            return 0.0
        x, w = node.inputs[0], node.inputs[1]
        if x is None or w is None:
            return 0.0
        given, made = (self._elements.activation(str(v.name)) for v in (x, node.outputs[0]))
        shape = _known_shape(w)
        if node.op_type == "Conv":
            return made * prod(shape[1:])
        if node.op_type == "ConvTranspose":
            return given * prod(shape[1:])
        if len(shape) < 2:
            return made * (shape[0] if shape else 1)
        return made * shape[-1 if node.attributes.get_int("transB", 0) else -2]

    def _channels(self, initializer: str, axis: int | None) -> int:
        shape = _known_shape(self.model.ir.graph.initializers[initializer])
        return 1 if axis is None or axis >= len(shape) else shape[axis]


def _named(bytes_: tuple[int, int], name: str, dropped: int = 0) -> int:
    """Bytes of what belongs to a tensor, less those of its own name where that is not written any more.

    Args:
        bytes_: Without letters, and for each letter of the name that new names repeat.
        name: The tensor's.
        dropped: In how many places its own name is missing.
    """
    return bytes_[0] + bytes_[1] * len(shortened(name)) - dropped * len(name)


class _Elements:
    """How many values tensors have in one sample."""

    def __init__(self, model: Model, statistics: Statistics) -> None:
        self.model = model
        self.counted = {
            name: histogram.count / max(statistics.samples, 1)
            for name, histogram in statistics.histograms.items()
        }
        self.values = {str(v.name): v for node in model.ir.graph for v in node.outputs}
        self.values |= {str(v.name): v for v in model.ir.graph.inputs}
        self.readers: dict[str, str] = {}  # activation → the one that its Relu or Clip makes, of equal shape
        for node in model.ir.graph:
            if node.op_type in ("Relu", "Clip") and node.inputs[0] is not None:
                self.readers[str(node.inputs[0].name)] = str(node.outputs[0].name)

    def activation(self, name: str) -> float:
        """From the statistics, which know sizes that the file leaves open; else by its shape."""
        for known in (name, self.readers.get(name, "")):
            if known in self.counted:
                return self.counted[known]
        value = self.values.get(name)
        return 1.0 if value is None else float(prod(_known_shape(value)))

    def constant(self, name: str) -> int:
        value = self.model.ir.graph.initializers[name].const_value
        return 0 if value is None else int(np.prod(value.shape.numpy()))


def _is_depthwise(node: ir.Node) -> bool:
    if node.op_type != "Conv" or node.inputs[1] is None:
        return False
    shape = _known_shape(node.inputs[1])
    return len(shape) > 2 and shape[1] == 1 and shape[0] > 1


def _known_shape(value: ir.Value) -> list[int]:
    """The shape, with 1 for what is not known."""
    dims = () if value.shape is None else value.shape
    return [d if isinstance(d, int) else 1 for d in dims]
