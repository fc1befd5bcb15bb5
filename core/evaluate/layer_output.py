"""Outputs of single layers on sampled rows, with any quantizer in front of them and any weights inside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from quantscope.core.calibration import data_rows
from quantscope.core.data import Picked
from quantscope.core.jit import compiled
from quantscope.core.model import Model, float_session, is_float
from quantscope.core.passes import Product, product
from quantscope.core.quant import Encoding, QuantSpec
from quantscope.core.quantize import Encodings
from quantscope.core.targets import WeightPlacement

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

MOST_ROWS = 4096  # of a layer, over all samples
LEAST_ROWS = 192


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A layer with a constant weight, and the activation it reads.

    Its output is what follows the product inside the layer: bias, then Relu or Clip where they are fused.
    """

    layer: str
    node: str
    place: WeightPlacement
    product: Product
    bias: Float32  # (channels,)
    low: float  # fused Relu or Clip; -inf and inf without
    high: float

    @property
    def weight(self) -> Float32:
        """The float weight, in its own shape."""
        return self.product.linear.weight

    @property
    def cost(self) -> int:
        """Multiplications for one row."""
        return int(self.weight.size)

    def output(self, rows: Float32, matrix: Float32) -> Float32:
        """Outputs (groups, rows, outputs a group) of rows (groups, rows, K), weights (groups, outputs, K)."""
        groups, outputs = matrix.shape[:2]
        y = np.matmul(rows, matrix.swapaxes(1, 2))
        y += self.bias.reshape(groups, 1, outputs)
        if self.low > -np.inf or self.high < np.inf:
            np.clip(y, np.float32(self.low), np.float32(self.high), out=y)
        return np.asarray(y, np.float32)

    def scale_of(self, scales: int) -> npt.NDArray[np.int64]:
        """For each channel the index of its scale (a ConvTranspose repeats its scales for each group)."""
        return np.arange(self.bias.size) % scales

    def rounded(self, encoding: Encoding) -> Float32:
        """The weight, quantized and back, as `output` takes it."""
        matrix = np.array(self.product.matrix(self.weight), np.float32, order="C")  # a copy, changed below
        scale, zero = encoding.scale.reshape(-1), encoding.zero_point.reshape(-1).astype(np.float32)
        of = self.scale_of(scale.size)
        channels = matrix.reshape(self.bias.size, -1)
        round_channels(
            channels, scale[of], np.float32(encoding.qmin) - zero[of], np.float32(encoding.qmax) - zero[of]
        )
        return matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """Rows that a reader met in some samples, and the float outputs for them."""

    reader: Reader
    rows: Float32  # (groups, rows, K)
    starts: npt.NDArray[np.int64]  # first row of each sample
    output: Float32  # (groups, rows, outputs)
    lengths: Float64  # norm of each sample's float output, (samples,)

    def quantized_rows(self, encoding: Encoding) -> Float32:
        """The rows with the activation quantized (zeros of the padding stay zero)."""
        out = np.empty_like(self.rows)
        round_rows(
            self.rows.reshape(-1),
            np.float32(encoding.scale),
            np.float32(encoding.qmin - int(encoding.zero_point)),
            np.float32(encoding.qmax - int(encoding.zero_point)),
            out.reshape(-1),
        )
        return out

    def sums(self, rows: Float32, matrix: Float32) -> tuple[Float64, Float64]:
        """Of each channel and sample: float times quantized output, and squared quantized output."""
        reader, (groups, outputs) = self.reader, matrix.shape[:2]
        y = np.matmul(rows, matrix.swapaxes(1, 2))
        bias, bounds = reader.bias.reshape(groups, outputs), (np.float32(reader.low), np.float32(reader.high))
        dot, square = np.zeros((2, groups * outputs, len(self.starts)))
        add_products(y, self.output, bias, *bounds, self.starts, dot, square)
        return dot, square

    def closeness(self, rows: Float32, matrix: Float32) -> tuple[float, float]:
        """`cosine`, and the squared error of all outputs together, as a share of their squared length."""
        dot, square = (sums.sum(axis=0) for sums in self.sums(rows, matrix))
        length = float(np.square(self.lengths).sum())
        error = length - 2.0 * float(dot.sum()) + float(square.sum())
        return float(cosines(dot, square, self.lengths).mean()), error / (length or 1.0)

    def cosine(self, rows: Float32, matrix: Float32) -> float:
        """Mean over the samples of the cosine between float and quantized output."""
        return self.closeness(rows, matrix)[0]


def cosines(dot: Float64, square: Float64, lengths: Float64) -> Float64:
    """Cosines from products, squared norms and norms; 1 where both are zero, 0 where one is."""
    product_ = np.sqrt(square) * lengths
    both_zero = (square == 0.0) & (lengths == 0.0)
    ratio = np.divide(dot, product_, out=np.zeros_like(product_ + dot), where=product_ > 0.0)
    return np.asarray(np.where(both_zero, 1.0, ratio), np.float64)


@compiled
def round_rows(x: Float32, scale: np.float32, least: np.float32, most: np.float32, out: Float32) -> None:
    """`fake_quantize` of a flat array; `least` and `most` are integers less the zero point."""
    for i in range(x.size):
        out[i] = min(max(np.rint(x[i] / scale), least), most) * scale


@compiled
def round_channels(x: Float32, scale: Float32, least: Float32, most: Float32) -> None:
    """`round_rows` for (channels, values) in place, with limits and scales of each channel."""
    for c in range(x.shape[0]):
        for i in range(x.shape[1]):
            x[c, i] = min(max(np.rint(x[c, i] / scale[c]), least[c]), most[c]) * scale[c]


@compiled
def add_products(
    y: Float32,
    exact: Float32,
    bias: Float32,
    low: np.float32,
    high: np.float32,
    starts: npt.NDArray[np.int64],
    dot: Float64,
    square: Float64,
) -> None:
    """Finish outputs `y` (groups, rows, outputs); add their products with `exact` and with themselves."""
    groups, rows, outputs = y.shape
    for g in range(groups):
        for s in range(starts.size):
            stop = starts[s + 1] if s + 1 < starts.size else rows
            for r in range(starts[s], stop):
                for o in range(outputs):
                    value = min(max(y[g, r, o] + bias[g, o], low), high)
                    dot[g * outputs + o, s] += np.float64(value) * np.float64(exact[g, r, o])
                    square[g * outputs + o, s] += np.float64(value) * np.float64(value)


def reader_of(model: Model, encodings: Encodings, layer: str) -> Reader | str:
    """The layer as a `Reader`, or in one sentence why it is none."""
    nodes = {str(node.name): node for node in model.ir.graph}
    places = [place for place in encodings.placement.weights.values() if place.layer == layer]
    if not places:
        return "it has no quantized weight"
    place = places[0]
    node = nodes[place.node]
    found = product(node) if place.operand == 1 else None
    if found is None or len(places) > 1:
        return f"its {node.op_type} is not a product with one constant matrix or kernel"
    if str(node.inputs[0].name) not in encodings.activations:  # type: ignore[union-attr]  # a product has it
        return "it reads a tensor that stays float"
    own = [nodes[name] for name in model.layer(layer).nodes if name != place.node]
    bias, low, high = _behind(node, own, found.linear.out_channels)
    return Reader(layer=layer, node=place.node, place=place, product=found, bias=bias, low=low, high=high)


def _behind(node: ir.Node, followers: Sequence[ir.Node], channels: int) -> tuple[Float32, float, float]:
    """Bias, and bounds of the fused activation."""
    bias = np.zeros(channels, np.float32)
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if given is not None and given.const_value is not None:
        scale = node.attributes.get_float("beta", 1.0) if node.op_type == "Gemm" else 1.0
        bias = bias + np.asarray(given.const_value.numpy(), np.float32).reshape(-1) * np.float32(scale)
    low, high = -np.inf, np.inf
    value = node.outputs[0]
    for follower in followers:
        if value not in follower.inputs:
            break
        constants = [v.const_value.numpy() for v in follower.inputs if v is not None and v.const_value]
        if follower.op_type == "Add" and len(constants) == 1 and constants[0].size in (1, channels):
            bias = bias + np.asarray(constants[0], np.float32).reshape(-1)
        elif follower.op_type == "Relu":
            low = max(low, 0.0)
        elif follower.op_type == "Clip":
            low, high = _clip_bounds(follower, low, high)
        else:
            break
        value = follower.outputs[0]
    return np.asarray(bias, np.float32), low, high


def _clip_bounds(node: ir.Node, low: float, high: float) -> tuple[float, float]:
    bounds = [*node.inputs[1:], None, None][:2]
    values = [None if v is None or v.const_value is None else float(v.const_value.numpy()) for v in bounds]
    return (
        low if values[0] is None else max(low, values[0]),
        high if values[1] is None else min(high, values[1]),
    )


def readers_of(
    model: Model, encodings: Encodings, names: Sequence[str]
) -> tuple[list[Reader], dict[str, str]]:
    """The layers that can be tuned, and why others with weights cannot."""
    known = {layer.name: layer for layer in model.layers}
    readers, left_out = [], {}
    for name in names:
        found = reader_of(model, encodings, name)
        if isinstance(found, Reader):
            readers.append(found)
        elif known[name].weight is not None:
            left_out[name] = found
    return readers, left_out


def by_tensor(encodings: Encodings, readers: Sequence[Reader]) -> dict[str, list[Reader]]:
    """Readers of each tensor that has parameters of its own, directly or through tensors that share them."""
    groups: dict[str, list[Reader]] = {}
    for reader in readers:
        tensor = reader.product.linear.input
        groups.setdefault(encodings.placement.sources.get(tensor, tensor), []).append(reader)
    return groups


def row_count(reader: Reader, effort: float) -> int:
    """Rows to look at if one evaluation may take `effort` multiplications."""
    return int(np.clip(effort / reader.cost, LEAST_ROWS, MOST_ROWS))


def spec_of(encoding: Encoding) -> QuantSpec:
    """The type of an encoding, asymmetric: ranges become any scale and zero point."""
    narrow = encoding.qmin > encoding.type.qmin
    return QuantSpec(type=encoding.type, symmetric=False, narrow_range=narrow)


def sample_rows(
    model: Model, readers: Sequence[Reader], picked: Picked, *, most: Mapping[str, int]
) -> dict[str, Sampled]:
    """Rows of every reader's input as the float model has it, one run a sample: by layer.

    Args:
        model: The float model.
        readers: Layers.
        picked: Samples.
        most: Rows to take for each layer, over all samples; they are spread evenly over the positions.
    """
    tensors = {r.layer: r.product.linear.input for r in readers}
    given = {info.name for info in model.inputs}
    session = float_session(model, [t for t in dict.fromkeys(tensors.values()) if t not in given])
    parts: dict[str, list[Float32]] = {r.layer: [] for r in readers}
    for sample, valid in zip(picked.runs, picked.valid, strict=True):
        values = {name: sample[name] for name in tensors.values() if name in sample}
        values.update(session.values(sample) if session.tensors else ())
        for r in readers:
            x = data_rows(np.asarray(values[tensors[r.layer]], np.float32), picked.batch, valid)
            taken = r.product.rows(x, max(most[r.layer] // len(picked.runs), 1))
            parts[r.layer].append(np.array(taken))  # a copy: the rest of the tensor is not kept
    return {r.layer: _sampled(r, parts[r.layer]) for r in readers}


def _sampled(reader: Reader, parts: list[Float32]) -> Sampled:
    parts = [part for part in parts if part.shape[1]]
    rows = np.ascontiguousarray(np.concatenate(parts, axis=1))
    starts = np.cumsum([0, *(part.shape[1] for part in parts[:-1])])
    matrix = np.ascontiguousarray(reader.product.matrix(reader.weight))
    bare = Sampled(
        reader=reader, rows=rows, starts=starts, output=reader.output(rows, matrix), lengths=np.zeros(0)
    )
    squared = np.square(bare.output, dtype=np.float64)  # in float32, squares beyond 1e38 are infinite
    squares = np.add.reduceat(squared, starts, axis=1).sum(axis=(0, 2))
    return replace(bare, lengths=np.sqrt(squares))


def read_otherwise(model: Model, encodings: Encodings, root: str, readers: Sequence[Reader]) -> bool:
    """Whether anything but these layers sees the values of a tensor, also through tensors that share them."""
    sources = encodings.placement.sources
    same = {root, *(tensor for tensor, source in sources.items() if source == root)}
    tuned = {reader.node for reader in readers}
    graph = model.ir.graph
    if any(value.name in same for value in graph.outputs):
        return True
    return any(
        any(value is not None and value.name in same for value in node.inputs)
        and str(node.name) not in tuned
        and any(is_float(out) and out.name not in same for out in node.outputs)
        for node in graph
    )


def tensor_values(model: Model, tensors: Sequence[str], picked: Picked, *, most: int) -> dict[str, Float32]:
    """Values of tensors in the float model, flat: up to about `most` of each, evenly over the samples.

    Args:
        model: The float model.
        tensors: Their names.
        picked: Samples.
        most: Values of one tensor, over all samples.
    """
    given = {info.name for info in model.inputs}
    inside = [tensor for tensor in tensors if tensor not in given]
    session = float_session(model, inside) if inside else None
    parts: dict[str, list[Float32]] = {tensor: [] for tensor in tensors}
    each = max(most // max(len(picked.runs), 1), 1)
    for sample, valid in zip(picked.runs, picked.valid, strict=True):
        values = {tensor: sample[tensor] for tensor in tensors if tensor in given}
        values.update(session.values(sample) if session is not None else ())
        for tensor, found in values.items():
            flat = data_rows(np.asarray(found, np.float32), picked.batch, valid).reshape(-1)
            parts[tensor].append(flat[:: max(-(-flat.size // each), 1)].copy())
    return {tensor: np.concatenate(taken) for tensor, taken in parts.items()}
