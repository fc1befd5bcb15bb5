"""Layers that lose on processors whose kernels add products in 16 bits: which ones may, and which do.

ONNX Runtime's default sessions do so on x86 without VNNI. All other figures come from exact sums.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from quantscope.core.data import Load, Samples
from quantscope.core.evaluate.correspondence import QdqView, QuantizedFile, expose, match_tensors
from quantscope.core.evaluate.fusion import layer_names, optimized_file, original_name
from quantscope.core.evaluate.layers import Probe, probes
from quantscope.core.evaluate.sums import ErrorSums, ErrorTotal, error_sums
from quantscope.core.model import Model
from quantscope.core.progress import ProgressFn
from quantscope.core.quant import dequantize
from quantscope.core.quantize import LIMIT, worst_sum
from quantscope.core.runtime import Session, parallel_map

GIVEN = "exact/"  # names the inputs of a model that is cut at its integer tensors
_LINEAR = frozenset({"Conv", "Gemm", "MatMul"})


class _IntegerKernel(NamedTuple):
    """An integer kernel of ONNX Runtime."""

    op: str  # float operator whose weight it reads
    weights: tuple[int, ...]  # inputs
    zero: int  # input that has the type of the left operand; -1 = always unsigned


# The input that has the type of the output; of other operators that hand integers on, the first one.
_OUTPUT_TYPE = {"QuantizeLinear": 2, "QLinearConv": 7, "QLinearMatMul": 7}
_KERNELS = {
    "QLinearConv": _IntegerKernel("Conv", (3,), 2),
    "QLinearMatMul": _IntegerKernel("MatMul", (3,), 2),
    "QGemm": _IntegerKernel("Gemm", (3,), 2),
    "QAttention": _IntegerKernel("MatMul", (1,), 6),
    "MatMulInteger": _IntegerKernel("MatMul", (1,), 0),
    "MatMulIntegerToFloat": _IntegerKernel("MatMul", (1,), 0),
    "DynamicQuantizeMatMul": _IntegerKernel("MatMul", (1,), -1),
    "DynamicQuantizeLSTM": _IntegerKernel("MatMul", (1, 2), -1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SaturatedLayer:
    """What saturation does to the output of one layer whose inputs are those of exact sums."""

    layer: str
    changed: float  # share of its output values
    sqnr_db: float  # of the output with saturating sums against that with exact ones


def may_saturate(model: Model, quantized: QuantizedFile, *, exact: bool = False) -> tuple[str, ...]:
    """Layers with weights of which a pair can leave 16 bits, for some input, on x86 without VNNI.

    Looked at is what ONNX Runtime makes of the file: products of unsigned activations by int8 weights,
    however these are written down. A weight that is computed at run time may hold anything. Empty means that
    no input whatever makes the file saturate.

    Args:
        model: The float model; names the layers. What belongs to none is called by the node's name.
        quantized: A quantized version of it, from any tool.
        exact: Look at a session with exact sums: what it cannot help on this processor.

    Raises:
        ModelError: ONNX Runtime does not accept the quantized model.
    """
    layers, found = layer_names(model), dict[str, None]()
    with optimized_file(quantized, exact=exact) as (graph, folder):
        constants = {tensor.name: tensor for tensor in graph.initializer}
        types = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input)}
        types |= {name: tensor.data_type for name, tensor in constants.items()}
        for node in graph.node:
            if node.output[0] not in types:  # ONNX Runtime does not write all of them down
                types[node.output[0]] = _type(node, _OUTPUT_TYPE.get(node.op_type, 0), types)
            kernel = _KERNELS.get(node.op_type)
            if kernel is None or _type(node, kernel.zero, types) == onnx.TensorProto.INT8:
                continue
            for index in kernel.weights:
                if _type(node, index, types) == onnx.TensorProto.INT8 and _is_risky(
                    node, kernel, constants.get(node.input[index]), (folder, quantized.folder)
                ):
                    name = original_name(node.name)
                    found[layers.get(name, name)] = None
    return tuple(found)


def _type(node: onnx.NodeProto, index: int, types: Mapping[str, int]) -> int:
    """ONNX type of an input; 0 where there is none, or it is not known."""
    return types.get(node.input[index], 0) if 0 <= index < len(node.input) else 0


def _is_risky(
    node: onnx.NodeProto,
    kernel: _IntegerKernel,
    weight: onnx.TensorProto | None,
    folders: Sequence[Path | None],
) -> bool:
    """Whether a pair of weights can leave 16 bits; those that are not stored can."""
    if weight is None:
        return True
    stored = next((entry.value for entry in weight.external_data if entry.key == "location"), "")
    places = [f for f in folders if f is not None] if stored else []
    folder = next((str(f) for f in places if (f / stored).is_file()), "")
    attributes = {a.name: a.i for a in node.attribute if a.name in ("group", "transB")}
    twin = ir.node(kernel.op, [], attributes=attributes)
    return worst_sum(numpy_helper.to_array(weight, folder), twin, 1) > LIMIT


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
    matched = match_tensors(model, quantized.proto)
    inner = frozenset(tensor for layer in model.layers for tensor in layer.inner)
    cut, given = _cut_at_integers(quantized, matched, inner)
    shown = [p for p in probes(model, matched) if p.counterpart is not None and _LINEAR & set(p.layer.ops)]
    if not given or not shown:
        return ()
    run = _SaturationRun(quantized, cut, given, shown)
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


def _cut_at_integers(
    quantized: QuantizedFile, matched: QdqView, inner: frozenset[str]
) -> tuple[onnx.ModelProto, dict[str, int]]:
    """The model with inputs in place of the integers between layers, and these with their types."""
    between = [node for tensor, node in matched.quantizers.items() if tensor not in inner]
    zeros = {node.output[0]: node.input[2] for node in between if len(node.input) > 2}
    types = {q: matched.constants[zero].data_type for q, zero in zeros.items() if zero in matched.constants}
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


class _SaturationRun:
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
