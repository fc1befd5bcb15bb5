"""The options that commands share, each declared once: a field of a record, or an argument by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from quantscope.ui.cli.spread import given
from quantscope.ui.terminal.console import BadInput

AUTO = "auto"  # for --method: not a method of one tensor, but a trial of several on the whole network

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="Float ONNX model.")]
Json = Annotated[bool, typer.Option("--json", help="Print strict JSON on stdout, and nothing else there.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """The samples that a command line names."""

    data: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Samples: .npz, .npy, a folder, images, .zip, or your own reader (.py)."
        ),
    ] = None
    random: Annotated[
        int | None, typer.Option(metavar="N", help="Use N random samples instead; only a try-out.")
    ] = None
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of --random.")] = 0
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Use the first N samples only.")] = (
        None
    )
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Class of each sample, or of each token or pixel: .npy, .npz, or for images a .csv.",
        ),
    ] = None
    ignore: Annotated[
        int | None,
        typer.Option(
            "--ignore-label",
            metavar="N",
            help="A label that is no class and does not count.  [default: -100, and 255 in maps of pixels]",
        ),
    ] = None
    preprocess: Annotated[
        str | None,
        typer.Option(
            metavar="PRESET|FILE",
            help="For images: imagenet-torch, imagenet-tf, 0-1 or 0-255, with settings as in "
            "0-1,size=128,order=BGR, or a YAML file of them, with lines such as 'preset: 0-1' and "
            "'size: 128'.",
        ),
    ] = None

    @property
    def named(self) -> bool:
        """Whether any samples are named."""
        return self.data is not None or self.random is not None

    @property
    def files(self) -> tuple[Path, ...]:
        """What is read; not to be overwritten."""
        named = (self.data, self.labels, None if self.preprocess is None else Path(self.preprocess))
        return tuple(path for path in named if path is not None)

    def check_unused(self, flag: str) -> None:
        """Refuse options about samples where none are named because of `flag`.

        Raises:
            BadInput: There is one.
        """
        unused = given(self, but=("data", "random", "seed"))
        if unused:
            raise BadInput(f"{unused[0]} goes with --data; with {flag} alone no samples are read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How a model is run over the samples; the results do not depend on it."""

    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Worker threads; results do not depend on it.")
    ] = None
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Reuse statistics of the same model and data.")
    ] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """How a command line asks a model to be quantized."""

    method: Annotated[
        str | None,
        typer.Option(
            metavar="M",
            help="minmax, percentile, mse, cosine, kl, kl_v2, aciq, octav, admm, moving_average, isotone, or "
            "auto.  [default: auto with samples, else minmax]",
        ),
    ] = None
    percentile: Annotated[
        float | None,
        typer.Option(metavar="P", help="Share of values kept, in percent, for --method percentile."),
    ] = None
    symmetric: Annotated[
        bool | None,
        typer.Option("--symmetric/--asymmetric", help="Ranges around zero, or as the data lie."),
    ] = None
    weights: Annotated[
        str | None, typer.Option(metavar="G", help="per-channel or per-tensor.  [default: per-channel]")
    ] = None
    weight_method: Annotated[
        str | None,
        typer.Option(
            metavar="M", help="minmax, mse or percentile.  [default: as --method auto finds, else minmax]"
        ),
    ] = None
    precision: Annotated[
        str | None, typer.Option(metavar="P", help="int8 or int16 activations.  [default: int8]")
    ] = None
    scale_rule: Annotated[
        str | None,
        typer.Option(
            metavar="R",
            help="Scales allowed: free, power-of-two-up, power-of-two-nearest or power-of-two-mse, for chips "
            "that shift.  [default: free]",
        ),
    ] = None
    float_layers: Annotated[
        tuple[str, ...],
        typer.Option("--float-layer", metavar="NAME", help="Leave this layer in float; repeatable."),
    ] = ()
    target: Annotated[
        str | None,
        typer.Option(
            metavar="T",
            help="What to write for: onnxruntime-cpu, onnxruntime-any-x86 (weights that cannot saturate on "
            "CPUs without VNNI), or to compare with these, onnxruntime-7bit and onnxruntime-u8u8.  "
            "[default: onnxruntime-cpu]",
        ),
    ] = None
    recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take all choices from a saved recipe.")
    ] = None

    @property
    def auto(self) -> bool:
        """Whether the methods are to be tried, and the best one taken."""
        return self.method is not None and self.method.lower() == AUTO

    @property
    def undecided(self) -> bool:
        """Whether nothing was said that a trial of the methods would decide."""
        said = (self.method, self.percentile, self.weight_method, self.recipe)
        return all(value is None for value in said)

    def check_beside_recipe(self) -> None:
        """Refuse what the recipe decides; only more layers may be left in float.

        Raises:
            BadInput: One such option is given.
        """
        both = given(self, but=("recipe", "float_layers"))
        if both:
            line = ", or change the recipe's line 'target:'" if both == ["--target"] else ""
            raise BadInput(f"{both[0]} is decided by the recipe; leave it out, or leave out --recipe{line}")

    def check_open(self, flag: str) -> None:
        """Refuse a method beside `flag`, which finds the best one.

        Raises:
            BadInput: One is given.
        """
        decides = ("percentile", "weight_method") if self.auto else ("method", "percentile", "weight_method")
        both = given(self, only=decides)
        if both:
            raise BadInput(f"{flag} finds the methods itself; leave out {both[0]}, or leave out {flag}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Where the app is served."""

    host: Annotated[
        str, typer.Option(help="Address to serve on; others than 127.0.0.1 open it to the network.")
    ] = "127.0.0.1"
    port: Annotated[
        int | None, typer.Option(help="Port to serve on.  [default: the first free one from 8501]")
    ] = None
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False
    allow_host: Annotated[
        tuple[str, ...],
        typer.Option(metavar="NAME", help="Another name this machine is reached by; repeatable."),
    ] = ()
