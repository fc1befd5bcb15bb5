"""What a quantized file does where kernels add products in 16 bits: which layers may lose by it, and do.

ONNX Runtime's default sessions do so on x86 without VNNI. All other figures come from exact sums.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from core.evaluate.layers import Probe, probes
from core.evaluate.sums import ErrorSums, ErrorTotal, error_sums
from core.evaluate.view import QdqView, QuantizedFile, expose, view
from core.model import Model
from core.progress import ProgressFn
from core.quant import dequantize
from core.runtime import Session, parallel_map
from core.samples import Load, Samples
from core.saturation import LIMIT, worst_sum

GIVEN = "exact/"  # names the inputs of a model that is cut at its integer tensors
_LINEAR = frozenset({"Conv", "Gemm", "MatMul"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SaturatedLayer:
    """What saturation does to the output of one layer whose inputs are those of exact sums."""

    layer: str
    changed: float  # share of its output values
    sqnr_db: float  # of the output with saturating sums against that with exact ones


def may_saturate(model: Model, quantized: QuantizedFile) -> tuple[str, ...]:
    """Layers with 8-bit weights of which a pair can leave 16 bits, for some input, on x86 without VNNI.

    Empty means that no input whatever makes the file saturate. Looked at are int8 weights that meet 8-bit
    activations, both behind a DequantizeLinear, and those of QLinearConv, QLinearMatMul and QGemm.
    """
    graph, folder = quantized.proto.graph, str(quantized.folder or "")
    constants = {tensor.name: tensor for tensor in graph.initializer}
    dequantized = {n.output[0]: n for n in graph.node if n.op_type == "DequantizeLinear"}
    layer_of = {name: layer.name for layer in model.layers for name in layer.nodes}
    found: dict[str, None] = {}
    for node in graph.node:
        op, name = _product(node, dequantized, constants)
        tensor = constants.get(name)
        if tensor is None or tensor.data_type != onnx.TensorProto.INT8:
            continue
        twin = ir.node(op, [], attributes=_attributes(node))
        if worst_sum(numpy_helper.to_array(tensor, folder), twin, 1) > LIMIT:
            found[layer_of.get(node.name, node.name)] = None
    return tuple(found)


def _product(
    node: onnx.NodeProto,
    dequantized: Mapping[str, onnx.NodeProto],
    constants: Mapping[str, onnx.TensorProto],
) -> tuple[str, str]:
    """The float operator that a product of 8-bit integers stands for, and its weight; both "" for others."""
    if node.op_type in _LINEAR and len(node.input) > 1:
        given, weight = (dequantized.get(name) for name in node.input[:2])
        if given is None or weight is None or not _is_8_bit(given, constants):
            return "", ""
        return node.op_type, weight.input[0]
    fused = {"QLinearConv": "Conv", "QLinearMatMul": "MatMul", "QGemm": "Gemm"}.get(node.op_type)
    return (fused, node.input[3]) if fused is not None and len(node.input) > 3 else ("", "")


def _is_8_bit(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether a DequantizeLinear reads 8-bit integers; without a zero point of known type, it may."""
    zero = constants.get(node.input[2]) if len(node.input) > 2 else None
    return zero is None or zero.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)


def _attributes(node: onnx.NodeProto) -> dict[str, int]:
    return {a.name: a.i for a in node.attribute if a.name in ("group", "transB")}


def saturated_layers(
    model: Model,
    quantized: QuantizedFile,
    samples: Samples,
    *,
    threads: int = 1,
    progress: ProgressFn | None = None,
) -> tuple[SaturatedLayer, ...]:
    """The layers that a default session on this processor changes, the worst first.

    The quantized model is cut at its integer tensors, and every piece is given what exact sums make of the
    pieces before it, so that a layer answers for its own sums only.

    Args:
        model: The float model.
        quantized: A quantized version of it, with QuantizeLinear / DequantizeLinear pairs.
        samples: What to run.
        threads: Samples run at the same time.
        progress: Told after each sample.
    """
    seen = view(model, quantized.proto)
    inner = frozenset(tensor for layer in model.layers for tensor in layer.inner)
    cut, given = _cut(quantized, seen, inner)
    shown = [p for p in probes(model, seen) if p.counterpart is not None and _LINEAR & set(p.layer.ops)]
    if not given or not shown:
        return ()
    run = _Run(quantized, cut, given, shown)
    totals = {probe.layer.name: ErrorTotal() for probe in shown}
    changed = dict.fromkeys(totals, 0)
    for parts in parallel_map(
        run, samples.loads(), total=len(samples), threads=threads, progress=progress, label="saturation"
    ):
        for name, (sums, differing) in parts.items():
            totals[name].add(sums)
            changed[name] += differing
    found = [
        SaturatedLayer(layer=name, changed=changed[name] / total.count, sqnr_db=sqnr_db)
        for name, total in totals.items()
        if changed[name] and (sqnr_db := total.error().sqnr_db) is not None
    ]
    return tuple(sorted(found, key=lambda layer: layer.sqnr_db))


def _cut(
    quantized: QuantizedFile, seen: QdqView, inner: frozenset[str]
) -> tuple[onnx.ModelProto, dict[str, int]]:
    """The model with inputs in place of the integers between layers, and these with their types."""
    between = [node for tensor, node in seen.quantizers.items() if tensor not in inner]
    zeros = {node.output[0]: node.input[2] for node in between if len(node.input) > 2}
    types = {q: seen.constants[zero].data_type for q, zero in zeros.items() if zero in seen.constants}
    cut = onnx.ModelProto()
    cut.CopyFrom(quantized.proto)
    for node in cut.graph.node:
        for index, name in enumerate(node.input):
            if name in types:
                node.input[index] = GIVEN + name
    for name, kind in types.items():
        value = cut.graph.input.add(name=GIVEN + name)
        value.type.tensor_type.elem_type = kind
    return cut, types


class _Run:
    """Sessions of the whole model and of the pieces; called with a load, it runs one sample."""

    def __init__(
        self, quantized: QuantizedFile, cut: onnx.ModelProto, given: Mapping[str, int], shown: Sequence[Probe]
    ) -> None:
        self.given, self.shown = list(given), shown
        outputs = {p.counterpart.tensor: p.counterpart.elem_type for p in shown if p.counterpart is not None}
        self.names = list(outputs)
        known = {value.name for value in quantized.proto.graph.output}
        self.whole = Session(expose(quantized.data, given, known), folder=quantized.folder)
        data = expose(cut.SerializeToString(), outputs, known)
        self.exact = Session(data, folder=quantized.folder)
        self.default = Session(data, folder=quantized.folder, exact=False)

    def __call__(self, load: Load) -> dict[str, tuple[ErrorSums, int]]:
        """Sums over the differences of each layer, and in how many values it differs."""
        sample = load()
        integers = self.whole.run(sample, self.given)
        feed = {**sample, **{GIVEN + name: value for name, value in integers.items()}}
        exact, default = self.exact.run(feed, self.names), self.default.run(feed, self.names)
        found = {}
        for probe in self.shown:
            assert probe.counterpart is not None
            tensor, encoding = probe.counterpart.tensor, probe.counterpart.encoding
            values, other = exact[tensor], default[tensor]
            real = values if encoding is None else dequantize(values, encoding)
            found[probe.layer.name] = (
                error_sums(real, other, encoding),
                int(np.count_nonzero(values != other)),
            )
        return found
