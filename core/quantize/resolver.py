"""From a recipe and the statistics of a model to scales and zero points."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from quantscope.core.calibration import Histogram, Statistics, histogram_of
from quantscope.core.errors import DataError, RecipeError
from quantscope.core.model import Model
from quantscope.core.quant import (
    Encoding,
    QuantSpec,
    Range,
    ScaleRule,
    encoding_from_range,
    raised_scale,
    with_finite_ends,
)
from quantscope.core.quantize.bias import fitted_weight
from quantscope.core.quantize.encodings import Encodings, adds_pairs, with_whole_steps
from quantscope.core.quantize.float_tensors import unrepresentable
from quantscope.core.quantize.saturation import Pairs, best_safe, least_safe, pairs_of
from quantscope.core.quantize.specs import activation_spec, weight_spec
from quantscope.core.recipe import Choice, Recipe
from quantscope.core.targets import (
    Placement,
    Precision,
    Target,
    WeightPlacement,
    find_placement,
    not_finite,
    shared_roots,
    target,
)
from quantscope.core.thresholds import Float32, Method, Search, WeightMethod, search, weight_encoding
from quantscope.core.words import plural


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
    everything = find_placement(model, target(recipe.target), float_layers)
    kept_float = not_finite(model, everything)
    kept_float |= unrepresentable(recipe, statistics, model, everything, kept_float)
    placement = (
        find_placement(model, target(recipe.target), float_layers, kept_float) if kept_float else everything
    )
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
        of_ranges=work.of_ranges,
    )


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
        self.of_ranges: dict[str, Encoding] = {}

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
        return self.placement.target.fixed_ranges.get(producer.op_type)

    def _executable(self, tensor: str, encoding: Encoding, rule: ScaleRule) -> Encoding:
        """The encoding, coarser where the target's kernel cannot make so fine a one of its input's scale."""
        producer = self.producers.get(tensor)
        limit = None if producer is None else self.placement.target.scale_ratio_limits.get(producer.op_type)
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

    def _search(self, name: str, choice: Choice, histogram: Callable[[], Histogram]) -> Encoding:
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
        known = None if self.previous is None else self.previous.of_ranges.get(name)
        if self.previous is None or known is None or self.previous.searches.get(name) is not found:
            known = with_finite_ends(encoding_from_range(found.range, spec), spec.scale_rule)
        self.searches[name], self.keys[name], self.of_ranges[name] = found, key, known
        return known

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
            f"{layer}: {len(factors)} weight_factors, but the weight has {plural(weight.scale.size, 'scale')}"
        )
    by = np.asarray(factors if weight.scale.ndim else factors[0], np.float32)
    return replace(weight, scale=np.asarray(weight.scale * by, np.float32))
