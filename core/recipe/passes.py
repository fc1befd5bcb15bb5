"""The passes (model fixes), one declaration each: what it does, when it helps, what it changes, its options.

The order of `PASSES` is the one in which passes are applied, listed and tried by Auto-tune. A new pass is an
entry here and the function that runs it in `core/passes/apply.py`; `tests/test_conformance_fixes.py` runs
every pass through the same checks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from quantscope.core.errors import RecipeError
from quantscope.core.recipe.entries import number


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A number that steers a pass."""

    default: float
    low: float
    high: float
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One fix."""

    name: str
    label: str
    sentence: str  # what it does, when it helps, what it changes
    phrase: str  # what it does in a few words, for the steps of Auto-tune
    changes_model: bool  # the float model is changed (its outputs are not); else only the quantized one
    options: Mapping[str, Option] = field(default_factory=lambda: MappingProxyType({}))


_COUNT = {"samples": Option(default=32, low=1, high=4096, what="calibration samples measured on")}

PASSES: Mapping[str, Pass] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            Pass(
                name="rotate",
                label="Rotation",
                sentence="Turns residual streams to a basis in which no channel stands out: for transformers "
                "with massive activations, and for linear bottlenecks; best before equalization. Changes the "
                "weights around the stream; the float outputs stay.",
                phrase="turning residual streams to where no channel stands out",
                changes_model=True,
            ),
            Pass(
                name="equalize",
                label="Cross-layer equalization",
                sentence="Scales channels between layers so that one step suits all of them: for weights per "
                "tensor, depthwise convolutions and channels of very different sizes. Changes weights and "
                "biases; the float outputs stay.",
                phrase="evening out channel ranges between layers",
                changes_model=True,
            ),
            Pass(
                name="smooth",
                label="SmoothQuant",
                sentence="Moves outlier channels of an activation into the weights that read it: for "
                "transformers with a few channels far larger than the others. Changes normalizations and "
                "weights; the float outputs stay.",
                phrase="moving outlier channels of activations into weights",
                changes_model=True,
                options=MappingProxyType(
                    {
                        "alpha": Option(
                            default=0.5,
                            low=0.0,
                            high=1.0,
                            what="share of the outliers that moves into weights",
                        )
                    }
                ),
            ),
            Pass(
                name="rounding",
                label="Rounding by outputs",
                sentence="Rounds each weight up or down so that the layer's output, not the weight, stays "
                "closest: helps wherever weights lose more than activations do. Changes the integers of the "
                "quantized model only.",
                phrase="rounding weights by the error of their layer's output",
                changes_model=False,
                options=MappingProxyType(
                    {"samples": Option(default=64, low=1, high=4096, what="calibration samples measured on")}
                ),
            ),
            Pass(
                name="bias_correction",
                label="Bias correction",
                sentence="Shifts each bias by the mean error measured in its layer, layer after layer: helps "
                "most networks, and those with depthwise convolutions very much. Changes the biases of the "
                "quantized model only.",
                phrase="shifting biases by the mean error of their layer",
                changes_model=False,
                options=MappingProxyType(_COUNT),
            ),
        )
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassChoice:
    """A pass in a recipe, with the options that are set."""

    name: str
    options: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        known = PASSES.get(self.name)
        if known is None:
            raise RecipeError(f"passes: unknown pass {self.name!r}; the passes are {', '.join(PASSES)}")
        for name, value in self.options.items():
            option = known.options.get(name)
            if option is None:
                has = ", ".join(known.options) or "none"
                raise RecipeError(f"passes: {self.name} has no option {name!r}; its options: {has}")
            if not option.low <= value <= option.high:
                raise RecipeError(
                    f"passes: {self.name}: {name} is {option.what}, {option.low:g} to {option.high:g}, "
                    f"not {value:g}"
                )

    def __reduce__(self) -> tuple[Any, ...]:  # views of mappings do not pickle
        return _remade, (self.name, dict(self.options))

    def option(self, name: str) -> float:
        """The value of an option, given or default."""
        return self.options.get(name, PASSES[self.name].options[name].default)


def _remade(name: str, options: dict[str, float]) -> PassChoice:
    return PassChoice(name=name, options=MappingProxyType(options))


PassLike = str | PassChoice | Mapping[str, Mapping[str, float]]


def pass_choices(*chosen: PassLike) -> tuple[PassChoice, ...]:
    """Passes by name or with options, as in `{"smooth": {"alpha": 0.7}}`, each at most once.

    Raises:
        RecipeError: A name or an option is unknown, or a pass occurs twice.
    """
    out = tuple(c if isinstance(c, PassChoice) else _pass(c) for c in chosen)
    names = [choice.name for choice in out]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RecipeError(f"passes: {twice} stands there twice")
    return out


def _pass(entry: object) -> PassChoice:
    if not isinstance(entry, Mapping):
        return PassChoice(name=str(entry))
    if len(entry) != 1:
        raise RecipeError(f"passes: expected a name, or one name with options, not {entry!r}")
    name, options = next(iter(entry.items()))
    if options is not None and not isinstance(options, Mapping):
        raise RecipeError(f"passes: {name}: expected options such as 'alpha: 0.5', not {options!r}")
    return PassChoice(
        name=str(name),
        options=MappingProxyType(
            {str(key): number(value, f"passes: {name}: {key}") for key, value in (options or {}).items()}
        ),
    )
