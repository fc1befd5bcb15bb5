"""Auto-tune: the best recipe that measurement finds, step by step, with a story of what was tried."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.calibrate import calibrate
from core.evaluate import FloatReference, float_reference, preview
from core.model import Model
from core.passes.bias_correction import with_bias_shifts
from core.passes.table import PASSES
from core.pipeline import Quantized, quantize
from core.progress import ProgressFn, report
from core.qdq import quantize_model
from core.recipe import Choice, Encodings, Recipe, activation_spec, resolve
from core.samples import Samples
from core.statistics import Statistics
from core.targets import Precision
from core.thresholds import Method, errors_at
from core.tune import Trial, measured_default

CHOOSING = 48  # samples that choices are made on
HELD_OUT = 64  # others, which only the last comparison sees
GAIN_DB = 0.05  # what a step must win to be kept
FINALISTS = 3  # defaults that are tried once more with corrected biases
WORST = 10  # layers whose method is tried one by one
METHODS: tuple[dict[str, Any], ...] = (
    {"method": Method.MINMAX},
    {"method": Method.MSE},
    {"method": Method.KL_V2},
    {"method": Method.PERCENTILE, "percentile": 99.999},
    {"method": Method.PERCENTILE, "percentile": 99.99},
    {"method": Method.PERCENTILE, "percentile": 99.9},
)
# Each is tried on top of what was kept before it.
FIXES: tuple[tuple[str, str], ...] = (
    ("rotate", "turning residual streams to where no channel stands out"),
    ("equalize", "evening out channel ranges between layers"),
    ("smooth", "moving outlier channels of activations into weights"),
    ("rounding", "rounding weights by the error of their layer's output"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that was tried."""

    what: str
    sqnr_db: float  # of the network's output on the samples that choices are made on
    kept: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What tuning found."""

    recipe: Recipe
    steps: tuple[Step, ...]
    minmax_db: float  # plain MinMax on the samples held out
    tuned_db: float  # the recipe on the same samples; never less than `minmax_db`
    choosing: int
    held_out: int  # 0 = too few samples to hold any out: measured on those that chose

    @property
    def story(self) -> tuple[str, ...]:
        """What was tried and why it was kept, in sentences."""
        told = [f"{step.what}: {step.sqnr_db:.2f} dB. {step.why}" for step in self.steps]
        where = f"{self.held_out} samples not used to choose" if self.held_out else "the same samples"
        told.append(f"On {where}: MinMax {self.minmax_db:.2f} dB, tuned {self.tuned_db:.2f} dB.")
        return tuple(told)


def tune(
    model: Model,
    samples: Samples,
    recipe: Recipe | None = None,
    *,
    statistics: Statistics | None = None,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> Tuned:
    """Find the recipe whose integer model comes closest to float, by measuring complete integer models.

    In turn: a default for the whole network, corrected biases, the passes of `FIXES`, and the method of the
    layers that lose most; each is kept only if the SQNR of the network's output gains by it. At the end the
    recipes kept on the way and plain MinMax are compared on samples that no choice has seen, and the best
    there is returned: never one worse than MinMax. Layers that `recipe` sets keep their choice.

    Deterministic, and independent of the order of the samples. Passes and thresholds see all samples.

    Args:
        model: The float model.
        samples: Calibration samples.
        recipe: What to start from.
        statistics: Of the model on these samples; None = calibrate.
        threads: Samples run side by side; None = one a processor.
        progress: Told after each trial; may raise `Cancelled`.

    Raises:
        DataError: There are no samples, or they do not fit the model.
    """
    start = recipe or Recipe()
    known = statistics or calibrate(model, samples, threads=threads, progress=progress)
    choosing, held = _split(samples)
    search = _Search(model, samples, known, choosing, threads, progress)
    search.defaults(start)
    search.passes()
    search.layers()
    plain = start.with_default(method=Method.MINMAX).with_passes()
    judge = _reference(model, held, threads) if held is not None else search.reference
    candidates = [(plain, search.build(plain)), *search.kept]
    scores = [_score(judge, built, threads) for _, built in candidates]
    best = max(range(len(scores)), key=scores.__getitem__)
    return Tuned(
        recipe=candidates[best][0],
        steps=tuple(search.steps),
        minmax_db=scores[0],
        tuned_db=scores[best],
        choosing=len(choosing),
        held_out=len(held) if held is not None else 0,
    )


def _split(samples: Samples) -> tuple[Samples, Samples | None]:
    """Samples to choose on and others to judge by, told apart by content."""
    order = samples.by_content()
    if len(order) < 16:
        return samples, None
    border = min(CHOOSING, len(order) * 2 // 3)
    return samples.select(sorted(order[:border])), samples.select(sorted(order[border:][-HELD_OUT:]))


def _reference(model: Model, samples: Samples, threads: int | None) -> FloatReference:
    return float_reference(model, samples, count=len(samples), layers=False, threads=threads)


def _score(reference: FloatReference, built: Quantized, threads: int | None) -> float:
    seen = preview(reference, built.proto, layers=False, threads=threads)
    found = seen.output.overall.sqnr_db
    return float("-inf") if found is None else found


class _Search:
    """The climb: `kept` holds each recipe that won a step, the best so far at its end."""

    def __init__(
        self,
        model: Model,
        samples: Samples,
        statistics: Statistics,
        choosing: Samples,
        threads: int | None,
        progress: ProgressFn | None,
    ) -> None:
        self.model, self.samples, self.statistics = model, samples, statistics
        self.choosing, self.threads, self.progress = choosing, threads, progress
        self.reference = _reference(model, choosing, threads)
        self.steps: list[Step] = []
        self.kept: list[tuple[Recipe, Quantized]] = []
        self.best_db = float("-inf")
        self.total = FINALISTS + 2 * len(FIXES) + WORST + 2

    def build(self, recipe: Recipe) -> Quantized:
        """The integer model of a recipe, passes included."""
        return quantize(
            self.model, recipe, self.samples, statistics=self.statistics, threads=self.threads, cache=False
        )

    def defaults(self, start: Recipe) -> None:
        """One method for the whole network: the best few of all once more with corrected biases."""
        found = measured_default(self.model, self.statistics, self.choosing, start, threads=self.threads)
        ranked = sorted(found.trials, key=lambda trial: -trial.sqnr_db)
        self._offer(found.recipe, f"default {found.best.label}", "best of all methods for the whole network")
        for trial in ranked[:FINALISTS]:
            recipe = _with_default(start, trial).with_passes("bias_correction")
            self._offer(recipe, f"{trial.label}, biases corrected", "corrected biases win")

    def passes(self) -> None:
        """Each pass on top of what is best so far; one that is refused gets another try after later ones."""
        refused_on: dict[str, Recipe] = {}
        for name, meaning in (*FIXES, *FIXES):
            recipe, _ = self.kept[-1]
            chosen = {choice.name for choice in recipe.passes}
            if name in chosen or refused_on.get(name) is recipe:
                continue
            refused_on[name] = recipe
            chosen.add(name)
            ordered = [known for known in PASSES if known in chosen]  # the table has them in working order
            self._offer(recipe.with_passes(*ordered), f"{name} ({meaning})", "it helps here")

    def layers(self) -> None:
        """Other methods for the layers whose own tensor loses most, one layer after the other."""
        recipe, built = self.kept[-1]
        changed = recipe
        best_db = self.best_db
        for layer in self._worst(recipe, built):
            trials = []
            for changes in METHODS:
                tried = changed.with_layer(layer, **changes)
                trials.append((self._quick(tried, built), tried, changes))
            score, tried, changes = max(trials, key=lambda trial: trial[0])
            kept = score > best_db + GAIN_DB
            what = f"{layer}: {changes['method']} {changes.get('percentile', '')}".rstrip()
            self._tell(
                what,
                score,
                kept,
                "Kept: it wins here." if kept else "Not kept: no method beats the default here.",
            )
            if kept:
                changed, best_db = tried, score
        if changed is not recipe:
            self._offer(changed, "layers set one by one, biases corrected anew", "the gains add up")

    def _quick(self, recipe: Recipe, built: Quantized) -> float:
        """Score of an edit, with biases and integers as they were found before it."""
        encodings = resolve(recipe, built.statistics, built.model, previous=built.encodings)
        encodings = replace(encodings, integers=_still_valid(encodings, built.encodings))
        shifted = with_bias_shifts(built.model, encodings, built.encodings.bias_shifts)
        proto = quantize_model(built.model, shifted)
        return _score(self.reference, replace(built, proto=proto), self.threads)

    def _worst(self, recipe: Recipe, built: Quantized) -> Sequence[str]:
        """Layers by the SQNR of their own tensor, the worst first; those set by the user are left out."""
        losses: list[tuple[float, str]] = []
        for tensor, found in built.encodings.searches.items():
            layer = built.encodings.placement.tensors.get(tensor)
            histogram = built.statistics.histograms.get(tensor)
            if layer is None or histogram is None or layer in recipe.layers:
                continue
            choice = recipe.choice(layer)
            if choice.precision is Precision.FLOAT:
                continue
            spec = activation_spec(built.encodings.placement.target, choice)
            losses.append((errors_at(histogram, found.range, spec).sqnr_db, layer))
        return list(dict.fromkeys(layer for _, layer in sorted(losses)))[:WORST]

    def _offer(self, recipe: Recipe, what: str, why: str) -> None:
        """Build and measure a recipe; keep it if it wins."""
        built = self.build(recipe)
        score = _score(self.reference, built, self.threads)
        kept = score > self.best_db + (GAIN_DB if self.kept else 0.0) or not self.kept
        self._tell(what, score, kept, f"Kept: {why}." if kept else "Not kept: no gain.")
        if kept:
            self.kept.append((recipe, built))
            self.best_db = score

    def _tell(self, what: str, score: float, kept: bool, why: str) -> None:
        self.steps.append(Step(what=what, sqnr_db=score, kept=kept, why=why))
        report(self.progress, min(len(self.steps), self.total), self.total, what)


def _with_default(recipe: Recipe, trial: Trial) -> Recipe:
    choice: Choice = trial.choice
    return recipe.with_default(
        method=choice.method, percentile=choice.percentile, weight_method=choice.weight_method
    )


def _still_valid(encodings: Encodings, before: Encodings) -> dict[str, Any]:
    """Integers of weights whose scale the edit left alone."""
    return {
        node: integers
        for node, integers in before.integers.items()
        if encodings.raw_weights.get(node) == before.raw_weights.get(node)
    }
