"""What helps the layers that cost the output most: a few changes each, measured at the model's output.

A change is advised for what it does to the output on the preview's samples, not for what it promises for the
layer alone: to cut off outliers makes a layer's own error larger, and may be what the model needs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from quantscope.core.errors import QuantScopeError
from quantscope.core.evaluate import FloatReference, closeness_db, preview
from quantscope.core.model import Model
from quantscope.core.pipeline import carry_over, changes_encodings
from quantscope.core.progress import ProgressFn, report
from quantscope.core.quantize import Encodings
from quantscope.core.tuning import Remedy
from quantscope.core.tuning.causes import Cause, diagnose
from quantscope.ui.content import diagnosis
from quantscope.ui.content.diagnosis import Diagnosis, KnownCauses, slower
from quantscope.ui.content.text import decibel
from quantscope.ui.runs import measured, measurement_work, rankings
from quantscope.ui.runs.measured import Measured
from quantscope.ui.runs.measurement_work import ModelUnderTest
from quantscope.ui.runs.recipe_session import with_recipe
from quantscope.ui.session import cached
from quantscope.ui.session.cached import IN_TURN
from quantscope.ui.session.pool import Measurement
from quantscope.ui.session.state import Session

SHOWN = 3  # layers
# Of a model whose advice is measured; beyond, trials would keep other measurements waiting for too long.
MOST_LAYERS = 400
MOST_MACS = 1_000_000_000  # for one sample
WORTH_DB = 0.5  # at the output; less may be chance
DEAR_DB = 6.0  # that a change which costs time must win more than one that costs none


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDb:
    """SQNR of a model's output in dB, taken in two ways."""

    sqnr: float  # of all values as one vector
    alike: float  # of outputs and channels counted alike (`closeness_db`)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A change of one layer, measured at the model's output."""

    remedy: Remedy
    before: OutputDb
    after: OutputDb

    @property
    def gain_db(self) -> float:
        """What it wins, outputs and channels counted alike; what it is chosen by."""
        before, after = self.before.alike, self.after.alike
        return after - before if after != before else 0.0

    @property
    def words(self) -> str:
        """Before and after, by the figure that every page gives where that tells the same."""
        if self.after.sqnr - self.before.sqnr >= WORTH_DB:
            return f"output {decibel(self.before.sqnr)} → {decibel(self.after.sqnr)}"
        ends = f"{decibel(self.before.alike)} → {decibel(self.after.alike)}"
        return f"output, its parts counted alike, {ends}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advised:
    """Why a layer loses, found by running it alone, and what changes of it do to the output."""

    causes: tuple[Cause, ...]
    tried: tuple[Tried, ...]


Advice = Mapping[str, Advised]  # by layer
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
    """Why these layers lose, and what helps; nothing is measured of very large models."""
    if not found or len(now.model.layers) > MOST_LAYERS or (now.model.macs or 0) > MOST_MACS:
        return Measured(value={})
    if measured.effect(now).running or measured.local(now).running:
        return Measured(running=True)  # the layers in question may change with it
    names = tuple(entry.name for entry in found)
    sweep = rankings.ranked(now)
    known = {} if sweep is None else {name: sweep.causes[name] for name in names if name in sweep.causes}

    def work(tested: ModelUnderTest, tell: ProgressFn) -> Advice:
        return _advised(now, tested, names, known, tell)

    return measured.with_detail(ADVICE, now, (names, tuple(known)), work)


def best(tried: Sequence[Tried], *, flagged: bool) -> Tried | None:
    """What to do: the most that costs no time, unless what does wins far more; None where nothing helps.

    Args:
        tried: What was measured.
        flagged: Whether the layer stands out; to take others out of 8 bits is not worth its time.
    """
    helping = [t for t in tried if t.gain_db >= WORTH_DB and (flagged or not slower(t.remedy))]
    return max(
        helping, key=lambda entry: entry.gain_db - (DEAR_DB if slower(entry.remedy) else 0.0), default=None
    )


def _advised(
    now: Session,
    tested: ModelUnderTest,
    names: Sequence[str],
    known: Mapping[str, tuple[Cause, ...]],
    tell: ProgressFn,
) -> Advice:
    rest = [name for name in names if name not in known]
    statistics = now.workspace.statistics
    causes = {
        **known,
        **diagnose(
            tested.model, statistics, now.recipe, tested.encodings, tested.samples, rest, progress=tell
        ),
    }
    bench = _Bench(now=now, tested=tested, floats=measurement_work.reference(tested, tell), tell=tell)
    found = {}
    for name in names:
        remedies = diagnosis.promising(r for cause in causes[name] for r in cause.remedies)
        tried = [entry for remedy in remedies if (entry := bench.tried(remedy)) is not None]
        found[name] = Advised(causes=tuple(causes[name]), tried=tuple(tried))
    return found


@dataclass(slots=True, kw_only=True)
class _Bench:
    """Where changes of one recipe are measured."""

    now: Session
    tested: ModelUnderTest
    floats: FloatReference
    tell: ProgressFn
    before: OutputDb | None = None
    fixes: dict[str, OutputDb | None] = field(default_factory=dict)  # which are the same for all layers

    def tried(self, remedy: Remedy) -> Tried | None:
        """The output with a change; None where it cannot be had."""
        if self.before is None:
            report(self.tell, 0, 0, "what helps")
            self.before = self._output(self.tested.model, self.tested.encodings)
        if remedy.fix is None:
            after = self._after(remedy)
        else:
            if remedy.fix not in self.fixes:
                self.fixes[remedy.fix] = self._after(remedy)
            after = self.fixes[remedy.fix]
        return None if after is None else Tried(remedy=remedy, before=self.before, after=after)

    def _after(self, remedy: Remedy) -> OutputDb | None:
        finished = changes_encodings(self.now.recipe)
        if remedy.fix is not None and finished:
            return None  # rounding and shifts would have to be found anew
        report(self.tell, 0, 0, f"what helps: {remedy.label}")
        try:
            session = with_recipe(self.now, remedy.applied(self.now.recipe), self.tell)
            encodings = session.encodings
            if finished:
                encodings = carry_over(session.model, encodings, self.tested.encodings)
            return self._output(session.model, encodings)
        except QuantScopeError:  # this change is not to be had here; others may be
            return None

    def _output(self, model: Model, encodings: Encodings) -> OutputDb:
        data = measurement_work.quantized_bytes(model, encodings)
        found = preview(self.floats, data, layers=False)
        sqnr = found.output.overall.sqnr_db
        return OutputDb(sqnr=math.nan if sqnr is None else sqnr, alike=closeness_db(found))
