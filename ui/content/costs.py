"""What layers cost the model's output: one order for every page, each place with its figure in words."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from quantscope.core.evaluate import LayerError
from quantscope.core.model import Model
from quantscope.core.sensitivity import Kind, Metric, RankingRow, Suspect, suspects
from quantscope.core.targets import Precision
from quantscope.ui.content.rows import Row
from quantscope.ui.content.text import change, cosine, decibel, number, percent

HARMLESS_DB = 40.0  # with so much left at the output, or more, a layer costs nothing that matters
LEAST_WON_DB = 0.5
METRICS = {
    Metric.SQNR: "output SQNR",
    Metric.COSINE: "output cosine",
    Metric.KL: "KL divergence of the scores",
    Metric.AGREEMENT: "agreement",
    Metric.TOP1: "top-1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A layer's place among those that cost the output most."""

    layer: str
    figure: str  # what was measured, e.g. `37.4 → 6.9 dB`
    words: str  # one phrase with the figure and what it means; over which samples is added by `over`
    over: str  # the samples
    flagged: bool
    seen: str = ""  # the layer where it shows, if that is another one
    cliff: bool = False  # whether it is a fall of cumulative SQNR
    score: RankingRow | None = None  # where a ranking was made

    @property
    def sentence(self) -> str:
        """All of it."""
        return f"{self.words}, over {self.over}"


def ranked_costs(scores: Sequence[RankingRow], kind: Kind, metric: Metric, over: str) -> tuple[Cost, ...]:
    """As a ranking by the model's output has them.

    Args:
        scores: The worst first.
        kind: Whether a layer was quantized alone, or left in float alone.
        metric: What was measured of the output.
        over: The samples, in words.
    """
    return tuple(_ranked(score, kind, metric, over) for score in scores)


def _ranked(score: RankingRow, kind: Kind, metric: Metric, over: str) -> Cost:
    figure = _figure(score.value, metric, gain=kind is Kind.DISABLE)
    how = "left in float wins back" if kind is Kind.DISABLE else "quantized alone leaves"
    matters = not math.isnan(score.value)
    if metric is Metric.SQNR and kind is Kind.DISABLE:
        matters = score.value >= LEAST_WON_DB
    elif metric is Metric.SQNR:
        matters = score.value < HARMLESS_DB
    return Cost(
        layer=score.name,
        figure=figure,
        words=f"{how} {figure} {METRICS[metric]}"
        if metric is not Metric.SQNR
        else f"{how} {figure} at the output",
        over=over,
        flagged=score.flagged and matters,
        score=score,
    )


def _figure(value: float, metric: Metric, *, gain: bool) -> str:
    match metric:
        case Metric.SQNR:
            return change(value) if gain else decibel(value)
        case Metric.COSINE:
            return number(value, 3) if gain else cosine(value)
        case Metric.KL:
            return f"{number(value, 3)} nats"
        case _:
            return f"{100 * value:+.1f} points".replace("-", "−") if gain else percent(value, 1)


def suspected_costs(
    model: Model,
    rows: Sequence[Row],
    cumulative: Sequence[LayerError],
    local: Mapping[str, LayerError],
    *,
    over: str,
    calibrated_on: str,
) -> tuple[Cost, ...]:
    """By what is known before a ranking: cliffs of SQNR along the graph, and errors that reach the output.

    Layers that cost nothing are left out.

    Args:
        model: The float model.
        rows: Its layers.
        cumulative: Errors with all before a layer quantized too; empty before they are measured.
        local: Errors of layers quantized alone.
        over: Samples that errors were measured on, in words.
        calibrated_on: Samples of the histograms, in words.
    """
    joined = [
        LayerError(
            layer=error.layer,
            tensor=error.tensor,
            type=error.type,
            cumulative=error.cumulative,
            local=alone.local if (alone := local.get(error.layer)) is not None else None,
        )
        for error in cumulative
    ]
    found = suspects(
        model,
        joined,
        {row.name: row.tensor_sqnr for row in rows if row.tensor_sqnr is not None and not row.shared},
        passive=_passive(rows),
        untold=[row.name for row in rows if row.masked],
    )
    return tuple(
        _suspected(suspect, over, calibrated_on) for suspect in found if suspect.reached_db < math.inf
    )


def _passive(rows: Sequence[Row]) -> Collection[str]:
    """Layers that stay in float, or share the range of what they read."""
    return frozenset(row.name for row in rows if row.precision == Precision.FLOAT or row.shared)


def _suspected(found: Suspect, over: str, calibrated_on: str) -> Cost:
    seen = found.cliff if found.cliff != found.layer else ""
    if found.cliff and found.after_db == -math.inf:
        figure = "not finite"
        words = (
            "gives infinite values or NaN"
            if not seen
            else f"{seen}, which reads it, gives infinite values or NaN"
        )
    elif found.cliff and found.before_db is not None:
        figure = f"{_short(found.before_db)} → {decibel(found.after_db)}"
        words = f"cumulative SQNR falls {figure} " + (f"at {seen}, which reads it" if seen else "here")
    else:
        figure = decibel(found.own_db)
        words = f"{figure} alone, its inputs float" if found.alone else f"{figure} of its output in its range"
        if not found.alone:
            over = calibrated_on
    return Cost(
        layer=found.layer,
        figure=figure,
        words=words,
        over=over,
        flagged=found.flagged,
        seen=seen,
        cliff=bool(found.cliff),
    )


def _short(sqnr_db: float) -> str:
    """An SQNR whose unit follows."""
    return "∞" if math.isinf(sqnr_db) else decibel(sqnr_db).removesuffix(" dB")
