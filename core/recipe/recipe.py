"""The user's choices, immutable, and what they amount to in scales and zero points."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from core.calibration.histogram import Histogram, histogram_of
from core.calibration.statistics import Statistics
from core.errors import DataError, RecipeError
from core.model.model import Model
from core.quant import (
    Encoding,
    QuantSpec,
    Range,
    ScaleRule,
    encoding_from_range,
    raised_scale,
    with_finite_ends,
)
from core.quantize.bias import fitted_weight
from core.quantize.encodings import Encodings as Encodings
from core.quantize.encodings import adds_pairs, with_whole_steps
from core.quantize.representable import score_tensors, why_float
from core.quantize.saturation import Pairs, best_safe, least_safe, pairs_of
from core.recipe.choice import DEFAULT as DEFAULT
from core.recipe.choice import Choice as Choice
from core.recipe.choice import activation_spec as activation_spec
from core.recipe.choice import weight_spec
from core.recipe.passes import PassChoice, pass_choices
from core.targets.placement import Placement, WeightPlacement, not_finite, place, shared_roots
from core.targets.target import Precision, Target, target
from core.thresholds import Method, Search, search
from core.thresholds.weights import Float32, WeightMethod, weight_encoding
from core.words import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides how a model is quantized; a change makes a new one."""

    target: str = "onnxruntime-cpu"
    default: Choice = DEFAULT
    layers: Mapping[str, Choice] = field(default_factory=lambda: MappingProxyType({}))
    passes: tuple[PassChoice, ...] = ()  # fixes, see core.passes
    model_hash: str = ""  # of the model it was made for; "" = any

    def __post_init__(self) -> None:
        object.__setattr__(self, "default", self.default.over(DEFAULT))
        object.__setattr__(self, "passes", pass_choices(*self.passes))
        for name, choice in {"default": self.default, **self.layers}.items():
            _check(name, choice, target(self.target))

    def choice(self, layer: str) -> Choice:
        """What holds for `layer`, with nothing left open."""
        own = self.layers.get(layer)
        return self.default if own is None else own.over(self.default)

    def with_layer(self, name: str, **changes: Any) -> "Recipe":
        """A recipe in which the named fields of one layer's choice are changed."""
        choice = replace(self.layers.get(name, Choice()), **changes)
        if choice.method is not None and choice.method is not Method.MANUAL:
            choice = replace(choice, range=None)
        if "weight_factors" not in changes and _WEIGHT_FIELDS & changes.keys():
            choice = replace(choice, weight_factors=None)
        return self._with_layers({**self.layers, name: choice})

    def without_layer(self, name: str) -> "Recipe":
        """A recipe in which the layer follows the default again."""
        return self._with_layers({k: v for k, v in self.layers.items() if k != name})

    def with_default(self, **changes: Any) -> "Recipe":
        """A recipe with another default."""
        changed = replace(self, default=replace(self.default, **changes))
        if not _WEIGHT_FIELDS & changes.keys():
            return changed
        return changed._with_layers({k: replace(v, weight_factors=None) for k, v in self.layers.items()})

    def with_target(self, name: str) -> "Recipe":
        """A recipe for another target.

        Raises:
            RecipeError: There is none of that name, or it lacks a precision that a layer is given.
        """
        return replace(self, target=name)

    def with_passes(self, *passes: str | PassChoice) -> "Recipe":
        """A recipe with these passes instead."""
        return replace(self, passes=pass_choices(*passes))

    def _with_layers(self, layers: Mapping[str, Choice]) -> "Recipe":
        kept = {k: v for k, v in layers.items() if v != Choice()}
        return replace(self, layers=MappingProxyType(kept))

    def to_yaml(self) -> str:
        """The recipe as a file for people and machines; `from_yaml` reads it back."""
        from core.recipe.file import dump

        return dump(self)

    @staticmethod
    def from_yaml(text: str) -> "Recipe":
        """Read what `to_yaml` wrote.

        Raises:
            RecipeError: The text is no recipe; the message names the entry.
        """
        from core.recipe.file import load

        return load(text)


_WEIGHT_FIELDS = {"weights", "weight_method", "scale_rule"}  # factors for the old scales mean nothing then


def _check(name: str, choice: Choice, target_: Target) -> None:
    if choice.method is Method.MANUAL and choice.range is None:
        raise RecipeError(f"{name}: the manual method needs a range (low and high)")
    if choice.range is not None and choice.range.low == choice.range.high:
        raise RecipeError(
            f"{name}: a manual range needs low < high, not [{choice.range.low}, {choice.range.high}]"
        )
    if choice.percentile is not None and not 50.0 <= choice.percentile <= 100.0:
        raise RecipeError(
            f"{name}: percentile is the share kept in percent, 50 to 100, not {choice.percentile}"
        )
    if choice.weight_factors is not None:
        if name == "default":
            raise RecipeError(f"{name}: weight_factors belong to one layer")
        if not choice.weight_factors or not all(0.0 < f < math.inf for f in choice.weight_factors):
            raise RecipeError(f"{name}: weight_factors are positive numbers")
    if choice.precision is not None and choice.precision not in target_.precisions:
        allowed = ", ".join(target_.precisions)
        raise RecipeError(
            f"{name}: target {target_.name} has no precision {choice.precision}; it has {allowed}"
        )


def resolve(
    recipe: Recipe, statistics: Statistics, model: Model, *, previous: Encodings | None = None
) -> Encodings:
    """Turn choices and statistics into numbers.

    Args:
        recipe: The choices.
        statistics: Histograms of the model's activations.
        model: The float model.
        previous: An earlier result for the same model and statistics; searches and weights that the
            new recipe leaves alone are taken from it.

    Raises:
        RecipeError: The recipe names a layer the model lacks.
        DataError: Statistics for a tensor that must be quantized are missing.
    """
    unknown = [name for name in recipe.layers if name not in model.layer_names]
    if unknown:
        whole = model.layer_with(unknown[0])
        why = "it was made for another model, or the layer was renamed"
        if whole is not None:
            why = f"that is part of the layer {whole.name!r} now"
        raise RecipeError(
            f"the recipe names {plural(len(unknown), 'layer')} that {model.name} lacks, "
            f"e.g. {unknown[0]!r}; {why}"
        )
    float_layers = {name for name in model.layer_names if recipe.choice(name).precision is Precision.FLOAT}
    everything = place(model, target(recipe.target), float_layers)
    kept_float = not_finite(model, everything)
    kept_float |= _unrepresentable(recipe, statistics, model, everything, kept_float)
    placement = place(model, target(recipe.target), float_layers, kept_float) if kept_float else everything
    work = _Resolver(recipe, statistics, model, placement, previous)
    for tensor in placement.own():
        work.activation(tensor, placement.tensors[tensor])
    for constant, layer in placement.constants.items():
        work.constant(constant, layer)
    roots = work.activations | work.constants
    for tensor, source in placement.sources.items():
        work.activations[tensor] = roots[source]
    for node in placement.weights:
        work.weight(node)
    return Encodings(
        placement=placement,
        activations=work.activations,
        constants=work.constants,
        weights=work.weights,
        raw_weights=work.raw_weights,
        searches=work.searches,
        keys=work.keys,
        specs=work.specs,
        weight_specs=work.weight_specs,
        kept_float=kept_float,
    )


def _unrepresentable(
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
        placement = place(model, placement.target, floats, {*kept_float, *found})


def _by_hand(recipe: Recipe, model: Model, layer: str, tensor: str) -> bool:
    """Whether the user chose how the tensor's range is found; a range in numbers is for one tensor."""
    method = recipe.layers.get(layer, Choice()).method
    return method is not None and (method is not Method.MANUAL or model.layer(layer).output == tensor)


class _Resolver:
    """Finds the encodings one by one, taking from `previous` what did not change."""

    def __init__(
        self,
        recipe: Recipe,
        statistics: Statistics,
        model: Model,
        placement: Placement,
        previous: Encodings | None,
    ) -> None:
        self.recipe, self.statistics, self.model, self.placement = recipe, statistics, model, placement
        self.previous = previous
        self.activations: dict[str, Encoding] = {}
        self.constants: dict[str, Encoding] = {}
        self.weights: dict[str, Encoding] = {}
        self.raw_weights: dict[str, Encoding] = {}
        self.nodes = {str(node.name): node for node in model.ir.graph}
        self.producers = {str(v.name): node for node in model.ir.graph for v in node.outputs}
        self.searches: dict[str, Search] = {}
        self.keys: dict[str, tuple[object, ...]] = {}
        self.specs: dict[str, QuantSpec] = {}
        self.weight_specs: dict[str, QuantSpec] = {}

    def activation(self, tensor: str, layer: str) -> None:
        choice = self.recipe.choice(layer)
        own = self.model.layer(layer)
        if choice.method is Method.MANUAL and own.output != tensor:
            # A range set by hand is meant for the tensor on screen; others of the layer follow the default.
            choice = self._automatic(choice)
        histogram = self._histogram(tensor)
        fixed = self._fixed_range(tensor, layer, choice)
        if fixed is not None:
            choice = replace(choice, method=Method.MANUAL, range=fixed)
        encoding = self._search(tensor, choice, lambda: histogram)
        rule = choice.scale_rule or ScaleRule.FREE
        executable = self._executable(tensor, encoding, rule)
        shift = self.placement.shifts.get(tensor)
        if shift is not None and rule is ScaleRule.FREE and not choice.symmetric:
            executable = with_whole_steps(executable, shift)
        self.activations[tensor] = executable

    def _fixed_range(self, tensor: str, layer: str, choice: Choice) -> Range | None:
        """The range that the target's kernel asks for, where nobody chose another."""
        own = self.recipe.layers.get(layer, Choice())
        producer = self.producers.get(tensor)
        if producer is None or own.method is not None or choice.precision is Precision.INT16:
            return None
        return self.placement.target.fixed.get(producer.op_type)

    def _executable(self, tensor: str, encoding: Encoding, rule: ScaleRule) -> Encoding:
        """The encoding, coarser where the target's kernel cannot make so fine a one of its input's scale."""
        producer = self.producers.get(tensor)
        limit = None if producer is None else self.placement.target.finest.get(producer.op_type)
        if producer is None or limit is None or producer.inputs[0] is None:
            return encoding
        given = self.activations.get(str(producer.inputs[0].name))
        if given is None or float(given.scale) < limit * float(encoding.scale):
            return encoding
        scale = np.float32(float(given.scale) / limit * 1.001) * np.ones_like(encoding.scale)
        return replace(encoding, scale=raised_scale(scale, rule))

    def constant(self, name: str, layer: str) -> None:
        choice = self._automatic(self.recipe.choice(layer))
        self.constants[name] = self._search(name, choice, lambda: histogram_of(self._array(name)))

    def weight(self, node: str) -> None:
        place_ = self.placement.weights[node]
        choice = self.recipe.choice(place_.layer)
        method = choice.weight_method or WeightMethod.MINMAX
        rule = choice.scale_rule or ScaleRule.FREE
        factors = choice.weight_factors
        spec = self.weight_specs[node] = weight_spec(self.placement.target, place_, choice)
        bounded = adds_pairs(self.placement.target, self.activations.get(place_.input))
        key = ("weight", place_.initializer, spec, method, factors, bounded)
        array = self._array(place_.initializer)
        if self.previous is not None and self.previous.keys.get(f"weight of {node}") == key:
            raw = self.previous.raw_weights[node]
        else:
            pairs = pairs_of(array, self.nodes[node], place_.operand, spec.axis) if bounded else None
            raw = unmultiplied_weight(self.placement.target, place_, choice, array, pairs)
            if factors is not None:
                raw = least_safe(_multiplied(raw, factors, place_.layer), pairs, rule)
        self.keys[f"weight of {node}"], self.raw_weights[node] = key, raw
        roomy = self._with_room(place_, array, raw)
        # The room for a bias is no power of two, but the next one is enough.
        self.weights[node] = replace(roomy, scale=raised_scale(roomy.scale, rule))

    def _with_room(self, place_: WeightPlacement, array: Float32, raw: Encoding) -> Encoding:
        """The weight's encoding, adjusted to the bias that shares its accumulator."""
        input_ = self.activations.get(place_.input)
        if place_.bias is None or input_ is None:
            return raw
        bias = self._array(place_.bias)
        return fitted_weight(self.nodes[place_.node], place_, array, raw, bias, input_)

    def _automatic(self, choice: Choice) -> Choice:
        if choice.method is not Method.MANUAL:
            return choice
        fallback = self.recipe.default.method
        return replace(choice, method=Method.MINMAX if fallback is Method.MANUAL else fallback, range=None)

    def _search(self, name: str, choice: Choice, histogram: Any) -> Encoding:
        assert choice.method is not None
        assert choice.percentile is not None
        spec = self.specs[name] = activation_spec(self.placement.target, choice)
        key = (choice.method, choice.percentile, choice.range, spec)
        if self.previous is not None and self.previous.keys.get(name) == key:
            found = self.previous.searches[name]
        else:
            found = search(
                choice.method,
                histogram(),
                spec,
                percentile=choice.percentile,
                manual=choice.range,
                by_sample=self.statistics.by_sample.get(name),
            )
        self.searches[name], self.keys[name] = found, key
        return with_finite_ends(encoding_from_range(found.range, spec), spec.scale_rule)

    def _histogram(self, tensor: str) -> Histogram:
        histogram = self.statistics.histograms.get(tensor)
        if histogram is None:
            root = self._shared_root(tensor)
            if root in self.model.ir.graph.initializers:  # rows of a constant table
                return histogram_of(self._array(root))
            histogram = self.statistics.histograms.get(root)
        if histogram is None:
            raise DataError(
                f"the statistics hold nothing for tensor {tensor!r}; "
                "they were made for another model: calibrate again"
            )
        return histogram

    def _shared_root(self, tensor: str) -> str:
        """The tensor whose values contain this one's where nothing is left in float."""
        return shared_roots(self.model, self.placement.target).get(tensor, tensor)

    def _array(self, initializer: str) -> Float32:
        value = self.model.ir.graph.initializers[initializer].const_value
        assert value is not None
        return np.asarray(value.numpy(), np.float32)


def unmultiplied_weight(
    target_: Target, place_: WeightPlacement, choice: Choice, array: Float32, pairs: Pairs | None
) -> Encoding:
    """A weight's encoding before the recipe's factors, and before there is room for a bias.

    Args:
        target_: What is quantized for.
        place_: The weight.
        choice: Of its layer, with nothing left open.
        array: Its values.
        pairs: Those of them that the target wants to fit.
    """
    spec = weight_spec(target_, place_, choice)
    method = choice.weight_method or WeightMethod.MINMAX
    return best_safe(weight_encoding(array, spec, method), array, pairs, spec.scale_rule)


def _multiplied(weight: Encoding, factors: tuple[float, ...], layer: str) -> Encoding:
    """The weight's encoding with its scales times the recipe's factors."""
    if len(factors) not in (1, weight.scale.size):
        raise RecipeError(
            f"{layer}: {len(factors)} weight_factors, but the weight has {weight.scale.size} scale(s)"
        )
    by = np.asarray(factors if weight.scale.ndim else factors[0], np.float32)
    return replace(weight, scale=np.asarray(weight.scale * by, np.float32))
