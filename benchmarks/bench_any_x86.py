"""What weights that cannot saturate cost, beside 7-bit and unsigned ones: exact, and in a default session.

    python -m benchmarks.bench_any_x86 [--auto] [--shared ../shared] [NETWORK ...]

A default session differs from exact sums on x86 without VNNI only; the probe's finding is printed first.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.quality.judge import latencies_ms, logits, sqnr_db
from benchmarks.quality.networks import Network, networks
from quantscope.core.data import open_samples
from quantscope.core.export import write_onnx
from quantscope.core.model import load_model
from quantscope.core.pipeline import quantize
from quantscope.core.recipe import Recipe
from quantscope.core.runtime import integer_sums
from quantscope.core.targets import TARGETS
from quantscope.core.tuning import autotune

HEAD = (
    "| network | recipe | target | exact: dB | top-1 % | default session: dB | top-1 % | same bits | ms | s |"
)


def rows(network: Network, folder: Path, auto: bool) -> None:
    """Print a row for each target."""
    calibration = folder / "calibration.npz"
    np.savez(calibration, **{network.input: network.calibration})
    model = load_model(network.path)
    samples = open_samples(calibration, model)
    reference = logits(network.path, network)
    times = latencies_ms({"float": network.path}, network)
    top1 = 100 * np.mean(reference.argmax(axis=1) == network.labels)
    print(f"| **{network.name}** | float | | | {top1:.1f} | | | | {times['float']:.3f} | |", flush=True)
    for name in TARGETS:
        begin = time.perf_counter()
        recipe = autotune(model, samples, Recipe(target=name)).recipe if auto else Recipe(target=name)
        made = quantize(model, recipe, samples, cache=False)
        seconds = time.perf_counter() - begin
        path = folder / f"{name}.onnx"
        write_onnx(made.proto, path)
        exact, default = (logits(path, network, exact=e) for e in (True, False))
        taken = latencies_ms({name: path}, network, exact=False)[name]
        figures = [
            f"{sqnr_db(reference, found):.2f} | {100 * np.mean(found.argmax(axis=1) == network.labels):.1f}"
            for found in (exact, default)
        ]
        same = "yes" if np.array_equal(exact, default) else "no"
        label = "auto" if auto else "MinMax"
        print(
            f"| | {label} | {name} | {figures[0]} | {figures[1]} | {same} | {taken:.3f} | {seconds:.0f} |",
            flush=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NETWORK", help="those to measure; all by default")
    parser.add_argument("--auto", action="store_true", help="tune for each target instead of MinMax")
    parser.add_argument(
        "--shared", type=Path, default=Path("../shared"), help="further networks, where there"
    )
    given = parser.parse_args()
    known = networks(given.shared)
    print(f"{integer_sums()}\n\n{HEAD}\n|---|---|---|---:|---:|---:|---:|---|---:|---:|")
    for name in given.names or known:
        with tempfile.TemporaryDirectory() as folder:
            rows(known[name](), Path(folder), given.auto)
    return 0


if __name__ == "__main__":
    sys.exit(main())
