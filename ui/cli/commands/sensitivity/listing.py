"""What `quantscope sensitivity` found, as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quantscope.core.sensitivity import RankingRow
from quantscope.ui.cli.commands.sensitivity.figures import CauseFigures, Measured, NotMeasured, Sensitivity
from quantscope.ui.content.text import change, plural
from quantscope.ui.terminal.console import clean, number, table

SHOWN = 20  # rows of the ranking


def sensitivity(result: Sensitivity) -> str:
    """The ranking, the first bad layer, and the causes and remedies of the worst."""
    parts = ", ".join(
        f"{name.replace('_', ' ')} {_shown(part.value, result.metric)}"
        for name, part in result.whole.items()
        if part is not None
    )
    rows = [_row(score, result.metric) for score in result.ranking[:SHOWN]]
    what = "operator" if result.kind == "op-type" else "layer"
    value = "won back" if result.kind == "disable" else "value"
    head = ("", "rank", what, value, "90 % interval", "of its rank")
    lines = [
        f"{result.metric} of the outputs, {plural(result.runs, 'run')} on "
        f"{plural(result.samples, 'sample')}: {parts}",
        "",
        table(head, rows, numeric=("rank", value), whole=("", "90 % interval", "of its rank")),
    ]
    more = len(result.ranking) - len(rows)
    lines += [f"… and {more} more; --json lists all"] if more > 0 else []
    found = result.first_bad
    said = (
        f"{clean(found.turn.layer)}: {clean(found.sentence)}"
        if found
        else "none, the error builds up evenly"
        if rows
        else "none, nothing is quantized"
    )
    lines += ["", f"first layer that turns bad: {said}"]
    for layer in result.layers:
        lines += ["", f"{clean(layer.layer)} ({clean(layer.op)})"]
        lines += [f"  {clean(cause.sentence)}" for cause in layer.causes]
        lines += ["  " + line for line in _remedies(layer.causes)]
    if result.judged is not None:
        seen = "used for nothing else" if result.judged.unseen else "that also set ranges or ranked"
        lines += ["", f"measured on {plural(result.judged.samples, 'sample')} {seen}"]
    return "\n".join(lines)


def _row(score: RankingRow, metric: str) -> tuple[object, ...]:
    low, high = (_shown(end, metric) for end in (score.low, score.high))
    ends = f"{low.removesuffix(' dB')} to {high}"
    ranks = f"{score.rank_low} to {score.rank_high}"
    return (
        "*" if score.flagged else "",
        score.rank,
        score.name,
        _shown(score.value, metric),
        ends,
        ranks,
    )


def _shown(value: float, metric: str) -> str:
    if metric == "sqnr":
        return "exact" if value == math.inf else f"{value:.2f} dB" if math.isfinite(value) else number(value)
    return number(value)


def _remedies(causes: Sequence[CauseFigures]) -> list[str]:
    """Each once, most promising first."""
    known = {remedy.label: remedy for cause in causes for remedy in cause.remedies}
    out = []
    for remedy in sorted(known.values(), key=lambda r: -float(r.predicted.layer_db)):
        predicted = remedy.predicted
        said = f"- {remedy.label}: predicted {change(predicted.layer_db)} for the layer alone"
        if predicted.output_db is not None:
            said += f", {change(predicted.output_db)} for the outputs"
        said += _measured(remedy.measured)
        out.append(said + (f" ({remedy.price})" if remedy.price else ""))
    return out


def _measured(found: Measured | NotMeasured | None) -> str:
    """What a remedy won, to go on with a sentence."""
    if found is None:
        return ""
    if isinstance(found, NotMeasured):
        return f"; cannot be measured: {clean(found.error)}"
    points = "" if found.points is None else f", top-1 {change(found.points, 'points')}"
    return f"; measured {'-' if found.gain_db is None else change(found.gain_db)}{points}"
