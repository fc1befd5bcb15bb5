"""Recipes: the choices that decide how a model is quantized, written as Python."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from quantscope._inspect import ModelLike, as_model
from quantscope._paths import path_of
from quantscope.core.errors import RecipeError
from quantscope.core.methods import AUTOMATIC
from quantscope.core.model import Model
from quantscope.core.quant import Range
from quantscope.core.recipe import (
    NAMED,
    VERSION,
    Choice,
    PassChoice,
    PassLike,
    Recipe,
    recipe_from_document,
    recipe_from_yaml,
)
from quantscope.core.targets import Precision

METHOD_NAMES = frozenset(method.value for method in AUTOMATIC)
RecipeLike = Recipe | str | os.PathLike[str]


def recipe(
    *,
    method: str | None = None,
    percentile: float | None = None,
    symmetric: bool | None = None,
    precision: str | None = None,
    weights: str | None = None,
    weight_method: str | None = None,
    scale_rule: str | None = None,
    layers: Mapping[str, Mapping[str, Any]] | None = None,
    float_layers: Iterable[str] = (),
    passes: Iterable[PassLike] = (),
    target: str = "onnxruntime-cpu",
    model: ModelLike | None = None,
) -> Recipe:
    """State how a model is to be quantized; what is left out has the default in brackets.

    Args:
        method: How the ranges of activations are chosen [minmax]: minmax, percentile, mse, cosine, kl, kl_v2,
            aciq, octav, admm, moving_average or isotone.
        percentile: Share of the values that is kept, in percent, for method percentile [99.99].
        symmetric: Ranges around zero rather than as the data lie [False].
        precision: Of activations: int8 or int16 [int8].
        weights: per_channel or per_tensor [per_channel].
        weight_method: How the ranges of weights are chosen [minmax]: minmax, mse or percentile.
        scale_rule: Which scales are allowed [free]: free, power_of_two_up, power_of_two_nearest or
            power_of_two_mse.
        layers: Choices of single layers by name, in the same words, e.g. {"conv1": {"method": "kl"}}. A
            range set by hand is {"range": (low, high)}. A layer's choice governs the tensor it produces and
            its own weights.
        float_layers: Names of layers that stay float.
        passes: Fixes, in order: rotate, equalize, smooth, rounding, bias_correction; with options as in
            {"smooth": {"alpha": 0.7}}.
        target: What is quantized for: onnxruntime-cpu, onnxruntime-any-x86, onnxruntime-7bit or
            onnxruntime-u8u8.
        model: What the recipe is for. Layer names are then checked, and the recipe remembers the model.

    Returns:
        An immutable recipe. `with_layer`, `with_default`, `with_passes` and `with_target` make changed ones;
        `qs.save_recipe` writes the file that the app and the command line read.

    Raises:
        RecipeError: A name or a value does not exist; the message lists those that do.

    Examples:
        >>> r = qs.recipe(method="kl", layers={"fc1": {"method": "percentile", "percentile": 99.9}})
        >>> r.choice("fc1").percentile
        99.9
        >>> qs.save_recipe(r, "recipe.yaml")
        >>> qs.load_recipe("recipe.yaml") == r
        True
    """
    default = {
        "method": method if method is not None or percentile is None else "percentile",
        "percentile": percentile,
        "symmetric": symmetric,
        "precision": precision,
        "weights": weights,
        "weight_method": weight_method,
        "scale_rule": scale_rule,
    }
    if not isinstance(layers, Mapping | None):
        raise RecipeError(f"layers is a dict such as {{'conv1': {{'method': 'kl'}}}}, not {layers!r}")
    opened = None if model is None else as_model(model)
    found = recipe_from_document(
        {
            "quantscope": VERSION,
            "target": target,
            "model": "" if opened is None else opened.hash,
            "passes": [_pass(entry) for entry in _each(passes)],
            "default": _entries(default),
            "layers": {name: _entries(choice) for name, choice in (layers or {}).items()},
        }
    )
    for name in _each(float_layers):
        found = found.with_layer(name, precision=Precision.FLOAT)
    return found if opened is None else checked(found, opened)


def load_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe that was saved by a script, on the app's page Export, or by the command line.

    Args:
        path: The .yaml file.

    Raises:
        RecipeError: There is no such file, or it is no recipe; the message names the entry at fault.
    """
    file = path_of(path, RecipeError, "a recipe, as recipe() makes it, or the path of one")
    try:
        return recipe_from_yaml(file.read_text(encoding="utf-8"))
    except OSError as error:
        hint = f"; for a method, say qs.recipe(method={str(file)!r})" if str(file) in METHOD_NAMES else ""
        raise RecipeError(f"{file} cannot be read: {error.strerror or error}{hint}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{file} is not a text file") from None
    except RecipeError as error:
        raise RecipeError(f"{file.name}: {error}") from error


def as_recipe(recipe: RecipeLike) -> Recipe:
    """A recipe, or the one in a file."""
    return recipe if isinstance(recipe, Recipe) else load_recipe(recipe)


def checked(recipe: Recipe, model: Model) -> Recipe:
    """The recipe, once it is known that the model has the layers that it names.

    Raises:
        RecipeError: There is no such layer; the message names those that are called alike.
    """
    names = [layer.name for layer in model.layers]
    for name in recipe.layers:
        if name in names:
            continue
        whole = model.layer_with(name)
        if whole is not None:
            raise RecipeError(f"'{name}' is part of the layer '{whole.name}': name that")
        near = ", ".join(f"'{other}'" for other in difflib.get_close_matches(name, names, n=3) or names[:3])
        raise RecipeError(f"{model.name} has no layer '{name}'; did you mean {near}?")
    return recipe


def _entries(choice: Mapping[str, Any]) -> dict[str, Any]:
    """A choice as a recipe file has it; dashes and capitals in names do not matter."""
    out: dict[str, Any] = {}
    if isinstance(choice, Choice) or not isinstance(choice, Mapping):
        raise RecipeError(f"a layer's choice is a dict such as {{'method': 'mse'}}, not {choice!r}")
    for key, value in choice.items():
        if value is None:
            continue
        if key == "range":
            low, high = (value.low, value.high) if isinstance(value, Range) else _pair(value)
            out |= {"method": "manual", "low": low, "high": high}
        elif key in NAMED:
            text = str(value.value if isinstance(value, Enum) else value)
            out[key] = text.lower().replace("-", "_")
        else:
            out[key] = list(value) if isinstance(value, tuple) else value
    return out


def _pair(value: Any) -> tuple[Any, Any]:
    try:
        low, high = value
    except (TypeError, ValueError):
        raise RecipeError(f"a range is a pair (low, high), not {value!r}") from None
    return low, high


def _each(entries: Iterable[Any]) -> Iterable[Any]:
    """The entries of a list; one name alone, or names with options in one dict, are entries too."""
    if isinstance(entries, str):
        return [entries]
    return [{name: entries[name]} for name in entries] if isinstance(entries, Mapping) else entries


def _pass(entry: PassLike) -> object:
    if isinstance(entry, PassChoice):
        return {entry.name: dict(entry.options)} if entry.options else entry.name
    return entry
