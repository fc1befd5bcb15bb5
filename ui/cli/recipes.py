"""The recipe that a command line asks for, from its options or from a file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from quantscope.core.errors import RecipeError
from quantscope.core.model import Model
from quantscope.core.quant import ScaleRule
from quantscope.core.recipe import Choice, Recipe, recipe_from_yaml
from quantscope.core.targets import TARGETS, Granularity, Precision
from quantscope.core.thresholds import Method, WeightMethod
from quantscope.ui.cli.files import read_text
from quantscope.ui.cli.options import AUTO, Choices
from quantscope.ui.terminal.console import BadInput, note

E = TypeVar("E", bound=StrEnum)
METHODS = (*(method.value for method in Method if method is not Method.MANUAL), AUTO)
PRECISIONS = (Precision.INT8.value, Precision.INT16.value)


def build_recipe(choices: Choices, model: Model) -> Recipe:
    """The recipe.

    Raises:
        BadInput: a value that does not exist, or options that contradict each other.
        RecipeError: the recipe file is unusable.
    """
    if choices.recipe is not None:
        choices.check_beside_recipe()
        recipe = _read(choices.recipe)
        if recipe.model_hash and recipe.model_hash != model.hash:
            note(f"warning: {choices.recipe.name} was made for another model; layers are matched by name")
    else:
        recipe = _from_options(choices, model)
    names = [layer.name for layer in model.layers]
    for name in choices.float_layers:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3) or names[:3]
            whole = model.layer_with(name)
            if whole is not None:
                raise BadInput(f"--float-layer: '{name}' is part of the layer '{whole.name}'; name that")
            raise BadInput(f"--float-layer: there is no layer '{name}'; did you mean {listed(near)}?")
        recipe = recipe.with_layer(name, precision=Precision.FLOAT)
    return recipe


def _read(path: Path) -> Recipe:
    text = read_text(path, RecipeError)
    try:
        return recipe_from_yaml(text)
    except RecipeError as error:
        raise RecipeError(f"{path.name}: {error}") from error


def _from_options(choices: Choices, model: Model) -> Recipe:
    method = None if choices.auto else pick(Method, choices.method, "--method", METHODS)
    if choices.auto and (choices.percentile is not None or choices.weight_method is not None):
        raise BadInput("--method auto finds the percentile and the weight method itself; leave them out")
    if method is Method.MANUAL:
        raise BadInput("--method manual needs a range for each layer: write them in a --recipe file")
    if choices.percentile is not None:
        if method not in (None, Method.PERCENTILE):
            raise BadInput(f"--percentile goes with --method percentile, not with {method}")
        check_percentile(choices.percentile)
        method = Method.PERCENTILE
    precision = pick(Precision, choices.precision, "--precision", PRECISIONS)
    if precision is Precision.FLOAT:
        raise BadInput(
            "--precision float would quantize nothing; --float-layer NAME leaves single layers in float"
        )
    if choices.target is not None and choices.target not in TARGETS:
        raise BadInput(f"--target: there is no '{choices.target}'; choose from {', '.join(TARGETS)}")
    default = Choice(
        method=method,
        percentile=choices.percentile,
        symmetric=choices.symmetric,
        precision=precision,
        scale_rule=pick(ScaleRule, choices.scale_rule, "--scale-rule"),
        weights=pick(Granularity, choices.weights, "--weights"),
        weight_method=pick(WeightMethod, choices.weight_method, "--weight-method"),
    )
    return Recipe(default=default, model_hash=model.hash, target=choices.target or Recipe().target)


def pick(options: type[E], text: str | None, flag: str, offered: Sequence[str] | None = None) -> E | None:
    """The member that `text` names, dashes or underscores alike; None for None.

    `offered` are the names to choose from that a message lists, if not those of all members.

    Raises:
        BadInput: there is none.
    """
    if text is None:
        return None
    try:
        return options(text.lower().replace("-", "_"))
    except ValueError:
        names = offered or [member.value.replace("_", "-") for member in options]
        raise BadInput(f"{flag}: there is no '{text}'; choose from {', '.join(names)}") from None


def check_percentile(value: float) -> None:
    """Raises `BadInput` unless `value` is a share in percent that a method can keep."""
    if not 50.0 <= value <= 100.0:  # also refuses NaN
        raise BadInput(f"--percentile is the share of values kept in percent, 50 to 100, not {value:g}")


def listed(names: Iterable[str]) -> str:
    """Names for a sentence."""
    return ", ".join(f"'{name}'" for name in names)
