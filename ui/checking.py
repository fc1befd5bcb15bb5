"""A quantized model held against the float one before it is handed over: what it has lost, and what to do."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass

import onnx

from core.closeness import closeness
from core.evaluate import float_reference, preview
from core.evaluate.lost import faults, lost_outputs
from core.evaluate.view import view
from core.export.onnx_file import PROTOBUF_LIMIT
from core.model import Model
from core.qdq import quantize_model
from core.recipe import Recipe, resolve
from core.samples import Samples
from core.sparing import Sparing, sparings
from core.statistics import Statistics
from core.thresholds import Method
from core.tune import representative
from core.words import plural
from ui.console import note

SAMPLES = 8  # that are run
CLEARLY_DB = 1.0  # what a method that was asked for may lose against MinMax without a word
WINS_DB = 1.0  # what a remedy wins at least to be named


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
    build: Callable[[Recipe], onnx.ModelProto],
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
        build: Makes the quantized model of another recipe.
        tuned: Whether Auto-tune has looked already.
        threads: Samples run side by side.
    """
    if proto.ByteSize() >= PROTOBUF_LIMIT:
        return Check()
    reference = float_reference(
        model, representative(samples, SAMPLES), count=SAMPLES, layers=False, threads=threads
    )
    seen = preview(reference, proto, layers=False, threads=threads)
    lost = lost_outputs(model, seen.output.outputs, view(model, proto))
    found = faults(seen.output.outputs, lost)
    if not found:
        return Check()
    before = closeness(seen)
    for option in sparings(model, recipe, seen.output.outputs, statistics):
        other = preview(reference, build(option.applied(recipe)), layers=False, threads=threads)
        after = closeness(other)
        if after > before + WINS_DB and not other.output.lost:
            bare = faults(seen.output.outputs, lost, advise=False)
            return Check(faults=bare, remedies=(_said(option, before, after),))
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


def _said(option: Sparing, before: float, after: float) -> str:
    wins = f"{option.label} helps: {before + 0.0:.1f} dB -> {after:.1f} dB, every output at the same weight"
    if option.float_layers:
        flags = " ".join(f"--float-layer {shlex.quote(name)}" for name in option.float_layers)
        return f"{wins}. Quantize with {flags}, or with --auto, which looks for it"
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
    few = representative(samples, SAMPLES)
    reference = float_reference(model, few, count=SAMPLES, layers=False, threads=threads)
    plain = quantize_model(model, resolve(recipe.with_default(method=Method.MINMAX), statistics, model))
    asked, other = (closeness(preview(reference, p, layers=False, threads=threads)) for p in (proto, plain))
    if asked < other - CLEARLY_DB:
        note(
            f"note: {recipe.default.method} gives {asked:.1f} dB here and minmax {other:.1f} dB "
            f"({plural(len(reference), 'sample')}); --method auto takes what measures best"
        )
