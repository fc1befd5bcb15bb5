"""Sensitivity rankings against the loop that everybody writes: one session and one pass a layer.

    python -m benchmarks.bench_sensitivity                          ResNet-50, 8 samples
    python -m benchmarks.bench_sensitivity --network mobilenet_v2 --naive-layers 0     all layers in the loop

Both compute the same figures: the model with only one layer's quantizers (enable-one), or without them
(disable-one), in float between rounded tensors. The loop quantizes the model, makes a session with ONNX
Runtime's default threads and runs all samples, layer after layer; of it, evenly spread layers are timed and
the total is extrapolated. QuantScope's time holds everything from the opened model to the ranking. The
networks have random weights: times depend on shapes, not on values.
"""

import argparse
import time

import numpy as np
import onnxruntime as ort

from benchmarks.networks import NETWORKS
from quantscope.core.calibration import calibrate
from quantscope.core.data import Samples
from quantscope.core.data.sources import random_samples
from quantscope.core.evaluate import NO_FUSION, ErrorTotal, error_sums, tensor_error
from quantscope.core.model import Model, load_model
from quantscope.core.quantize import Encodings, quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.runtime import open_session, session_options
from quantscope.core.sensitivity import (
    Kind,
    Metric,
    Quantizers,
    Run,
    metric_estimate,
    plan_runs,
    ranking,
    restricted,
    run_sensitivity,
)

KINDS = (Kind.ENABLE, Kind.DISABLE)


def plain_session(data: bytes) -> ort.InferenceSession:
    return open_session(data, session_options(0, NO_FUSION))


def naive(
    model: Model, encodings: Encodings, on: Quantizers, samples: Samples, floats: list[np.ndarray]
) -> float:
    """SQNR of the model with some quantizers, by a session of its own."""
    session = plain_session(quantize_model(model, restricted(encodings, on)).SerializeToString())
    total = ErrorTotal()
    for sample, f in zip(samples, floats, strict=True):
        total.add(error_sums(f, session.run(None, sample)[0]))
    return total.error().sqnr_db or 0.0


def ours(
    model: Model, encodings: Encodings, samples: Samples, kind: Kind, threads: int | None
) -> tuple[float, float, list[Run]]:
    """Seconds to the first run and to the ranking, and the runs."""
    start = time.perf_counter()
    first, runs = 0.0, []
    for run in run_sensitivity(model, encodings, samples, kinds=[kind], count=len(samples), threads=threads):
        first = first or time.perf_counter() - start
        runs.append(run)
    ranking(runs, kind)
    return first, time.perf_counter() - start, runs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", choices=sorted(NETWORKS), default="resnet50")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--naive-layers", type=int, default=6, help="layers timed in the loop; 0 = all")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    model = load_model(NETWORKS[arguments.network]().SerializeToString(), name=arguments.network)
    samples = random_samples(model, arguments.samples)
    encodings = resolve(Recipe(), calibrate(model, samples.take(2), cache=False), model)
    tensor_error(np.zeros(1, np.float32), np.zeros(1, np.float32))  # compiles the loops
    session = plain_session(model.float_bytes())
    floats = [session.run(None, sample)[0] for sample in samples]
    start = time.perf_counter()
    for sample in samples:
        session.run(None, sample)
    bare = time.perf_counter() - start
    print(f"{arguments.network}, {len(samples)} samples; bare float pass {bare:.2f} s")
    for kind in KINDS:
        first, seconds, runs = ours(model, encodings, samples, kind, arguments.threads)
        planned = plan_runs(model, encodings, [kind])
        subjects = [s for s in planned.subjects if s.kind is kind]
        step = max(1, len(subjects) // arguments.naive_layers) if arguments.naive_layers else 1
        timed = subjects[::step]
        start = time.perf_counter()
        by_loop = {s: naive(model, encodings, planned.on[s], samples, floats) for s in timed}
        loop = (time.perf_counter() - start) / len(timed) * len(subjects)
        found = {s: metric_estimate(runs, s, Metric.SQNR) for s in timed}
        apart = max(abs(f.value - by_loop[s]) for s, f in found.items() if f is not None)
        print(f"{kind}, {len(subjects)} layers: {seconds:.2f} s ({seconds / bare:.1f} bare passes),", end=" ")
        print(f"first run after {first:.2f} s; the loop {loop:.1f} s ({len(timed)} layers timed),", end=" ")
        print(f"{loop / seconds:.1f} times as long; largest difference {apart:.3f} dB")


if __name__ == "__main__":
    main()
