"""What `quantscope sensitivity` found, as records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from quantscope.core.sensitivity import Figure, Run, Score, Turn
from quantscope.core.tuning import Remedy, output_forecast
from quantscope.core.tuning.causes import Cause, Reason, RemedyTrial
from quantscope.ui.terminal.console import INLINE

Key = tuple[str, str]  # of a remedy that is measured once: its layer and its label


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLayer:
    """The first layer that turns bad, and what that means."""

    turn: Turn = field(metadata=INLINE)
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """What a remedy should win, in dB."""

    layer_db: float
    output_db: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a remedy won."""

    trial: RemedyTrial = field(metadata=INLINE)
    gain_db: float | None
    points: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMeasured:
    """Why a remedy could not be measured."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemedyFigures:
    """Something to do about a layer."""

    label: str
    fix: str | None
    changes: Mapping[str, object]
    price: str
    predicted: Predicted
    measured: Measured | NotMeasured | None  # None where it was not asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseFigures:
    """One thing that is wrong with a layer."""

    reason: Reason
    sentence: str
    share: float
    figures: Mapping[str, float]
    remedies: tuple[RemedyFigures, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCauses:
    """All that is wrong with a layer."""

    layer: str
    op: str
    causes: tuple[CauseFigures, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What remedies were measured on."""

    samples: int
    unseen: bool  # used for nothing else


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """The ranking, and what is wrong with the layers at its top."""

    model: str
    kind: str
    metric: str
    samples: int
    runs: int
    whole: Mapping[str, Figure | None]  # weights only, activations only, all
    ranking: tuple[Score, ...]
    first_bad: BadLayer | None
    layers: tuple[LayerCauses, ...]
    judged: Judged | None


def remedy_key(remedy: Remedy) -> Key:
    """What changes the whole model is one trial for all layers."""
    return "" if remedy.fix else remedy.layer, remedy.label


def cause_figures(cause: Cause, runs: Sequence[Run], trials: Mapping[Key, RemedyTrial | str]) -> CauseFigures:
    return CauseFigures(
        reason=cause.reason,
        sentence=cause.sentence,
        share=cause.share,
        figures=dict(cause.figures),
        remedies=tuple(_remedy(remedy, runs, trials.get(remedy_key(remedy))) for remedy in cause.remedies),
    )


def _remedy(remedy: Remedy, runs: Sequence[Run], trial: RemedyTrial | str | None) -> RemedyFigures:
    forecast = output_forecast(runs, remedy.layer, remedy.gain_db)
    measured: Measured | NotMeasured | None = None
    if isinstance(trial, str):
        measured = NotMeasured(error=trial)
    elif trial is not None:
        measured = Measured(trial=trial, gain_db=trial.gain_db, points=trial.points)
    output_db = None if forecast is None else forecast.after - forecast.before
    return RemedyFigures(
        label=remedy.label,
        fix=remedy.fix,
        changes=dict(remedy.changes),
        price=remedy.price,
        predicted=Predicted(layer_db=remedy.gain_db, output_db=output_db),
        measured=measured,
    )
