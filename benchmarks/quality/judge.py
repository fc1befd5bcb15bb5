"""One judge for all: an ONNX file, run by ONNX Runtime in exact arithmetic, against the float file."""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from benchmarks.quality.networks import Array, Network
from quantscope.core.runtime import open_session, session_options

BATCH = 50
RUNS = 50  # of one image, for the latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How well a file does on the samples held out."""

    top1: float  # share
    agreement: float  # share of samples where float puts the same class first
    sqnr_db: float  # of the logits of all samples taken as one vector; inf = equal
    size_bytes: int
    quantized: int  # activations that pass through integers


def session(path: Path, threads: int = 2, *, exact: bool = True) -> ort.InferenceSession:
    """Every optimization, integer kernels for Q/DQ pairs, and exact sums on every processor, if wanted."""
    return open_session(path, session_options(threads, exact=exact))


def logits(path: Path, network: Network, *, exact: bool = True) -> Array:
    """(samples, classes) on the samples held out."""
    runner = session(path, exact=exact)
    cuts = range(BATCH, len(network.held_out), BATCH)
    return np.concatenate(
        [runner.run(None, {network.input: part})[0] for part in np.split(network.held_out, cuts)]
    )


def figures(path: Path, network: Network, reference: Array) -> Figures:
    """The figures of a file; `reference` holds the float file's logits."""
    found = logits(path, network)
    answer = found.argmax(axis=1)
    return Figures(
        top1=float(np.mean(answer == network.labels)),
        agreement=float(np.mean(answer == reference.argmax(axis=1))),
        sqnr_db=sqnr_db(reference, found),
        size_bytes=path.stat().st_size,
        quantized=quantized_activations(onnx.load(path)),
    )


def sqnr_db(reference: npt.NDArray[np.floating], found: npt.NDArray[np.floating]) -> float:
    """Signal to quantization noise of all values taken as one vector; inf = equal."""
    signal = np.sum(np.square(reference, dtype=np.float64))
    noise = np.sum(np.square(np.subtract(reference, found, dtype=np.float64)))
    return float(10 * np.log10(signal / noise)) if noise else float("inf")


def quantized_activations(model: onnx.ModelProto) -> int:
    """Distinct tensors, not constants, that a QuantizeLinear reads."""
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {node.output[0] for node in model.graph.node if node.op_type == "Constant"}
    return len({node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"} - constants)


def latencies_ms(paths: Mapping[str, Path], network: Network, *, exact: bool = True) -> dict[str, float]:
    """Median time of one sample on one thread, the files taking turns."""
    runners = {label: session(path, threads=1, exact=exact) for label, path in paths.items()}
    times: dict[str, list[float]] = {label: [] for label in runners}
    for number in range(-3, RUNS):
        feed = {network.input: network.held_out[number % 8 : number % 8 + 1]}
        for label, runner in runners.items():
            begin = time.perf_counter()
            runner.run(None, feed)
            if number >= 0:
                times[label].append(1e3 * (time.perf_counter() - begin))
    return {label: statistics.median(taken) for label, taken in times.items()}
