"""Why a layer's output has no range that could be chosen, in words for its page."""

from quantscope.core.model import Layer
from quantscope.core.quantize import Encodings
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Precision
from quantscope.ui.content import text


def why_no_range(layer: Layer, recipe: Recipe, encodings: Encodings) -> str:
    """Why the layer's output stays in float, as Markdown; empty where it is quantized."""
    if layer.output in encodings.activations:
        return ""
    placement = encodings.placement
    weighted = any(entry.layer == layer.name for entry in placement.weights.values())
    only = " Its weights are quantized all the same." if weighted else ""
    if recipe.choice(layer.name).precision is Precision.FLOAT:
        return f"**Stays float: you set it so.** Choose another precision to quantize it.{only}"
    if layer.output in encodings.kept_float:
        return (
            f"**Stays float: no integer range fits these values.** "
            f"{_sentence(encodings.kept_float[layer.output])} "
            f"Choosing a strategy quantizes it all the same.{only}"
        )
    kept = next((name for name in (*layer.inputs, layer.weight or "") if name in encodings.kept_float), None)
    if kept is not None:
        return (
            f"**Stays float, because what it reads does.** {text.code(kept)}: "
            f"{text.escape(encodings.kept_float[kept])}.{only}"
        )
    label = text.escape(placement.target.label)
    if placement.nodes.intersection(layer.nodes):
        return (
            f"**Only its inputs are quantized for {label}.** What it gives out stays float, "
            f"so there is no range to choose here.{only}"
        )
    if layer.kind == "compute" and layer.op not in placement.target.roles:
        return f"**Stays float: {label} has no integer kernel for {text.escape(layer.op)}.**{only}"
    return f"**Stays float: no quantized operator makes or reads it for {label}.**{only}"


def _sentence(words: str) -> str:
    return f"{text.escape(words[:1].upper() + words[1:])}."
