"""EasyQuant for one tensor: the scales of its range and of the weights that read it, chosen in turn.

`easyquant_search` tells the method. A search holds the layers that read the tensor, and their scales so far.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from quantscope.core.evaluate import (
    Sampled,
    cosines,
    spec_of,
)
from quantscope.core.progress import ProgressFn, report
from quantscope.core.quant import Encoding, Range, ScaleRule, encoding_from_range, fake_quantize, kept_range
from quantscope.core.quantize import (
    Encodings,
    Pairs,
    activation_spec,
    adds_pairs,
    least_safe,
    pairs_of,
    unmultiplied_weight,
)
from quantscope.core.recipe import Recipe

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
ROUNDS = 2
FACTORS = np.round(np.linspace(0.5, 2.0, 100), 4)
_ONE_END = np.round(np.geomspace(0.5, 2.0, 24), 4)  # candidates for one end of a range on its own
_BETTER = 1e-9  # an increase of the mean cosine below this is rounding
LABEL = "EasyQuant"
Sums = tuple[Float64, Float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTuning:
    """What was found for one layer; cosines are means over the samples, on the sampled positions."""

    layer: str
    tensor: str  # the activation it reads
    before: float
    after: float
    factors: tuple[float, ...]  # of the weight's scales: one a channel, or one
    rows: int  # positions looked at, over all samples


class RoundProgress:
    """Progress in candidates: as many for each layer as it takes at most."""

    def __init__(self, progress: ProgressFn | None, layers: int) -> None:
        self._progress, self._layers = progress, layers
        self._finished, self._inside = 0, 0
        self._each = 2 * ROUNDS * (len(FACTORS) + len(_ONE_END))

    def step(self) -> None:
        """One more candidate."""
        self._inside += 1
        done = self._finished * self._each + min(self._inside, self._each - 1)
        report(self._progress, done, self._layers * self._each, LABEL)

    def finish(self, layers: int) -> None:
        """So many layers are done."""
        self._finished, self._inside = self._finished + layers, 0
        report(self._progress, self._finished * self._each, self._layers * self._each, LABEL)


class ScaleSearch:
    """The layers that read one tensor, and their scales so far."""

    def __init__(
        self,
        recipe: Recipe,
        encodings: Encodings,
        root: str,
        members: list[Sampled],
        values: Float32 | None,
        steps: RoundProgress,
        *,
        may_move: bool,
    ) -> None:
        placement = encodings.placement
        self.values = values  # of the tensor, where something that is not tuned reads it too
        self.members, self.steps, self.may_move = members, steps, may_move
        self.recipe, self.root = recipe, root
        own = encodings.activations.get(root)
        self.encoding = encodings.constants[root] if own is None else own  # rows of a constant table
        self.spec = spec_of(self.encoding)
        if may_move:
            self.spec = activation_spec(placement.target, recipe.choice(placement.tensors[root]))
        self.given = self.range = kept_range(self.encoding, self.spec)
        self.raw = {m.reader.layer: encodings.raw_weights[m.reader.node] for m in members}
        self.pairs: dict[str, Pairs | None] = {}
        # Factors that the scales have already, as far as the target lets them.
        self.had: dict[str, Float64] = {}
        for m in members:
            layer, place, raw = m.reader.layer, m.reader.place, self.raw[m.reader.layer]
            bounded = adds_pairs(placement.target, encodings.activations.get(place.input))
            node = m.reader.product.linear.node
            pairs = self.pairs[layer] = pairs_of(m.reader.weight, node, 1, raw.axis) if bounded else None
            choice, self.had[layer] = recipe.choice(layer), np.ones(raw.scale.size)
            if choice.weight_factors is not None:
                plain = unmultiplied_weight(placement.target, place, choice, m.reader.weight, pairs)
                self.had[layer] = (raw.scale / plain.scale).astype(np.float64).reshape(-1)
        self.factors = {name: np.ones(e.scale.size) for name, e in self.raw.items()}
        self.matrices = {m.reader.layer: m.reader.rounded(self.raw[m.reader.layer]) for m in members}
        self.rows = {m.reader.layer: m.quantized_rows(self.encoding) for m in members}
        self.before = self._cosines()

    def improve(self) -> None:
        """Weights and activation in turn, until nothing changes or all rounds are done.

        Raises:
            Cancelled: Progress raised it; what was found until then is consistent, and in `result`.
        """
        for _ in range(ROUNDS):
            changed = [self._tune_weight(member) for member in self.members]
            if self.may_move:
                changed.append(self._tune_range())
            if not any(changed):
                break

    def result(self) -> list[LayerTuning]:
        """The scales as they are now."""
        return [
            LayerTuning(
                layer=m.reader.layer,
                tensor=self.root,
                before=old,
                after=new,
                factors=self._total_factors(m.reader.layer),
                rows=m.rows.shape[1],
            )
            for m, old, new in zip(self.members, self.before, self._cosines(), strict=True)
        ]

    def _total_factors(self, layer: str) -> tuple[float, ...]:
        """Factors of the scales in all, with those that the recipe had."""
        return tuple(np.round(self.factors[layer] * self.had[layer], 6).tolist())

    def _cosines(self) -> list[float]:
        return [m.cosine(self.rows[m.reader.layer], self.matrices[m.reader.layer]) for m in self.members]

    def _own_error(self, encoding: Encoding) -> float:
        """Squared error of the tensor itself, where others read it too."""
        if self.values is None:
            return 0.0
        return float(np.square(fake_quantize(self.values, encoding) - self.values, dtype=np.float64).sum())

    def _cosine_and_error(self, rows: Mapping[str, Float32]) -> tuple[float, float]:
        """Sums of the members' cosines and squared errors, with these rows and the weights so far."""
        found = [m.closeness(rows[m.reader.layer], self.matrices[m.reader.layer]) for m in self.members]
        return sum(cosine for cosine, _ in found), sum(error for _, error in found)

    def _tune_weight(self, member: Sampled) -> bool:
        """Choose a factor for each scale of one weight; whether any changed."""
        layer, reader = member.reader.layer, member.reader
        raw, rows = self.raw[layer], self.rows[layer]
        free = (self.recipe.choice(layer).scale_rule or ScaleRule.FREE) is ScaleRule.FREE
        factors = FACTORS if free else np.array([0.5, 1.0, 2.0])
        scale_of = reader.scale_of(raw.scale.size)
        held = _by_scale(scale_of, raw.scale.size, *member.sums(rows, self.matrices[layer]))
        tried = []
        for factor in factors:
            matrix = reader.rounded(self._scaled(member, np.full(raw.scale.size, factor)))
            tried.append(_by_scale(scale_of, raw.scale.size, *member.sums(rows, matrix)))
            self.steps.step()
        picked = best_factors(held, tried, member.lengths)
        if not (picked >= 0).any():
            return False
        chosen = np.where(picked >= 0, factors[picked], self.factors[layer])
        matrix = reader.rounded(self._scaled(member, chosen))
        if member.closeness(rows, matrix)[1] > member.closeness(rows, self.matrices[layer])[1]:
            return False
        self.factors[layer], self.matrices[layer] = chosen, matrix
        return True

    def _scaled(self, member: Sampled, factors: Float64) -> Encoding:
        """The weight's encoding with its scales times factors, as the recipe would have it for the target."""
        raw = self.raw[member.reader.layer]
        scaled = replace(raw, scale=np.asarray(raw.scale * factors.reshape(raw.scale.shape), np.float32))
        rule = self.recipe.choice(member.reader.layer).scale_rule or ScaleRule.FREE
        return least_safe(scaled, self.pairs[member.reader.layer], rule)

    def _tune_range(self) -> bool:
        """Scale the range as a whole, and where both ends can move, each of them; whether any did."""
        changed = self._try([(factor, factor) for factor in FACTORS])
        if not self.spec.symmetric and self.range.low < 0.0 < self.range.high:
            changed |= self._try([(1.0, factor) for factor in _ONE_END])
            changed |= self._try([(factor, 1.0) for factor in _ONE_END])
        return changed

    def _try(self, factors: list[tuple[float, float]]) -> bool:
        start, found = self.range, None
        best, error = self._cosine_and_error(self.rows)
        own = self._own_error(self.encoding)
        for below, above in factors:
            encoding = encoding_from_range(Range(start.low * below, start.high * above), self.spec)
            total, off = self._cosine_and_error(
                {m.reader.layer: m.quantized_rows(encoding) for m in self.members}
            )
            if total > best + _BETTER and off <= error and self._own_error(encoding) <= own:
                best, found = total, encoding
            self.steps.step()
        if found is None:
            return False
        self.encoding, self.range = found, kept_range(found, self.spec)
        self.rows = {m.reader.layer: m.quantized_rows(found) for m in self.members}
        return True


def _by_scale(scale_of: npt.NDArray[np.int64], scales: int, dot: Float64, square: Float64) -> Sums:
    """Sums of channels (channels, samples) added up for those that share a scale: (scales, samples)."""
    if scales == len(scale_of):
        return dot, square
    out = np.zeros((2, scales, dot.shape[1]))
    np.add.at(out[0], scale_of, dot)
    np.add.at(out[1], scale_of, square)
    return out[0], out[1]


def best_factors(held: Sums, tried: Sequence[Sums], lengths: Float64) -> npt.NDArray[np.int64]:
    """Choose a candidate for each scale, one after the other, for the largest mean cosine of all together.

    Args:
        held: products and squared norms with the scales as they are; each (scales, samples).
        tried: the same for each candidate.
        lengths: norms of the float outputs, (samples,).

    Returns:
        (scales,): index of the candidate, or -1 where none is better.
    """
    dots, squares = np.array([t[0] for t in tried]), np.array([t[1] for t in tried])
    dot, square = held[0].sum(axis=0), held[1].sum(axis=0)
    best = float(cosines(dot, square, lengths).mean())
    picked = np.full(len(held[0]), -1)
    for i in range(picked.size):
        other_dot, other_square = dot - held[0][i], np.maximum(square - held[1][i], 0.0)
        means = cosines(other_dot + dots[:, i], other_square + squares[:, i], lengths).mean(axis=1)
        top = int(np.argmax(means))
        if means[top] > best + _BETTER / picked.size:
            best, picked[i] = float(means[top]), top
            dot, square = other_dot + dots[top, i], other_square + squares[top, i]
    return picked
