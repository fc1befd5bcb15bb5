"""What helps the layers that cost the output most: a few changes each, measured at the model's output.

A change is advised for what it does to the output on the preview's samples, not for what it promises for the
layer alone: to cut off outliers makes a layer's own error larger, and may be what the model needs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantscope.core.errors import QuantScopeError
from quantscope.core.evaluate import closeness_db, preview
from quantscope.core.pipeline import carry_over, changes_encodings
from quantscope.core.progress import ProgressFn, report
from quantscope.core.quantize import Encodings
from quantscope.core.tuning import Remedy
from quantscope.ui.content import diagnosis
from quantscope.ui.content.diagnosis import Diagnosis, KnownCauses, slower
from quantscope.ui.runs import measured, measurement_work, rankings
from quantscope.ui.runs.measured import Measured
from quantscope.ui.runs.measurement_work import ModelUnderTest
from quantscope.ui.runs.recipe_session import with_recipe
from quantscope.ui.session import cached
from quantscope.ui.session.cached import IN_TURN
from quantscope.ui.session.pool import Measurement
from quantscope.ui.session.state import Session

SHOWN = 3  # layers
MOST_LAYERS = 400  # of a model whose advice is measured: beyond, every trial takes too long
WORTH_DB = 0.5  # at the output; less may be chance
DEAR_DB = 6.0  # that a change which costs time must win more than one that costs none


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A change of one layer, measured at the model's output."""

    remedy: Remedy
    before_db: float  # output SQNR, outputs and channels counted alike
    after_db: float

    @property
    def gain_db(self) -> float:
        """What it wins."""
        return self.after_db - self.before_db if self.after_db != self.before_db else 0.0


Advice = Mapping[str, tuple[Tried, ...]]  # by layer
ADVICE: Measurement[Advice] = Measurement(name="advice", lane=IN_TURN)


def first_layers(now: Session) -> tuple[Diagnosis, ...]:
    """The layers to look at first, each with why and what may help."""
    table, sweep = measured.table(now), rankings.ranked(now)
    return diagnosis.diagnoses(
        now.model,
        now.workspace.statistics,
        now.recipe,
        now.encodings,
        table.rows,
        table.costs[:SHOWN],
        sweep.causes if sweep is not None and table.ranked else {},
        cached.of_project(now.project.id, KnownCauses, now.model.hash),
    )


def advice(now: Session, found: Sequence[Diagnosis]) -> Measured[Advice]:
    """What the changes in question do to the output; nothing is measured of very large models."""
    asked = {entry.name: entry.remedies for entry in found if entry.remedies}
    if not asked or len(now.model.layers) > MOST_LAYERS:
        return Measured(value={})
    if measured.effect(now).running or measured.local(now).running:
        return Measured(running=True)  # the layers in question may change with it
    labels = tuple((name, *(r.label for r in remedies)) for name, remedies in asked.items())

    def work(tested: ModelUnderTest, tell: ProgressFn) -> Advice:
        return _tried(now, tested, asked, tell)

    return measured.with_detail(ADVICE, now, labels, work)


def best(tried: Sequence[Tried]) -> Tried | None:
    """What to do: the most that costs no time, unless what does wins far more; None where nothing helps."""
    helping = [entry for entry in tried if entry.gain_db >= WORTH_DB]
    return max(
        helping, key=lambda entry: entry.gain_db - (DEAR_DB if slower(entry.remedy) else 0.0), default=None
    )


def _tried(
    now: Session, tested: ModelUnderTest, asked: Mapping[str, Sequence[Remedy]], tell: ProgressFn
) -> Advice:
    floats = measurement_work.reference(tested, tell)

    def measure(session: Session, encodings: Encodings) -> float:
        data = measurement_work.quantized_bytes(session.model, encodings)
        return closeness_db(preview(floats, data, layers=False))

    report(tell, 0, 0, "what helps")
    before = measure(now, tested.encodings)
    known: dict[str, float] = {}  # of fixes, which are the same for all layers
    found: dict[str, tuple[Tried, ...]] = {}
    for name, remedies in asked.items():
        tried = []
        for remedy in remedies:
            report(tell, 0, 0, f"what helps: {remedy.label}")
            if remedy.fix is not None and changes_encodings(now.recipe):
                continue  # rounding and shifts would have to be found anew
            after = known.get(remedy.fix) if remedy.fix is not None else None
            if after is None:
                try:
                    session = with_recipe(now, remedy.applied(now.recipe), tell)
                    encodings = session.encodings
                    if changes_encodings(now.recipe):
                        encodings = carry_over(session.model, encodings, tested.encodings)
                    after = measure(session, encodings)
                except QuantScopeError:  # this change is not to be had here; others may be
                    continue
                if remedy.fix is not None:
                    known[remedy.fix] = after
            if not math.isnan(after):
                tried.append(Tried(remedy=remedy, before_db=before, after_db=after))
        found[name] = tuple(tried)
    return found
