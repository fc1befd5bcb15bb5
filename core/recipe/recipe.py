"""The user's choices for a model, immutable: a target, a default, choices of single layers, and fixes."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Unpack

from quantscope.core.errors import RecipeError
from quantscope.core.recipe.choice import DEFAULT, Choice, ChoiceEntries, changed
from quantscope.core.recipe.passes import PassChoice, PassLike, pass_choices
from quantscope.core.targets import Target, target
from quantscope.core.thresholds import Method
from quantscope.core.words import plural


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

    def __repr__(self) -> str:
        own = f", {plural(len(self.layers), 'layer')} set apart" if self.layers else ""
        passes = f", passes {', '.join(choice.name for choice in self.passes)}" if self.passes else ""
        default = self.default
        weights = f"weights {default.weights} {default.weight_method}"
        return f"<Recipe: {default.method} {default.precision}, {weights}{own}{passes}, for {self.target}>"

    def __reduce__(self) -> tuple[Any, ...]:  # views of mappings do not pickle
        return _remade, (self.target, self.default, dict(self.layers), self.passes, self.model_hash)

    def choice(self, layer: str) -> Choice:
        """What holds for `layer`, with nothing left open."""
        own = self.layers.get(layer)
        return self.default if own is None else own.over(self.default)

    def with_layer(self, name: str, **changes: Unpack[ChoiceEntries]) -> "Recipe":
        """A recipe in which the named fields of one layer's choice are changed; None opens a field again.

        As in `with_layer("fc1", method="kl")`, or `range=(0.0, 1.0)` for a range set by hand.

        Raises:
            RecipeError: A field or a value does not exist.
        """
        return self.with_layers((name,), **changes)

    def with_layers(self, names: Iterable[str], **changes: Unpack[ChoiceEntries]) -> "Recipe":
        """As `with_layer`, for several layers at once.

        Raises:
            RecipeError: A field or a value does not exist.
        """
        return self._with_layers({**self.layers, **{name: self._changed(name, changes) for name in names}})

    def _changed(self, name: str, changes: ChoiceEntries) -> Choice:
        choice = changed(self.layers.get(name, Choice()), changes, name)
        if choice.method is not None and choice.method is not Method.MANUAL:
            choice = replace(choice, range=None)
        if "weight_factors" not in changes and _WEIGHT_FIELDS & changes.keys():
            choice = replace(choice, weight_factors=None)
        return choice

    def without_layer(self, name: str) -> "Recipe":
        """A recipe in which the layer follows the default again."""
        return self.without_layers((name,))

    def without_layers(self, names: Iterable[str]) -> "Recipe":
        """A recipe in which several layers follow the default again."""
        gone = frozenset(names)
        return self._with_layers({k: v for k, v in self.layers.items() if k not in gone})

    def with_default(self, **changes: Unpack[ChoiceEntries]) -> "Recipe":
        """A recipe with another default.

        Raises:
            RecipeError: A field or a value does not exist.
        """
        other = replace(self, default=changed(self.default, changes, "default"))
        if not _WEIGHT_FIELDS & changes.keys():
            return other
        return other._with_layers({k: replace(v, weight_factors=None) for k, v in self.layers.items()})

    def with_target(self, name: str) -> "Recipe":
        """A recipe for another target.

        Raises:
            RecipeError: There is none of that name, or it lacks a precision that a layer is given.
        """
        return replace(self, target=name)

    def with_passes(self, *passes: PassLike) -> "Recipe":
        """A recipe with these passes instead, by name or as {"smooth": {"alpha": 0.7}}.

        Raises:
            RecipeError: A name or an option is unknown, or a pass occurs twice.
        """
        return replace(self, passes=pass_choices(*passes))

    def _with_layers(self, layers: Mapping[str, Choice]) -> "Recipe":
        kept = {k: v for k, v in layers.items() if v != Choice()}
        return replace(self, layers=MappingProxyType(kept))


_WEIGHT_FIELDS = {"weights", "weight_method", "scale_rule"}  # factors for the old scales mean nothing then


def _remade(
    target: str, default: Choice, layers: dict[str, Choice], passes: tuple[PassChoice, ...], model_hash: str
) -> Recipe:
    return Recipe(
        target=target,
        default=default,
        layers=MappingProxyType(layers),
        passes=passes,
        model_hash=model_hash,
    )


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
