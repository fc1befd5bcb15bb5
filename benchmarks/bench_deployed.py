"""Deployed models in int8: quantizers, output SQNR by method, and the time of one sample.

    python -m benchmarks.bench_deployed [--calibrate 48] [--methods minmax,mse] [MODEL DATA]

MODEL is a float ONNX file, DATA an .npz of its one input; the last third of the samples judges, the first
`--calibrate` of the others calibrate. Without them, the networks of sample_data are taken. Times are the best
of many single runs on one thread, float and int8 in turns, with integer sums made exact.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.quality.judge import session, sqnr_db
from quantscope.core.data import open_samples
from quantscope.core.export import write_onnx
from quantscope.core.model import load_model
from quantscope.core.pipeline import quantize
from quantscope.core.recipe import Recipe
from quantscope.core.thresholds import Method
from quantscope.sample_data import SAMPLES

RUNS = 200
HEAD = "| model | method | quantizers | dB | int8 ms | float ms |\n|---|---|---:|---:|---:|---:|"


def rows(path: Path, array: npt.NDArray[np.float32], methods: list[Method], count: int, folder: Path) -> None:
    """Print a row for each method."""
    model = load_model(path)
    name = model.inputs[0].name
    judged = array[-max(1, len(array) // 3) :]
    np.savez(folder / "calibration.npz", **{name: array[: len(array) - len(judged)][:count]})
    samples = open_samples(folder / "calibration.npz", model)
    reference = session(path, threads=1)
    expected = np.concatenate([reference.run(None, {name: x[None]})[0] for x in judged])
    for method in methods:
        made = quantize(model, Recipe().with_default(method=method), samples, cache=False)
        write_onnx(made.proto, folder / "int8.onnx")
        runner = session(folder / "int8.onnx", threads=1)
        found = np.concatenate([runner.run(None, {name: x[None]})[0] for x in judged])
        best = {"float": np.inf, "int8": np.inf}
        for _ in range(RUNS):
            for key, run in (("float", reference), ("int8", runner)):
                begin = time.perf_counter()
                run.run(None, {name: judged[:1]})
                best[key] = min(best[key], time.perf_counter() - begin)
        quantizers = sum(node.op_type == "QuantizeLinear" for node in made.proto.graph.node)
        print(
            f"| {path.stem} | {method} | {quantizers} | {sqnr_db(expected, found):.1f} | "
            f"{best['int8'] * 1e3:.2f} | {best['float'] * 1e3:.2f} |",
            flush=True,
        )


def main(arguments: list[str]) -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--calibrate", type=int, default=48)
    parser.add_argument("--methods", default="minmax,percentile,mse,cosine,aciq")
    given = parser.parse_args(arguments)
    pairs = [(s.model, s.calibration) for s in SAMPLES.values()]
    if given.model is not None:
        if given.data is None:
            parser.error("MODEL needs DATA beside it")
        pairs = [(given.model, given.data)]
    print(HEAD)
    for path, data in pairs:
        with np.load(data) as arrays, tempfile.TemporaryDirectory() as folder:
            name = load_model(path).inputs[0].name
            array = np.asarray(arrays[name if name in arrays else arrays.files[0]], np.float32)
            methods = [Method(m) for m in given.methods.split(",")]
            rows(path, array, methods, given.calibrate, Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
