"""What Auto-tune reports: each step, the result, and the verdict on samples that nothing was chosen on."""

import math
from dataclasses import dataclass

from quantscope.core.evaluate import Preview, closeness_db
from quantscope.core.model import quoted_names
from quantscope.core.recipe import Recipe
from quantscope.core.words import decibels, plural

TRADE_DB = 1.0  # that all outputs taken as one may lose at most where the parts of them gain more


@dataclass(frozen=True, slots=True, kw_only=True)
class AutotuneStep:
    """One thing that was tried."""

    what: str
    sqnr_db: float  # of the network's outputs (`closeness_db`) on the samples that choices are made on
    kept: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AutotuneResult:
    """What tuning found."""

    recipe: Recipe
    steps: tuple[AutotuneStep, ...]
    minmax_db: float  # plain MinMax on the samples held out, which its ranges have not seen either
    tuned_db: float  # the best there of all kept, and so a little flattered; never below `minmax_db`
    choosing: int
    held_out: int  # 0 = too few samples to hold any out: measured on those that chose
    complete: bool = True  # False: cancelled before everything was tried
    unquantized: tuple[str, ...] = ()  # layers that could be quantized, where the result leaves all in float
    lost: int = 0  # channels of the outputs that vary in the float model and are constant in the result
    fell_back: bool = False  # plain MinMax is the result, since nothing that was kept on the way beat it

    @property
    def story(self) -> tuple[str, ...]:
        """What was tried and why it was kept, in sentences, and what must not be missed."""
        return (*self.sentences, *self.warnings)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was tried and why it was kept, in sentences."""
        sentences = [f"{step.what}: {decibels(step.sqnr_db, 2)}. {step.why}" for step in self.steps]
        where = "the same samples"
        if self.held_out:
            where = f"{plural(self.held_out, 'sample')} held out, which judge between all that was kept"
        sentences += [] if self.complete else ["Cancelled: what was found so far stands."]
        minmax, tuned = decibels(self.minmax_db, 2), decibels(self.tuned_db, 2)
        back = (
            " What was kept on the way is no better there, so plain MinMax stays." if self.fell_back else ""
        )
        return (*sentences, f"On {where}: MinMax {minmax}, tuned {tuned}.{back}")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must not be missed about the result."""
        warnings = []
        if self.lost:
            vary, are = ("varies", "is") if self.lost == 1 else ("vary", "are")
            warnings.append(
                f"{plural(self.lost, 'channel')} of the outputs {vary} in the float model and {are} still "
                "constant in the result."
            )
        if self.unquantized:
            warnings.append(self.nothing_quantized)
        return tuple(warnings)

    @property
    def nothing_quantized(self) -> str:
        """That the result is the float model, where it is."""
        return (
            f"Nothing is quantized in the result: {quoted_names(self.unquantized)} could be, and came "
            "less close to float in every way that was tried."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A recipe on the samples held out."""

    closeness: float
    overall_db: float  # of all outputs taken as one
    disagreeing: float  # rows whose highest class is another
    lost: int  # channels that vary in the float model and are constant here

    def not_worse_than(self, other: "Verdict") -> bool:
        """In lost channels, the error of all outputs together, and by class beyond what chance may do.

        Together, large values hide small ones: for these, the error of all may grow by less than they win.
        """
        chance = 2.0 * (other.disagreeing + 1.0) ** 0.5
        traded = min(TRADE_DB, max(self.closeness - other.closeness, 0.0))
        return (
            self.lost <= other.lost
            and self.overall_db >= other.overall_db - traded
            and self.disagreeing <= other.disagreeing + chance
        )


def verdict(preview: Preview) -> Verdict:
    """The verdict on a recipe's quantized model."""
    overall, scores = preview.output.overall.sqnr_db, preview.output.accuracy
    return Verdict(
        closeness=closeness_db(preview),
        overall_db=-math.inf if overall is None else overall,
        disagreeing=0.0 if scores is None else scores.rows * (1.0 - scores.agreement),
        lost=preview.output.lost,
    )
