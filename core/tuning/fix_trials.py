"""Model fixes (passes) tried one by one: what the outputs win by having each of them."""

from dataclasses import dataclass

from quantscope.core.calibration import calibrate
from quantscope.core.data import Samples
from quantscope.core.evaluate import closeness_db, preview, whole_reference
from quantscope.core.model import Model
from quantscope.core.passes import SUFFIX
from quantscope.core.pipeline import Quantized, quantize
from quantscope.core.progress import Progress, ProgressFn, report
from quantscope.core.recipe import PASSES, Recipe
from quantscope.core.tuning.sample_split import split_samples


@dataclass(frozen=True, slots=True, kw_only=True)
class FixTrial:
    """A recipe with one pass more, or one less."""

    name: str  # in core.passes.PASSES
    added: bool  # False: the recipe has it, and the trial is without
    before_db: float  # `closeness_db` of the recipe
    after_db: float  # of the trial
    samples: int  # measured on; they were not used to find the fix unless there are too few
    sentences: tuple[str, ...]  # what the pass did; empty for a trial without it

    @property
    def gain_db(self) -> float:
        """What having the pass wins, in dB."""
        change = self.after_db - self.before_db
        return change if self.added else -change


def try_fixes(
    model: Model,
    samples: Samples,
    recipe: Recipe,
    *,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> tuple[FixTrial, ...]:
    """Measure a recipe with each pass added, or taken out where it has it.

    Args:
        model: The float model as loaded.
        samples: Calibration samples; a third of them, up to `HELD_OUT`, judge what the others found.
        recipe: What to start from.
        threads: Samples run side by side.
        progress: Called after each trial; may raise `Cancelled`.

    Raises:
        DataError: There are no samples, or they do not fit the model.
    """
    fitted, held = split_samples(samples)
    judges = held or fitted
    reference = whole_reference(model, judges, threads)
    total, found = len(PASSES), list[FixTrial]()
    trying = "as it is"

    def alive(_: Progress | None = None) -> None:
        report(progress, len(found), total, trying)

    statistics = calibrate(model, fitted, threads=threads, cache=False, progress=alive)

    def measured(tried: Recipe) -> tuple[Quantized, float]:
        built = quantize(
            model, tried, fitted, statistics=statistics, threads=threads, cache=False, progress=alive
        )
        result = preview(reference, built.proto, layers=False, threads=threads, progress=alive)
        return built, closeness_db(result)

    _, before = measured(recipe)
    for name in PASSES:
        trying = PASSES[name].label
        added = name not in {choice.name for choice in recipe.passes}
        built, after = measured(switch_pass(recipe, name, added))
        sentences = next((record.sentences for record in built.records if record.choice.name == name), ())
        found.append(
            FixTrial(
                name=name,
                added=added,
                before_db=before,
                after_db=after,
                samples=len(reference),
                sentences=sentences,
            )
        )
        alive()
    return tuple(found)


def switch_pass(recipe: Recipe, name: str, on: bool) -> Recipe:
    """The recipe with a pass added, in working order, or taken out with what was chosen for its layers."""
    chosen = {choice.name: choice for choice in recipe.passes}
    wanted = [n for n in PASSES if (n == name and on) or (n != name and n in chosen)]
    after = recipe.with_passes(*(chosen.get(n, n) for n in wanted))
    return after if "smooth" in wanted else without_inserted_layers(after)


def without_inserted_layers(recipe: Recipe) -> Recipe:
    """No choices for layers that only a pass makes."""
    for layer in [name for name in recipe.layers if name.endswith(SUFFIX)]:
        recipe = recipe.without_layer(layer)
    return recipe
