"""Whether a step that claims to help does: the network's outputs before and after, on unseen samples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx

from quantscope.core.calibration import Statistics
from quantscope.core.data import Samples
from quantscope.core.evaluate import FloatReference, closeness_db, preview, whole_reference
from quantscope.core.model import Model
from quantscope.core.pipeline import quantize
from quantscope.core.progress import ProgressFn
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.tuning.easyquant_search import EasyQuantResult, easyquant
from quantscope.core.tuning.fix_trials import without_inserted_layers
from quantscope.core.tuning.sample_split import split_samples
from quantscope.core.words import decibels, plural

FEWEST = 4  # samples of which one can be held out
CLEARLY_DB = 0.05  # a smaller change is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Samples by what they are for."""

    fitting: Samples  # what a step measures on
    judging: Samples  # what it is judged on
    unseen: bool  # the two have nothing in common; else there are too few samples, and both are all of them

    @property
    def judges(self) -> str:
        """What is judged on, in words."""
        count = len(self.judging)
        few = plural(count, "sample")
        return f"{few} not used for it" if self.unseen else f"the {few} used for it (too few to hold any out)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Closeness:
    """How close a quantized network's outputs are to float's, in dB."""

    mean_db: float  # `closeness_db`: SQNR averaged over the outputs
    overall_db: float  # SQNR of all outputs as one

    def gains_over(self, other: "Closeness") -> bool:
        """Clearly closer, and not clearly farther in all outputs taken as one."""
        return self.mean_db > other.mean_db + CLEARLY_DB and self.overall_db >= other.overall_db - CLEARLY_DB

    def loses_to(self, other: "Closeness") -> bool:
        """Clearly farther in either figure."""
        return self.mean_db < other.mean_db - CLEARLY_DB or self.overall_db < other.overall_db - CLEARLY_DB


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedEasyQuant:
    """EasyQuant's scales, as far as the network gains by them."""

    recipe: Recipe  # the one given where nothing gained
    tuned: EasyQuantResult  # what was found for each layer
    kept: str  # "all scales", "the weights' scales", "the ranges", or "" for nothing
    before: Closeness
    after: Closeness  # with all scales, where nothing was kept
    split: Split

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, and the verdict, for people."""
        layers, sentences = self.tuned.layers, []
        if layers:
            before = sum(layer.before for layer in layers) / len(layers)
            after = sum(layer.after for layer in layers) / len(layers)
            sentences.append(
                f"EasyQuant: mean cosine of the own outputs of {plural(len(layers), 'layer')} {before:.6f} "
                f"-> {after:.6f}, on the {plural(self.tuned.samples, 'sample')} that it used"
            )
        verdict = f"{self.kept} are kept" if self.kept else "no gain, so nothing is changed"
        outputs = f"EasyQuant: the network's outputs {change_text(self.before, self.after)}"
        sentences.append(f"{outputs} on {self.split.judges}: {verdict}")
        sentences += [f"EasyQuant left out '{layer}': {why}" for layer, why in self.tuned.left_out.items()]
        return tuple(sentences)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPasses:
    """The effect of a recipe's passes on the network's outputs."""

    before: Closeness  # without them
    after: Closeness
    better_without: str  # the pass to leave out, or "" where the outputs do not lose
    gained: Closeness  # without that pass
    split: Split

    @property
    def sentence(self) -> str:
        """The verdict for people."""
        changed = change_text(self.before, self.after)
        verdict = f"Model fixes: the network's outputs {changed} on {self.split.judges}"
        if not self.better_without:
            return verdict
        gained = decibels(self.gained.mean_db)
        return f"{verdict}: they lose here; leave out '{self.better_without}' ({gained} without it)"


def hold_out(samples: Samples) -> Split:
    """A third of the samples for judging, in whatever order they come; all for both where they are few."""
    fitting, judging = split_samples(samples, fewest=FEWEST)
    if judging is None:
        return Split(fitting=samples, judging=samples, unseen=False)
    return Split(fitting=fitting, judging=judging, unseen=True)


def judged_easyquant(
    model: Model,
    recipe: Recipe,
    statistics: Statistics,
    samples: Samples,
    *,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> JudgedEasyQuant:
    """EasyQuant for the whole model, of which is kept what the network's outputs gain by.

    Each layer's own output is all that EasyQuant looks at. What that does to the network is measured on
    samples held out: with all that it found, with the weights' scales alone, and with the ranges alone.

    Args:
        model: The float model.
        recipe: The choices so far.
        statistics: Of the model; ranges of layers that are not moved come from them.
        samples: Calibration samples.
        threads: Samples run side by side.
        progress: Told how far it is; may raise `Cancelled`.

    Raises:
        DataError: There are no samples, or they do not fit the model.
    """
    split = hold_out(samples)
    given = resolve(recipe, statistics, model)
    tuned = easyquant(model, recipe, given, split.fitting, progress=progress)
    parts = {
        "all scales": tuned,
        "the weights' scales": replace(tuned, ranges={}),
        "the ranges": replace(tuned, layers=()),
    }
    reference = whole_reference(model, split.judging, threads)

    def measured(tried: Recipe) -> Closeness:
        encodings = resolve(tried, statistics, model, previous=given)
        return _measured(reference, quantize_model(model, encodings), threads)

    before = measured(recipe)
    tried = {name: part.apply(recipe) for name, part in parts.items()}
    found = {name: measured(one) for name, one in tried.items() if one != recipe}
    gaining = [name for name, one in found.items() if one.gains_over(before)]
    best = max(gaining, key=lambda name: found[name].mean_db, default="")
    return JudgedEasyQuant(
        recipe=tried.get(best, recipe),
        tuned=tuned,
        kept=best,
        before=before,
        after=found.get(best, found.get("all scales", before)),
        split=split,
    )


def judged_passes(
    model: Model,
    recipe: Recipe,
    samples: Samples,
    *,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> JudgedPasses:
    """The network with a recipe's passes and without, everything built on samples that do not judge.

    Raises:
        DataError: There are no samples, or they do not fit the model.
    """
    split = hold_out(samples)
    reference = whole_reference(model, split.judging, threads)

    def measured(passes: Sequence[str]) -> Closeness:
        tried = recipe.with_passes(*(choice for choice in recipe.passes if choice.name in passes))
        if "smooth" not in passes:
            tried = without_inserted_layers(tried)
        built = quantize(model, tried, split.fitting, threads=threads, cache=False, progress=progress)
        return _measured(reference, built.proto, threads)

    names = [choice.name for choice in recipe.passes]
    before, after = measured(()), measured(names)
    better, gained = "", after
    if after.loses_to(before):
        rest = {name: [other for other in names if other != name] for name in names}
        without = {name: measured(left) if left else before for name, left in rest.items()}
        better = max(without, key=lambda name: without[name].mean_db)
        gained = without[better]
    return JudgedPasses(before=before, after=after, better_without=better, gained=gained, split=split)


def change_text(before: Closeness, after: Closeness) -> str:
    """Two figures for people."""
    return f"{decibels(before.mean_db)} -> {decibels(after.mean_db)}"


def _measured(reference: FloatReference, proto: onnx.ModelProto, threads: int | None) -> Closeness:
    result = preview(reference, proto, layers=False, threads=threads)
    overall = result.output.overall.sqnr_db
    return Closeness(mean_db=closeness_db(result), overall_db=-math.inf if overall is None else overall)
