"""Quantizing: from a model, data and a recipe to a quantized model that knows how it came about."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from quantscope._calibrate import Calibration, CalibrationLike, as_calibration
from quantscope._data import as_samples
from quantscope._final_check import of_quantized, why
from quantscope._inspect import ModelLike, as_model
from quantscope._progress import ProgressOption, shown
from quantscope._recipe import RecipeLike, as_recipe
from quantscope._table import Table, bytes_text, frame
from quantscope._warnings import warn
from quantscope.core import pipeline
from quantscope.core.calibration import calibrate as collect
from quantscope.core.data import Samples
from quantscope.core.errors import DataError, ExportError
from quantscope.core.export import PROTOBUF_LIMIT, format_of
from quantscope.core.model import Model
from quantscope.core.pipeline import Quantized
from quantscope.core.progress import ProgressFn
from quantscope.core.quant import Encoding
from quantscope.core.quantize import Encodings, quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.tuning import (
    DefaultTrial,
    FinalCheck,
    check_quantized,
    check_runs,
    judged_passes,
    measured_default,
    why_all_float,
)
from quantscope.core.words import plural

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

COLUMNS = ("tensor", "kind", "layer", "type", "scale", "zero_point", "low", "high")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class QuantizedModel(Table):
    """A quantized model, and what it was made from.

    Attributes:
        model: The float model.
        recipe: The choices that made it; with no recipe given, those that measured best.
        calibration: Statistics of the float model.
        encodings: Scale and zero point of each quantized tensor: `activations` and `constants` by tensor,
            `weights` by node.
        proto: The quantized ONNX model in QDQ form.
        trials: Defaults that were tried, where no recipe was given.
        log: What the recipe's passes did, in sentences.
        warnings: What is wrong with it, and what was found to help; also issued as `QuantScopeWarning`.
        remedy: The recipe with the least change that was measured to bring back what is lost; None where
            nothing is lost, or nothing was found.
    """

    model: Model
    recipe: Recipe
    calibration: Calibration
    encodings: Encodings
    proto: onnx.ModelProto
    trials: tuple[DefaultTrial, ...] = ()
    log: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    remedy: Recipe | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of the file."""
        return int(self.proto.ByteSize())

    @property
    def notes(self) -> tuple[str, ...]:
        """What was changed in the float model, and which tensors stay float and why."""
        kept = self.encodings.kept_float.items()
        return (*self.model.notes, *(f"'{tensor}' stays float: {why}." for tensor, why in kept))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the quantized model.

        Args:
            path: A file that ends in .onnx. Beyond 2 GB, weights go to `<name>.data` beside it.

        Raises:
            ExportError: It ends otherwise, is the float model's file, or cannot be written.
        """
        file = Path(path)
        written = format_of(file)
        given = self.model.path
        if given is not None and file.exists() and given.exists() and file.samefile(given):
            raise ExportError(f"{file} is the float model and would be lost; write to another file")
        written.write(self.proto, file)
        return file

    def to_bytes(self) -> bytes:
        """The content of the file, e.g. for `onnxruntime.InferenceSession`.

        Raises:
            ExportError: It is larger than the 2 GB that one piece can have; use `save`.
        """
        if self.proto.ByteSize() >= PROTOBUF_LIMIT:
            raise ExportError("the model is too large for one piece: write it with save()")
        return bytes(self.proto.SerializeToString(deterministic=True))

    def to_pandas(self) -> pd.DataFrame:
        """One row a quantized tensor: tensor, kind, layer, type, scale, zero_point, low, high.

        `kind` is activation, constant or weight; weights are named after their initializer. Scale and so on
        are numbers, or lists where there is one a channel.
        """
        return frame(list(self._rows()), COLUMNS)

    def _rows(self) -> Iterator[dict[str, object]]:
        found, placement = self.encodings, self.encodings.placement
        for tensor, encoding in found.activations.items():
            yield _row(tensor, "activation", placement.tensors.get(tensor, ""), encoding)
        for tensor, encoding in found.constants.items():
            yield _row(tensor, "constant", placement.constants.get(tensor, ""), encoding)
        for node, encoding in found.weights.items():
            weight = placement.weights[node]
            yield _row(weight.initializer, "weight", weight.layer, encoding)

    def _headline(self) -> str:
        found = self.encodings
        said = f", {plural(len(self.warnings), 'warning')}" if self.warnings else ""
        return (
            f"{self.model.name}, {self.recipe.default.method} for {self.recipe.target}, "
            f"{plural(len(found.activations), 'activation')} and "
            f"{plural(len(found.weights), 'weight')} quantized, "
            f"{bytes_text(self.model.size_bytes)} -> {bytes_text(self.size_bytes)}{said}"
        )

    def _remarks(self) -> tuple[str, ...]:
        return self.warnings


def _row(tensor: str, kind: str, layer: str, encoding: Encoding) -> dict[str, object]:
    numbers: dict[str, npt.NDArray[Any]] = {
        "scale": encoding.scale,
        "zero_point": encoding.zero_point,
        "low": encoding.low,
        "high": encoding.high,
    }
    listed = {name: value.tolist() for name, value in numbers.items()}  # a number where there is one scale
    return {"tensor": tensor, "kind": kind, "layer": layer, "type": encoding.type.name, **listed}


def quantize(
    model: ModelLike,
    data: Any = None,
    recipe: RecipeLike | None = None,
    *,
    calibration: CalibrationLike | None = None,
    judge: bool = True,
    threads: int | None = None,
    cache: bool = True,
    progress: ProgressOption = None,
) -> QuantizedModel:
    """Quantize a model; the file that is saved is the one that `quantscope quantize` writes.

    Args:
        model: A float model, or the path of one.
        data: Calibration samples, or anything that `open_data` opens. May be left out where `calibration` is
            given and no pass of the recipe runs the model.
        recipe: A recipe, or the path of one. None = try the usual methods on the samples and take the one
            that measures best (`best_default`); MinMax with random samples, or with none.
        calibration: Statistics of the model, as `calibrate` gives them, or the path of a file of them; None =
            from `data`.
        judge: Also run a few samples through the result, and look for the least change that brings back
            what is lost; and judge what the recipe's passes are good for.
        threads: Samples that are run side by side; None = one a processor. Results do not depend on it.
        cache: Whether to keep statistics in the user's cache folder, and to look there first.
        progress: True, False, or a function that is told each `Progress`; None = a bar where somebody looks.

    Raises:
        ModelError: The model cannot be opened.
        DataError: There are no samples where some are needed, or they do not fit the model.
        RecipeError: The recipe cannot be read, or does not fit the model.
        ExportError: ONNX Runtime does not run the result; the message says which layer is at fault.

    Warns:
        QuantScopeWarning: Outputs are lost, or nothing is quantized.

    Examples:
        >>> q = qs.quantize(model, data, qs.recipe(method="mse"))
        >>> q.save("model.int8.onnx").name
        'model.int8.onnx'
        >>> q.encodings.activations["pixels"].zero_point
        array(0, dtype=int32)
    """
    opened = as_model(model)
    asked = Recipe(model_hash=opened.hash) if recipe is None else as_recipe(recipe)
    if asked.model_hash and asked.model_hash != opened.hash:
        warn(["the recipe was made for another model; layers are matched by name"])
    samples = None if data is None and calibration is not None else as_samples(data, opened)
    if samples is None and asked.passes:
        raise DataError("the recipe's passes run the model: give samples too")
    known = None if calibration is None else as_calibration(calibration, opened)
    with shown(progress, "quantizing") as heard:
        if known is None:
            assert samples is not None
            found = collect(opened, samples, threads=threads, cache=cache, progress=heard)
            known = Calibration(model=opened, statistics=found)
        work = _Work(opened, samples, known, threads, heard)
        trials: tuple[DefaultTrial, ...] = ()
        if recipe is None and samples is not None and not samples.synthetic:
            best = measured_default(opened, known.statistics, samples, asked, progress=heard, threads=threads)
            asked, trials = best.recipe, best.trials
        made = work.built(asked, judge)
        _insist_it_runs(made.proto, samples)
        done = replace(work.judged(made, judge, beside_minmax=recipe is not None), trials=trials)
    warn(done.warnings)
    return done


def _insist_it_runs(proto: onnx.ModelProto, samples: Samples | None) -> None:
    try:
        check_runs(proto, samples)
    except ExportError as error:
        raise ExportError(f"{error}: recipe(float_layers=[NAME])") from error


@dataclass(frozen=True, slots=True)
class _Work:
    """What the steps of quantizing have in common."""

    model: Model
    samples: Samples | None
    calibration: Calibration
    threads: int | None
    progress: ProgressFn | None

    def built(self, recipe: Recipe, judge: bool) -> QuantizedModel:
        """The quantized model, passes included."""
        statistics, log = self.calibration.statistics, list[str]()
        if not recipe.passes:
            encodings = resolve(recipe, statistics, self.model)
            proto = quantize_model(self.model, encodings)
        else:
            made = self._with_passes(recipe)
            encodings, proto, log = made.encodings, made.proto, list(made.log)
            if judge and proto.ByteSize() < PROTOBUF_LIMIT:
                assert self.samples is not None
                judged = judged_passes(
                    self.model, recipe, self.samples, threads=self.threads, progress=self.progress
                )
                log.append(judged.sentence)
        return QuantizedModel(
            model=self.model,
            recipe=recipe,
            calibration=self.calibration,
            encodings=encodings,
            proto=proto,
            log=tuple(log),
        )

    def _with_passes(self, recipe: Recipe) -> Quantized:
        assert self.samples is not None
        return pipeline.quantize(
            self.model,
            recipe,
            self.samples,
            statistics=self.calibration.statistics,
            threads=self.threads,
            progress=self.progress,
        )

    def judged(self, made: QuantizedModel, judge: bool, *, beside_minmax: bool) -> QuantizedModel:
        """The same with what must not be missed about it.

        Args:
            made: The quantized model.
            judge: Whether to run it.
            beside_minmax: Whether to measure MinMax, too.
        """
        statistics = self.calibration.statistics
        if not made.encodings.placement.nodes:
            reason = why(why_all_float(self.model, made.recipe, statistics))
            return replace(made, warnings=(f"{reason}, so this is the float model",))
        if self.samples is None or not judge:
            return made
        found: FinalCheck = check_quantized(
            self.model,
            made.recipe,
            statistics,
            self.samples,
            made.proto,
            beside_minmax=beside_minmax and not self.samples.synthetic,
            threads=self.threads,
        )
        helping = found.remedy
        remedy = None if helping is None else helping.option.applied(made.recipe)
        return replace(made, warnings=of_quantized(found), remedy=remedy)
