"""Run the passes of a recipe: those that change the float model, and those that change what it becomes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from quantscope.core.data import Samples
from quantscope.core.model import Model
from quantscope.core.passes.bias_correction import correct_biases
from quantscope.core.passes.equalize import equalize
from quantscope.core.passes.rewrite import Difference
from quantscope.core.passes.rotate import rotate
from quantscope.core.passes.rounding import round_to_outputs
from quantscope.core.passes.smooth import smooth
from quantscope.core.progress import ProgressFn
from quantscope.core.quantize import Encodings
from quantscope.core.recipe import PASSES, PassChoice, Recipe
from quantscope.core.words import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """What a pass did to one layer, or to one activation."""

    name: str
    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRecord:
    """What a pass did, for the page and the log."""

    choice: PassChoice
    touched: tuple[Touched, ...]
    measure: str  # what the numbers of `touched` are
    sentences: tuple[str, ...]  # what was done, and what was left alone and why
    difference: Difference | None  # of the float outputs; None for a pass that leaves the float model alone


@dataclass(frozen=True, slots=True, kw_only=True)
class _PassInputs:
    """What a pass is run with."""

    choice: PassChoice
    samples: Samples
    threads: int | None
    progress: ProgressFn | None


def change_model(
    model: Model,
    recipe: Recipe,
    samples: Samples,
    *,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> tuple[Model, tuple[PassRecord, ...]]:
    """Apply the recipe's passes that change the float model, in their order.

    Raises:
        DataError: There are no samples, or they do not fit the model.
    """
    records = []
    for choice in recipe.passes:
        if PASSES[choice.name].changes_model:
            inputs = _PassInputs(choice=choice, samples=samples, threads=threads, progress=progress)
            model, record = MODEL_PASSES[choice.name](model, recipe, inputs)
            records.append(record)
    return model, tuple(records)


def change_encodings(
    model: Model,
    recipe: Recipe,
    samples: Samples,
    encodings: Encodings,
    *,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> tuple[Encodings, tuple[PassRecord, ...]]:
    """Apply the recipe's passes that change only the quantized model, in the order of `PASSES`.

    Bias correction measures what the integers do, so that it comes last in whatever order they are named.

    Raises:
        DataError: There are no samples, or they do not fit the model.
    """
    chosen = {choice.name: choice for choice in recipe.passes}
    records = []
    for name in PASSES:
        if name in chosen and not PASSES[name].changes_model:
            inputs = _PassInputs(choice=chosen[name], samples=samples, threads=threads, progress=progress)
            encodings, record = ENCODING_PASSES[name](model, encodings, inputs)
            records.append(record)
    return encodings, tuple(records)


def _run_equalization(model: Model, recipe: Recipe, inputs: _PassInputs) -> tuple[Model, PassRecord]:
    found = equalize(model, inputs.samples, recipe, threads=inputs.threads, progress=inputs.progress)
    before, after = found.noise_db
    sentences = [
        f"Equalization rescaled {plural(len(found.layers), 'layer')}; the 8-bit model's predicted signal to "
        f"noise goes from {before:.1f} to {after:.1f} dB."
        if found.layers
        else "Equalization found no channels that it could rescale to any use."
    ]
    if found.absorbed:
        sentences.append(f"Biases of {_some_names(found.absorbed)} were absorbed by the layers behind.")
    return found.model, PassRecord(
        choice=inputs.choice,
        touched=tuple(Touched(name=x.layer, before=x.before, after=x.after) for x in found.layers),
        measure="largest weight over that of the median output channel",
        sentences=(*sentences, _stayed(found.difference)),
        difference=found.difference,
    )


def _run_rotation(model: Model, recipe: Recipe, inputs: _PassInputs) -> tuple[Model, PassRecord]:
    found = rotate(model, inputs.samples, threads=inputs.threads, progress=inputs.progress)
    ratios = [x.before / x.after for x in found.tensors if x.after > 0]
    sentences = ["Rotation found no residual stream that it could turn to any use."]
    if ratios:
        won = 20 * np.log10(ratios).mean()
        sentences = [
            f"Rotation turned {plural(len(ratios), 'activation')}; ranges shrank by {won:.1f} dB on average."
        ]
    sentences += [
        f"The stream that begins at {name} was left alone: {why}." for name, why in found.left_out.items()
    ]
    return found.model, PassRecord(
        choice=inputs.choice,
        touched=tuple(Touched(name=x.tensor, before=x.before, after=x.after) for x in found.tensors),
        measure="width of the range",
        sentences=(*sentences, _stayed(found.difference)),
        difference=found.difference,
    )


def _run_smoothing(model: Model, recipe: Recipe, inputs: _PassInputs) -> tuple[Model, PassRecord]:
    alpha = inputs.choice.option("alpha")
    found = smooth(
        model, inputs.samples, recipe, alpha=alpha, threads=inputs.threads, progress=inputs.progress
    )
    inserted = [x.tensor for x in found.tensors if x.inserted]
    sentences = [f"SmoothQuant (alpha {alpha:g}) evened {plural(len(found.tensors), 'activation')}."]
    if inserted:
        sentences.append(f"A division was inserted behind {_some_names(inserted)}.")
    sentences += [f"{tensor} was left alone: {why}." for tensor, why in found.left_out.items()]
    return found.model, PassRecord(
        choice=inputs.choice,
        touched=tuple(Touched(name=x.tensor, before=x.before, after=x.after) for x in found.tensors),
        measure="largest channel over the median one",
        sentences=(*sentences, _stayed(found.difference)),
        difference=found.difference,
    )


def _run_rounding(model: Model, encodings: Encodings, inputs: _PassInputs) -> tuple[Encodings, PassRecord]:
    count = int(inputs.choice.option("samples"))
    found = round_to_outputs(
        model, encodings, inputs.samples, count=count, threads=inputs.threads, progress=inputs.progress
    )
    ratios = [x.rounded / x.nearest for x in found.layers if x.nearest > 0]
    won = f", by {-10 * np.log10(np.mean(ratios)):.1f} dB on average" if ratios else ""
    sentences = [
        f"Rounding by outputs lowered the error of {plural(len(ratios), 'layer')}{won} "
        f"({plural(found.samples, 'sample')})."
    ]
    sentences += [f"{layer} is rounded to nearest: {why}." for layer, why in found.left_out.items()]
    return found.encodings, PassRecord(
        choice=inputs.choice,
        touched=tuple(Touched(name=x.layer, before=x.nearest, after=x.rounded) for x in found.layers),
        measure="mean squared error of the layer's outputs, summed over them",
        sentences=tuple(sentences),
        difference=None,
    )


def _run_bias_correction(
    model: Model, encodings: Encodings, inputs: _PassInputs
) -> tuple[Encodings, PassRecord]:
    count = int(inputs.choice.option("samples"))
    found = correct_biases(
        model, encodings, inputs.samples, count=count, threads=inputs.threads, progress=inputs.progress
    )
    sentences = [
        f"Bias correction shifted the biases of {plural(len(found.layers), 'layer')} "
        f"({plural(found.samples, 'sample')})."
    ]
    sentences += [f"{layer} was left alone: {why}." for layer, why in found.left_out.items()]
    return found.encodings, PassRecord(
        choice=inputs.choice,
        touched=tuple(
            Touched(name=x.layer, before=x.before, after=max(x.before - x.shift, 0.0)) for x in found.layers
        ),
        measure="largest mean error of a channel",
        sentences=tuple(sentences),
        difference=None,
    )


def _stayed(difference: Difference) -> str:
    if not difference.samples:
        return "The float model stays as it is."
    return (
        f"The float outputs differ by at most {difference.largest:.2g} on "
        f"{plural(difference.samples, 'sample')}"
        f"{'' if np.isinf(difference.sqnr_db) else f' ({difference.sqnr_db:.0f} dB)'}."
    )


def _some_names(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


_ModelPass = Callable[[Model, Recipe, _PassInputs], tuple[Model, PassRecord]]
_EncodingPass = Callable[[Model, Encodings, _PassInputs], tuple[Encodings, PassRecord]]
MODEL_PASSES: Mapping[str, _ModelPass] = {
    "rotate": _run_rotation,
    "equalize": _run_equalization,
    "smooth": _run_smoothing,
}
ENCODING_PASSES: Mapping[str, _EncodingPass] = {
    "rounding": _run_rounding,
    "bias_correction": _run_bias_correction,
}
