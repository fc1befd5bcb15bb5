"""Calibration speed and memory: a bare float pass, QuantScope, and onnxruntime's calibrators, in one table.

    python -m benchmarks.bench_calibrate                    both networks, all columns (minutes)
    python -m benchmarks.bench_calibrate --skip-onnxruntime --skip-memory

The bare pass is ONNX Runtime with its default threads and all optimizations, one image at a time, no tensor
exposed. QuantScope's time holds everything from the opened model and data to the statistics (session
included, disk cache off), then every threshold curve of every tensor. The networks have random weights:
times depend on shapes, not on values. Times are the best of a few runs in one process; memory is the
peak of a process of its own.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from benchmarks.networks import NETWORKS
from quantscope.core.calibration import Statistics, calibrate
from quantscope.core.data import Samples, open_samples
from quantscope.core.model import Model, load_model
from quantscope.core.runtime import open_session, session_options
from quantscope.core.targets import TARGETS, Precision
from quantscope.core.thresholds import FROM_HISTOGRAM, curves, search

IMAGES = {"mobilenet_v2": 64, "resnet50": 32}
GOALS = {"mobilenet_v2": 2.5, "resnet50": 2.0}
MEMORY_IMAGES = (64, 1024)
TARGET = "onnxruntime-cpu"


def write_images(path: Path, count: int) -> Path:
    """`count` seeded images of noise as an npz, written in pieces."""
    raw = path.with_suffix(".npy")
    array = np.lib.format.open_memmap(raw, "w+", np.float32, (count, 3, 224, 224))
    for index in range(count):
        array[index] = np.random.default_rng(index).standard_normal((3, 224, 224), np.float32)
    array.flush()
    del array
    return raw


def best(work: Callable[[], Any], repeats: int) -> float:
    """Shortest of `repeats` runs, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def bare_pass(model: Model, samples: Samples) -> Callable[[], None]:
    session = open_session(model.float_bytes(), session_options(0))

    def work() -> None:
        for sample in samples:
            session.run(None, sample)

    return work


def all_curves(statistics: Statistics) -> None:
    """Every method's search and the Inspector's curves, for every tensor, on all cores."""
    spec = TARGETS[TARGET].activations[Precision.INT8]

    def work(histogram: Any) -> None:
        curves(histogram, spec)
        for method in FROM_HISTOGRAM:
            search(method, histogram, spec)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(work, statistics.histograms.values()))


def onnxruntime_calibration(method: str, model_path: Path, samples: Samples) -> float:
    """Seconds of one of onnxruntime's calibrators, or NaN where it fails."""
    from onnxruntime.quantization import CalibrationMethod, create_calibrator
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.samples: Iterator[Any] = iter(samples)

        def get_next(self) -> Any:
            return next(self.samples, None)

    options = {"num_bins": 2048} if method == "Entropy" else {}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        start = time.perf_counter()
        calibrator = create_calibrator(
            str(model_path),
            calibrate_method=CalibrationMethod[method],
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            extra_options=options,
        )
        calibrator.collect_data(Reader())
        calibrator.compute_data()
        return time.perf_counter() - start


def measure_speed(name: str, folder: Path, repeats: int, with_onnxruntime: bool) -> list[tuple[str, float]]:
    """Rows of (what, seconds) for one network; the first is the bare pass."""
    model_path = folder / f"{name}.onnx"
    onnx.save(NETWORKS[name](), model_path)
    model = load_model(model_path)
    samples = open_samples(write_images(folder / name, IMAGES[name]), model)
    work = bare_pass(model, samples)
    statistics = calibrate(model, samples.take(2), cache=False)  # compiles the loops
    all_curves(statistics)

    def calibrated() -> None:
        nonlocal statistics
        statistics = calibrate(model, samples, cache=False)

    bare, collected = [], []
    for _ in range(repeats):  # alternating, so that a slow moment of the machine strikes both
        bare.append(best(work, 1))
        collected.append(best(calibrated, 1))
    chosen = best(lambda: all_curves(statistics), repeats)
    rows = [
        ("bare float pass", min(bare)),
        ("QuantScope: statistics", min(collected)),
        ("QuantScope: statistics and all curves", min(collected) + chosen),
    ]
    if with_onnxruntime:
        for method in ("MinMax", "Percentile", "Entropy"):
            rows.append((f"onnxruntime {method}", onnxruntime_calibration(method, model_path, samples)))
    return rows


def measure_memory(name: str, folder: Path) -> list[tuple[int, float]]:
    """Peak resident memory in MB of calibrating on 64 and on 1,024 images, each in a process of its own."""
    onnx.save(NETWORKS[name](), folder / f"{name}.onnx")
    data = write_images(folder / "memory", max(MEMORY_IMAGES))
    found = []
    for count in MEMORY_IMAGES:
        command = [sys.executable, "-m", "benchmarks.bench_calibrate", "--peak", str(folder / f"{name}.onnx")]
        done = subprocess.run(
            [*command, str(data), str(count)], capture_output=True, text=True, check=True, env=os.environ
        )
        found.append((count, json.loads(done.stdout)["peak_mb"]))
    data.unlink()
    return found


def peak(model_path: str, data: str, count: int) -> None:
    """Calibrate and print the peak memory of this process as JSON."""
    model = load_model(model_path)
    calibrate(model, open_samples(data, model, limit=count), cache=False)
    print(json.dumps({"peak_mb": peak_megabytes()}))


def peak_megabytes() -> float:
    """Peak resident memory of this process, not counting the one that started it."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would also cover the parent until exec
        return float(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    import psutil

    memory = psutil.Process().memory_info()
    return float(getattr(memory, "peak_wset", memory.rss)) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=list(NETWORKS), action="append")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--skip-onnxruntime", action="store_true")
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--peak", nargs=3, metavar=("MODEL", "DATA", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        peak(options.peak[0], options.peak[1], int(options.peak[2]))
        return
    logging.disable(logging.WARNING)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{platform.machine()}, {os.cpu_count()} cores, onnxruntime {ort.__version__}{load}\n")
    print(f"| {'network':12} | {'what':48} | {'images':>6} | {'seconds':>8} | {'x bare':>6} |")
    print(f"|{'-' * 14}|{'-' * 50}|{'-' * 7}:|{'-' * 9}:|{'-' * 7}:|")
    for name in options.network or NETWORKS:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            rows = measure_speed(name, Path(scratch), options.repeats, not options.skip_onnxruntime)
        for what, seconds in rows:
            label = f"{what} (goal {GOALS[name]:g})" if "curves" in what else what
            ratio = seconds / rows[0][1]
            print(f"| {name:12} | {label:48} | {IMAGES[name]:6} | {seconds:8.3f} | {ratio:6.2f} |")
    if not options.skip_memory:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            (few, low), (many, high) = measure_memory("mobilenet_v2", Path(scratch))
        print(f"\npeak memory, mobilenet_v2: {few} images {low:.0f} MB, {many} images {high:.0f} MB", end="")
        print(f" ({(high / low - 1) * 100:+.1f} %; goal within 5 %)")


if __name__ == "__main__":
    main()
