"""EasyQuant for the whole model in the background, and what it does to the network's output."""

from dataclasses import dataclass, replace

from quantscope.core.evaluate import Comparison, compare
from quantscope.core.progress import Cancelled, Progress, ProgressFn
from quantscope.core.quantize import resolve
from quantscope.core.recipe import Recipe
from quantscope.core.tuning import EasyQuantResult, Split, easyquant, hold_out
from quantscope.ui.runs.exported_encodings import exported_encodings
from quantscope.ui.runs.measurement_work import MOST_SAMPLES, quantized_bytes
from quantscope.ui.session import cached
from quantscope.ui.session.jobs import Job, JobId, Work
from quantscope.ui.session.state import Session
from quantscope.ui.session.workspace import Workspace

CLEARLY_DB = 0.05  # a smaller change of the output's SQNR is none


@dataclass(frozen=True, slots=True, kw_only=True)
class BeforeAndAfter:
    """The network before and after, on the samples that quality is judged by."""

    before: Comparison
    after: Comparison
    unseen: bool  # EasyQuant did not see these samples

    @property
    def gain_db(self) -> float:
        """Change of the output's SQNR; above 0 is closer to float. 0 where there is none."""
        before, after = self.before.output.sqnr_db, self.after.output.sqnr_db
        return 0.0 if before is None or after is None or before == after else after - before

    @property
    def gain_top1(self) -> float | None:
        """Change of the share of labelled samples that are right; None without labels."""
        if self.before.accuracy is None or self.after.accuracy is None:
            return None
        before, after = self.before.accuracy.quantized_top1, self.after.accuracy.quantized_top1
        return None if before is None or after is None else after - before

    @property
    def closer(self) -> bool:
        """Whether the output is clearly closer to float's."""
        return self.gain_db >= CLEARLY_DB

    @property
    def mixed(self) -> bool:
        """Whether more samples are right though the output is farther from float's."""
        return (self.gain_top1 or 0.0) > 0.0 and self.gain_db <= -CLEARLY_DB

    @property
    def loses(self) -> bool:
        """Whether it is worse in anything that was measured."""
        return self.gain_db <= -CLEARLY_DB or (self.gain_top1 or 0.0) < 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeRun:
    """What was found for all layers, with the recipe that it was found for."""

    given: Recipe  # that it began with
    tuned: EasyQuantResult
    of: int  # layers that could be tuned
    figures: BeforeAndAfter | None  # None: nothing to compare, or measuring was stopped

    @property
    def recipe(self) -> Recipe:
        """With the scales found."""
        return self.tuned.apply(self.given)

    @property
    def changes(self) -> bool:
        """Whether that is another recipe at all."""
        return self.recipe != self.given


def whole_job(id: str) -> Job[WholeRun] | None:
    """The job of project `id`, if it was started."""
    return cached.registry().get(_id(id))


def start_whole(now: Session) -> None:
    """Tune all layers of the shown recipe, then measure; what is found before a cancel is kept."""
    samples = now.workspace.samples
    if samples is None:
        return
    model, recipe, encodings = now.model, now.recipe, now.encodings

    def work(tell: ProgressFn) -> WholeRun:
        split = split_for(now.workspace)
        fitting = samples if split is None else split.fitting
        tuned = easyquant(model, recipe, encodings, fitting, partial=True, progress=tell)
        run = WholeRun(
            given=recipe,
            tuned=tuned,
            of=sum(layer.weight is not None for layer in model.layers) - len(tuned.left_out),
            figures=None,
        )
        return _with_figures(now, run, tell)

    _submit(now, "EasyQuant", work)


def measure_whole(now: Session, run: WholeRun) -> None:
    """Measure what was found, where that was stopped."""
    _submit(now, "Measuring", lambda tell: _with_figures(now, run, tell))


def _with_figures(now: Session, run: WholeRun, tell: ProgressFn) -> WholeRun:
    """The run with its figures, or without them where it is cancelled first."""
    split = split_for(now.workspace)
    if not run.changes or split is None:
        return run
    try:
        found = before_and_after(now, run.given, run.recipe, split, tell)
    except Cancelled:
        return run
    return replace(run, figures=found)


def split_for(space: Workspace) -> Split | None:
    """What EasyQuant may use, and what it is judged on; None without data.

    Evaluation data judge where there are any that calibration has not seen, else calibration samples that
    are held out.
    """
    if space.samples is None:
        return None
    if space.evaluation is not None and space.evaluation.unseen_by(space.samples):
        return Split(fitting=space.samples, judging=space.evaluation, unseen=True)
    return hold_out(space.samples)


def before_and_after(
    now: Session, given: Recipe, found: Recipe, split: Split, tell: ProgressFn, *, most: int = MOST_SAMPLES
) -> BeforeAndAfter:
    """The network with the recipe given and the one found, on up to `most` samples that judge.

    Raises:
        Cancelled: `tell` raised it.
    """
    some = split.judging.take(most)

    def compared(recipe: Recipe, label: str) -> Comparison:
        def relabelled(progress: Progress) -> None:
            tell(replace(progress, label=label))

        encodings = resolve(recipe, now.workspace.statistics, now.model, previous=now.encodings)
        case = replace(now, recipe=recipe, encodings=encodings, known=None)
        data = quantized_bytes(case.model, exported_encodings(case, tell))
        return compare(now.opened.model, data, some, layers=False, latency=False, progress=relabelled)

    before, after = compared(given, "measuring before"), compared(found, "measuring after")
    return BeforeAndAfter(before=before, after=after, unseen=split.unseen)


def _submit(now: Session, title: str, work: Work[WholeRun]) -> None:
    cached.registry().restart(_id(now.project.id), title, work)


def _id(project: str) -> JobId[WholeRun]:
    return JobId(f"{project}:easymodel")
