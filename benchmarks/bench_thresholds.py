"""Every threshold method on every sample distribution: how far from the least MSE that a dense grid finds.

    python -m benchmarks.bench_thresholds                  four types, 200,000 values (a minute or two)
    python -m benchmarks.bench_thresholds --types int8     one type
    python -m benchmarks.bench_thresholds --values 2000    thresholds from 2,000 values, judged on 200,000

Numbers are mean squared errors on the values themselves, divided by the optimum: 1.00 is the best that any
scale and zero point can do. The optimum is searched over 8,000 linear and 1,500 geometric steps with the
exact error of every zero point at each, then twice more around the best one. Small MSE is what `mse` is made
for and nobody else's promise: the table shows what the other methods pay for what they look at.
The last line of each table is the worst case, and the line before it the geometric mean of the
distributions where even the optimum loses something (`inf`: this method does, and the optimum does not).
"""

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram, histogram_of
from quantscope.core.playground import DISTRIBUTIONS, draw
from quantscope.core.quant import (
    INT4,
    INT8,
    UINT4,
    UINT8,
    QuantSpec,
    Range,
    ScaleRule,
    encoding_from_range,
    fake_quantize,
)
from quantscope.core.thresholds import FROM_HISTOGRAM, Method, codebook_mse, log2_codebook, search

Floats = npt.NDArray[np.float64]

VALUES = 200_000
TYPES = {
    "int8": QuantSpec(type=INT8, symmetric=True),
    "uint8": QuantSpec(type=UINT8, symmetric=False),
    "int4": QuantSpec(type=INT4, symmetric=True),
    "uint4": QuantSpec(type=UINT4, symmetric=False),
}
DATA: dict[str, tuple[str, dict[str, float]]] = {
    **{name: (name, {}) for name in DISTRIBUTIONS},
    "normal at 3": ("normal", {"mean": 3.0}),
    "normal at 10": ("normal", {"mean": 10.0}),
}
MSE_LIMIT = 1.001  # what `mse` promises
TENSORS = 71  # activations of a ResNet-50 that get a scale of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """Values in ascending order, with sums before each rank: the errors of any grid by looking them up."""

    values: Floats
    first: Floats
    second: Floats

    def zero_point_errors(self, scale: float, spec: QuantSpec) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Mean squared error of every zero point with this scale, and the zero points."""
        zeros = np.array([0]) if spec.symmetric else np.arange(spec.qmin, spec.qmax + 1)
        lowest, highest = spec.qmin - zeros.max(), spec.qmax - zeros.min()
        levels = np.arange(lowest, highest + 1)
        ranks = np.searchsorted(self.values, (levels[:-1] + 0.5) * scale)
        ranks = np.concatenate([[0], ranks, [self.values.size]])
        inside = np.append(0.0, np.cumsum(self._errors(ranks[:-1], ranks[1:], levels * scale)))
        low, high = spec.qmin - zeros - lowest, spec.qmax - zeros - lowest  # positions of the outer levels
        # What lies below the lowest level, or above the highest, is clipped to it.
        below = self._errors(np.zeros_like(low), ranks[low + 1], levels[low] * scale)
        above = self._errors(ranks[high], np.full_like(high, self.values.size), levels[high] * scale)
        total = below + (inside[high] - inside[low + 1]) + above
        return total / self.values.size, zeros

    def _errors(self, begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64], level: Floats) -> Floats:
        count, first = end - begin, self.first[end] - self.first[begin]
        return self.second[end] - self.second[begin] - 2 * level * first + level * level * count


def sorted_values(x: npt.NDArray[np.float32]) -> Sorted:
    values = np.sort(x.astype(np.float64))
    sums = [np.concatenate([[0.0], np.cumsum(part)]) for part in (values, values * values)]
    return Sorted(values=values, first=sums[0], second=sums[1])


def optimum(x: npt.NDArray[np.float32], spec: QuantSpec) -> float:
    """Least mean squared error of any scale and zero point."""
    data = sorted_values(x)
    low, high = min(data.values[0], 0.0), max(data.values[-1], 0.0)
    full = max(-low, high) / spec.qmax if spec.symmetric else (high - low) / (spec.qmax - spec.qmin)
    shares = np.union1d(np.linspace(0.0, 1.05, 8001)[1:], np.geomspace(2.0**-12, 1.05, 1500))
    best, best_share = np.inf, 1.0
    for _ in range(3):
        errors = [data.zero_point_errors(share * full, spec)[0].min() for share in shares]
        at = int(np.argmin(errors))
        if errors[at] < best:
            best, best_share = float(errors[at]), float(shares[at])
        near = np.flatnonzero(shares == best_share)
        left = shares[max(int(near[0]) - 1, 0)] if near.size else best_share * 0.999
        right = shares[min(int(near[0]) + 1, shares.size - 1)] if near.size else best_share * 1.001
        shares = np.linspace(left, right, 401)
    return best


def mse_of(x: npt.NDArray[np.float32], range_: Range, spec: QuantSpec) -> float:
    back = fake_quantize(x, encoding_from_range(range_, spec)).astype(np.float64)
    return float(np.mean((x - back) ** 2))


def table(name: str, spec: QuantSpec, values: int, pool: ThreadPoolExecutor) -> float:
    """Print the ratios of one type; returns the worst one of `mse`."""
    methods = list(FROM_HISTOGRAM)
    print(f"\n### {name}, {'symmetric' if spec.symmetric else 'asymmetric'}\n")
    head = [m.value for m in methods]
    print("| distribution | " + " | ".join([*head, "2^k scale", "LOG2"]) + " |")
    print("|---" * (len(head) + 3) + "|")

    def row(entry: tuple[str, tuple[str, dict[str, float]]]) -> tuple[str, list[float]]:
        label, (kind, parameters) = entry
        x = draw(kind, size=VALUES, seed=0, **parameters)
        best = optimum(x, spec)
        h = histogram_of(x[:values])
        energy = float(np.mean(np.square(x, dtype=np.float64)))
        found = [mse_of(x, search(m, h, spec).range, spec) for m in methods]
        rule = QuantSpec(type=spec.type, symmetric=spec.symmetric, scale_rule=ScaleRule.POWER_OF_TWO_MSE)
        found.append(mse_of(x, search(Method.MSE, h, rule).range, rule))
        signed = spec.type.signed or h.min < 0.0
        found.append(codebook_mse(histogram_of(x), log2_codebook(h.abs_max, spec.type.bits, signed=signed)))
        nothing = 1e-12 * energy
        best = 0.0 if min(found) <= nothing else best  # a grid of scales does not meet it exactly
        return label, [ratio(value, best, nothing) for value in found]

    rows = list(pool.map(row, DATA.items()))
    for label, ratios in rows:
        print(f"| {label} | " + " | ".join(text(value) for value in ratios) + " |")
    columns = np.array([ratios for _, ratios in rows])
    usual = np.isfinite(columns).all(axis=1)  # without those whose optimum loses nothing
    means = np.exp(np.mean(np.log(columns[usual]), axis=0))
    print("| **geometric mean** | " + " | ".join(text(value) for value in means) + " |")
    print("| **worst** | " + " | ".join(text(value) for value in columns.max(axis=0)) + " |")
    return float(columns[:, methods.index(Method.MSE)].max())


def ratio(value: float, best: float, nothing: float) -> float:
    """How many times `best` it is; errors up to `nothing` are rounding."""
    if best <= nothing:
        return 1.0 if value <= nothing else np.inf
    return value / best


def text(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.3g}"


def speed(spec: QuantSpec) -> float:
    """Seconds for all methods on as many tensors as a ResNet-50 has, on all cores."""
    kinds = list(DATA.values())

    def one(number: int) -> Histogram:
        kind, parameters = kinds[number % len(kinds)]
        return histogram_of(draw(kind, size=VALUES, seed=number, **parameters))

    histograms = [one(number) for number in range(TENSORS)]

    def work(h: Histogram) -> None:
        for method in FROM_HISTOGRAM:
            search(method, h, spec)

    times = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in range(3):
            begin = time.perf_counter()
            list(pool.map(work, histograms))
            times.append(time.perf_counter() - begin)
    return min(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--types", nargs="+", choices=TYPES, default=list(TYPES))
    parser.add_argument("--values", type=int, default=VALUES, help="values that the methods see")
    given = parser.parse_args()
    print(f"# MSE of every method, divided by the optimum ({VALUES:,} values, {given.values:,} of them seen)")
    worst = 0.0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name in given.types:
            worst = max(worst, table(name, TYPES[name], given.values, pool))
    print("\n### Time\n")
    for name in given.types:
        print(f"All {len(FROM_HISTOGRAM)} methods on {TENSORS} tensors, {name}: {speed(TYPES[name]):.2f} s")
    if given.values < VALUES:
        return 0
    print(f"\n`mse` is at most {worst:.5f} times the optimum; it promises {MSE_LIMIT}.")
    return 0 if worst <= MSE_LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
