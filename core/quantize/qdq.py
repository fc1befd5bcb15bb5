"""Float model and encodings in, quantized ONNX model out, as QuantizeLinear / DequantizeLinear pairs."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from quantscope.core.model import Model
from quantscope.core.quant import Encoding, quantize_values
from quantscope.core.quantize.bias import accumulated_bias, bias_scale, gemm_factors, quantize_bias
from quantscope.core.quantize.branches import share_constants_of_branches
from quantscope.core.quantize.encodings import Encodings, has_8_bits, whole_steps
from quantscope.core.quantize.naming import Names
from quantscope.core.quantize.remarks import say_no_more_than
from quantscope.core.targets import REMOVABLE, Role, WeightPlacement

QUANTIZED, DEQUANTIZED = "_q", "_dq"  # end the names of what QuantizeLinear and DequantizeLinear make
_LOWEST = float(np.finfo(np.float32).min)  # what guards compare with; they keep integer kernels away
MS_DOMAIN = "com.microsoft"  # home of 16-bit QuantizeLinear before opset 21

# Integers of weights by node: an edit seldom touches weights, and rounding all of them anew would be most of
# the work.
Integers = dict[str, tuple[Encoding, npt.NDArray[Any]]]


def quantize_model(model: Model, encodings: Encodings) -> onnx.ModelProto:
    """The quantized model.

    Each quantized activation is followed by one QuantizeLinear / DequantizeLinear pair, read by the nodes
    that compute on integers, and by all nodes if its producer does. Weights and constants are stored as
    integers behind a DequantizeLinear, biases as int32 with scale input × weight. A Relu or Clip whose
    work the quantizer behind it does already is left out, unless what it reads has a quantizer too: the
    result is the same to the bit. Beside the graph, it says what the user's file says, and no more.

    Raises:
        onnx and onnx_ir errors only for models that `load_model` would not have returned.
    """
    return say_no_more_than(model.origin, ir.to_proto(quantize_ir(model, encodings)))


def quantize_ir(model: Model, encodings: Encodings) -> ir.Model:
    """As `quantize_model`, in onnx_ir's form; weights that stay float are shared with `model`, not copied."""
    quantized = model.ir.clone()
    integers: Integers = model.memo.get("integers of weights", dict)
    builder = _Builder(quantized.graph, encodings, integers)
    builder.run()
    share_constants_of_branches(quantized)
    quantized.graph.sort()
    if builder.needs_ms_domain:
        quantized.graph.opset_imports.setdefault(MS_DOMAIN, 1)
    quantized.producer_name = "QuantScope"
    return quantized


@dataclass(slots=True)
class _Builder:
    """Edits one graph in place."""

    graph: ir.Graph
    encodings: Encodings
    integers: Integers
    needs_ms_domain: bool = False
    operands: dict[str, set[str]] = field(default_factory=dict)  # node → float tensors that it reads
    names: Names = field(default_factory=lambda: Names(tensors=set(), nodes=set()))
    stored: set[str] = field(default_factory=set)  # weights and biases that have integers already
    zeros: dict[str, ir.Value] = field(default_factory=dict)  # zero points, by type, value and number
    guards: dict[str, ir.Value] = field(default_factory=dict)  # activation → its value for float layers
    lowest: ir.Value | None = None  # a constant that all guards share

    def run(self) -> None:
        placement = self.encodings.placement
        nodes = {str(node.name): node for node in self.graph}
        values = {str(v.name): v for node in nodes.values() for v in node.outputs}
        values |= {str(v.name): v for v in self.graph.inputs}
        self.operands = {
            name: {str(v.name) for v in node.inputs if v is not None and v.dtype == ir.DataType.FLOAT}
            for name, node in nodes.items()
        }
        self.names = Names(tensors={*values, *self.graph.initializers}, nodes=set(nodes))
        for tensor in placement.tensors:
            self._drop_redundant_activation(values, tensor)
        for tensor in placement.tensors:
            self._activation(values[tensor], self.encodings.activations[tensor], placement.nodes)
        for name, encoding in self.encodings.constants.items():
            self._constant(self.graph.initializers[name], encoding, placement.nodes)
        for name, weight in placement.weights.items():
            self._weight(nodes[name], weight, self.encodings.weights[name])
        for tensor in placement.shifts:
            add = values[tensor].producer()
            if add is not None and not values[tensor].uses():
                self.graph.remove(add, safe=True)
        for name in [
            n for n, v in self.graph.initializers.items() if not v.uses() and not v.is_graph_output()
        ]:
            del self.graph.initializers[name]

    def _drop_redundant_activation(self, values: dict[str, ir.Value], tensor: str) -> None:
        """Remove the Relu or Clip before a quantizer that saturates at the same values.

        It stays where what it reads is rounded with parameters of its own: that tensor has a layer, a choice
        and errors of its own, and an integer kernel may make it with parameters that it shares.
        """
        node = values[tensor].producer()
        if (
            node is None
            or node.op_type not in REMOVABLE
            or str(node.name) not in self.encodings.placement.nodes
        ):
            return
        before, after = node.inputs[0], node.outputs[0]
        if before is None or len(before.uses()) != 1 or before.is_graph_output() or before.producer() is None:
            return
        if str(before.producer().name) not in self.encodings.placement.nodes:  # type: ignore[union-attr]
            return
        if str(before.name) in self.encodings.placement.tensors:
            return
        if not _saturates_within(node, self.encodings.activations[tensor]):
            return
        name = after.name
        for i, output in enumerate(self.graph.outputs):
            if output is after:
                self.graph.outputs[i] = before
        after.replace_all_uses_with(before)
        before.shape, before.type = after.shape, after.type
        self.graph.remove(node, safe=True)
        before.name = name
        values[tensor] = before

    def _activation(self, value: ir.Value, encoding: Encoding, integer_nodes: frozenset[str]) -> None:
        name = str(value.name)
        producer = value.producer()
        everywhere = producer is not None and str(producer.name) in integer_nodes
        scale, zero = self._parameters(name, encoding)
        source, own_zero = self._before_shift(value, encoding)
        q = self._node("QuantizeLinear", [source, scale, own_zero or zero], name, encoding)
        dq = self._node("DequantizeLinear", [q, scale, zero], name, encoding)
        q.shape = dq.shape = value.shape
        for node, index in list(value.uses()):
            if node is q.producer():
                continue
            if str(node.name) in integer_nodes:
                node.replace_input_with(index, dq)
            elif everywhere:
                node.replace_input_with(index, self._kept_float(dq, name) if self._would_fuse(node) else dq)
        if producer is not None and self._wraps(producer, encoding):
            q.producer().replace_input_with(0, self._guard(value, name, "_unfused"))  # type: ignore[union-attr]
        if everywhere and value.is_graph_output():
            value.name = self.names.of(name, "_float")
            dq.name = name
            for i, output in enumerate(self.graph.outputs):
                if output is value:
                    self.graph.outputs[i] = dq

    def _before_shift(self, value: ir.Value, encoding: Encoding) -> tuple[ir.Value, ir.Value | None]:
        """What to quantize, and with which zero point: a shift by whole steps is left to the zero points.

        The kernel before the shift then writes integers that its readers take for shifted ones.
        """
        name = str(value.name)
        shift = self.encodings.placement.shifts.get(name)
        steps = None if shift is None else whole_steps(encoding, shift)
        add = value.producer()
        if steps is None or add is None:
            return value, None
        source = next(v for v in add.inputs if v is not None and v.const_value is None)
        zero = np.asarray(encoding.zero_point + steps, encoding.type.dtype)
        return source, self._zero_point(name, zero)

    def _kept_float(self, dq: ir.Value, name: str) -> ir.Value:
        """`dq` for layers that shall run in float: guarded, since ONNX Runtime would put them in integers."""
        if name not in self.guards:
            self.guards[name] = self._guard(dq, name, "_unfused")
        return self.guards[name]

    def _guard(self, value: ir.Value, name: str, suffix: str) -> ir.Value:
        """`value` behind a Max with the lowest float: the same values, and no integer kernel."""
        if self.lowest is None:
            self.lowest = self._initializer(self.names.free("lowest_float"), np.array(_LOWEST, np.float32))
        guarded = self._append("Max", [value, self.lowest], {}, self.names.of(name, suffix))
        guarded.dtype, guarded.shape = ir.DataType.FLOAT, value.shape
        return guarded

    def _would_fuse(self, node: ir.Node) -> bool:
        """Whether ONNX Runtime would make an integer kernel of a float node that reads this.

        It even quantizes the weights of a float Conv, ConvTranspose or Gemm on its own. Of other operators,
        all float operands must be quantized.
        """
        placement, output = self.encodings.placement, node.outputs[0]
        if node.graph is not self.graph or output.dtype != ir.DataType.FLOAT:
            return False
        role = placement.target.roles.get(node.op_type)
        if role is Role.OWN and output.name in placement.tensors:
            return self.operands[str(node.name)] <= placement.tensors.keys() | placement.constants.keys()
        return role is Role.LINEAR

    def _wraps(self, producer: ir.Node, encoding: Encoding) -> bool:
        """Whether the producer's integer kernel needs a wider range, see `Target.fixed_ranges`."""
        fixed = self.encodings.placement.target.fixed_ranges.get(producer.op_type)
        return fixed is not None and encoding.type.bits <= 8 and float(encoding.high) < fixed.high * 0.999

    def _constant(self, value: ir.Value, encoding: Encoding, integer_nodes: frozenset[str]) -> None:
        values = _numpy(value)
        for node in value.consumers():  # one, where there is a shift
            shift = self.encodings.bias_shifts.get(str(node.name))
            values = values if shift is None else values + shift
        dq = self._stored(str(value.name), quantize_values(values, encoding), encoding)
        dq.shape = ir.Shape(values.shape)
        for node, index in list(value.uses()):
            if str(node.name) in integer_nodes:
                node.replace_input_with(index, dq)

    def _weight(self, node: ir.Node, weight: WeightPlacement, encoding: Encoding) -> None:
        value = self.graph.initializers[weight.initializer]
        # Stored for each node: ONNX Runtime refuses shared int8 weights where it turns them into uint8.
        name = self._free(weight.initializer, f"{weight.node}.weight")
        dq = self._stored(name, self._weight_integers(value, weight, encoding), encoding)
        dq.shape = value.shape
        input_encoding = self.encodings.activations.get(weight.input)
        if node.op_type in ("Gemm", "MatMul") and not has_8_bits(input_encoding):
            # ONNX Runtime would round the float activations to 8 bits itself, as the processor allows.
            dq = self._guard(dq, name, "_unfused")
        node.replace_input_with(weight.operand, dq)
        if input_encoding is not None:
            self._bias(node, weight, encoding, input_encoding)

    def _weight_integers(
        self, value: ir.Value, weight: WeightPlacement, encoding: Encoding
    ) -> npt.NDArray[Any]:
        chosen = self.encodings.integers.get(weight.node)
        if chosen is not None:
            return chosen
        known = self.integers.get(weight.node)
        if known is None or known[0] != encoding:
            known = self.integers[weight.node] = (encoding, quantize_values(_numpy(value), encoding))
        return known[1]

    def _bias(self, node: ir.Node, weight: WeightPlacement, encoding: Encoding, input_: Encoding) -> None:
        """Store the bias as int32 with scale input × weight; a bias that is a full matrix stays float."""
        alpha, beta = gemm_factors(node)
        stored = None if weight.bias is None else _numpy(self.graph.initializers[weight.bias])
        shift = self.encodings.bias_shifts.get(weight.node)
        values = accumulated_bias(node, weight, stored, shift, encoding)
        if values is None:
            return
        scale = bias_scale(encoding, input_, weight.groups, alpha)
        name = self._free(weight.bias or f"{weight.node}.bias", f"{weight.node}.bias")
        integers = self._initializer(self.names.of(name, "_quantized"), quantize_bias(values, scale))
        scale_value = self._initializer(self.names.of(name, "_quantized_scale"), scale)
        zero = self._zero_point(name, np.zeros(scale.shape, np.int32))
        axis = {"axis": 0} if scale.ndim else {}
        inputs = [integers, scale_value, zero]
        dq = self._append("DequantizeLinear", inputs, axis, self.names.of(name, DEQUANTIZED))
        dq.dtype, dq.shape = ir.DataType.FLOAT, ir.Shape(values.shape)
        node.resize_inputs(max(3, len(node.inputs)))
        node.replace_input_with(2, dq)
        if beta != 1.0:
            node.attributes["beta"] = ir.AttrFloat32("beta", 1.0)

    def _stored(self, name: str, integers: npt.NDArray[Any], encoding: Encoding) -> ir.Value:
        """An integer initializer behind a DequantizeLinear; the dequantized value."""
        stored = self._initializer(self.names.of(name, "_quantized"), integers)
        scale, zero = self._parameters(name, encoding)
        return self._node("DequantizeLinear", [stored, scale, zero], name, encoding)

    def _parameters(self, name: str, encoding: Encoding) -> tuple[ir.Value, ir.Value]:
        scale = self._initializer(self.names.of(name, "_scale"), encoding.scale)
        return scale, self._zero_point(name, encoding.zero_point.astype(encoding.type.dtype))

    def _zero_point(self, name: str, array: npt.NDArray[Any]) -> ir.Value:
        """A zero point; those that are one number, or the same number for as many channels, are stored once.

        Not int8 ones, which belong to weights: ONNX Runtime changes them with their weight.
        """
        if array.dtype == np.int8 or np.unique(array).size != 1:
            return self._initializer(self.names.of(name, "_zero_point"), array)
        key = f"{array.dtype.name}_{array.flat[0]}" + (f"_x{array.size}" if array.ndim else "")
        if key not in self.zeros:
            self.zeros[key] = self._initializer(self.names.free(key), array)
        return self.zeros[key]

    def _initializer(self, name: str, array: npt.NDArray[Any]) -> ir.Value:
        """Store an array under a name that is free."""
        tensor = ir.Tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
        value = ir.Value(
            name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor
        )
        self.graph.register_initializer(value)
        return value

    def _node(self, op: str, inputs: list[ir.Value], tensor: str, encoding: Encoding) -> ir.Value:
        """Append a QuantizeLinear or DequantizeLinear of a tensor, by channels where it has many scales."""
        ms = encoding.type.bits > 8 and self.graph.opset_imports[""] < 21
        self.needs_ms_domain |= ms
        axis = {} if encoding.axis is None else {"axis": encoding.axis}
        name = self.names.of(tensor, QUANTIZED if op == "QuantizeLinear" else DEQUANTIZED)
        value = self._append(op, inputs, axis, name, MS_DOMAIN if ms else "")
        dtype = inputs[2].dtype if op == "QuantizeLinear" else ir.DataType.FLOAT
        assert dtype is not None
        value.dtype = dtype
        return value

    def _append(
        self, op: str, inputs: list[ir.Value], attributes: dict[str, int], name: str, domain: str = ""
    ) -> ir.Value:
        """Append a node; it is called as its output, whose name must be free."""
        value = ir.node(op, inputs, attributes, domain=domain, name=self.names.node(name)).outputs[0]
        value.name = name
        self.graph.append(value.producer())  # type: ignore[arg-type]
        return value

    def _free(self, wanted: str, otherwise: str) -> str:
        """`wanted`, unless another node has stored its own version of that initializer already."""
        name = wanted if wanted not in self.stored else otherwise
        self.stored.add(name)
        return name


def dequantizer(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear that makes a value of a quantized model, seen through a guard."""
    maker = value.producer() if value is not None else None
    if maker is not None and maker.op_type == "Max" and _is_lowest(maker.inputs[-1]):
        maker = maker.inputs[0].producer() if maker.inputs[0] is not None else None
    return maker if maker is not None and maker.op_type == "DequantizeLinear" else None


def _is_lowest(value: ir.Value | None) -> bool:
    """Whether a value is what guards compare with."""
    constant = value.const_value if value is not None else None
    return constant is not None and constant.size == 1 and constant.numpy().item() == _LOWEST


def _saturates_within(node: ir.Node, encoding: Encoding) -> bool:
    """Whether the quantizer maps both clip bounds onto its own ends: clipping first then changes nothing."""
    if node.op_type == "Relu":
        low, high = np.float32(0.0), np.float32(np.inf)
    else:
        bounds = [None if v is None else v.const_value for v in (*node.inputs[1:3], None, None)][:2]
        if any(v is not None and v.const_value is None for v in node.inputs[1:3]):
            return False
        low = np.float32(-np.inf) if bounds[0] is None else np.float32(bounds[0].numpy().item())
        high = np.float32(np.inf) if bounds[1] is None else np.float32(bounds[1].numpy().item())
    ends = quantize_values(np.array([low, high], np.float32), encoding)
    return bool(ends[0] == encoding.qmin and ends[1] == encoding.qmax)


def _numpy(value: ir.Value) -> npt.NDArray[np.float32]:
    assert value.const_value is not None
    return np.asarray(value.const_value.numpy(), np.float32)
