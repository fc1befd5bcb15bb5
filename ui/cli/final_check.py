"""A quantized model held against the float one before it is handed over: what it has lost, and what to do."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import onnx

from quantscope.core.calibration import Statistics
from quantscope.core.data import Samples
from quantscope.core.errors import DataError, ExportError, ModelError
from quantscope.core.evaluate import (
    closeness_db,
    float_reference,
    lost_outputs,
    match_tensors,
    output_warnings,
    preview,
)
from quantscope.core.export import PROTOBUF_LIMIT
from quantscope.core.model import Model
from quantscope.core.pipeline import quantize
from quantscope.core.progress import ProgressFn
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.runtime import Session
from quantscope.core.targets import Precision, find_placement, target
from quantscope.core.thresholds import Method
from quantscope.core.tuning import OutputRemedy, output_remedies, representative_samples
from quantscope.core.words import decibels, plural
from quantscope.ui.terminal.console import note

SAMPLES = 8  # that are run
CLEARLY_DB = 1.0  # what a method that was asked for may lose against MinMax without a word
WINS_DB = 1.0  # what a remedy wins at least to be named
REASONS = 2  # tensors that a message explains


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What is wrong with a quantized model, and what was found to help."""

    faults: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()


def check(
    model: Model,
    recipe: Recipe,
    statistics: Statistics,
    samples: Samples,
    proto: onnx.ModelProto,
    *,
    tuned: bool,
    threads: int | None = None,
) -> Check:
    """Run a few samples, and look for the least change that brings back what is lost.

    Args:
        model: The float model.
        recipe: Of the quantized model.
        statistics: Of the float model.
        samples: Calibration samples.
        proto: The quantized model.
        tuned: Whether Auto-tune has looked already.
        threads: Samples run side by side.
    """
    if proto.ByteSize() >= PROTOBUF_LIMIT:
        return Check()
    reference = float_reference(
        model, representative_samples(samples, SAMPLES), count=SAMPLES, layers=False, threads=threads
    )
    seen = preview(reference, proto, layers=False, threads=threads)
    lost = lost_outputs(model, seen.output.outputs, match_tensors(model, proto))
    found = output_warnings(seen.output.outputs, lost, sentence_of=lambda one: one.options)
    if not found:
        return Check()
    before = closeness_db(seen)
    for option in output_remedies(model, recipe, seen.output.outputs, statistics):
        made = quantize(model, option.applied(recipe), samples, statistics=statistics, threads=threads)
        other = preview(reference, made.proto, layers=False, threads=threads)
        after = closeness_db(other)
        if after > before + WINS_DB and not other.output.lost:
            bare = output_warnings(seen.output.outputs, lost, sentence_of=lambda one: one.sentence)
            return Check(faults=bare, remedies=(_said(option, before, after, tuned),))
    return Check(faults=found, remedies=(general(tuned),))


def general(tuned: bool) -> str:
    """What to do where no change at the end of the network helps."""
    if tuned:
        return (
            "tuning found nothing better: 'quantscope sensitivity' ranks the layers, and --float-layer NAME "
            "leaves one in float"
        )
    return (
        "try --auto, which tunes; 'quantscope sensitivity' ranks the layers, and --float-layer NAME "
        "leaves one in float"
    )


def _said(option: OutputRemedy, before: float, after: float, tuned: bool) -> str:
    why = f" ({option.why})" if option.why else ""
    won = f"{decibels(before)} -> {decibels(after)}, every output at the same weight"
    wins = f"{option.label} helps{why}: {won}"
    if option.float_layers:
        flags = " ".join(f"--float-layer {shlex.quote(name)}" for name in option.float_layers)
        return f"{wins}. Quantize with {flags}" + ("" if tuned else ", or with --auto, which looks for it")
    if tuned:
        return f"{wins}. Write it into the recipe as the layer's range, with 'method: manual'"
    return f"{wins}. Quantize with --auto, which finds it and more"


def say_if_worse(
    model: Model,
    recipe: Recipe,
    statistics: Statistics,
    samples: Samples,
    proto: onnx.ModelProto,
    threads: int | None,
) -> None:
    """Say so where the method asked for is clearly worse than MinMax on the calibration samples."""
    if recipe.default.method is Method.MINMAX or proto.ByteSize() >= PROTOBUF_LIMIT:
        return
    few = representative_samples(samples, SAMPLES)
    reference = float_reference(model, few, count=SAMPLES, layers=False, threads=threads)
    plain = quantize_model(model, resolve(recipe.with_default(method=Method.MINMAX), statistics, model))
    asked, other = (
        closeness_db(preview(reference, p, layers=False, threads=threads)) for p in (proto, plain)
    )
    if asked < other - CLEARLY_DB:
        note(
            f"note: {recipe.default.method} gives {decibels(asked)} here and minmax {decibels(other)} "
            f"({plural(len(reference), 'sample')}); --method auto takes what measures best"
        )


def judged(
    model: Model,
    asked_for: Recipe,
    chosen: Recipe,
    statistics: Statistics,
    samples: Samples,
    *,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> tuple[str, ...]:
    """What must not be missed about the recipe that tuning ends with.

    Args:
        model: The float model.
        asked_for: What tuning started from.
        chosen: What it ended with.
        statistics: Of the float model.
        samples: Calibration samples.
        threads: Samples run side by side.
        progress: Told how far it is; may raise `Cancelled`.
    """
    made = quantize(model, chosen, samples, statistics=statistics, threads=threads, progress=progress)
    if made.encodings.placement.nodes:
        seen = check(model, chosen, statistics, samples, made.proto, tuned=True, threads=threads)
        return (*seen.faults, *seen.remedies)
    if resolve(asked_for.with_passes(), statistics, model).placement.nodes:
        return ("nothing is quantized: what was asked for is reached with all layers in float alone",)
    return (f"{all_float(model, asked_for, statistics)}, so the recipe quantizes nothing",)


def warn_if_all_float(model: Model, recipe: Recipe, so: str, statistics: Statistics | None = None) -> bool:
    """Say so where nothing of the model is quantized by the recipe.

    Args:
        model: The float model.
        recipe: The choices.
        so: What follows from it.
        statistics: None = ask only for what is known before calibration.
    """
    if statistics is None:
        none = not find_placement(model, target(recipe.target), _float_layers(model, recipe)).nodes
    else:
        none = not resolve(recipe.with_passes(), statistics, model).placement.nodes
    if none:
        note(f"warning: {all_float(model, recipe, statistics)}, so {so}")
    return none


def all_float(model: Model, recipe: Recipe, statistics: Statistics | None = None) -> str:
    """Why no layer is quantized by a recipe that quantizes none.

    Args:
        model: The float model.
        recipe: The choices.
        statistics: Of the float model; they tell which tensors no integers can hold.
    """
    to = target(recipe.target)
    kept = {} if statistics is None else resolve(recipe.with_passes(), statistics, model).kept_float
    if find_placement(model, to, (), kept).nodes and _float_layers(model, recipe):
        return f"the recipe leaves all layers of {model.name} in float"
    if not kept:
        return f"no layer of {model.name} can be quantized (quantscope inspect shows what it is made of)"
    shown = "; ".join(f"'{tensor}' stays float: {why}" for tensor, why in list(kept.items())[:REASONS])
    more = f"; and {len(kept) - REASONS:,} more" if len(kept) > REASONS else ""
    return f"no layer of {model.name} can be quantized ({shown}{more})"


def _float_layers(model: Model, recipe: Recipe) -> set[str]:
    return {layer.name for layer in model.layers if recipe.choice(layer.name).precision is Precision.FLOAT}


def check_runs(proto: onnx.ModelProto, samples: Samples | None) -> None:
    """Run the quantized model once, so that no file is written that does not run.

    Raises:
        ExportError: ONNX Runtime refuses it.
    """
    if proto.ByteSize() >= PROTOBUF_LIMIT:
        return
    try:
        session = Session(proto.SerializeToString(), what="the quantized model")
        if samples is not None:
            session.run(samples[0])
    except (ModelError, DataError) as error:
        raise ExportError(f"{error}. Leave that layer in float: --float-layer NAME") from error
