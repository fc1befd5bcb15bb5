"""What recipes win over MinMax on samples that their ranges have not seen."""

import math
import statistics
from collections.abc import Sequence

from quantscope.core.calibration import calibrate
from quantscope.core.data import Samples
from quantscope.core.evaluate import closeness_db, float_reference, preview
from quantscope.core.model import Model
from quantscope.core.progress import Progress, ProgressFn, report
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe

FOLDS = 3  # parts of the samples, each judged once with ranges from the others
MARGIN_DB = 0.5  # less than that over MinMax is within what so few samples can tell
SPREAD_DB = 6.0  # of the gain from sample to sample
_LABEL = "on samples that ranges have not seen"


def least_gain(samples: int) -> float:
    """What a method must win over MinMax on average, in dB, to be taken on the word of so many samples.

    The gain of one sample spreads by about 6 dB around the mean, since a few of them hold the largest values:
    the mean of n of them is known to 6 / sqrt(n).
    """
    return max(MARGIN_DB, SPREAD_DB / math.sqrt(max(samples, 1)))


def why_refused(gains_db: Sequence[float], samples: int) -> str:
    """Why gains over MinMax on parts of the samples are not enough; "" where they are.

    They have to reach `least_gain` on average, and to be more than their standard error: a part with samples
    as no other one has may lose a little where the others win much, but not the other way round.
    """
    mean = statistics.fmean(gains_db)
    if not mean >= least_gain(samples):
        wins = f"wins only {mean:.1f} dB over" if mean > 0.0 else f"loses {abs(mean):.1f} dB against"
        return f"{wins} MinMax on samples that its ranges have not seen"
    if math.isfinite(mean) and mean < statistics.stdev(gains_db) / math.sqrt(len(gains_db)):
        least = min(gains_db)
        return f"loses {abs(least):.1f} dB against MinMax on some samples that its ranges have not seen"
    return ""


def unseen_gains(
    model: Model,
    samples: Samples,
    plain: Recipe,
    recipes: Sequence[Recipe],
    *,
    threads: int | None = None,
    progress: ProgressFn | None = None,
    done: int = 0,
) -> list[tuple[float, ...]]:
    """The gain of each recipe in `closeness_db` over a plain one, in dB, on each third of the samples.

    Ranges come from the other two thirds each time.

    Args:
        model: The float model.
        samples: At least `FOLDS` of them.
        plain: What they are measured against: MinMax.
        recipes: Without passes.
        threads: Samples run side by side; None = one a processor.
        progress: Told after each measurement; may raise `Cancelled`.
        done: What the progress counts before the first third.
    """
    gains: list[list[float]] = [[] for _ in recipes]
    for fold in range(FOLDS):

        def alive(_: Progress | None = None, fold: int = fold) -> None:
            report(progress, done + fold, done + FOLDS, _LABEL)

        unseen = samples.select(range(fold, len(samples), FOLDS))
        others = samples.select([at for at in range(len(samples)) if at % FOLDS != fold])
        known = calibrate(model, others, threads=threads, cache=False, progress=alive)
        reference = float_reference(model, unseen, count=len(unseen), layers=False, threads=threads)
        scores = []
        for recipe in (plain, *recipes):
            proto = quantize_model(model, resolve(recipe, known, model))
            scores.append(closeness_db(preview(reference, proto, layers=False, threads=threads)))
            alive()
        for found, score in zip(gains, scores[1:], strict=True):
            found.append(0.0 if score == scores[0] else score - scores[0])
    report(progress, done + FOLDS, done + FOLDS, _LABEL)
    return [tuple(found) for found in gains]
