"""The quantizers of a model as a set, and the model with only some of them: what sensitivity runs switch."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from quantscope.core.quantize import Encodings


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantizers:
    """A set of quantizers; activations that share a scale are one."""

    weights: frozenset[str] = frozenset()  # names of the nodes whose weight (and bias) is rounded
    tensors: frozenset[str] = frozenset()  # activations and constants with a scale of their own

    def __or__(self, other: "Quantizers") -> "Quantizers":
        """Those of either."""
        return Quantizers(weights=self.weights | other.weights, tensors=self.tensors | other.tensors)

    def __sub__(self, other: "Quantizers") -> "Quantizers":
        """Those that the other lacks."""
        return Quantizers(weights=self.weights - other.weights, tensors=self.tensors - other.tensors)

    def __bool__(self) -> bool:
        return bool(self.weights or self.tensors)


def union(parts: Iterable[Quantizers]) -> Quantizers:
    """All of them together."""
    found = tuple(parts)
    return Quantizers(
        weights=frozenset().union(*(part.weights for part in found)),
        tensors=frozenset().union(*(part.tensors for part in found)),
    )


def all_quantizers(encodings: Encodings) -> Quantizers:
    """Every quantizer of the model."""
    placement = encodings.placement
    return Quantizers(
        weights=frozenset(placement.weights), tensors=frozenset((*placement.own(), *placement.constants))
    )


def by_layer(encodings: Encodings) -> dict[str, Quantizers]:
    """The quantizers that each layer's choice governs: its own weights, and the tensors it sets a scale for.

    A tensor that takes its scale over belongs to the layer that set it. Layers without a quantizer of
    their own are left out.
    """
    placement = encodings.placement
    weights: dict[str, set[str]] = {}
    tensors: dict[str, set[str]] = {}
    for tensor in placement.own():
        tensors.setdefault(placement.tensors[tensor], set()).add(tensor)
    for constant, layer in placement.constants.items():
        tensors.setdefault(layer, set()).add(constant)
    for node, weight in placement.weights.items():
        weights.setdefault(weight.layer, set()).add(node)
    return {
        layer: Quantizers(
            weights=frozenset(weights.get(layer, ())), tensors=frozenset(tensors.get(layer, ()))
        )
        for layer in dict.fromkeys((*tensors, *weights))
    }


def root_of(encodings: Encodings, tensor: str) -> str:
    """The tensor whose scale an activation uses: its own, unless it shares."""
    return encodings.placement.sources.get(tensor, tensor)


def restricted(encodings: Encodings, on: Quantizers) -> Encodings:
    """The encodings of a model in which only the quantizers in `on` are left; everything else is float.

    Scales stay what they are. `quantize_model` of the result is the model that a sensitivity run measures.
    It must be run without integer kernels (`simulate=True`): ONNX Runtime would quantize a float weight
    between two rounded activations on its own.
    """
    placement = encodings.placement
    kept = {t: layer for t, layer in placement.tensors.items() if root_of(encodings, t) in on.tensors}
    return replace(
        encodings,
        placement=replace(
            placement,
            tensors=kept,
            sources={t: root for t, root in placement.sources.items() if t in kept},
            constants={c: layer for c, layer in placement.constants.items() if c in on.tensors},
            weights={node: weight for node, weight in placement.weights.items() if node in on.weights},
        ),
        constants={c: e for c, e in encodings.constants.items() if c in on.tensors},
        weights={node: e for node, e in encodings.weights.items() if node in on.weights},
        raw_weights={node: e for node, e in encodings.raw_weights.items() if node in on.weights},
    )
