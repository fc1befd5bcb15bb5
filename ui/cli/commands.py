"""What each command does: engine calls in, plain figures out; printing is left to `cli` and `listing`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from quantscope.core.calibration import Statistics
from quantscope.core.calibration import calibrate as collect
from quantscope.core.data import Samples
from quantscope.core.errors import DataError, ModelError
from quantscope.core.evaluate import compare as measure
from quantscope.core.export import PROTOBUF_LIMIT, write_onnx
from quantscope.core.model import Model, load_model
from quantscope.core.pipeline import quantize as run_pipeline
from quantscope.core.quantize import Encodings, quantize_model, resolve
from quantscope.core.recipe import Recipe, recipe_to_yaml
from quantscope.core.targets import Precision
from quantscope.core.tuning import (
    AutotuneResult,
    FinalCheck,
    autotune,
    check_tuned,
    final_check,
    judged_easyquant,
    judged_passes,
    measured_default,
    why_all_float,
)
from quantscope.ui.cli.arguments import (
    Choices,
    Feed,
    check_output,
    unused_labels,
    write,
)
from quantscope.ui.cli.final_check import (
    faults,
    insist_it_runs,
    note_minmax,
    of_tuned,
    remedies,
    warn_if_all_float,
    why,
)
from quantscope.ui.cli.mixed_precision import Aim, mixed
from quantscope.ui.terminal.console import BadInput, note, progress_bar

Figures = dict[str, Any]


def calibrate(
    path: Path, feed: Feed, output: Path, *, threads: int | None, cache: bool, quiet: bool
) -> Figures:
    """Collect statistics and write them.

    Raises:
        QuantScopeError: model, samples or the file to write are unusable.
    """
    check_output(output, (".npz",), path, *feed.files)
    model = load_model(path)
    samples = feed.open(model)
    statistics = _collect(model, samples, threads=threads, cache=cache, quiet=quiet)
    statistics.save(output)
    return {
        "output": str(output),
        "model": model.name,
        "tensors": _ranges(statistics),
        **_provenance(statistics),
    }


def quantize(
    path: Path,
    feed: Feed,
    choices: Choices,
    output: Path,
    *,
    stats: Path | None,
    save_recipe: Path | None,
    report: bool,
    threads: int | None,
    cache: bool,
    quiet: bool,
    tuned: bool = False,
    easy: bool = False,
) -> Figures:
    """Write the quantized model, and what was asked for beside it.

    `tuned`: by the recipe that tuning finds; `easy`: with scales that EasyQuant moves.

    Raises:
        QuantScopeError: model, samples, choices or the files to write are unusable.
    """
    inputs = (path, *feed.files, stats, choices.recipe)
    check_output(output, (".onnx",), *inputs)
    if save_recipe is not None:
        check_output(save_recipe, (".yaml", ".yml"), *inputs, output)
    if easy and tuned:
        raise BadInput("--easyquant and --auto both decide the ranges; give one of them")
    if tuned:
        choices.check_open("--auto")
    if stats is not None and not feed.named:
        feed.check_unused("--stats")
    asked = {"--report": report, "--auto": tuned, "--easyquant": easy, "--method auto": choices.auto}
    runs = next((flag for flag, given in asked.items() if given), "")
    if runs and not feed.named and stats is not None:
        raise BadInput(f"{runs} runs the model: name samples with --data PATH too")
    model = load_model(path)
    recipe = asked_for = choices.build(model)
    if recipe.passes and not feed.named and stats is not None:
        raise BadInput("the recipe's passes run the model: name samples with --data PATH too")
    if recipe.passes and easy:
        raise BadInput(
            "--easyquant tunes the model as it is, and the recipe's passes change it; use one of them"
        )
    samples = feed.open(model) if feed.named or stats is None else None
    measurable = samples is not None and not samples.synthetic
    trying = not tuned and (choices.auto or (choices.undecided and measurable))
    if stats is not None:
        statistics = _load_statistics(stats, model)
        if samples is not None:
            uses = {"tuning": tuned, "the choice of the method": trying, "EasyQuant": easy}
            uses |= {"passes": bool(recipe.passes), "the comparison": report}
            serve = ", ".join(use for use, so in uses.items() if so) or "a trial run, and nothing else"
            note(f"note: ranges come from {stats.name}; the samples serve for {serve}")
    else:
        assert samples is not None
        statistics = _collect(model, samples, threads=threads, cache=cache, quiet=quiet)
    trials: list[Figures] = []
    story: list[str] = []
    warnings: list[str] = []
    if tuned:
        assert samples is not None
        found = _climb(model, samples, recipe, statistics, threads=threads, quiet=quiet)
        recipe, story = found.recipe, list(found.told)
        if found.unquantized:
            warnings = [f"{found.nothing_quantized} Quantize without --auto to have integers."]
    elif trying:
        assert samples is not None
        recipe, trials = _tuned(model, statistics, samples, recipe, threads=threads, quiet=quiet)
    if easy:
        assert samples is not None
        recipe, story = _moved(model, samples, recipe, statistics, threads=threads, quiet=quiet)
    proto, encodings, done = _built(model, recipe, samples, statistics, threads=threads, quiet=quiet)
    if not encodings.placement.nodes and not warnings:
        reason = why_all_float(model, asked_for, statistics)
        warnings.append(f"{why(reason)}, so the file holds the float model")
    insist_it_runs(proto, samples)
    seen = FinalCheck()
    if samples is not None and encodings.placement.nodes:
        beside = measurable and bool(choices.method) and not (trying or easy)
        seen = final_check(model, recipe, statistics, samples, proto, beside_minmax=beside, threads=threads)
        note_minmax(seen)
    written = write_onnx(proto, output)
    if save_recipe is not None:
        write(save_recipe, recipe_to_yaml(recipe).encode("utf-8"))
    result: Figures = {
        "output": str(output),
        "recipe": None if save_recipe is None else str(save_recipe),
        "target": recipe.target,
        "size_bytes": {"float": model.size_bytes, "quantized": written},
        "default": recipe.default,
        "trials": trials,
        "passes": done,
        "story": story,
        "layers": _layer_counts(model, recipe, encodings),
        "calibration": _provenance(statistics),
        "notes": [*model.notes, *_kept_float(encodings)],
    }
    told = faults(seen)
    if report:
        assert samples is not None
        result["comparison"] = _measured(model, output, samples, quiet)
        told = result["comparison"]["warnings"]
    result["warnings"] = [*warnings, *told, *remedies(seen, tuned)]
    return result


def compare(path: Path, quantized: Path, feed: Feed, *, quiet: bool) -> Figures:
    """Errors, accuracy, size and latency of a quantized model against its float original.

    Raises:
        QuantScopeError: a model or the samples are unusable, or do not belong together.
    """
    model = load_model(path)
    if not quantized.is_file():
        raise ModelError(f"there is no file '{quantized}'; check the path")
    return _measured(model, quantized, feed.open(model, accuracy=True), quiet)


def _measured(model: Model, quantized: Path, samples: Samples, quiet: bool) -> Figures:
    with progress_bar("comparing", quiet) as progress:
        figures = measure(model, quantized, samples, progress=progress).as_dict()
    accuracy = figures["accuracy"]
    if figures["outputs"] and all(item["mismatched"] for item in figures["outputs"]):
        raise ModelError(
            f"the models cannot be compared: the outputs of {quantized.name} have other shapes than those of "
            "the float model. Compare with the float model it was made from."
        )
    if samples.labels is not None and (accuracy is None or accuracy["float"] is None):
        note(unused_labels(samples.labels, model))
    for run in filter(None, (figures, figures["default_session"])):
        found = run["accuracy"]
        run["agreement"] = None if found is None else found["agreement"]
        run["positions"] = found is not None and found["positions"]
        if found is not None and found["float"] is None:  # no labels, so nothing was right or wrong
            run["accuracy"] = None
    return figures


def _collect(model: Model, samples: Samples, *, threads: int | None, cache: bool, quiet: bool) -> Statistics:
    with progress_bar("calibrating", quiet) as progress:
        return collect(model, samples, progress=progress, threads=threads, cache=cache)


def _tuned(
    model: Model,
    statistics: Statistics,
    samples: Samples,
    recipe: Recipe,
    *,
    threads: int | None,
    quiet: bool,
) -> tuple[Recipe, list[Figures]]:
    """The recipe with the default that measures best, and what was tried."""
    with progress_bar("trying methods", quiet) as progress:
        found = measured_default(model, statistics, samples, recipe, progress=progress, threads=threads)
    return found.recipe, [
        {
            "label": trial.label,
            "sqnr_db": trial.sqnr_db,
            "cosine": trial.cosine,
            "taken": trial is found.best,
            "refused": trial.refused,
        }
        for trial in found.trials
    ]


def tune(
    path: Path,
    feed: Feed,
    choices: Choices,
    output: Path,
    *,
    aim: Aim,
    threads: int | None,
    cache: bool,
    quiet: bool,
) -> Figures:
    """Find the recipe that measures best, or from there the mix of precisions asked for, and write it.

    Raises:
        QuantScopeError: model, samples or the file to write are unusable.
    """
    check_output(output, (".yaml", ".yml"), path, *feed.files, choices.recipe)
    model = load_model(path)
    recipe = choices.build(model)
    aim.check(recipe)
    warned = warn_if_all_float(model, recipe, "there is nothing to tune")
    samples = feed.open(model, accuracy=aim.max_drop is not None)
    if samples.synthetic:
        note("warning: tuned on random samples, the recipe says nothing about real ones")
    aim.check_scores(model, samples)
    statistics = _collect(model, samples, threads=threads, cache=cache, quiet=quiet)
    found = _climb(model, samples, recipe, statistics, threads=threads, quiet=quiet)
    chosen, front = found.recipe, None
    if aim.given:
        chosen, front = mixed(model, samples, recipe, chosen, aim, threads=threads, quiet=quiet)
    warnings = found.warnings if front is None else ()
    if not (warned or (front is None and found.unquantized)):
        with progress_bar("checking", quiet) as progress:
            taken = check_tuned(
                model, recipe, chosen, statistics, samples, threads=threads, progress=progress
            )
        warnings = of_tuned(taken) or warnings
    write(output, recipe_to_yaml(chosen).encode("utf-8"))
    return {
        "recipe": str(output),
        "warnings": list(warnings),
        "minmax_db": found.minmax_db,
        "tuned_db": found.tuned_db,
        "samples": {"choosing": found.choosing, "held_out": found.held_out},
        "passes": [choice.name for choice in chosen.passes],
        "default": chosen.default,
        "steps": [
            {"what": step.what, "sqnr_db": step.sqnr_db, "kept": step.kept, "why": step.why}
            for step in found.steps
        ],
        "story": list(found.told),
        "front": front,
    }


def _climb(
    model: Model,
    samples: Samples,
    recipe: Recipe,
    statistics: Statistics,
    *,
    threads: int | None,
    quiet: bool,
) -> AutotuneResult:
    with progress_bar("tuning", quiet) as progress:
        return autotune(model, samples, recipe, statistics=statistics, threads=threads, progress=progress)


def _moved(
    model: Model,
    samples: Samples,
    recipe: Recipe,
    statistics: Statistics,
    *,
    threads: int | None,
    quiet: bool,
) -> tuple[Recipe, list[str]]:
    """The recipe with what of EasyQuant's scales the network gains by, and what was found."""
    with progress_bar("EasyQuant", quiet) as progress:
        judged = judged_easyquant(model, recipe, statistics, samples, threads=threads, progress=progress)
    return judged.recipe, list(judged.sentences)


def _built(
    model: Model,
    recipe: Recipe,
    samples: Samples | None,
    statistics: Statistics,
    *,
    threads: int | None,
    quiet: bool,
) -> tuple[onnx.ModelProto, Encodings, list[str]]:
    """The quantized model, its encodings, and what the recipe's passes did."""
    if not recipe.passes:
        encodings = resolve(recipe, statistics, model)
        return quantize_model(model, encodings), encodings, []
    assert samples is not None
    with progress_bar("passes", quiet) as progress:
        made = run_pipeline(model, recipe, samples, statistics=statistics, threads=threads, progress=progress)
    said = list(made.log)
    if made.proto.ByteSize() < PROTOBUF_LIMIT:
        with progress_bar("judging passes", quiet) as progress:
            said.append(judged_passes(model, recipe, samples, threads=threads, progress=progress).sentence)
    return made.proto, made.encodings, said


def _kept_float(encodings: Encodings) -> list[str]:
    return [f"'{tensor}' stays float: {reason}." for tensor, reason in encodings.kept_float.items()]


def _load_statistics(path: Path, model: Model) -> Statistics:
    statistics = Statistics.load(path)
    if statistics.model_hash != model.hash:
        raise DataError(f"{path.name} holds statistics of another model; calibrate this one")
    if statistics.synthetic:
        note("warning: these statistics come from random samples; thresholds found on them are guesses")
    return statistics


def _provenance(statistics: Statistics) -> Figures:
    return {
        "samples": statistics.samples,
        "source": statistics.data_source,
        "synthetic": statistics.synthetic,
        "digest": statistics.digest(),
    }


def _ranges(statistics: Statistics) -> list[Figures]:
    """What was seen of every tensor."""
    return [
        {
            "name": name,
            "min": h.min,
            "max": h.max,
            "count": h.count,
            "zeros": h.zeros,
            "nan_or_inf": h.nans + h.infs,
        }
        for name, h in statistics.histograms.items()
    ]


def _layer_counts(model: Model, recipe: Recipe, encodings: Encodings) -> Figures:
    """How many layers got which precision; those that no integer kernel takes stay float."""
    counts: dict[str, int] = {precision.value: 0 for precision in Precision}
    quantized = set(encodings.placement.nodes)
    for layer in model.layers:
        if layer.kind == "compute":
            precision = recipe.choice(layer.name).precision or Precision.INT8
            done = quantized.intersection(layer.nodes)
            counts[(precision if done else Precision.FLOAT).value] += 1
    return counts
