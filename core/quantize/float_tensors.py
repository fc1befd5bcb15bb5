"""Which activations stay in float because no integer range keeps their information."""

from collections.abc import Collection
from functools import partial

from quantscope.core.calibration import Statistics
from quantscope.core.model import Model
from quantscope.core.quant import UINT8, QuantSpec
from quantscope.core.quantize.representable import score_tensors, why_float
from quantscope.core.quantize.specs import activation_spec
from quantscope.core.recipe import Choice, Recipe
from quantscope.core.targets import Placement, Precision, find_placement, shared_roots
from quantscope.core.thresholds import Method


def unrepresentable(
    recipe: Recipe, statistics: Statistics, model: Model, everything: Placement, kept_float: Collection[str]
) -> dict[str, str]:
    """Activations that their integers would destroy, with the reason, unless their range was set by hand.

    What shares the parameters of such a tensor holds the same values. It is looked at again each time that
    more stays in float, since it gets parameters of its own then.

    Args:
        recipe: The choices.
        statistics: Histograms of the model's activations.
        model: The float model.
        everything: The placement where no tensor is kept in float, only layers are.
        kept_float: Tensors that are kept already.
    """
    scores = model.memo.get("score tensors", lambda: score_tensors(model.ir.graph))
    floats = {layer for layer in model.layer_names if recipe.choice(layer).precision is Precision.FLOAT}
    found: dict[str, str] = {}
    placement = everything
    # Statistics hold tensors that have parameters of their own where nothing is left in float.
    sources = shared_roots(model, everything.target)
    while True:
        more = {}
        for tensor in placement.own():
            layer = placement.tensors[tensor]
            root = sources.get(tensor, tensor)
            measured = tensor if tensor in statistics.histograms else root
            histogram = statistics.histograms.get(measured)
            if histogram is None or _by_hand(recipe, model, layer, tensor):
                continue
            spec = activation_spec(placement.target, recipe.choice(layer))
            judge = partial(why_float, histogram, spec, scores=tensor in scores)
            # Asked for every tensor after every edit.
            reason = statistics.memo.get(("why float", measured, spec, tensor in scores), judge)
            if reason is not None:
                more[tensor] = reason
        if not more:
            return found
        found |= more
        placement = find_placement(model, placement.target, floats, {*kept_float, *found})


def _by_hand(recipe: Recipe, model: Model, layer: str, tensor: str) -> bool:
    """Whether the user chose how the tensor's range is found; a range in numbers is for one tensor."""
    method = recipe.layers.get(layer, Choice()).method
    return method is not None and (method is not Method.MANUAL or model.layer(layer).output == tensor)


def masked_tensors(statistics: Statistics, model: Model) -> frozenset[str]:
    """Tensors whose energy is that of mask values far from all others, as -1e9 is in attention scores.

    The far values are nearly the same in a quantized model, so that an error over the tensor's energy says
    nothing of the values that carry information. Infinite mask values are left out of errors, and do no harm.

    Args:
        statistics: Histograms of the model's activations.
        model: The float model.
    """
    spec = QuantSpec(type=UINT8, symmetric=False)
    scores = model.memo.get("score tensors", lambda: score_tensors(model.ir.graph))

    def find() -> frozenset[str]:
        return frozenset(
            name
            for name, histogram in statistics.histograms.items()
            if not histogram.infs and why_float(histogram, spec, scores=name in scores) is not None
        )

    return statistics.memo.get("masked tensors", find)
