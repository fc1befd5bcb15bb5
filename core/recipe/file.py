"""Recipes as YAML: written for people to read and diff, checked entry by entry when read."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from quantscope.core.errors import ExportError, RecipeError
from quantscope.core.files import write_atomic
from quantscope.core.quant import Range
from quantscope.core.recipe.choice import Choice
from quantscope.core.recipe.entries import READERS, number
from quantscope.core.recipe.passes import PassChoice, pass_choices
from quantscope.core.recipe.recipe import Recipe

VERSION = 1


def recipe_to_yaml(recipe: Recipe) -> str:
    """YAML text of a recipe; `recipe_from_yaml` gives the same recipe back."""
    document: dict[str, Any] = {"quantscope": VERSION, "target": recipe.target}
    if recipe.model_hash:
        document["model"] = recipe.model_hash
    if recipe.passes:
        document["passes"] = [
            {choice.name: dict(choice.options)} if choice.options else choice.name for choice in recipe.passes
        ]
    document["default"] = _plain(recipe.default)
    document["layers"] = {name: _plain(choice) for name, choice in recipe.layers.items()}
    # PyYAML reads a next-line character that it wrote plainly as a blank; escaped it survives.
    plain = not any("\x85" in name for name in recipe.layers)
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=plain, width=110))


def recipe_from_yaml(text: str) -> Recipe:
    """The recipe in a YAML text.

    Raises:
        RecipeError: Not YAML, not a recipe, or an entry that makes no sense; the message names it.
    """
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where is not None else ""
        raise RecipeError(
            f"the recipe is not valid YAML{line}: {getattr(error, 'problem', None) or error}"
        ) from None
    return recipe_from_document(document)


def recipe_from_document(document: object) -> Recipe:
    """The recipe that a file's content stands for, as plain mappings, lists, texts and numbers.

    Raises:
        RecipeError: It is no recipe, or an entry makes no sense; the message names it.
    """
    if not isinstance(document, Mapping) or "quantscope" not in document:
        raise RecipeError(
            "this is no recipe: its first line should be 'quantscope: 1', as in files saved here"
        )
    if document["quantscope"] != VERSION:
        raise RecipeError(
            f"the recipe has version {document['quantscope']!r}, and this QuantScope reads {VERSION}: "
            "upgrade QuantScope"
        )
    _known(document, {"quantscope", "target", "model", "passes", "default", "layers"}, "recipe")
    layers = document.get("layers") or {}
    if not isinstance(layers, Mapping):
        raise RecipeError("'layers' should map layer names to choices")
    return Recipe(
        target=str(document.get("target", Recipe().target)),
        model_hash=str(document.get("model", "")),
        passes=_passes(document.get("passes") or []),
        default=_choice(document.get("default") or {}, "default"),
        layers=MappingProxyType({str(name): _choice(entry, str(name)) for name, entry in layers.items()}),
    )


def _passes(entries: object) -> tuple[PassChoice, ...]:
    if not isinstance(entries, list):
        raise RecipeError(f"'passes' should be a list such as [equalize, bias_correction], not {entries!r}")
    return pass_choices(*entries)


def _plain(choice: Choice) -> dict[str, Any]:
    """The fields that are set, in types YAML knows."""
    out: dict[str, Any] = {}
    for field in fields(choice):
        value = getattr(choice, field.name)
        if isinstance(value, Range):
            out["low"], out["high"] = float(value.low), float(value.high)
        elif isinstance(value, tuple):
            out[field.name] = [float(number) for number in value]
        elif value is not None:
            out[field.name] = value if isinstance(value, bool | float) else str(value)
    return out


def _choice(entry: object, name: str) -> Choice:
    if not isinstance(entry, Mapping):
        raise RecipeError(f"{name}: expected entries such as 'method: mse', not {entry!r}")
    _known(entry, {*READERS, "low", "high"}, name)
    values = {
        key: read(entry[key], f"{name}: {key}") for key, read in READERS.items() if entry.get(key) is not None
    }
    if ("low" in entry) != ("high" in entry):
        raise RecipeError(f"{name}: 'low' and 'high' belong together")
    if "low" in entry:
        low, high = number(entry["low"], f"{name}: low"), number(entry["high"], f"{name}: high")
        try:
            values["range"] = Range(low, high)
        except ValueError as error:
            raise RecipeError(f"{name}: {error}") from None
    return Choice(**values)


def _known(entry: Mapping[Any, Any], keys: set[str], name: str) -> None:
    unknown = sorted(str(key) for key in entry if key not in keys)
    if unknown:
        raise RecipeError(f"{name}: unknown entry {unknown[0]!r}; known are {', '.join(sorted(keys))}")


def save_recipe(recipe: Recipe, path: str | Path) -> None:
    """Write a recipe as YAML, the same text as everywhere else (`recipe_to_yaml`).

    Args:
        recipe: What to write.
        path: The file; one that is there is replaced.

    Raises:
        ExportError: The file cannot be written.
    """
    try:
        write_atomic(Path(path), recipe_to_yaml(recipe).encode("utf-8"))
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error.strerror or error}") from error
