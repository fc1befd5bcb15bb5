"""What a command line names: samples, choices, files; checked before minutes are spent."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from quantscope.core.data import Samples, check_samples, open_samples
from quantscope.core.data.sources import (
    Labels,
    all_ignored,
    label_shapes,
    preprocessing,
    random_samples,
    text,
    wrong_labels,
)
from quantscope.core.errors import DataError, QuantScopeError, RecipeError
from quantscope.core.files import write_atomic
from quantscope.core.model import Model
from quantscope.core.quant import ScaleRule
from quantscope.core.recipe import Choice, Recipe, recipe_from_yaml
from quantscope.core.targets import TARGETS, Granularity, Precision
from quantscope.core.thresholds import AUTOMATIC, Method, WeightMethod
from quantscope.ui.terminal.console import BadInput, note

E = TypeVar("E", bound=StrEnum)
AUTO = "auto"  # not a method of one tensor: tries several on the whole network
METHODS = (*(method.value for method in AUTOMATIC), AUTO)
PRECISIONS = (Precision.INT8.value, Precision.INT16.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """The samples that a command line names."""

    data: Path | None = None
    random: int | None = None
    seed: int = 0
    limit: int | None = None
    labels: Path | None = None
    ignore: int | None = None  # a label that is no class
    preprocess: str | None = None

    @property
    def named(self) -> bool:
        """Whether any samples are named."""
        return self.data is not None or self.random is not None

    @property
    def files(self) -> tuple[Path, ...]:
        """What is read; not to be overwritten."""
        named = (self.data, self.labels, None if self.preprocess is None else Path(self.preprocess))
        return tuple(path for path in named if path is not None)

    def check_unused(self, flag: str) -> None:
        """Refuse options about samples where none are named because of `flag`.

        Raises:
            BadInput: There is one.
        """
        given = {
            "--limit": self.limit,
            "--labels": self.labels,
            "--ignore-label": self.ignore,
            "--preprocess": self.preprocess,
        }
        unused = [name for name, value in given.items() if value is not None]
        if unused:
            raise BadInput(f"{unused[0]} goes with --data; with {flag} alone no samples are read")

    def open(self, model: Model, *, accuracy: bool = False) -> Samples:
        """The samples, checked; what is doubtful about them goes to stderr.

        With `accuracy`, labels that do not fit the model are an error; otherwise those of the data are left
        out with a warning, since ranges need none. Those that --labels names must fit.

        Raises:
            BadInput: the options contradict each other, or name no samples.
            DataError: the samples cannot be read, or do not fit the model.
        """
        if self.data is None and self.random is None:
            raise BadInput("name samples with --data PATH, or try it out on random ones with --random 64")
        if self.data is not None and self.random is not None:
            raise BadInput("--data and --random contradict each other; give one of them")
        given = (self.labels, self.ignore, self.preprocess)
        if self.random is not None and any(value is not None for value in given):
            raise BadInput("--labels, --ignore-label and --preprocess go with --data, not with --random")
        if self.random is not None:
            if self.random < 1:
                raise BadInput(f"--random takes a number of samples, not {self.random}")
            samples = random_samples(model, self.random, seed=self.seed)
            samples = samples if self.limit is None else samples.take(self.limit)
        else:
            how = None if self.preprocess is None else read_preprocessing(self.preprocess)
            samples = open_samples(
                self.data,
                model,
                preprocessing=how,
                labels=self.labels,
                limit=self.limit,
                allow_reader=True,
                ignore_label=self.ignore,
                labels_needed=accuracy,
            )
        warnings = check_samples(samples, model)
        wrong = wrong_labels(samples.labels, model) if accuracy or self.labels is not None else ""
        if wrong:
            where = "" if self.labels is None else f"{self.labels.name}: "
            raise DataError(f"{where}{wrong}: give class indices, or leave the labels out")
        for warning in warnings:
            note(f"warning: {warning}")
        return samples


def unused_labels(labels: Labels, model: Model) -> str:
    """A warning about labels that no output of the model is held against."""
    if all_ignored(labels):
        return "warning: the labels are not used: all of them are the ignore label"
    got = text(labels.shape)
    return f"warning: the labels are not used: they have the shape {got}; {label_shapes(model)}"


def read_preprocessing(text: str) -> Any:
    """A preprocessing from a YAML file, a preset's name, or `name,key=value,…`."""
    path = Path(text)
    if path.suffix.lower() not in {".yaml", ".yml", ".json"}:
        return preprocessing(text)
    import yaml

    try:
        content = yaml.safe_load(read_text(path, DataError))
    except yaml.YAMLError as error:
        raise DataError(f"{path.name} is not valid YAML: {error}") from None
    if not isinstance(content, Mapping):
        raise DataError(f"{path.name} should hold settings such as 'preset: imagenet-torch' and 'size: 224'")
    return preprocessing({str(key): value for key, value in content.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The strategy that a command line asks for."""

    method: str | None = None
    percentile: float | None = None
    symmetric: bool | None = None
    weights: str | None = None
    weight_method: str | None = None
    precision: str | None = None
    scale_rule: str | None = None
    float_layers: tuple[str, ...] = ()
    target: str | None = None
    recipe: Path | None = None

    @property
    def auto(self) -> bool:
        """Whether the methods are to be tried, and the best one taken."""
        return self.method is not None and self.method.lower() == AUTO

    @property
    def undecided(self) -> bool:
        """Whether nothing was said that a trial of the methods would decide."""
        said = (self.method, self.percentile, self.weight_method, self.recipe)
        return all(value is None for value in said)

    def build(self, model: Model) -> Recipe:
        """The recipe.

        Raises:
            BadInput: a value that does not exist, or options that contradict each other.
            RecipeError: the recipe file is unusable.
        """
        if self.recipe is not None:
            self._alone()
            recipe = self._read(self.recipe)
            if recipe.model_hash and recipe.model_hash != model.hash:
                note(f"warning: {self.recipe.name} was made for another model; layers are matched by name")
        else:
            recipe = self._from_options(model)
        names = [layer.name for layer in model.layers]
        for name in self.float_layers:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=3) or names[:3]
                whole = model.layer_with(name)
                if whole is not None:
                    raise BadInput(f"--float-layer: '{name}' is part of the layer '{whole.name}'; name that")
                raise BadInput(f"--float-layer: there is no layer '{name}'; did you mean {listed(near)}?")
            recipe = recipe.with_layer(name, precision=Precision.FLOAT)
        return recipe

    def _read(self, path: Path) -> Recipe:
        text = read_text(path, RecipeError)
        try:
            return recipe_from_yaml(text)
        except RecipeError as error:
            raise RecipeError(f"{path.name}: {error}") from error

    def _alone(self) -> None:
        given = {
            "--method": self.method,
            "--percentile": self.percentile,
            "--symmetric/--asymmetric": self.symmetric,
            "--weights": self.weights,
            "--weight-method": self.weight_method,
            "--precision": self.precision,
            "--scale-rule": self.scale_rule,
            "--target": self.target,
        }
        both = [flag for flag, value in given.items() if value is not None]
        if both:
            line = ", or change the recipe's line 'target:'" if both == ["--target"] else ""
            raise BadInput(f"{both[0]} is decided by the recipe; leave it out, or leave out --recipe{line}")

    def check_open(self, flag: str) -> None:
        """Refuse a method beside `flag`, which finds the best one.

        Raises:
            BadInput: One is given.
        """
        given = {
            "--method": self.method is not None and not self.auto,
            "--percentile": self.percentile is not None,
            "--weight-method": self.weight_method is not None,
        }
        both = [name for name, said in given.items() if said]
        if both:
            raise BadInput(f"{flag} finds the methods itself; leave out {both[0]}, or leave out {flag}")

    def _from_options(self, model: Model) -> Recipe:
        method = None if self.auto else pick(Method, self.method, "--method", METHODS)
        if self.auto and (self.percentile is not None or self.weight_method is not None):
            raise BadInput("--method auto finds the percentile and the weight method itself; leave them out")
        if method is Method.MANUAL:
            raise BadInput("--method manual needs a range for each layer: write them in a --recipe file")
        if self.percentile is not None:
            if method not in (None, Method.PERCENTILE):
                raise BadInput(f"--percentile goes with --method percentile, not with {method}")
            check_percentile(self.percentile)
            method = Method.PERCENTILE
        precision = pick(Precision, self.precision, "--precision", PRECISIONS)
        if precision is Precision.FLOAT:
            raise BadInput(
                "--precision float would quantize nothing; --float-layer NAME leaves single layers in float"
            )
        if self.target is not None and self.target not in TARGETS:
            raise BadInput(f"--target: there is no '{self.target}'; choose from {', '.join(TARGETS)}")
        default = Choice(
            method=method,
            percentile=self.percentile,
            symmetric=self.symmetric,
            precision=precision,
            scale_rule=pick(ScaleRule, self.scale_rule, "--scale-rule"),
            weights=pick(Granularity, self.weights, "--weights"),
            weight_method=pick(WeightMethod, self.weight_method, "--weight-method"),
        )
        return Recipe(default=default, model_hash=model.hash, target=self.target or Recipe().target)


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


def read_text(path: Path, error: type[QuantScopeError]) -> str:
    """A text file's content, or `error` saying why there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror or problem}") from None
    except UnicodeDecodeError:
        raise error(f"{path} is not a text file") from None


def check_output(path: Path, suffixes: tuple[str, ...], *inputs: Path | None) -> None:
    """Make sure, before minutes are spent, that a file can be written and that it is none of the inputs.

    The suffix is insisted on: weights that lie beside a model would be lost under any other name.

    Raises:
        BadInput: it cannot, or it is.
    """
    folder = path.parent
    if path == Path():
        raise BadInput(f"the file to write has no name; give one that ends in {suffixes[0]}")
    if path.name.lower() in suffixes:
        raise BadInput(f"{path} has no name before its ending; write to a file such as out{suffixes[0]}")
    if path.suffix.lower() not in suffixes:
        raise BadInput(f"{path} should end in {' or '.join(suffixes)}, since that is what will be in it")
    if path.is_dir():
        raise BadInput(f"{path} is a folder; name the file to write")
    if not folder.is_dir():
        raise BadInput(f"the folder {folder} does not exist; create it, or write somewhere else")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise BadInput(f"{path} cannot be written: no permission; write somewhere else")
    for given in inputs:
        if given is not None:
            _check_apart(path, given)


def _check_apart(path: Path, given: Path) -> None:
    """Raises `BadInput` where writing `path` would change what `given` holds."""
    if path.exists() and given.exists() and path.samefile(given):
        raise BadInput(f"{path} is an input of this command and would be lost; write to another file")
    if path.resolve() == given.resolve():
        raise BadInput(f"{path} is named twice; write to another file")
    if path.suffix.lower() == ".npz" and given.is_dir() and given.resolve() in path.resolve().parents:
        raise BadInput(f"{path} lies among the samples and would be read as one; write somewhere else")


def write(path: Path, content: bytes) -> None:
    """Write a result.

    Raises:
        BadInput: the disk is full, or the folder cannot be written.
    """
    try:
        write_atomic(path, content)
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror or error}") from error
