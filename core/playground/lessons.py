"""What a lesson about quantizers shows: the staircase, error against bits, KL beside ADMM on normal data."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Accumulator, Histogram
from quantscope.core.playground.distributions import draw
from quantscope.core.quant import INT8, QuantSpec, QuantType
from quantscope.core.thresholds import Codebook, Method, errors_at, search
from quantscope.core.thresholds.reference import reference_thresholds

FloatArray = npt.NDArray[np.float64]
BITS = tuple(range(2, 17))


def histogram_of_draw(values: npt.NDArray[np.floating]) -> Histogram:
    """The histogram of one array."""
    accumulator = Accumulator()
    accumulator.add(values, 0)
    return accumulator.histogram()


@dataclass(frozen=True, slots=True, kw_only=True)
class Staircase:
    """Output against input of a quantizer, as corners of a step function; both (corners,)."""

    x: FloatArray
    y: FloatArray
    shown: int  # levels in sight
    whole: bool  # False: too many levels to draw, so that only some steps are there


def staircase(codebook: Codebook, low: float, high: float, *, most: int = 1024) -> Staircase:
    """The steps in [low, high]; of more than `most` only every n-th corner."""
    x, y = codebook.staircase(low, high)
    shown = x.size // 2
    if shown <= most:
        return Staircase(x=x, y=y, shown=shown, whole=True)
    kept = np.unique(np.append(np.arange(0, x.size, x.size // most), x.size - 1))
    return Staircase(x=x[kept], y=y[kept], shown=shown, whole=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BitsCurve:
    """SQNR in dB for each number of bits."""

    method: Method
    bits: tuple[int, ...]
    sqnr_db: tuple[float, ...]


def sqnr_by_bits(
    histogram: Histogram, spec: QuantSpec, methods: tuple[Method, ...], percentile: float = 99.99
) -> tuple[BitsCurve, ...]:
    """What each method reaches with 2 to 16 bits."""
    curves = []
    for method in methods:
        reached = []
        for bits in BITS:
            given = replace(spec, type=QuantType(bits, spec.type.signed))
            found = search(method, histogram, given, percentile=percentile)
            reached.append(errors_at(histogram, found.range, given).sqnr_db)
        curves.append(BitsCurve(method=method, bits=BITS, sqnr_db=tuple(reached)))
    return tuple(curves)


@dataclass(frozen=True, slots=True, kw_only=True)
class KlAdmmDraw:
    """One draw of the experiment; thresholds in units of the data, for int8 symmetric."""

    seed: int
    histogram: Histogram
    mean: float
    sigma: float
    thresholds: dict[Method, float]
    mse: dict[Method, float]
    tools: dict[str, float]  # thresholds of MNN's own two algorithms, by `REFERENCES` key

    @property
    def bound(self) -> float:
        """max(|mean - 3 sigma|, |mean + 3 sigma|)."""
        return max(abs(self.mean - 3 * self.sigma), abs(self.mean + 3 * self.sigma))


COMPARED = (Method.KL, Method.ADMM, Method.MSE)
TOOLS = ("MNN/kl", "MNN/admm")


def compare_kl_admm(
    *, size: int, seeds: tuple[int, ...], mean: float = 0.0, sigma: float = 1.0
) -> tuple[KlAdmmDraw, ...]:
    """KL and ADMM on normal data of several seeds, with the least squared error to judge them by."""
    spec = QuantSpec(type=INT8, symmetric=True)
    draws = []
    for seed in seeds:
        values = draw("normal", size=size, seed=seed, mean=mean, sigma=sigma)
        h = histogram_of_draw(values)
        found = {method: search(method, h, spec).range for method in COMPARED}
        draws.append(
            KlAdmmDraw(
                seed=seed,
                histogram=h,
                mean=float(values.mean(dtype=np.float64)),
                sigma=float(values.std(dtype=np.float64)),
                thresholds={method: range_.abs_max for method, range_ in found.items()},
                tools={row.key: row.result.high or 0.0 for row in reference_thresholds(values, TOOLS)},
                mse={method: errors_at(h, range_, spec).mse for method, range_ in found.items()},
            )
        )
    return tuple(draws)
