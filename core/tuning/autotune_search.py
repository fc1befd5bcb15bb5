"""Auto-tune: the best recipe that measurement finds, step by step, with a story of what was tried."""

from collections.abc import Callable, Collection, Sequence

import onnx

from quantscope.core.calibration import Statistics, calibrate
from quantscope.core.data import Samples
from quantscope.core.evaluate import (
    FloatReference,
    OutputComparison,
    Preview,
    closeness_db,
    preview,
    whole_reference,
)
from quantscope.core.model import Model
from quantscope.core.pipeline import Quantized, carry_over, quantize
from quantscope.core.progress import Cancelled, Progress, ProgressFn, report
from quantscope.core.quantize import activation_spec, quantize_model, resolve
from quantscope.core.recipe import PASSES, Choice, ChoiceChanges, Recipe
from quantscope.core.targets import Precision, Role, find_placement, target
from quantscope.core.thresholds import METHODS, Method, Needs, errors_at
from quantscope.core.tuning.autotune_result import AutotuneResult as AutotuneResult
from quantscope.core.tuning.autotune_result import AutotuneStep as AutotuneStep
from quantscope.core.tuning.autotune_result import Verdict, verdict
from quantscope.core.tuning.default_trials import DefaultTrial, changes_of, try_defaults
from quantscope.core.tuning.fix_trials import switch_pass
from quantscope.core.tuning.remedies_for_outputs import output_remedies, weak_outputs
from quantscope.core.tuning.sample_split import split_samples
from quantscope.core.words import plural

CHOOSING = 48  # samples that choices are made on
GAIN_DB = 0.05  # what a step must win to be kept
SAME_DB = 1.0  # what ranges from all samples may cost
GLUE_DB = 1.0  # the same for operators in float, which may cost time
FINALISTS = 3  # defaults that are tried once more with corrected biases
WORST = 10  # layers whose method is tried one by one
# Of equal trials the first is taken: a method that has no share to choose goes before one that has.
TRIED: tuple[ChoiceChanges, ...] = tuple(
    changes
    for method in sorted(METHODS, key=lambda method: method.facts.needs is Needs.SHARE)
    if method.facts.autotune
    for changes in changes_of(method)
)
GLUE = frozenset({Role.OWN, Role.NORM, Role.SELECT})  # operators between those that have weights
FLOAT_GLUE = "glue"
# Each is tried on top of what was kept before it.
FIXES: tuple[tuple[str, str], ...] = (
    (FLOAT_GLUE, "operators without weights, such as Add, Mul and Softmax, in float"),
    *((entry.name, entry.phrase) for entry in PASSES.values()),
)


def autotune(
    model: Model,
    samples: Samples,
    recipe: Recipe | None = None,
    *,
    statistics: Statistics | None = None,
    threads: int | None = None,
    partial: bool = False,
    watch: Callable[[AutotuneStep], None] | None = None,
    progress: ProgressFn | None = None,
) -> AutotuneResult:
    """Find the recipe whose integer model comes closest to float, by measuring complete integer models.

    In turn: a default for the whole network, corrected biases, the `FIXES`, other defaults once more, the
    method of the layers that lose most, and fixes that were refused before; each is kept only if the outputs
    come closer to float by it (`closeness_db`), and no channel of them becomes constant. Every recipe kept on
    the way, and plain MinMax, is also measured on samples that neither choices nor thresholds have seen, and
    the best there is returned: never one worse than MinMax. Layers that `recipe` sets keep their choice.

    Deterministic, and independent of the order of the samples.

    Args:
        model: The float model.
        samples: Calibration samples.
        recipe: What to start from.
        statistics: Of the model on these samples, used where there are too few to hold any out, and last.
        threads: Samples run side by side; None = one a processor.
        partial: When cancelled after something was kept, return that, with `complete` False.
        watch: Told of each step as it ends.
        progress: Told after each trial; may raise `Cancelled`.

    Raises:
        DataError: There are no samples, or they do not fit the model.
        Cancelled: `progress` raised it, and there is nothing to return.
    """
    start = recipe or Recipe()
    fitted, held = split_samples(samples)
    choosing = fitted.take(CHOOSING)
    known = statistics if held is None else None
    known = known or calibrate(model, fitted, threads=threads, cache=False, progress=progress)
    search = _AutotuneSearch(model, fitted, known, choosing, held, threads, progress)
    search.watch = watch
    plain = start.with_default(method=Method.MINMAX).with_passes()
    built = search.build(plain)
    minmax = search.judged(built)
    complete = search.run(start, partial=partial)
    best, chosen, lost = minmax.closeness, plain, minmax.lost
    for recipe_, judged in search.verdicts:
        if judged.closeness > best and judged.not_worse_than(minmax):
            best, chosen, lost = judged.closeness, recipe_, judged.lost
    if held is not None and complete and chosen is not plain:
        best, chosen = search.settled(chosen, best, samples, statistics)
    return AutotuneResult(
        recipe=chosen,
        steps=tuple(search.steps),
        minmax_db=minmax.closeness,
        tuned_db=best,
        choosing=len(choosing),
        held_out=len(held) if held is not None else 0,
        complete=complete,
        unquantized=_unquantized(model, start, chosen, built.encodings.kept_float),
        lost=lost,
        fell_back=chosen is plain and any(judged != minmax for _, judged in search.verdicts),
    )


def _unquantized(model: Model, start: Recipe, chosen: Recipe, kept: Collection[str]) -> tuple[str, ...]:
    """Layers that the recipe to start from quantizes, where the one chosen quantizes none.

    No recipe quantizes the tensors `kept`, which no integers can hold.
    """

    def placed(recipe: Recipe) -> frozenset[str]:
        floats = [n.name for n in model.layers if recipe.choice(n.name).precision is Precision.FLOAT]
        return find_placement(model, target(recipe.target), floats, kept).nodes

    if placed(chosen):
        return ()
    could = placed(start)
    return tuple(layer.name for layer in model.layers if could.intersection(layer.nodes))


class _AutotuneSearch:
    """The search so far: `best` is the recipe that won the last step, `verdicts` has all that won one."""

    def __init__(
        self,
        model: Model,
        samples: Samples,
        statistics: Statistics,
        choosing: Samples,
        held: Samples | None,
        threads: int | None,
        progress: ProgressFn | None,
    ) -> None:
        self.model, self.samples, self.statistics = model, samples, statistics
        self.choosing, self.threads, self.progress = choosing, threads, progress
        self.reference = whole_reference(model, choosing, threads)
        self.judge = self.reference if held is None else whole_reference(model, held, threads)
        self.steps: list[AutotuneStep] = []
        self.verdicts: list[tuple[Recipe, Verdict]] = []
        self.best: tuple[Recipe, Quantized] | None = None
        self.best_db = float("-inf")
        self.outputs: OutputComparison | None = None  # of `best`
        self.by_user: frozenset[str] = frozenset()  # layers that the recipe to start from sets
        self.refused: dict[str, Recipe] = {}  # fix → the recipe on which it won nothing
        self.watch: Callable[[AutotuneStep], None] | None = None
        self.trying = "MinMax, to compare with"
        self.total = 1 + FINALISTS + 2 * len(FIXES) + len(TRIED) + WORST + 1

    def run(self, start: Recipe, *, partial: bool) -> bool:
        """All steps in turn; whether they came to their end.

        Raises:
            Cancelled: `progress` raised it, and nothing was kept so far, or nothing partial is wanted.
        """
        try:
            self.defaults(start)
            self.fixes()
            self.methods()
            self.layers()
            self.fixes()
        except Cancelled:
            if not (partial and self.verdicts):
                raise
            return False
        return True

    def build(self, recipe: Recipe) -> Quantized:
        """The integer model of a recipe, passes included."""
        return quantize(
            self.model,
            recipe,
            self.samples,
            statistics=self.statistics,
            threads=self.threads,
            cache=False,
            progress=self._alive,
        )

    def judged(self, built: Quantized) -> Verdict:
        """How it does on the samples held out."""
        return verdict(self._preview(built.proto, self.judge))

    def defaults(self, start: Recipe) -> None:
        """One method for the whole network: the best few of all once more with corrected biases."""
        self.by_user = frozenset(start.layers)
        self.trying = "one method for the whole network"
        found = try_defaults(
            self.model, self.statistics, self.choosing, start, threads=self.threads, progress=self._alive
        )
        ranked = sorted(found.trials, key=lambda trial: -trial.sqnr_db)
        self._offer(found.recipe, f"default {found.best.label}", "best of all methods for the whole network")
        for trial in ranked[:FINALISTS]:
            recipe = _with_default(start, trial).with_passes("bias_correction")
            self._offer(recipe, f"{trial.label}, biases corrected", "corrected biases win")

    def fixes(self) -> None:
        """Each fix on top of what is best so far; one that is refused gets another try after later gains."""
        self.rescue_outputs()
        for name, meaning in (*FIXES, *FIXES):
            recipe, _ = self._best()
            tried = _with_fix(self.model, recipe, name, self.by_user)
            if tried == recipe or self.refused.get(name) is recipe:
                continue
            self.refused[name] = recipe
            least = GLUE_DB if name == FLOAT_GLUE else GAIN_DB
            self._offer(tried, f"{name} ({meaning})", "it helps here", least)

    def rescue_outputs(self) -> None:
        """Bring back outputs that are too small for a range they share, by the least change that does."""
        assert self.outputs is not None, "the defaults come first"
        recipe, _ = self._best()
        for option in output_remedies(
            self.model, recipe, self.outputs.outputs, self.statistics, self.by_user
        ):
            recipe, _ = self._best()
            if not weak_outputs(self.outputs.outputs) or self.refused.get(option.label) is recipe:
                continue
            self.refused[option.label] = recipe
            why = "small values of the outputs come back"
            self._offer(option.applied(recipe), option.label, why, GLUE_DB)

    def methods(self) -> None:
        """The default once more: what the fixes did may call for another."""
        recipe, built = self._best()
        self.trying = "other defaults on the changed network"
        trials = [(self._quick(tried, built), tried) for tried in (recipe.with_default(**m) for m in TRIED)]
        score, tried = max(trials, key=lambda trial: trial[0])
        if score > self.best_db + GAIN_DB:
            self._offer(
                tried, f"default {_method_text(tried.default)} instead", "it suits the changed network"
            )

    def layers(self) -> None:
        """Other methods for the layers whose own tensor loses most, one layer after the other."""
        recipe, built = self._best()
        changed = recipe
        best_db = self.best_db
        for layer in self._worst(recipe, built):
            self.trying = f"other methods for {layer}"
            trials = []
            for changes in TRIED:
                tried = changed.with_layer(layer, **changes)
                trials.append((self._quick(tried, built), tried))
            score, tried = max(trials, key=lambda trial: trial[0])
            kept = score > best_db + GAIN_DB
            why = "Kept: it wins here." if kept else f"Not kept: {_refused(score, best_db, GAIN_DB)}."
            self._tell(f"{layer}: {_method_text(tried.choice(layer))}", score, kept, why)
            if kept:
                changed, best_db = tried, score
        if changed is not recipe:
            self._offer(changed, "layers set one by one, biases corrected anew", "the gains add up")

    def settled(
        self, recipe: Recipe, judged_db: float, samples: Samples, statistics: Statistics | None
    ) -> tuple[float, Recipe]:
        """The recipe as it is exported: with ranges from all samples, those that judge among them.

        A method that cuts off a share of the values may cut elsewhere then, where outliers are about as
        frequent as that share. Where the result loses by it, the default is chosen once more.
        """
        self.trying = "ranges from all samples"

        def build(recipe: Recipe) -> Quantized:
            return quantize(
                self.model,
                recipe,
                samples,
                statistics=statistics,
                threads=self.threads,
                cache=False,
                progress=self._alive,
            )

        built = build(recipe)
        score = self._judge(built.proto)
        if score >= judged_db - SAME_DB:
            return judged_db, recipe
        why = "Not kept: they cut off elsewhere, and another default is tried."
        self._tell("ranges from all samples", score, False, why)
        quick = []
        for tried in (recipe.with_default(**changes) for changes in TRIED):
            encodings = resolve(tried, built.statistics, built.model, previous=built.encodings)
            carried = carry_over(built.model, encodings, built.encodings)
            quick.append((self._judge(quantize_model(built.model, carried)), tried))
        _, other = max(quick, key=lambda trial: trial[0])
        gained = self._judge(build(other).proto)
        kept = gained > score
        why = "Kept: best with them." if kept else "Not kept: no gain."
        self._tell(f"default {_method_text(other.default)} for all samples", gained, kept, why)
        return (min(gained, judged_db), other) if kept else (score, recipe)

    def _judge(self, proto: onnx.ModelProto) -> float:
        """Closeness on the samples held out."""
        return closeness_db(self._preview(proto, self.judge))

    def _preview(self, proto: onnx.ModelProto, reference: FloatReference) -> Preview:
        return preview(reference, proto, layers=False, threads=self.threads, progress=self._alive)

    def _best(self) -> tuple[Recipe, Quantized]:
        assert self.best is not None, "the defaults come first"
        return self.best

    def _quick(self, recipe: Recipe, built: Quantized) -> float:
        """Score of an edit, with biases and integers as they were found before it."""
        encodings = resolve(recipe, built.statistics, built.model, previous=built.encodings)
        carried = carry_over(built.model, encodings, built.encodings)
        return self._score(quantize_model(built.model, carried))

    def _score(self, proto: onnx.ModelProto) -> float:
        return closeness_db(self._preview(proto, self.reference))

    def _worst(self, recipe: Recipe, built: Quantized) -> Sequence[str]:
        """Layers by the SQNR of their own tensor, the worst first; those set by the user are left out."""
        losses: list[tuple[float, str]] = []
        for tensor, found in built.encodings.searches.items():
            layer = built.encodings.placement.tensors.get(tensor)
            histogram = built.statistics.histograms.get(tensor)
            if layer is None or histogram is None or layer in self.by_user:
                continue
            spec = activation_spec(built.encodings.placement.target, recipe.choice(layer))
            losses.append((errors_at(histogram, found.range, spec).sqnr_db, layer))
        return list(dict.fromkeys(layer for _, layer in sorted(losses)))[:WORST]

    def _offer(self, recipe: Recipe, what: str, why: str, least: float = GAIN_DB) -> None:
        """Build and measure a recipe; keep it if it wins."""
        self.trying = what
        built = self.build(recipe)
        result = self._preview(built.proto, self.reference)
        score = closeness_db(result)
        gained = self.outputs is None or score > self.best_db + least
        more = 0 if self.outputs is None else result.output.lost - self.outputs.lost
        kept = gained and more <= 0
        become = "becomes" if more == 1 else "become"
        refused = f"{plural(more, 'channel')} of the outputs {become} constant by it"
        refused = refused if gained else _refused(score, self.best_db, least)
        self._tell(what, score, kept, f"Kept: {why}." if kept else f"Not kept: {refused}.")
        if kept:
            self.best, self.best_db, self.outputs = (recipe, built), score, result.output
            self.verdicts.append((recipe, self.judged(built)))

    def _tell(self, what: str, score: float, kept: bool, why: str) -> None:
        self.steps.append(AutotuneStep(what=what, sqnr_db=score, kept=kept, why=why))
        if self.watch is not None:
            self.watch(self.steps[-1])
        self._alive()

    def _alive(self, _: Progress | None = None) -> None:
        """Say what is being tried; the place where a cancel is noticed."""
        report(self.progress, min(len(self.steps), self.total), self.total, self.trying)


def _with_fix(model: Model, recipe: Recipe, name: str, by_user: frozenset[str]) -> Recipe:
    """The recipe with one of `FIXES`; the same where that changes nothing. Layers `by_user` stay."""
    if name != FLOAT_GLUE:
        return switch_pass(recipe, name, True)
    roles = target(recipe.target).roles
    for layer in model.layers:
        if roles.get(layer.op) in GLUE and layer.name not in by_user:
            recipe = recipe.without_layer(layer.name).with_layer(layer.name, precision=Precision.FLOAT)
    return recipe


def _refused(score: float, best: float, least: float) -> str:
    """Why a step is not kept that did not win `least` dB."""
    return f"less than {least:g} dB more" if score > best else "no gain"


def _method_text(choice: Choice) -> str:
    share = f" {choice.percentile:g}" if choice.method is Method.PERCENTILE else ""
    return f"{choice.method}{share}"


def _with_default(recipe: Recipe, trial: DefaultTrial) -> Recipe:
    choice: Choice = trial.choice
    return recipe.with_default(
        method=choice.method, percentile=choice.percentile, weight_method=choice.weight_method
    )
