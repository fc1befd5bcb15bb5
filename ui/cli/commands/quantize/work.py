"""What `quantscope quantize` does: choices are found where they are left open, and the model is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx

from quantscope.core.calibration import Statistics
from quantscope.core.data import Samples
from quantscope.core.export import PROTOBUF_LIMIT, SUFFIXES, format_of
from quantscope.core.model import Model, load_model
from quantscope.core.pipeline import quantize as run_pipeline
from quantscope.core.quantize import Encodings, quantize_model, resolve
from quantscope.core.recipe import Choice, Recipe, recipe_to_yaml
from quantscope.core.targets import Precision
from quantscope.core.tuning import (
    FinalCheck,
    check_quantized,
    judged_easyquant,
    judged_passes,
    measured_default,
    why_all_float,
)
from quantscope.ui.cli import activations as collected
from quantscope.ui.cli import final_check as said
from quantscope.ui.cli.commands.compare.work import Compared, compared
from quantscope.ui.cli.commands.quantize.command import Asked
from quantscope.ui.cli.commands.tune.search import search
from quantscope.ui.cli.files import check_output, write
from quantscope.ui.cli.options import Choices, Feed, Running
from quantscope.ui.cli.recipes import build_recipe
from quantscope.ui.cli.samples import open_feed
from quantscope.ui.terminal.console import OPTIONAL, BadInput, note, progress_bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of both files, in bytes."""

    float_: int
    quantized: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFigures:
    """One method that was tried for the whole network."""

    label: str
    sqnr_db: float
    cosine: float
    taken: bool
    refused: str  # why it is not taken in spite of its figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """What was written, and how it was found."""

    output: str
    recipe: str | None  # the file that the choices were saved to
    target: str
    size_bytes: Sizes
    default: Choice
    trials: tuple[TrialFigures, ...]
    passes: tuple[str, ...]  # what they did, in sentences
    story: tuple[str, ...]
    layers: Mapping[str, int]  # of each precision
    calibration: collected.Provenance
    notes: tuple[str, ...]
    comparison: Compared | None = field(metadata=OPTIONAL)  # None where no report was asked for
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Case:
    """What the command line names, opened."""

    model: Model
    samples: Samples | None  # None where ranges come from a file, and nothing runs the model
    statistics: Statistics
    asked_for: Recipe
    running: Running
    quiet: bool

    @property
    def runs_on(self) -> Samples:
        """The samples, for what runs the model; it was refused without them (`_check_runs`)."""
        assert self.samples is not None
        return self.samples


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """The recipe to quantize by, and how it was found."""

    recipe: Recipe
    trials: tuple[TrialFigures, ...] = ()
    story: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Built:
    """The quantized model, and what the recipe's passes did."""

    proto: onnx.ModelProto
    encodings: Encodings
    passes: tuple[str, ...] = ()


def quantize(
    path: Path, output: Path, feed: Feed, choices: Choices, asked: Asked, running: Running, *, quiet: bool
) -> Quantization:
    """Write the quantized model, and what was asked for beside it.

    Raises:
        QuantScopeError: Model, samples, choices or the files to write are unusable.
    """
    _check(path, output, feed, choices, asked)
    model = load_model(path)
    recipe = build_recipe(choices, model)
    _check_passes(recipe, asked, feed)
    samples = open_feed(feed, model) if feed.named or asked.stats is None else None
    measurable = samples is not None and not samples.synthetic
    trying = not asked.auto and (choices.auto or (choices.undecided and measurable))
    case = _Case(
        model=model,
        samples=samples,
        statistics=_statistics(model, samples, recipe, asked, trying, running, quiet=quiet),
        asked_for=recipe,
        running=running,
        quiet=quiet,
    )
    chosen = _chosen(case, asked, trying)
    built = _built(case, chosen.recipe)
    warnings = chosen.warnings
    if not built.encodings.placement.nodes and not warnings:
        reason = why_all_float(model, recipe, case.statistics)
        warnings = (f"{said.why(reason)}, so the file holds the float model",)
    said.insist_it_runs(built.proto, samples)
    beside_minmax = measurable and bool(choices.method) and not (trying or asked.easyquant)
    checked = _checked(case, chosen, built, beside_minmax)
    written = format_of(output).write(built.proto, output)
    if asked.save_recipe is not None:
        write(asked.save_recipe, recipe_to_yaml(chosen.recipe).encode("utf-8"))
    comparison = compared(model, output, case.runs_on, quiet=quiet) if asked.report else None
    told = said.faults(checked) if comparison is None else comparison.warnings
    return Quantization(
        output=str(output),
        recipe=None if asked.save_recipe is None else str(asked.save_recipe),
        target=chosen.recipe.target,
        size_bytes=Sizes(float_=model.size_bytes, quantized=written),
        default=chosen.recipe.default,
        trials=chosen.trials,
        passes=built.passes,
        story=chosen.story,
        layers=_layer_counts(model, chosen.recipe, built.encodings),
        calibration=collected.provenance(case.statistics),
        notes=(*model.notes, *_kept_float(built.encodings)),
        comparison=comparison,
        warnings=(*warnings, *told, *said.remedies(checked, asked.auto)),
    )


def _check(path: Path, output: Path, feed: Feed, choices: Choices, asked: Asked) -> None:
    """Refuse options that contradict each other, and files that cannot be written."""
    inputs = (path, *feed.files, asked.stats, choices.recipe)
    check_output(output, SUFFIXES, *inputs)
    if asked.save_recipe is not None:
        check_output(asked.save_recipe, (".yaml", ".yml"), *inputs, output)
    if asked.easyquant and asked.auto:
        raise BadInput("--easyquant and --auto both decide the ranges; give one of them")
    if asked.auto:
        choices.check_open("--auto")
    if asked.stats is None or feed.named:
        return
    feed.check_unused("--stats")
    running_it = {
        "--report": asked.report,
        "--auto": asked.auto,
        "--easyquant": asked.easyquant,
        "--method auto": choices.auto,
    }
    runs = next((flag for flag, given in running_it.items() if given), "")
    if runs:
        raise BadInput(f"{runs} runs the model: name samples with --data PATH too")


def _check_passes(recipe: Recipe, asked: Asked, feed: Feed) -> None:
    """Refuse passes of the recipe beside what they do not go with."""
    if not recipe.passes:
        return
    if asked.stats is not None and not feed.named:
        raise BadInput("the recipe's passes run the model: name samples with --data PATH too")
    if asked.easyquant:
        raise BadInput(
            "--easyquant tunes the model as it is, and the recipe's passes change it; use one of them"
        )


def _statistics(
    model: Model,
    samples: Samples | None,
    recipe: Recipe,
    asked: Asked,
    trying: bool,
    running: Running,
    *,
    quiet: bool,
) -> Statistics:
    """Of the samples, or from the file that was named; then stderr is told what the samples are for."""
    if asked.stats is None:
        assert samples is not None
        return collected.collect(model, samples, running, quiet=quiet)
    found = collected.load(asked.stats, model)
    if samples is not None:
        uses = {"tuning": asked.auto, "the choice of the method": trying, "EasyQuant": asked.easyquant}
        uses |= {"passes": bool(recipe.passes), "the comparison": asked.report}
        serve = ", ".join(use for use, so in uses.items() if so) or "a trial run, and nothing else"
        note(f"note: ranges come from {asked.stats.name}; the samples serve for {serve}")
    return found


def _chosen(case: _Case, asked: Asked, trying: bool) -> _Chosen:
    """The recipe asked for, with what was left open found by measurement."""
    found = _Chosen(recipe=case.asked_for)
    if asked.auto:
        tuned = search(
            case.model, case.runs_on, case.asked_for, case.statistics, case.running, quiet=case.quiet
        )
        warnings: tuple[str, ...] = ()
        if tuned.unquantized:
            warnings = (f"{tuned.nothing_quantized} Quantize without --auto to have integers.",)
        found = _Chosen(recipe=tuned.recipe, story=tuple(tuned.sentences), warnings=warnings)
    elif trying:
        found = _tried(case)
    return _moved(case, found) if asked.easyquant else found


def _tried(case: _Case) -> _Chosen:
    """The recipe with the default that measures best, and what was tried."""
    with progress_bar("trying methods", case.quiet) as progress:
        found = measured_default(
            case.model,
            case.statistics,
            case.runs_on,
            case.asked_for,
            progress=progress,
            threads=case.running.threads,
        )
    trials = tuple(
        TrialFigures(
            label=trial.label,
            sqnr_db=trial.sqnr_db,
            cosine=trial.cosine,
            taken=trial is found.best,
            refused=trial.refused,
        )
        for trial in found.trials
    )
    return _Chosen(recipe=found.recipe, trials=trials)


def _moved(case: _Case, before: _Chosen) -> _Chosen:
    """The recipe with those of EasyQuant's scales that the network gains by, and what was found."""
    with progress_bar("EasyQuant", case.quiet) as progress:
        judged = judged_easyquant(
            case.model,
            before.recipe,
            case.statistics,
            case.runs_on,
            threads=case.running.threads,
            progress=progress,
        )
    return replace(before, recipe=judged.recipe, story=tuple(judged.sentences))


def _built(case: _Case, recipe: Recipe) -> _Built:
    """The quantized model, its encodings, and what the recipe's passes did."""
    model, threads = case.model, case.running.threads
    if not recipe.passes:
        encodings = resolve(recipe, case.statistics, model)
        return _Built(proto=quantize_model(model, encodings), encodings=encodings)
    samples = case.runs_on
    with progress_bar("passes", case.quiet) as progress:
        made = run_pipeline(
            model, recipe, samples, statistics=case.statistics, threads=threads, progress=progress
        )
    told = list(made.log)
    if made.proto.ByteSize() < PROTOBUF_LIMIT:
        with progress_bar("judging passes", case.quiet) as progress:
            told.append(judged_passes(model, recipe, samples, threads=threads, progress=progress).sentence)
    return _Built(proto=made.proto, encodings=made.encodings, passes=tuple(told))


def _checked(case: _Case, chosen: _Chosen, built: _Built, beside_minmax: bool) -> FinalCheck:
    """What the model has lost; where MinMax would be closer, stderr is told."""
    if case.samples is None or not built.encodings.placement.nodes:
        return FinalCheck()
    found = check_quantized(
        case.model,
        chosen.recipe,
        case.statistics,
        case.samples,
        built.proto,
        beside_minmax=beside_minmax,
        threads=case.running.threads,
    )
    said.note_minmax(found)
    return found


def _kept_float(encodings: Encodings) -> list[str]:
    return [f"'{tensor}' stays float: {reason}." for tensor, reason in encodings.kept_float.items()]


def _layer_counts(model: Model, recipe: Recipe, encodings: Encodings) -> dict[str, int]:
    """How many layers got which precision; those that no integer kernel takes stay float."""
    counts: dict[str, int] = {precision.value: 0 for precision in Precision}
    quantized = set(encodings.placement.nodes)
    for layer in model.layers:
        if layer.kind == "compute":
            precision = recipe.choice(layer.name).precision or Precision.INT8
            done = quantized.intersection(layer.nodes)
            counts[(precision if done else Precision.FLOAT).value] += 1
    return counts
