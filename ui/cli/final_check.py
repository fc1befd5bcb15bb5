"""What the engine found wrong with a finished model, in words, and the options that help."""

from __future__ import annotations

import shlex

import onnx

from quantscope.core.calibration import Statistics
from quantscope.core.data import Samples
from quantscope.core.errors import ExportError
from quantscope.core.model import Model
from quantscope.core.recipe import Recipe
from quantscope.core.tuning import (
    AllFloat,
    AllFloatReason,
    FinalCheck,
    MeasuredSparing,
    all_float,
    check_runs,
)
from quantscope.ui.terminal.console import note


def faults(found: FinalCheck) -> tuple[str, ...]:
    """What is wrong, with options that may help where no remedy was measured."""
    return found.faults() if found.remedy is not None else found.faults(lambda one: one.options)


def remedies(found: FinalCheck, tuned: bool) -> tuple[str, ...]:
    """What helps.

    Args:
        found: Of the engine.
        tuned: Whether Auto-tune has looked already.
    """
    if not found.faults():
        return ()
    return (_general(tuned) if found.remedy is None else _measured(found.remedy, tuned),)


def _general(tuned: bool) -> str:
    said = "tuning found nothing better:" if tuned else "try --auto, which tunes;"
    return f"{said} 'quantscope sensitivity' ranks the layers, and --float-layer NAME leaves one in float"


def _measured(found: MeasuredSparing, tuned: bool) -> str:
    kept = found.option.float_layers
    if kept:
        flags = " ".join(f"--float-layer {shlex.quote(name)}" for name in kept)
        or_auto = "" if tuned else ", or with --auto, which looks for it"
        return f"{found.sentence}. Quantize with {flags}{or_auto}"
    if tuned:
        return f"{found.sentence}. Write it into the recipe as the layer's range, with 'method: manual'"
    return f"{found.sentence}. Quantize with --auto, which finds it and more"


def note_minmax(found: FinalCheck) -> None:
    """Say so where MinMax would be clearly closer than the method asked for."""
    if found.minmax is not None:
        note(f"note: {found.minmax.sentence}; --method auto takes what measures best")


def of_tuned(found: FinalCheck | AllFloat) -> tuple[str, ...]:
    """What must not be missed about the recipe that tuning ends with."""
    if isinstance(found, FinalCheck):
        return (*faults(found), *remedies(found, tuned=True))
    if found.reason is AllFloatReason.AIM:
        return (found.sentence,)
    return (f"{why(found)}, so the recipe quantizes nothing",)


def why(found: AllFloat) -> str:
    """Why nothing is quantized, and where to look."""
    if found.reason is AllFloatReason.OPERATORS:
        return f"{found.sentence} (quantscope inspect shows what it is made of)"
    return found.sentence


def warn_if_all_float(model: Model, recipe: Recipe, so: str, statistics: Statistics | None = None) -> bool:
    """Say so where nothing of the model is quantized by the recipe.

    Args:
        model: The float model.
        recipe: The choices.
        so: What follows from it.
        statistics: None = ask only for what is known before calibration.
    """
    found = all_float(model, recipe, statistics)
    if found is not None:
        note(f"warning: {why(found)}, so {so}")
    return found is not None


def insist_it_runs(proto: onnx.ModelProto, samples: Samples | None) -> None:
    """Run the quantized model once, so that no file is written that does not run.

    Raises:
        ExportError: ONNX Runtime refuses it.
    """
    try:
        check_runs(proto, samples)
    except ExportError as error:
        raise ExportError(f"{error}: --float-layer NAME") from error
