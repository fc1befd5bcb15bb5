"""Each layer quantized alone: a quantized model cut apart, every layer fed with the float model's tensors."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx

from quantscope.core.evaluate.correspondence import Counterpart, QdqView
from quantscope.core.model import Model

PREFIX = "alone/"
_ROUNDING = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolatedModel:
    """A model whose inputs are tensors of the float model."""

    proto: onnx.ModelProto
    inputs: tuple[str, ...]  # float tensors (and integer ones) that it takes
    outputs: Mapping[str, str]  # layer name → output that stands for the layer's


def isolated_model(
    model: Model, quantized: onnx.ModelProto, matched: QdqView, layers: Mapping[str, Counterpart]
) -> IsolatedModel | None:
    """The given layers of a quantized model, cut apart; None if none of them is quantized.

    A tensor `t` of the quantized model is called `alone/t`. Where a layer reads a tensor that another
    layer computes, it reads an input of the model named like the float tensor. So `alone/t` shows what the
    layer's own weights and its own rounding do, and nothing of what happens before it. Layers with neither
    quantized weights nor a quantized output are left out: their local error is not zero but meaningless.
    """
    cutter = _Cutter(model, quantized, matched)
    wanted: dict[str, str] = {}
    for layer, counterpart in layers.items():
        nodes = cutter.closure(counterpart.tensor)
        if nodes is not None and any(cutter.nodes[i].op_type in _ROUNDING for i in nodes):
            wanted[layer] = counterpart.tensor
    if not wanted:
        return None
    proto, inputs = cutter.build(dict.fromkeys(wanted.values()), layers.values())
    return IsolatedModel(
        proto=proto, inputs=inputs, outputs={layer: PREFIX + tensor for layer, tensor in wanted.items()}
    )


class _Cutter:
    """Follows tensors of a quantized model back to float tensors that other layers compute."""

    def __init__(self, model: Model, quantized: onnx.ModelProto, matched: QdqView) -> None:
        self.quantized, self.matched = quantized, matched
        self.nodes = list(quantized.graph.node)
        self.float_proto = model.proto()
        self.layer_of = {t: layer.name for layer in model.layers for t in (*layer.inner, layer.output)}
        self.stored = {t.name: t for t in quantized.graph.initializer}
        self.elem_types = _elem_types(self.float_proto.graph)
        self.inputs = {v.name for v in quantized.graph.input if v.name not in self.stored}
        self.maker = {name: i for i, node in enumerate(self.nodes) for name in node.output if name}
        # Control flow is not copied; what it computes is taken from the float model.
        self.opaque = {name for node in self.nodes if _has_subgraph(node) for name in node.output if name}

    def source(self, node: onnx.NodeProto, name: str) -> str | None:
        """The float tensor that `node` reads in place of its input `name`; None = the copy's own."""
        base = self.matched.names.get(name)
        if name in self.inputs or name in self.opaque:
            return base or name
        if base is None or node.op_type in _ROUNDING:
            return None
        return base if self._layer(base) != self._layer_of_node(node) else None

    def _layer(self, base: str) -> str:
        return self.layer_of.get(base, base)

    def _layer_of_node(self, node: onnx.NodeProto) -> str:
        return next((self._layer(self.matched.names[n]) for n in node.output if n in self.matched.names), "")

    def closure(self, tensor: str) -> frozenset[int] | None:
        """Indices of the nodes that compute `tensor`; None if an input of theirs has no known type."""
        found: set[int] = set()
        waiting = [tensor]
        while waiting:
            name = waiting.pop()
            index = self.maker.get(name)
            if index is None or index in found:
                continue
            found.add(index)
            for given in filter(None, self.nodes[index].input):
                base = self.source(self.nodes[index], given)
                if base is None:
                    waiting.append(given)
                elif base not in self.elem_types:
                    return None
        return frozenset(found)

    def build(
        self, outputs: Iterable[str], counterparts: Iterable[Counterpart]
    ) -> tuple[onnx.ModelProto, tuple[str, ...]]:
        types = {c.tensor: c.elem_type for c in counterparts}
        out = onnx.ModelProto(ir_version=max(self.quantized.ir_version, self.float_proto.ir_version))
        out.opset_import.extend(self.quantized.opset_import)
        out.functions.extend(self.quantized.functions)
        out.graph.name = "layers"
        chosen: set[int] = set()
        for tensor in outputs:
            chosen |= self.closure(tensor) or frozenset()
            self._declare(out.graph.output.add(), PREFIX + tensor, types[tensor])
        inputs: dict[str, None] = {}
        constants: dict[str, None] = {}
        for index in sorted(chosen):
            copy = out.graph.node.add()
            copy.CopyFrom(self.nodes[index])
            copy.name = PREFIX + copy.name if copy.name else ""
            for i, name in enumerate(copy.input):
                base = self.source(self.nodes[index], name) if name else None
                if base is not None:
                    inputs[base] = None
                elif name in self.stored:
                    constants[name] = None
                copy.input[i] = base if base is not None else PREFIX + name if name else ""
            for i, name in enumerate(copy.output):
                copy.output[i] = PREFIX + name if name else ""
        for name in constants:
            tensor_copy = out.graph.initializer.add()
            tensor_copy.CopyFrom(self.stored[name])
            tensor_copy.name = PREFIX + name
        for name in inputs:
            self._declare(out.graph.input.add(), name, self.elem_types[name])
        return out, tuple(inputs)

    @staticmethod
    def _declare(value: onnx.ValueInfoProto, name: str, elem_type: int) -> None:
        value.name = name
        value.type.tensor_type.elem_type = elem_type


def _elem_types(graph: onnx.GraphProto) -> dict[str, int]:
    values = (*graph.input, *graph.value_info, *graph.output)
    return {v.name: v.type.tensor_type.elem_type for v in values if v.type.HasField("tensor_type")}


def _has_subgraph(node: onnx.NodeProto) -> bool:
    return any(a.HasField("g") or a.graphs for a in node.attribute)
