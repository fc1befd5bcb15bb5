"""How two recipes differ, in words: which layers are quantized otherwise, and what was done to the model."""

from collections.abc import Iterator
from dataclasses import dataclass

from quantscope.core.model import Model
from quantscope.core.quant import ScaleRule
from quantscope.core.recipe import PASSES, Choice, PassChoice, Recipe
from quantscope.core.targets import Granularity, Precision, target
from quantscope.core.thresholds import Method
from quantscope.ui.content.method_words import WEIGHT_LABELS, method_words
from quantscope.ui.content.tensor_view import RULES
from quantscope.ui.content.text import number

DETAILS = 3  # layers of one kind of change whose own ranges are told
_GRANULARITY: dict[Granularity | None, str] = {
    Granularity.PER_CHANNEL: "per channel",
    Granularity.PER_TENSOR: "per tensor",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceChange:
    """One kind of change, and the layers it was made for."""

    what: str  # that was changed: "Range", "Precision"; a model fix, the target
    words: str  # "MinMax → Percentile 99.99 %"
    layers: tuple[str, ...] = ()  # in the model's order; () = it holds for the whole model
    of: int = 0  # layers that it could have been made for
    details: tuple[str, ...] = ()  # for each of few layers, where they differ

    @property
    def everywhere(self) -> bool:
        """Whether it was made for the whole model."""
        return not self.layers or len(self.layers) == self.of


@dataclass(frozen=True, slots=True)
class _Field:
    before: str
    after: str
    detail: str = ""


def choice_changes(before: Recipe, after: Recipe, model: Model) -> tuple[ChoiceChange, ...]:
    """What one recipe chooses otherwise than another, those for most layers first.

    Args:
        before: What is held against.
        after: What is described.
        model: As it was opened.
    """
    found = [*_target(before, after), *_passes(before, after)]
    names = [layer.name for layer in model.layers]
    known = set(names)
    names += [name for name in (*before.layers, *after.layers) if name not in known]
    weighted = {layer.name for layer in model.layers if layer.weight is not None}
    groups: dict[tuple[str, str, str], dict[str, str]] = {}  # layers with their details
    for name in dict.fromkeys(names):
        pairs = _differences(before.choice(name), after.choice(name), has_weights=name in weighted)
        for what, pair in pairs:
            groups.setdefault((what, pair.before, pair.after), {})[name] = pair.detail
    changed = []
    for (what, old, new), layers in groups.items():
        few = [detail for detail in layers.values() if detail] if len(layers) <= DETAILS else []
        of = len(weighted) if what in _OF_WEIGHTS else len(dict.fromkeys(names))
        words = f"{old} → {new}" if old != new else new
        changed.append(ChoiceChange(what=what, words=words, layers=tuple(layers), of=of, details=tuple(few)))
    return (*found, *sorted(changed, key=lambda change: -len(change.layers)))


_OF_WEIGHTS = ("Scales of weights", "Range of weights", "Factors of weights")


def _target(before: Recipe, after: Recipe) -> Iterator[ChoiceChange]:
    if before.target != after.target:
        yield ChoiceChange(
            what="Target", words=f"{target(before.target).label} → {target(after.target).label}"
        )


def _passes(before: Recipe, after: Recipe) -> Iterator[ChoiceChange]:
    old, new = ({choice.name: choice for choice in recipe.passes} for recipe in (before, after))
    for name, fix in PASSES.items():
        if name in old and name in new:
            if old[name] != new[name]:
                words = f"{_options(old[name])} → {_options(new[name])}"
                yield ChoiceChange(what=fix.label, words=words)
        elif name in new:
            yield ChoiceChange(what=fix.label, words="off → on")
        elif name in old:
            yield ChoiceChange(what=fix.label, words="on → off")


def _options(choice: PassChoice) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in sorted(choice.options.items()))


def _differences(before: Choice, after: Choice, *, has_weights: bool) -> Iterator[tuple[str, _Field]]:
    if before.precision is not after.precision:
        yield "Precision", _Field(str(before.precision), str(after.precision))
    if after.precision is Precision.FLOAT:  # nothing else has an effect
        return
    old, new = _strategy(before), _strategy(after)
    if old != new:
        yield "Range", _Field(old, new, _range(after) if after.method is Method.MANUAL else "")
    elif after.method is Method.MANUAL and before.range != after.range:
        yield "Range", _Field("moved by hand", "moved by hand", f"{_range(before)} → {_range(after)}")
    if before.symmetric is not after.symmetric:
        words = {True: "symmetric", False: "asymmetric", None: ""}
        yield "Symmetry", _Field(words[before.symmetric], words[after.symmetric])
    if before.scale_rule is not after.scale_rule:
        yield "Scales", _Field(_rule(before.scale_rule), _rule(after.scale_rule))
    if not has_weights:
        return
    if before.weights is not after.weights:
        yield "Scales of weights", _Field(_GRANULARITY[before.weights], _GRANULARITY[after.weights])
    if before.weight_method is not after.weight_method:
        was, is_ = (
            WEIGHT_LABELS[c.weight_method] if c.weight_method is not None else "" for c in (before, after)
        )
        yield "Range of weights", _Field(was, is_)
    if before.weight_factors != after.weight_factors:
        found = {True: "found by EasyQuant", False: "none"}
        was, is_ = found[before.weight_factors is not None], found[after.weight_factors is not None]
        yield "Factors of weights", _Field(was, is_) if was != is_ else _Field("found anew", "found anew")


def _strategy(choice: Choice) -> str:
    """How a range is chosen, in a word or two."""
    return "by hand" if choice.method is Method.MANUAL else method_words(choice)


def _rule(rule: ScaleRule | None) -> str:
    return "any" if rule is None or rule is ScaleRule.FREE else RULES[rule]


def _range(choice: Choice) -> str:
    if choice.range is None:
        return _strategy(choice)
    return f"{number(choice.range.low)} … {number(choice.range.high)}"
