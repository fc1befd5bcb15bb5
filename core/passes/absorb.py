"""High-bias absorption: move what keeps a channel far above 0 into the bias of the layer behind it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from quantscope.core.data import Samples
from quantscope.core.model import Model
from quantscope.core.passes.linear import LinearWeight, linear_weight
from quantscope.core.passes.observe import Observed, observe
from quantscope.core.passes.rewrite import rebuilt, set_bias
from quantscope.core.quantize import gemm_factors

MARGIN = 0.1  # of a channel's spread: how far below its smallest value an unseen one may lie
WORTHWHILE = 0.95  # of the tensor's range: absorbing must leave no more than that

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _AbsorbSite:
    """A linear node, the Relu or Clip behind it, and the linear nodes that alone read that."""

    maker: LinearWeight
    upper: float  # of the Clip
    readers: tuple[LinearWeight, ...]


def absorb_biases(
    model: Model, samples: Samples, *, threads: int | None = None
) -> tuple[Model, tuple[str, ...]]:
    """Where Relu does nothing to a channel, as its values are all above some c > 0, shift them by -c.

    relu(x) = relu(x - c) + c for x >= c, and W (y + c) = W y + W c (Nagel et al. 2019, section 4.1.3, with
    measured instead of assumed minima, so that outputs change only where an unseen value is lower). Readers
    that pad with zeros are left alone, for at the border W c would be wrong; and so is a tensor whose range
    would hardly shrink.

    Returns:
        The model, and the layers whose biases were absorbed.
    """
    sites = _sites(model.ir.graph)
    if not sites:
        return model, ()
    observed = observe(model, {s.maker.output: s.maker.out_axis for s in sites}, samples, threads=threads)
    copy: ir.Model | None = None
    layers: list[str] = []
    for site in sites:
        shift = _bias_shift(site, observed[site.maker.output])
        if shift is None:
            continue
        copy = copy if copy is not None else model.ir.clone()
        _apply(copy.graph, site, shift)
        layer = model.layer_of(site.maker.output)
        layers.append(layer.name if layer is not None else site.maker.name)
    return (model, ()) if copy is None else (rebuilt(model, copy), tuple(layers))


def _sites(graph: ir.Graph) -> list[_AbsorbSite]:
    sites = []
    for node in graph:
        maker = linear_weight(node)
        if maker is None or not _has_plain_bias(maker):
            continue
        users = node.outputs[0].consumers()
        if len(node.outputs[0].uses()) != 1 or node.outputs[0].is_graph_output():
            continue
        upper = _upper(users[0])
        value = users[0].outputs[0]
        readers = [linear_weight(user) for user in value.consumers()]
        fits = [r for r in readers if r is not None and r.input == value.name and _can_take(r)]
        if upper is not None and fits and len(fits) == len(value.uses()) and not value.is_graph_output():
            sites.append(_AbsorbSite(maker=maker, upper=upper, readers=tuple(fits)))
    return sites


def _upper(node: ir.Node) -> float | None:
    """Where a Relu or a Clip from 0 cuts off; None for other nodes."""
    if node.op_type == "Relu":
        return float("inf")
    bounds: Sequence[ir.Value | None] = [*node.inputs[1:3], None, None][:2]
    if node.op_type != "Clip" or any(v is None or v.const_value is None for v in bounds):
        return None
    low, high = (float(v.const_value.numpy()) for v in bounds if v is not None and v.const_value is not None)
    return high if low == 0.0 else None


def _has_plain_bias(node: LinearWeight) -> bool:
    """Whether it is an operator with a bias input, which is free or holds one constant a channel."""
    if node.node.op_type == "MatMul" or gemm_factors(node.node)[1] == 0.0:
        return False
    if node.bias is None:
        return True
    constant = node.bias.const_value
    return constant is not None and constant.shape.numpy() == (node.out_channels,)


def _can_take(node: LinearWeight) -> bool:
    """Whether every output meets all weights, so that what it reads can be shifted."""
    if node.node.op_type == "Gemm":
        return _has_plain_bias(node)
    attributes = node.node.attributes
    padded = any(attributes.get_ints("pads", (0,))) or attributes.get_string("auto_pad", "NOTSET") not in (
        "NOTSET",
        "VALID",
    )
    return node.node.op_type == "Conv" and not padded and _has_plain_bias(node)


def _bias_shift(site: _AbsorbSite, observed: Observed) -> Float64 | None:
    high = np.minimum(observed.high, site.upper)
    room = observed.low - MARGIN * (observed.high - observed.low)
    shift = np.where(observed.high * (1 + MARGIN) <= site.upper, np.maximum(room, 0.0), 0.0)
    before, after = high.max(initial=0.0), (high - shift).max(initial=0.0)
    return shift if shift.any() and after <= WORTHWHILE * before else None


def _apply(graph: ir.Graph, site: _AbsorbSite, shift: Float64) -> None:
    beta = gemm_factors(site.maker.node)[1]
    _add_to_bias(graph, site.maker, -shift / beta)
    for reader in site.readers:
        alpha, beta = gemm_factors(reader.node)
        split = reader.split(reader.weight).astype(np.float64).sum(axis=3)
        moved = np.einsum("goc,gc->go", split, shift.reshape(reader.groups, -1)).reshape(-1)
        _add_to_bias(graph, reader, moved * alpha / beta)


def _add_to_bias(graph: ir.Graph, node: LinearWeight, values: Float64) -> None:
    twin = next(n for n in graph if n.name == node.node.name)
    bias = twin.inputs[2] if len(twin.inputs) > 2 else None
    before = 0.0 if bias is None or bias.const_value is None else bias.const_value.numpy()
    set_bias(graph, twin, np.asarray(before + values, np.float32))
