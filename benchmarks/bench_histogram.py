"""Time the histogram, the searches and the curves: python benchmarks/bench_histogram.py [--elements N]."""

import argparse
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from quantscope.core.calibration import BINS_PER_SIDE, Accumulator, histogram_of
from quantscope.core.quant import INT8, INT16, UINT8, QuantSpec
from quantscope.core.thresholds import FROM_HISTOGRAM, Method, curves, errors_at, search

SPECS = {
    "int8 symmetric": QuantSpec(type=INT8, symmetric=True),
    "uint8 asymmetric": QuantSpec(type=UINT8, symmetric=False),
    "int16 symmetric": QuantSpec(type=INT16, symmetric=True),
}


def tensors(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    z = rng.standard_normal(count)
    drawn = {
        "normal": z,
        "relu": np.maximum(z, 0.0),
        "relu6": np.clip(2.0 + 3.0 * z, 0.0, 6.0),
        "heavy tail": rng.standard_t(3.0, count),
        "constant": np.full(count, 3.0),
    }
    return {name: x.astype(np.float32) for name, x in drawn.items()}


def best(function: Callable[[], object], repeats: int = 15) -> float:
    """Shortest of some runs, in seconds; the first one, which may compile, does not count."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Print a plain table: first column left, the others right."""
    cells = [header, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    print(f"\n{title}")
    for row in cells:
        print(
            "  ".join(
                c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
            )
        )


def binning(count: int) -> None:
    rows = []
    for name, x in tensors(count).items():
        accumulator = Accumulator()
        top = float(np.abs(x).max())
        ours = best(lambda a=accumulator, x=x: a.add(x))
        limits = best(lambda x=x: (x.min(), x.max()))
        numpy = best(lambda x=x, top=top: np.histogram(x, 2 * BINS_PER_SIDE, range=(-top, top)), 3)
        rows.append([name, *(f"{1e9 * t / count:.3f}" for t in (ours, limits, numpy))])
    head = [
        "ns an element, one thread",
        "ours (all)",
        "numpy min, max",
        f"numpy.histogram, {2 * BINS_PER_SIDE} bins",
    ]
    table(f"Histogram of {count:,} float32", head, rows)

    x = tensors(count)["normal"]
    pair = [Accumulator(), Accumulator()]

    def both() -> None:
        threads = [threading.Thread(target=lambda a=a: [a.add(x) for _ in range(20)]) for a in pair]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    one = best(lambda: [pair[0].add(x) for _ in range(20)], 5)
    print(f"two threads take {best(both, 5) / one:.2f} times as long as one, for twice the data")
    small = np.zeros(10, np.float32)
    h = pair[0].histogram()
    print(f"a tensor of 10 elements: {1e6 * best(lambda: pair[0].add(small), 500):.2f} µs a call")
    print(f"accumulator → histogram: {1e6 * best(pair[0].histogram, 100):.0f} µs; merge of two: ", end="")
    print(f"{1e6 * best(lambda: h.merge(h), 100):.0f} µs")


def searches(count: int) -> None:
    rows = []
    for name, x in tensors(count).items():
        h = histogram_of(x)
        for label, spec in SPECS.items():
            times = [best(lambda m=m, h=h, s=spec: search(m, h, s), 5) for m in FROM_HISTOGRAM]
            curve = best(lambda h=h, s=spec: curves(h, s), 5)
            chosen = search(Method.MSE, h, spec).range
            point = best(lambda h=h, s=spec, r=chosen: errors_at(h, r, s), 20)
            all_ms = [*times, sum(times), curve, point]
            rows.append([f"{name}, {label}", *(f"{1e3 * t:.2f}" for t in all_ms)])
    head = ["ms a tensor", *(str(m) for m in FROM_HISTOGRAM), "all", "curves", "errors_at"]
    table("Searches and curves", head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--elements", type=int, default=400_000)
    count = parser.parse_args().elements
    binning(count)
    searches(count)


if __name__ == "__main__":
    main()
