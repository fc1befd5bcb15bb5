"""What `quantscope sensitivity` does: layers ranked, the first bad one, causes, and what helps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quantscope.core.calibration import calibrate
from quantscope.core.errors import DataError, QuantScopeError
from quantscope.core.evaluate import layer_errors, read_quantized
from quantscope.core.model import load_model
from quantscope.core.pipeline import finish, prepare
from quantscope.core.progress import ProgressFn, report
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.runtime import thread_count
from quantscope.core.sensitivity import (
    Kind,
    Metric,
    RankingRow,
    Run,
    Subject,
    TurningPoint,
    find_turning_point,
    metric_estimate,
    metrics_of,
    ranking,
    run_sensitivity,
)
from quantscope.core.tuning import Remedy, output_forecast
from quantscope.core.tuning.causes import (
    Cause,
    RemedyTrial,
    TrialSetup,
    diagnose,
    measure_effect,
    most_to_rank_on,
    prepare_trials,
    split_parts,
    try_remedy,
)
from quantscope.ui.cli.arguments import Choices, Feed
from quantscope.ui.cli.final_check import warn_if_all_float
from quantscope.ui.content.text import change, plural
from quantscope.ui.terminal.console import BadInput, clean, note, number, progress_bar, table

Figures = dict[str, Any]
KINDS = {"enable": Kind.ENABLE, "disable": Kind.DISABLE, "op-type": Kind.OP_TYPE}
METRICS = {"sqnr": Metric.SQNR, "cosine": Metric.COSINE, **{m.value: m for m in Metric}}
HALVES = (Kind.WEIGHTS, Kind.ACTIVATIONS, Kind.ALL)
EXPLAINED = 3  # layers
SHOWN = 20  # rows of the ranking in a terminal


def sensitivity(
    path: Path,
    feed: Feed,
    choices: Choices,
    *,
    samples: int,
    kind: str,
    metric: str,
    measure: bool,
    threads: int | None,
    cache: bool,
    quiet: bool,
) -> Figures:
    """Rank the layers of a model by what quantizing them does to its outputs.

    Raises:
        QuantScopeError: model, samples or choices are unusable.
    """
    how, by = _member(KINDS, kind, "--kind"), _member(METRICS, metric, "--metric")
    original = load_model(path)
    recipe, data = choices.build(original), feed.open(original)
    if data.synthetic:
        note("warning: ranked on random samples, the layers say nothing about real data")
    warned = warn_if_all_float(original, recipe, "there is nothing to rank")
    most = most_to_rank_on(len(data), 0)
    if samples > most:
        rest = "all there are" if most == len(data) else "the others judge remedies"
        note(f"note: samples that rank: {most}, {rest}")
    with progress_bar("calibrating", quiet) as progress:
        known = calibrate(original, data, progress=progress, threads=threads, cache=cache)
        if not warned:
            warn_if_all_float(original, recipe, "there is nothing to rank", known)
        ready = prepare(original, recipe, data, statistics=known, threads=threads, progress=progress)
        model, statistics = ready.model, ready.statistics
        found = resolve(recipe, statistics, model)
        encodings, _ = finish(model, recipe, data, found, threads=threads, progress=progress)
    parts = split_parts(data, None, samples)
    with progress_bar("sensitivity", quiet) as progress:
        runs = list(
            run_sensitivity(
                model,
                encodings,
                parts.ranking,
                kinds=(*HALVES, how),
                count=samples,
                threads=threads,
                progress=progress,
            )
        )
    if by not in metrics_of(runs):
        there = ", ".join(_name(m) for m in metrics_of(runs))
        raise BadInput(f"--metric {metric} cannot be measured here; there are {there or 'no figures at all'}")
    scores = ranking(runs, how, by)
    with progress_bar("looking at layers", quiet) as progress:
        file = read_quantized(quantize_model(model, encodings))
        errors = layer_errors(
            model, file, parts.ranking, local=True, threads=thread_count(threads), progress=progress
        )
        top = [] if how is Kind.OP_TYPE else _top(scores)
        causes = diagnose(model, statistics, recipe, encodings, parts.ranking, top, progress=progress)
    trials: dict[tuple[str, str], RemedyTrial | str] = {}
    wanted = {_key(r): r for found in causes.values() for cause in found for r in cause.remedies}
    if measure and wanted:
        with progress_bar("measuring remedies", quiet) as progress:
            made = prepare_trials(original, parts, known, threads=threads, progress=progress)
            trials = _measured(made, recipe, wanted, threads, progress)
    return {
        "model": original.name,
        "kind": kind,
        "metric": _name(by),
        "samples": len(parts.ranking),
        "runs": len(runs),
        "whole": {half.value: _figure(runs, half, by) for half in HALVES},
        "ranking": [asdict(score) for score in scores],
        "first_bad": _turn(find_turning_point(model, errors)),
        "layers": [
            {
                "layer": name,
                "op": model.layer(name).op,
                "causes": [_cause(cause, runs, trials) for cause in found],
            }
            for name, found in causes.items()
        ],
        "judged": {"samples": len(parts.judging), "unseen": parts.unseen} if trials else None,
    }


def _member(options: dict[str, Any], text: str, flag: str) -> Any:
    found = options.get(text.lower().replace("_", "-")) or options.get(text.lower())
    if found is None:
        raise BadInput(f"{flag}: there is no '{text}'; choose from {', '.join(_names(options))}")
    return found


def _names(options: dict[str, Any]) -> list[str]:
    return list({value: name for name, value in reversed(options.items())}.values())[::-1]


def _name(metric: Metric) -> str:
    return next(name for name, known in METRICS.items() if known is metric)


def _top(scores: Sequence[RankingRow]) -> list[str]:
    flagged = [score.name for score in scores if score.flagged]
    return (flagged or [score.name for score in scores])[:EXPLAINED]


def _key(remedy: Remedy) -> tuple[str, str]:
    """What changes the whole model is one trial for all layers."""
    return "" if remedy.fix else remedy.layer, remedy.label


def _measured(
    made: TrialSetup,
    recipe: Recipe,
    wanted: dict[tuple[str, str], Remedy],
    threads: int | None,
    progress: ProgressFn,
) -> dict[tuple[str, str], RemedyTrial | str]:
    """Trials; of those that do not run, why."""
    before = measure_effect(made, recipe, threads=threads)
    out: dict[tuple[str, str], RemedyTrial | str] = {}
    for done, (key, remedy) in enumerate(wanted.items()):
        report(progress, done, len(wanted), remedy.label)
        try:
            out[key] = try_remedy(made, recipe, remedy, before=before, threads=threads)
        except DataError:
            raise
        except QuantScopeError as error:
            out[key] = str(error)
    return out


def _figure(runs: Sequence[Run], half: Kind, metric: Metric) -> Figures | None:
    found = metric_estimate(runs, Subject(kind=half), metric)
    return None if found is None else asdict(found)


def _turn(found: TurningPoint | None) -> Figures | None:
    return None if found is None else {**asdict(found), "sentence": found.sentence}


def _cause(cause: Cause, runs: Sequence[Run], trials: dict[tuple[str, str], RemedyTrial | str]) -> Figures:
    return {
        "reason": cause.reason.value,
        "sentence": cause.sentence,
        "share": cause.share,
        "figures": dict(cause.figures),
        "remedies": [_remedy(remedy, runs, trials.get(_key(remedy))) for remedy in cause.remedies],
    }


def _remedy(remedy: Remedy, runs: Sequence[Run], trial: RemedyTrial | str | None) -> Figures:
    forecast = output_forecast(runs, remedy.layer, remedy.gain_db)
    measured: Figures | None = None
    if isinstance(trial, str):
        measured = {"error": trial}
    elif trial is not None:
        measured = {**asdict(trial), "gain_db": trial.gain_db, "points": trial.points}
    return {
        "label": remedy.label,
        "fix": remedy.fix,
        "changes": {name: getattr(value, "value", value) for name, value in remedy.changes.items()},
        "price": remedy.price,
        "predicted": {
            "layer_db": remedy.gain_db,
            "output_db": None if forecast is None else forecast.after - forecast.before,
        },
        "measured": measured,
    }


# --- as text ---


def listing(result: Figures) -> str:
    """The figures for a terminal."""
    whole = result["whole"]
    halves = ", ".join(
        f"{name.replace('_', ' ')} {_shown(part['value'], result['metric'])}"
        for name, part in whole.items()
        if part is not None
    )
    rows = [_row(score, result["metric"]) for score in result["ranking"][:SHOWN]]
    what = "operator" if result["kind"] == "op-type" else "layer"
    value = "won back" if result["kind"] == "disable" else "value"
    head = ("", "rank", what, value, "90 % interval", "of its rank")
    lines = [
        f"{result['metric']} of the outputs, {plural(result['runs'], 'run')} on "
        f"{plural(result['samples'], 'sample')}: {halves}",
        "",
        table(head, rows, numeric=("rank", value), whole=("", "90 % interval", "of its rank")),
    ]
    more = len(result["ranking"]) - len(rows)
    lines += [f"… and {more} more; --json lists all"] if more > 0 else []
    turn = result["first_bad"]
    said = (
        f"{clean(turn['layer'])}: {clean(turn['sentence'])}"
        if turn
        else "none, the error builds up evenly"
        if rows
        else "none, nothing is quantized"
    )
    lines += ["", f"first layer that turns bad: {said}"]
    for layer in result["layers"]:
        lines += ["", f"{clean(layer['layer'])} ({clean(layer['op'])})"]
        lines += [f"  {clean(cause['sentence'])}" for cause in layer["causes"]]
        lines += ["  " + line for line in _remedies(layer["causes"])]
    if result["judged"] is not None:
        seen = "used for nothing else" if result["judged"]["unseen"] else "that also set ranges or ranked"
        lines += ["", f"measured on {plural(result['judged']['samples'], 'sample')} {seen}"]
    return "\n".join(lines)


def _row(score: Figures, metric: str) -> tuple[object, ...]:
    low, high = (_shown(score[end], metric) for end in ("low", "high"))
    ends = f"{low.removesuffix(' dB')} to {high}"
    ranks = f"{score['rank_low']} to {score['rank_high']}"
    return (
        "*" if score["flagged"] else "",
        score["rank"],
        score["name"],
        _shown(score["value"], metric),
        ends,
        ranks,
    )


def _shown(value: float, metric: str) -> str:
    if metric == "sqnr":
        return "exact" if value == math.inf else f"{value:.2f} dB" if math.isfinite(value) else number(value)
    return number(value)


def _remedies(causes: Sequence[Figures]) -> list[str]:
    """Each once, most promising first."""
    known = {remedy["label"]: remedy for cause in causes for remedy in cause["remedies"]}
    out = []
    for remedy in sorted(known.values(), key=lambda r: -float(r["predicted"]["layer_db"])):
        predicted = remedy["predicted"]
        said = f"- {remedy['label']}: predicted {change(predicted['layer_db'])} for the layer alone"
        if predicted["output_db"] is not None:
            said += f", {change(predicted['output_db'])} for the outputs"
        measured = remedy["measured"]
        if measured is not None and "error" in measured:
            said += f"; cannot be measured: {clean(measured['error'])}"
        elif measured is not None:
            said += "; measured " + ("-" if measured["gain_db"] is None else change(measured["gain_db"]))
            said += "" if measured["points"] is None else f", top-1 {change(measured['points'], 'points')}"
        out.append(said + (f" ({remedy['price']})" if remedy["price"] else ""))
    return out
