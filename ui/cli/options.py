"""Options that several commands share, and those too long to stand in a signature."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantscope.core.methods import AUTOMATIC

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="Float ONNX model.")]
Json = Annotated[bool, typer.Option("--json", help="Print strict JSON on stdout, and nothing else there.")]
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH", help="Samples: .npz, .npy, a folder, images, .zip, or your own reader (.py)."
    ),
]
Random = Annotated[
    int | None, typer.Option(metavar="N", help="Use N random samples instead; only a try-out.")
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of --random.")]
Limit = Annotated[int | None, typer.Option(metavar="N", min=1, help="Use the first N samples only.")]
Labels = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Class of each sample, or of each token or pixel: .npy, .npz, or for images a .csv.",
    ),
]
IgnoreLabel = Annotated[
    int | None,
    typer.Option(
        "--ignore-label",
        metavar="N",
        help="A label that is no class and does not count.  [default: -100, and 255 in maps of pixels]",
    ),
]
Preprocess = Annotated[
    str | None,
    typer.Option(
        metavar="PRESET|FILE",
        help="For images: imagenet-torch, imagenet-tf, 0-1 or 0-255, with settings as in "
        "0-1,size=128,order=BGR, or a YAML file of them, with lines such as 'preset: 0-1' and 'size: 128'.",
    ),
]
Threads = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Worker threads; results do not depend on it.")
]
Cache = Annotated[
    bool, typer.Option("--cache/--no-cache", help="Reuse statistics of the same model and data.")
]
ScaleRule = Annotated[
    str | None,
    typer.Option(
        metavar="R",
        help="Scales allowed: free, power-of-two-up, power-of-two-nearest or power-of-two-mse, for chips "
        "that shift.  [default: free]",
    ),
]
Host = Annotated[str, typer.Option(help="Address to serve on; others than 127.0.0.1 open it to the network.")]
Port = Annotated[int | None, typer.Option(help="Port to serve on.  [default: the first free one from 8501]")]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Another name this machine is reached by; repeatable."),
]
Symmetric = Annotated[
    bool | None, typer.Option("--symmetric/--asymmetric", help="Ranges around zero, or as the data lie.")
]
Percentile = Annotated[
    float | None, typer.Option(metavar="P", help="Share of values kept, in percent, for --method percentile.")
]
Weights = Annotated[
    str | None, typer.Option(metavar="G", help="per-channel or per-tensor.  [default: per-channel]")
]
FloatLayers = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Leave this layer in float; repeatable.")
]
Target = Annotated[
    str | None,
    typer.Option(
        metavar="T",
        help="What to write for: onnxruntime-cpu, onnxruntime-any-x86 (weights that cannot saturate on CPUs "
        "without VNNI), or to compare with these, onnxruntime-7bit and onnxruntime-u8u8.  "
        "[default: onnxruntime-cpu]",
    ),
]
Stats = Annotated[
    Path | None, typer.Option(metavar="STATS.npz", help="Statistics saved by 'quantscope calibrate'.")
]
Method = Annotated[
    str | None,
    typer.Option(
        metavar="M",
        help=f"{', '.join(AUTOMATIC)}, or auto.  [default: auto with samples, else minmax]",
    ),
]
WeightMethod = Annotated[
    str | None,
    typer.Option(
        metavar="M", help="minmax, mse or percentile.  [default: as --method auto finds, else minmax]"
    ),
]
Precision = Annotated[
    str | None, typer.Option(metavar="P", help="int8 or int16 activations.  [default: int8]")
]
EasyQuant = Annotated[
    bool,
    typer.Option(
        "--easyquant",
        help="Move scales for the largest cosine of each layer's output; kept if the network gains by it.",
    ),
]
Auto = Annotated[bool, typer.Option("--auto", help="Tune first, as 'quantscope tune' does; takes longer.")]
Report = Annotated[bool, typer.Option("--report", help="Also compare the result with the float model.")]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        metavar="POINTS", help="Cheapest mix of precisions that loses at most so many points of top-1."
    ),
]
MinSqnr = Annotated[
    float | None, typer.Option(metavar="DB", help="Cheapest mix whose outputs have at least this SQNR.")
]
Budget = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Most exact mix within 500kB, 2MB, or 60% of float.")
]
Precisions = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help="What the mix is made of, of int8,int16,float.  [default: those with kernels: int8,float]",
    ),
]
MixCost = Annotated[
    str | None,
    typer.Option("--cost", metavar="C", help="Cheap in size or in estimated latency.  [default: size]"),
]
