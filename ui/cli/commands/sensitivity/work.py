"""What `quantscope sensitivity` does: layers ranked, the first bad one, causes, and what helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from quantscope.core.calibration import Statistics
from quantscope.core.data import Samples
from quantscope.core.errors import DataError, QuantScopeError
from quantscope.core.evaluate import LayerError, layer_errors, read_quantized
from quantscope.core.model import Model, load_model
from quantscope.core.pipeline import finish, prepare
from quantscope.core.progress import ProgressFn, report
from quantscope.core.quantize import Encodings, masked_tensors, quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.runtime import thread_count
from quantscope.core.sensitivity import (
    Kind,
    Metric,
    RankingRow,
    Run,
    Subject,
    find_turning_point,
    metric_estimate,
    metrics_of,
    ranking,
    run_sensitivity,
)
from quantscope.core.tuning import Remedy
from quantscope.core.tuning.causes import (
    Cause,
    DataParts,
    RemedyTrial,
    TrialSetup,
    diagnose,
    measure_effect,
    most_to_rank_on,
    prepare_trials,
    split_parts,
    try_remedy,
)
from quantscope.ui.cli.activations import collect
from quantscope.ui.cli.commands.sensitivity.command import Asked
from quantscope.ui.cli.commands.sensitivity.figures import (
    BadLayer,
    Judged,
    Key,
    LayerCauses,
    Sensitivity,
    cause_figures,
    remedy_key,
)
from quantscope.ui.cli.final_check import warn_if_all_float
from quantscope.ui.cli.options import Choices, Feed, Running
from quantscope.ui.cli.recipes import build_recipe
from quantscope.ui.cli.samples import open_feed
from quantscope.ui.terminal.console import BadInput, note, progress_bar

T = TypeVar("T")
KINDS = {"enable": Kind.ENABLE, "disable": Kind.DISABLE, "op-type": Kind.OP_TYPE}
METRICS = {"sqnr": Metric.SQNR, "cosine": Metric.COSINE, **{m.value: m for m in Metric}}
HALVES = (Kind.WEIGHTS, Kind.ACTIVATIONS, Kind.ALL)
EXPLAINED = 3  # layers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Case:
    """What the command line names, opened, and the model as the recipe's passes leave it."""

    original: Model
    original_statistics: Statistics
    model: Model
    statistics: Statistics
    recipe: Recipe
    encodings: Encodings
    parts: DataParts


def sensitivity(
    path: Path, feed: Feed, asked: Asked, choices: Choices, running: Running, *, quiet: bool
) -> Sensitivity:
    """Rank the layers of a model by what quantizing them does to its outputs.

    Raises:
        QuantScopeError: Model, samples or choices are unusable.
    """
    how, by = _member(KINDS, asked.kind, "--kind"), _member(METRICS, asked.metric, "--metric")
    case = _opened(path, feed, asked, choices, running, quiet=quiet)
    runs = _runs(case, how, asked.samples, running, quiet=quiet)
    if by not in metrics_of(runs):
        there = ", ".join(_name(m) for m in metrics_of(runs)) or "no figures at all"
        raise BadInput(f"--metric {asked.metric} cannot be measured here; there are {there}")
    scores = ranking(runs, how, by)
    errors, causes = _diagnosed(case, [] if how is Kind.OP_TYPE else _top(scores), running, quiet=quiet)
    trials: Mapping[Key, RemedyTrial | str] = {}
    if asked.measure:
        trials = _measured(case, causes, running, quiet=quiet)
    masked = masked_tensors(case.statistics, case.model)
    untold = [layer.name for layer in case.model.layers if layer.output in masked]
    turn = find_turning_point(case.model, errors, untold=untold)
    return Sensitivity(
        model=case.original.name,
        kind=asked.kind,
        metric=_name(by),
        samples=len(case.parts.ranking),
        runs=len(runs),
        whole={half.value: metric_estimate(runs, Subject(kind=half), by) for half in HALVES},
        ranking=tuple(scores),
        first_bad=None if turn is None else BadLayer(turn=turn, sentence=turn.sentence),
        layers=tuple(
            LayerCauses(
                layer=name,
                op=case.model.layer(name).op,
                causes=tuple(cause_figures(cause, runs, trials) for cause in found),
            )
            for name, found in causes.items()
        ),
        judged=Judged(samples=len(case.parts.judging), unseen=case.parts.unseen) if trials else None,
    )


def _opened(
    path: Path, feed: Feed, asked: Asked, choices: Choices, running: Running, *, quiet: bool
) -> _Case:
    """The model, calibrated and with the recipe's passes applied, and the samples by what they are for."""
    original = load_model(path)
    recipe, data = build_recipe(choices, original), open_feed(feed, original)
    if data.synthetic:
        note("warning: ranked on random samples, the layers say nothing about real data")
    warned = warn_if_all_float(original, recipe, "there is nothing to rank")
    _note_fewer(data, asked.samples)
    known = collect(original, data, running, quiet=quiet)
    if not warned:
        warn_if_all_float(original, recipe, "there is nothing to rank", known)
    with progress_bar("calibrating", quiet) as progress:
        threads = running.threads
        ready = prepare(original, recipe, data, statistics=known, threads=threads, progress=progress)
        found = resolve(recipe, ready.statistics, ready.model)
        encodings, _ = finish(ready.model, recipe, data, found, threads=threads, progress=progress)
    return _Case(
        original=original,
        original_statistics=known,
        model=ready.model,
        statistics=ready.statistics,
        recipe=recipe,
        encodings=encodings,
        parts=split_parts(data, None, asked.samples),
    )


def _note_fewer(data: Samples, wanted: int) -> None:
    """Say so where fewer samples rank than were asked for."""
    most = most_to_rank_on(len(data), 0)
    if wanted > most:
        rest = "all there are" if most == len(data) else "the others judge remedies"
        note(f"note: samples that rank: {most}, {rest}")


def _runs(case: _Case, how: Kind, count: int, running: Running, *, quiet: bool) -> list[Run]:
    """The model with parts of it quantized, on each sample that ranks."""
    with progress_bar("sensitivity", quiet) as progress:
        return list(
            run_sensitivity(
                case.model,
                case.encodings,
                case.parts.ranking,
                kinds=(*HALVES, how),
                count=count,
                threads=running.threads,
                progress=progress,
            )
        )


def _diagnosed(
    case: _Case, top: list[str], running: Running, *, quiet: bool
) -> tuple[Sequence[LayerError], Mapping[str, Sequence[Cause]]]:
    """The error of every layer, and what is wrong with those at the top of the ranking."""
    with progress_bar("looking at layers", quiet) as progress:
        file = read_quantized(quantize_model(case.model, case.encodings))
        errors = layer_errors(
            case.model,
            file,
            case.parts.ranking,
            local=True,
            threads=thread_count(running.threads),
            progress=progress,
        )
        causes = diagnose(
            case.model,
            case.statistics,
            case.recipe,
            case.encodings,
            case.parts.ranking,
            top,
            progress=progress,
        )
    return errors, causes


def _measured(
    case: _Case, causes: Mapping[str, Sequence[Cause]], running: Running, *, quiet: bool
) -> dict[Key, RemedyTrial | str]:
    """A trial of each remedy that a cause names; of those that do not run, why."""
    wanted = {remedy_key(r): r for found in causes.values() for cause in found for r in cause.remedies}
    if not wanted:
        return {}
    with progress_bar("measuring remedies", quiet) as progress:
        made = prepare_trials(
            case.original,
            case.parts,
            case.original_statistics,
            threads=running.threads,
            progress=progress,
        )
        return _trials(made, case.recipe, wanted, running.threads, progress)


def _member(options: Mapping[str, T], text: str, flag: str) -> T:
    found = options.get(text.lower().replace("_", "-")) or options.get(text.lower())
    if found is None:
        raise BadInput(f"{flag}: there is no '{text}'; choose from {', '.join(_names(options))}")
    return found


def _names(options: Mapping[str, T]) -> list[str]:
    return list({value: name for name, value in reversed(list(options.items()))}.values())[::-1]


def _name(metric: Metric) -> str:
    return next(name for name, known in METRICS.items() if known is metric)


def _top(scores: Sequence[RankingRow]) -> list[str]:
    flagged = [score.name for score in scores if score.flagged]
    return (flagged or [score.name for score in scores])[:EXPLAINED]


def _trials(
    made: TrialSetup,
    recipe: Recipe,
    wanted: Mapping[Key, Remedy],
    threads: int | None,
    progress: ProgressFn,
) -> dict[Key, RemedyTrial | str]:
    """Trials; of those that do not run, why."""
    before = measure_effect(made, recipe, threads=threads)
    out: dict[Key, RemedyTrial | str] = {}
    for done, (key, remedy) in enumerate(wanted.items()):
        report(progress, done, len(wanted), remedy.label)
        try:
            out[key] = try_remedy(made, recipe, remedy, before=before, threads=threads)
        except DataError:
            raise
        except QuantScopeError as error:
            out[key] = str(error)
    return out
