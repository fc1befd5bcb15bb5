"""EasyQuant: weight and activation scales that keep the direction of a layer's output.

D. Wu et al., "EasyQuant: Post-training Quantization via Scale Optimization", 2020. For each layer, the
cosine between its float output and its output with quantized input and weight, summed over the samples, is
maximized by changing the weight's scales and the input's scale in turn: 100 candidates each, evenly spaced in
[0.5, 2] times the scale that the recipe gave, a change only for a strictly larger sum, two rounds.

The activation scale belongs to the tensor that the layer *reads*; in a recipe it is a range set by hand
for the layer that makes that tensor (or for the graph input). Where several layers read it, all
of those that are tuned have a say: their cosines are added. Ranges of asymmetric types with values on both
sides are scaled as a whole, then each end on its own. Weight scales per channel are chosen one channel
after the other, each for the sum over the whole layer; they are kept as factors of the recipe's scales.

Two things that the paper's cosine does not see keep a range as it is. A mean of cosines counts samples of
small values as much as those of large ones, so that it would clip the large ones: the squared error of all
outputs together must not grow. And who reads a tensor without being tuned (a pooling, an addition, the
user) has no output here: then the error of the tensor itself must not grow either.

Outputs include the bias (float) and a fused Relu or Clip. They are computed for a sample of positions, as
many as an effort allows: a convolution is a matrix product for each of them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantscope.core.data import Picked, Samples, pick
from quantscope.core.evaluate import (
    Reader,
    Sampled,
    by_tensor,
    read_otherwise,
    readers_of,
    row_count,
    sample_rows,
    tensor_values,
)
from quantscope.core.model import Model
from quantscope.core.progress import Cancelled, ProgressFn
from quantscope.core.quant import Range
from quantscope.core.quantize import (
    Encodings,
)
from quantscope.core.recipe import Recipe
from quantscope.core.thresholds import Method
from quantscope.core.tuning.scale_search import FACTORS, ROUNDS, LayerTuning, RoundProgress, ScaleSearch

Float32 = npt.NDArray[np.float32]
SAMPLES = 16
EFFORT = 1e11  # multiplications for one layer; a few seconds
VALUES = 1 << 16  # of a tensor that others read too
_MOST_BYTES = 1 << 28  # of rows held for several tensors at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class EasyQuantResult:
    """Scales found, and what they are good for."""

    layers: tuple[LayerTuning, ...]  # in the order of the network
    ranges: Mapping[str, Range]  # layer that makes the tensor → its range; only those that changed
    left_out: Mapping[str, str]  # layer → why it was not tuned
    samples: int
    complete: bool = True  # False: cancelled before all layers were tuned

    def apply(self, recipe: Recipe) -> Recipe:
        """The recipe with these ranges, set by hand, and weight factors."""
        for owner, range_ in self.ranges.items():
            recipe = recipe.with_layer(owner, method=Method.MANUAL, range=range_)
        for found in self.layers:
            changed = any(factor != 1.0 for factor in found.factors)
            if changed or recipe.choice(found.layer).weight_factors is not None:
                recipe = recipe.with_layer(found.layer, weight_factors=found.factors if changed else None)
        return recipe


def easyquant(
    model: Model,
    recipe: Recipe,
    encodings: Encodings,
    samples: Samples,
    *,
    layers: Sequence[str] | None = None,
    count: int = SAMPLES,
    effort: float = EFFORT,
    partial: bool = False,
    progress: ProgressFn | None = None,
) -> EasyQuantResult:
    """Tune some layers, or the whole model.

    Args:
        model: The float model.
        recipe: The choices so far.
        encodings: What `resolve` makes of them; the scales to start from.
        samples: Calibration samples; up to `count`, chosen by content, are used.
        layers: Names of layers with weights; None: all of them.
        count: Most samples to use.
        effort: Multiplications to spend on a layer; decides how many positions are looked at.
        partial: When cancelled, return what was found until then, with `complete` False.
        progress: Told after each candidate; may raise `Cancelled`.

    Raises:
        Cancelled: `progress` raised it, and nothing partial is wanted.
        DataError: There are no samples, or they do not fit the model.
        KeyError: There is no such layer.
    """
    names = [layer.name for layer in model.layers] if layers is None else list(layers)
    readers, left_out = readers_of(model, encodings, names)
    picked = pick(samples, count)
    most = {r.layer: row_count(r, effort / (2 * ROUNDS * len(FACTORS))) for r in readers}
    tunings: list[LayerTuning] = []
    ranges: dict[str, Range] = {}
    steps = RoundProgress(progress, len(readers))
    complete = True
    for search in _searches(model, recipe, encodings, by_tensor(encodings, readers), picked, most, steps):
        try:
            search.improve()
            steps.finish(len(search.members))
        except Cancelled:
            if not partial:
                raise
            complete = False
        tunings += search.result()
        if search.range != search.given:
            ranges[encodings.placement.tensors[search.root]] = search.range
        if not complete:
            break
    order = {name: position for position, name in enumerate(names)}
    tunings.sort(key=lambda tuning: order[tuning.layer])
    return EasyQuantResult(
        layers=tuple(tunings),
        ranges=ranges,
        left_out=left_out,
        samples=len(picked.runs),
        complete=complete,
    )


def _searches(
    model: Model,
    recipe: Recipe,
    encodings: Encodings,
    groups: Mapping[str, list[Reader]],
    picked: Picked,
    most: Mapping[str, int],
    steps: RoundProgress,
) -> Iterator[ScaleSearch]:
    """A search for every tensor that tuned layers read."""
    others = {root for root, tuned in groups.items() if read_otherwise(model, encodings, root, tuned)}
    for root, members, values in _sampled_tensors(model, groups, picked, most, others):
        may_move = _may_move(model, encodings, root)
        yield ScaleSearch(recipe, encodings, root, members, values, steps, may_move=may_move)


def _sampled_tensors(
    model: Model,
    groups: Mapping[str, list[Reader]],
    picked: Picked,
    most: Mapping[str, int],
    others: Collection[str],
) -> Iterator[tuple[str, list[Sampled], Float32 | None]]:
    """Every tensor with the layers that read it, rows of what they compute, and values of one of `others`."""
    for part in _parts_in_memory(groups, most):
        found = sample_rows(model, [r for root in part for r in groups[root]], picked, most=most)
        values = tensor_values(model, [root for root in part if root in others], picked, most=VALUES)
        for root in part:
            yield root, [found.pop(r.layer) for r in groups[root]], values.get(root)


def _parts_in_memory(groups: Mapping[str, list[Reader]], most: Mapping[str, int]) -> Iterator[list[str]]:
    """Tensors in parts whose rows fit into memory together."""
    part: list[str] = []
    size = 0
    for root, readers in groups.items():
        own = sum(4 * most[r.layer] * r.product.columns * r.product.linear.groups for r in readers)
        if part and size + own > _MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(root)
        size += own
    if part:
        yield part


def _may_move(model: Model, encodings: Encodings, root: str) -> bool:
    """Whether a recipe can set the tensor's range: it is the main output of a layer, and no constant."""
    owner = encodings.placement.tensors.get(root)
    return owner is not None and model.layer(owner).output == root
