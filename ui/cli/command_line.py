"""The `quantscope` command: the app, and all that it does without one, for scripts and machines."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from quantscope.core.progress import Cancelled
from quantscope.ui.cli.options import (
    AllowHost,
    Auto,
    Budget,
    Cache,
    Data,
    EasyQuant,
    FloatLayers,
    Host,
    IgnoreLabel,
    Json,
    Labels,
    Limit,
    MaxDrop,
    Method,
    MinSqnr,
    MixCost,
    ModelPath,
    NoBrowser,
    Percentile,
    Port,
    Precision,
    Precisions,
    Preprocess,
    Random,
    Report,
    ScaleRule,
    Seed,
    Stats,
    Symmetric,
    Target,
    Threads,
    WeightMethod,
    Weights,
)
from quantscope.ui.cli.sensitivity import sensitivity
from quantscope.ui.cli.thresholds import thresholds
from quantscope.ui.terminal import console

# Everything heavier than this file is imported inside the commands, so that --help answers at once.

INTERRUPTED = 130
DEBUG: ContextVar[bool] = ContextVar("debug", default=False)

app = typer.Typer(
    name="quantscope",
    help="See what post-training quantization does to an ONNX model, layer by layer, and tune it.",
    epilog="'quantscope MODEL.onnx --data PATH' is short for 'quantscope app MODEL.onnx --data PATH'.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected error happened.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """See what post-training quantization does to an ONNX model, layer by layer, and tune it."""
    if version:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed

        try:
            console.say(f"quantscope {installed('quantscope')}")
        except PackageNotFoundError:
            console.say("quantscope, not installed: run from its source")
        raise typer.Exit


@app.command()
def demo(
    sample: Annotated[
        str, typer.Argument(metavar="SAMPLE", help="digits_mobilenet (default), digits_vit or digits_mlp.")
    ] = "",
    host: Host = "127.0.0.1",
    port: Port = None,
    no_browser: NoBrowser = False,
    allow_host: AllowHost = None,
) -> None:
    """Open the app on a sample network, ready to play with."""
    from quantscope.sample_data import SAMPLES

    name = sample or next(iter(SAMPLES))
    if name not in SAMPLES:
        raise console.BadInput(f"there is no sample '{name}'; choose from {', '.join(SAMPLES)}")
    _serve(["--demo", name], host, port, no_browser, allow_host)


@app.command("app")
def open_app(
    model: Annotated[Path | None, typer.Argument(metavar="MODEL", help="Float ONNX model.")] = None,
    data: Data = None,
    host: Host = "127.0.0.1",
    port: Port = None,
    no_browser: NoBrowser = False,
    allow_host: AllowHost = None,
) -> None:
    """Open the app, on your model if one is named."""
    if data is not None and model is None:
        raise console.BadInput("--data needs a model to go with: quantscope app MODEL.onnx --data PATH")
    arguments: list[str] = []
    for flag, path in (("--model", model), ("--data", data)):
        if path is not None:
            if not path.exists():
                raise console.BadInput(f"there is no file or folder '{path}'; check the path")
            arguments += [flag, str(path.resolve())]
    if model is not None:
        from quantscope.core.model.loading import read_model_file

        read_model_file(model)  # what is no model is refused here, and not by a page
    _serve(arguments, host, port, no_browser, allow_host)


def _serve(
    arguments: list[str], host: str, port: int | None, no_browser: bool, allow_host: list[str] | None
) -> NoReturn:
    from quantscope.ui.server.launch import serve

    code = serve(
        arguments, host=host, port=port, browser=not no_browser, debug=DEBUG.get(), allow=allow_host or ()
    )
    raise typer.Exit(code)


@app.command()
def inspect(model: ModelPath, json: Json = False) -> None:
    """Show a model's layers, operators and tensors, and what can be quantized."""
    from quantscope.core.model import load_model
    from quantscope.ui.cli import listing
    from quantscope.ui.cli.inspection import inspection

    console.show(lambda: inspection(load_model(model, allow_quantized=True)), listing.inspection, json)


@app.command()
def calibrate(
    model: ModelPath,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="STATS.npz", help="File to write.")],
    data: Data = None,
    random: Random = None,
    seed: Seed = 0,
    limit: Limit = None,
    preprocess: Preprocess = None,
    threads: Threads = None,
    cache: Cache = True,
    json: Json = False,
) -> None:
    """Run the model over samples and keep the statistics of every activation."""
    from quantscope.ui.cli import commands, listing
    from quantscope.ui.cli.arguments import Feed

    feed = Feed(data=data, random=random, seed=seed, limit=limit, preprocess=preprocess)
    work = partial(commands.calibrate, model, feed, output, threads=threads, cache=cache, quiet=json)
    console.show(work, listing.calibration, json)


@app.command()
def quantize(
    model: ModelPath,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.onnx", help="File to write.")],
    data: Data = None,
    stats: Stats = None,
    method: Method = None,
    percentile: Percentile = None,
    symmetric: Symmetric = None,
    weights: Weights = None,
    weight_method: WeightMethod = None,
    precision: Precision = None,
    scale_rule: ScaleRule = None,
    float_layer: FloatLayers = None,
    target: Target = None,
    recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take all choices from a saved recipe.")
    ] = None,
    save_recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the choices, to repeat them with --recipe.")
    ] = None,
    easyquant: EasyQuant = False,
    auto: Auto = False,
    report: Report = False,
    random: Random = None,
    seed: Seed = 0,
    limit: Limit = None,
    labels: Labels = None,
    ignore: IgnoreLabel = None,
    preprocess: Preprocess = None,
    threads: Threads = None,
    cache: Cache = True,
    json: Json = False,
) -> None:
    """Write the quantized model."""
    from quantscope.ui.cli import commands, listing
    from quantscope.ui.cli.arguments import Choices, Feed

    feed = Feed(
        data=data, random=random, seed=seed, limit=limit, labels=labels, ignore=ignore, preprocess=preprocess
    )
    choices = Choices(
        method=method,
        percentile=percentile,
        symmetric=symmetric,
        weights=weights,
        weight_method=weight_method,
        precision=precision,
        scale_rule=scale_rule,
        float_layers=tuple(float_layer or ()),
        target=target,
        recipe=recipe,
    )
    work = partial(
        commands.quantize,
        model,
        feed,
        choices,
        output,
        stats=stats,
        save_recipe=save_recipe,
        report=report,
        threads=threads,
        cache=cache,
        quiet=json,
        tuned=auto,
        easy=easyquant,
    )
    console.show(work, listing.quantization, json)


@app.command()
def tune(
    model: ModelPath,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="RECIPE", help="Recipe (.yaml) to write.")
    ],
    data: Data = None,
    weights: Weights = None,
    float_layer: FloatLayers = None,
    target: Target = None,
    recipe: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Start from a saved recipe; layers it sets stay as set."),
    ] = None,
    max_drop: MaxDrop = None,
    min_sqnr: MinSqnr = None,
    budget: Budget = None,
    precisions: Precisions = None,
    cost: MixCost = None,
    random: Random = None,
    seed: Seed = 0,
    limit: Limit = None,
    labels: Labels = None,
    ignore: IgnoreLabel = None,
    preprocess: Preprocess = None,
    threads: Threads = None,
    cache: Cache = True,
    json: Json = False,
) -> None:
    """Find the recipe that measures best: methods, corrected biases, passes, single layers, precisions."""
    from quantscope.ui.cli import commands, listing
    from quantscope.ui.cli.arguments import Choices, Feed
    from quantscope.ui.cli.mixed_precision import Aim

    feed = Feed(
        data=data, random=random, seed=seed, limit=limit, labels=labels, ignore=ignore, preprocess=preprocess
    )
    aim = Aim(max_drop=max_drop, min_sqnr=min_sqnr, budget=budget, precisions=precisions, cost=cost)
    choices = Choices(weights=weights, float_layers=tuple(float_layer or ()), target=target, recipe=recipe)
    work = partial(
        commands.tune, model, feed, choices, output, aim=aim, threads=threads, cache=cache, quiet=json
    )
    console.show(work, listing.tuning, json)


app.command()(sensitivity)


@app.command()
def compare(
    model: Annotated[Path, typer.Argument(metavar="FLOAT.onnx", help="Float model.")],
    quantized: Annotated[Path, typer.Argument(metavar="QUANT.onnx", help="Quantized model made from it.")],
    data: Data = None,
    random: Random = None,
    seed: Seed = 0,
    limit: Limit = None,
    labels: Labels = None,
    ignore: IgnoreLabel = None,
    preprocess: Preprocess = None,
    json: Json = False,
) -> None:
    """Measure how far a quantized model is from its float original: errors, accuracy, size, latency."""
    from quantscope.ui.cli import commands, listing
    from quantscope.ui.cli.arguments import Feed

    feed = Feed(
        data=data, random=random, seed=seed, limit=limit, labels=labels, ignore=ignore, preprocess=preprocess
    )
    console.show(partial(commands.compare, model, quantized, feed, quiet=json), listing.comparison, json)


@app.command()
def doctor(json: Json = False) -> None:
    """Show what a report needs to say of this machine, and whether its int8 kernels saturate."""
    from quantscope.ui.cli import doctor as examination
    from quantscope.ui.cli import listing

    console.show(examination.machine, listing.machine, json)


app.command()(thresholds)


def with_command(arguments: Sequence[str]) -> list[str]:
    """The command line with `app` put in where it begins with a model, or with an option of `app`."""
    out = list(arguments) or ["--help"]
    command = typer.main.get_command(app)
    known: Mapping[str, Any] = command.commands  # type: ignore[attr-defined]
    first = out[0]
    if first in known:
        return out
    if first.startswith("-"):
        own, its = ({flag for p in part.params for flag in p.opts} for part in (command, known["app"]))
        return ["app", *out] if first.partition("=")[0] in its - own else out
    is_path = first.lower().endswith(".onnx") or any(c in first for c in "/\\") or Path(first).exists()
    return ["app", *out] if is_path else out


def run(arguments: Sequence[str], *, heed: bool = False) -> int:
    """Carry out one command line; returns the exit code and never raises.

    With `heed`, Ctrl-C ends it even where Python loses the first one; only the main thread can do so.
    """
    words = list(arguments)
    head = words[: words.index("--")] if "--" in words else words
    debug = "--debug" in head  # wherever it stands, also behind the command
    if debug:
        words.remove("--debug")
    token = DEBUG.set(debug)
    try:
        command = typer.main.get_command(app)
        with console.interruptible() if heed else nullcontext():
            code = command.main(args=with_command(words), prog_name="quantscope", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:  # newer Typer turns Ctrl-C into this code, older raise Abort
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, Cancelled, typer.Abort):
        console.note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # `quantscope inspect … | head`
        # What is still buffered would fail again when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return console.FAILED
    except Exception as error:
        if DEBUG.get():
            import traceback

            traceback.print_exc()
        code, message = console.explain(error)
        console.note(f"error: {message}")
        return code
    finally:
        DEBUG.reset(token)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point of the `quantscope` command."""
    # A stream that the caller closed is None; what has no reader is not worth failing for.
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that the terminal lacks must not end the command
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:] if arguments is None else arguments, heed=True))
