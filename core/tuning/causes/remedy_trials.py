"""Remedies measured: on samples that neither showed the fault nor set a threshold."""

import math
from dataclasses import dataclass

from quantscope.core.calibration import Statistics, calibrate
from quantscope.core.data import Samples
from quantscope.core.evaluate import FloatReference, closeness_db, float_reference, preview
from quantscope.core.model import Model
from quantscope.core.pipeline import quantize
from quantscope.core.progress import ProgressFn
from quantscope.core.recipe import Recipe
from quantscope.core.tuning.remedies import Remedy
from quantscope.core.tuning.sample_split import FEWEST, HELD_OUT, split_samples

POOL = 512  # evaluation samples that are looked at; more take long to read and change little
JUDGES = 256  # of them: percentage points need more rows than decibels do


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DataParts:
    """The samples, shared out by what they are used for."""

    fitting: Samples  # set thresholds, and fixes measure on them
    ranking: Samples  # rank layers and show what is wrong with them
    judging: Samples  # measure remedies
    unseen: bool  # `judging` shares no sample with the other two


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrialSetup:
    """What remedies of one model are measured with; made once."""

    model: Model  # as loaded
    parts: DataParts
    statistics: Statistics  # of the fitting part
    reference: FloatReference  # of the judging part


@dataclass(frozen=True, slots=True, kw_only=True)
class RemedyEffect:
    """What a quantized model reaches on the judging part."""

    sqnr_db: float | None  # of the outputs, each at the same weight (`closeness_db`)
    lost: int = 0  # channels of the outputs that vary in the float model and are constant here
    agreement: float | None  # share of rows with float's class first; None where no output holds scores
    top1: float | None  # share of rows with the right class first; None without labels


@dataclass(frozen=True, slots=True, kw_only=True)
class RemedyTrial:
    """What a recipe reaches with a remedy and without."""

    before: RemedyEffect
    after: RemedyEffect
    rows: int  # judged on
    unseen: bool  # they were used for nothing else

    @property
    def gain_db(self) -> float | None:
        """Of the output's SQNR; None where one of them is not known."""
        before, after = self.before.sqnr_db, self.after.sqnr_db
        return None if before is None or after is None else after - before

    @property
    def points(self) -> float | None:
        """Of top-1, in percentage points; None without labels."""
        before, after = self.before.top1, self.after.top1
        return None if before is None or after is None else 100.0 * (after - before)

    @property
    def revived(self) -> int:
        """Channels of the outputs that the remedy brings back; below 0, that it makes constant."""
        return self.before.lost - self.after.lost

    @property
    def certain(self) -> bool:
        """Whether the points are more than chance: twice the spread of the rows that may have changed."""
        if self.points is None or self.before.agreement is None or self.after.agreement is None:
            return False
        changed = self.rows * (2.0 - self.before.agreement - self.after.agreement)
        return abs(self.points) / 100.0 * self.rows > 2.0 * math.sqrt(changed)


def most_to_rank_on(calibration: int, evaluation: int) -> int:
    """How many samples a ranking may use at most, leaving enough to judge by."""
    pool = min(evaluation, POOL)
    if pool >= FEWEST:
        return pool - min(JUDGES, pool // 2)
    return calibration if pool or calibration < FEWEST else calibration - min(HELD_OUT, calibration // 3)


def split_parts(calibration: Samples | None, evaluation: Samples | None, count: int) -> DataParts:
    """Share the data out by their content, so that their order does not matter.

    With evaluation data, these rank and judge; else a part of the calibration data judges, and sets no
    thresholds. Few samples are used for everything, and the result says so. Larger rankings contain
    smaller ones, and the judges are the same whatever `count` is.

    Args:
        calibration: What thresholds are made from; None where the data are gone.
        evaluation: Other samples, perhaps with labels.
        count: Most samples to rank on.
    """
    if evaluation is not None and len(evaluation) >= FEWEST:
        pool = _from_everywhere(evaluation)
        order = pool.by_content()
        most = most_to_rank_on(0, len(order))
        judging = pool.select(order[most:])
        return DataParts(
            fitting=calibration or evaluation,
            ranking=pool.select(order[: min(count, most)]),
            judging=judging,
            unseen=calibration is not None and judging.unseen_by(calibration),
        )
    if calibration is None:
        assert evaluation is not None, "there are no data at all"
        return DataParts(fitting=evaluation, ranking=evaluation.take(count), judging=evaluation, unseen=False)
    if evaluation is not None:
        ranking_ = calibration.select(calibration.by_content()).take(count)
        unseen = evaluation.unseen_by(calibration)
        return DataParts(fitting=calibration, ranking=ranking_, judging=evaluation, unseen=unseen)
    fitted, held = split_samples(calibration)
    return DataParts(
        fitting=fitted, ranking=fitted.take(count), judging=held or fitted, unseen=held is not None
    )


def _from_everywhere(samples: Samples) -> Samples:
    """Up to `POOL` samples from everywhere: data are often sorted by class."""
    if len(samples) <= POOL:
        return samples
    return samples.select([at * len(samples) // POOL for at in range(POOL)])


def prepare_trials(
    model: Model,
    parts: DataParts,
    statistics: Statistics | None = None,
    *,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> TrialSetup:
    """Get ready to measure remedies.

    Args:
        model: The float model as loaded.
        parts: The data.
        statistics: Of the model over all calibration data, used unless some of these judge.
        threads: Samples run side by side; None = one a processor.
        progress: Told how far it is; may raise `Cancelled`.

    Raises:
        DataError: The samples do not fit the model.
    """
    known = statistics
    if known is None or known.samples != parts.fitting.rows:
        known = calibrate(model, parts.fitting, threads=threads, cache=False, progress=progress)
    count = len(parts.judging)
    reference = float_reference(
        model, parts.judging, count=count, layers=False, threads=threads, progress=progress
    )
    return TrialSetup(model=model, parts=parts, statistics=known, reference=reference)


def measure_effect(
    ready: TrialSetup, recipe: Recipe, *, threads: int | None = None, progress: ProgressFn | None = None
) -> RemedyEffect:
    """What the complete integer model of a recipe does, passes included.

    Raises:
        RecipeError: The recipe does not fit the model.
        ModelError: ONNX Runtime does not accept the quantized model.
    """
    built = quantize(
        ready.model,
        recipe,
        ready.parts.fitting,
        statistics=ready.statistics,
        threads=threads,
        cache=False,
        progress=progress,
    )
    result = preview(ready.reference, built.proto, layers=False, threads=threads, progress=progress)
    scores, close = result.output.accuracy, closeness_db(result)
    return RemedyEffect(
        sqnr_db=None if close == -math.inf else close,
        lost=result.output.lost,
        agreement=None if scores is None else scores.agreement,
        top1=None if scores is None else scores.quantized_top1,
    )


def try_remedy(
    ready: TrialSetup,
    recipe: Recipe,
    remedy: Remedy,
    *,
    before: RemedyEffect | None = None,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> RemedyTrial:
    """Measure a recipe with and without a remedy.

    Args:
        ready: From `prepare_trials`.
        recipe: Without it.
        remedy: What to do.
        before: The recipe's own effect, where it was measured already.
        threads: Samples run side by side; None = one a processor.
        progress: Told how far it is; may raise `Cancelled`.

    Raises:
        RecipeError: The remedy does not fit the model.
        ModelError: ONNX Runtime does not accept the quantized model.
    """
    plain = before or measure_effect(ready, recipe, threads=threads, progress=progress)
    better = measure_effect(ready, remedy.applied(recipe), threads=threads, progress=progress)
    return RemedyTrial(before=plain, after=better, rows=ready.parts.judging.rows, unseen=ready.parts.unseen)
