"""Seeded synthetic distributions: data whose every property is known, to try threshold methods on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
MAX_SIZE = 2_000_000  # values; memory and time stay small
_ROW = 100  # scores in one softmax


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A number that shapes a distribution."""

    name: str
    label: str
    default: float
    low: float
    high: float
    step: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticDistribution:
    """A family of data. `generate(rng, n, **parameters)` returns (n,) float64 values."""

    name: str
    label: str
    about: str  # where such values come from in a network, and what they teach
    parameters: tuple[Parameter, ...]
    generate: Callable[..., FloatArray]

    def values(self, given: Mapping[str, float]) -> dict[str, float]:
        """Every parameter, `given` ones forced into their bounds and the others at their defaults."""
        return {p.name: min(max(float(given.get(p.name, p.default)), p.low), p.high) for p in self.parameters}


def draw(name: str, *, size: int = 200_000, seed: int = 0, **parameters: float) -> npt.NDArray[np.float32]:
    """`size` values of the distribution `name`, the same for the same seed on every machine; (size,).

    Computed in float64 and rounded once.

    Raises:
        ValueError: no such distribution, or a size outside 1 to `MAX_SIZE`.
    """
    if name not in DISTRIBUTIONS:
        raise ValueError(f"there is no distribution '{name}'; choose from {', '.join(DISTRIBUTIONS)}")
    if not 1 <= size <= MAX_SIZE:
        raise ValueError(f"between 1 and {MAX_SIZE:,} values can be drawn, not {size:,}")
    entry = DISTRIBUTIONS[name]
    values = entry.generate(np.random.default_rng(seed), size, **entry.values(parameters))
    return np.ascontiguousarray(values, np.float32)


Generator = np.random.Generator


def _normal(rng: Generator, n: int, mean: float, sigma: float) -> FloatArray:
    return mean + sigma * rng.standard_normal(n)


def _laplace(rng: Generator, n: int, mean: float, scale: float) -> FloatArray:
    return rng.laplace(mean, scale, n)


def _relu(rng: Generator, n: int, mean: float, sigma: float) -> FloatArray:
    return np.maximum(mean + sigma * rng.standard_normal(n), 0.0)


def _relu6(rng: Generator, n: int, mean: float, sigma: float) -> FloatArray:
    return np.clip(mean + sigma * rng.standard_normal(n), 0.0, 6.0)


def _gelu(rng: Generator, n: int, sigma: float) -> FloatArray:
    x = sigma * rng.standard_normal(n)
    return np.asarray(0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3))), np.float64)


def _student(rng: Generator, n: int, freedom: float, scale: float) -> FloatArray:
    return scale * rng.standard_t(freedom, n)


def _lognormal(rng: Generator, n: int, mean: float, sigma: float) -> FloatArray:
    return rng.lognormal(mean, sigma, n)


def _two_modes(
    rng: Generator, n: int, share: float, first: float, width: float, second: float, width2: float
) -> FloatArray:
    u = rng.random(n)
    z = rng.standard_normal(n)
    return np.where(u < share, first + width * z, second + width2 * z)


def _outliers(rng: Generator, n: int, sigma: float, per_million: float, factor: float) -> FloatArray:
    x = sigma * rng.standard_normal(n)
    chosen = rng.choice(n, min(n, round(n * per_million / 1e6)), replace=False)
    x[chosen] *= factor
    return x


def _uniform(rng: Generator, n: int, low: float, high: float) -> FloatArray:
    return rng.uniform(low, max(low, high), n)


def _softmax(rng: Generator, n: int, sigma: float) -> FloatArray:
    scores = sigma * rng.standard_normal((-(-n // _ROW), _ROW))
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray((powers / powers.sum(axis=1, keepdims=True)).reshape(-1)[:n], np.float64)


def _negative(rng: Generator, n: int, gap: float, shape: float, scale: float) -> FloatArray:
    return -(gap + rng.gamma(shape, scale, n))


def _zeros(rng: Generator, n: int, share: float, sigma: float) -> FloatArray:
    kept = rng.random(n) < 1.0 - share
    z = rng.standard_normal(n)
    return np.where(kept, sigma * z, 0.0)


def _spikes(_: Generator, n: int, low: float, high: float) -> FloatArray:
    return np.where(np.arange(n) % 2 == 0, low, high)


def _constant(_: Generator, n: int, value: float) -> FloatArray:
    return np.full(n, value)


def _parameter(name: str, label: str, default: float, low: float, high: float, step: float) -> Parameter:
    return Parameter(name=name, label=label, default=default, low=low, high=high, step=step)


_MEAN = _parameter("mean", "Mean", 0.0, -50.0, 50.0, 0.5)
_SIGMA = _parameter("sigma", "Standard deviation σ", 1.0, 0.001, 100.0, 0.1)


def _entry(
    name: str, label: str, about: str, make: Callable[..., FloatArray], *of: Parameter
) -> SyntheticDistribution:
    return SyntheticDistribution(name=name, label=label, about=about, parameters=of, generate=make)


_ALL = (
    _entry(
        "normal",
        "Normal",
        "Outputs of a convolution or a linear layer before its activation are often close to it.",
        _normal,
        _MEAN,
        _SIGMA,
    ),
    _entry(
        "laplace",
        "Laplace",
        "A sharper peak and longer tails than the normal distribution: clipping pays earlier.",
        _laplace,
        _MEAN,
        _parameter("scale", "Scale b (mean deviation)", 1.0, 0.001, 100.0, 0.1),
    ),
    _entry(
        "relu",
        "ReLU",
        "A normal distribution with its negative part at exactly zero: half of the values are zeros, "
        "and a signed symmetric type wastes half of its levels.",
        _relu,
        _MEAN,
        _SIGMA,
    ),
    _entry(
        "relu6",
        "ReLU6",
        "Piles of values at 0 and at 6: the largest value is common, so clipping below it is expensive.",
        _relu6,
        _parameter("mean", "Mean before clipping", 2.0, -20.0, 20.0, 0.5),
        _parameter("sigma", "σ before clipping", 3.0, 0.01, 20.0, 0.5),
    ),
    _entry(
        "gelu",
        "GELU",
        "Long to the right, and down to −0.17 on the left: an asymmetric type uses all of its levels.",
        _gelu,
        _parameter("sigma", "σ of its input", 2.0, 0.01, 20.0, 0.1),
    ),
    _entry(
        "student",
        "Heavy tail (Student t)",
        "A few values lie very far out: the largest one says nothing about where the others are.",
        _student,
        _parameter("freedom", "Degrees of freedom (fewer: heavier)", 3.0, 1.0, 50.0, 0.5),
        _parameter("scale", "Scale", 1.0, 0.001, 100.0, 0.1),
    ),
    _entry(
        "lognormal",
        "Lognormal",
        "Positive and long-tailed, as products of many factors are; never exactly zero.",
        _lognormal,
        _parameter("mean", "Mean of the logarithm", 0.0, -5.0, 5.0, 0.1),
        _parameter("sigma", "σ of the logarithm", 1.0, 0.05, 3.0, 0.05),
    ),
    _entry(
        "two_modes",
        "Two modes",
        "Two humps of different height and width, as a few channels of their own make them.",
        _two_modes,
        _parameter("share", "Share of the first", 0.7, 0.0, 1.0, 0.05),
        _parameter("first", "Centre of the first", -1.0, -50.0, 50.0, 0.5),
        _parameter("width", "σ of the first", 0.25, 0.001, 20.0, 0.05),
        _parameter("second", "Centre of the second", 2.0, -50.0, 50.0, 0.5),
        _parameter("width2", "σ of the second", 0.5, 0.001, 20.0, 0.05),
    ),
    _entry(
        "outliers",
        "Sparse outliers",
        "A normal distribution of which very few values are many times too large: the reason why "
        "MinMax fails in transformers.",
        _outliers,
        _SIGMA,
        _parameter("per_million", "Outliers per million", 100.0, 0.0, 100_000.0, 50.0),
        _parameter("factor", "Times as large", 50.0, 1.0, 1000.0, 5.0),
    ),
    _entry(
        "uniform",
        "Uniform",
        "Every value is equally likely, so nothing should be clipped: MinMax is right here.",
        _uniform,
        _parameter("low", "Lowest", -1.0, -100.0, 100.0, 0.5),
        _parameter("high", "Highest", 1.0, -100.0, 100.0, 0.5),
    ),
    _entry(
        "softmax",
        "Softmax",
        "Probabilities of 100 classes: nearly all close to 0, a few close to 1. Small ones vanish on a "
        "linear grid; a logarithmic one keeps them.",
        _softmax,
        _parameter("sigma", "σ of the scores", 3.0, 0.1, 20.0, 0.1),
    ),
    _entry(
        "negative",
        "All negative",
        "Zero lies outside of the data and must be in the range all the same.",
        _negative,
        _parameter("gap", "Distance from 0", 0.1, 0.0, 100.0, 0.1),
        _parameter("shape", "Shape", 2.0, 0.1, 20.0, 0.1),
        _parameter("scale", "Scale", 0.5, 0.001, 100.0, 0.1),
    ),
    _entry(
        "zeros",
        "Mostly zeros",
        "Sparse activations. Tools that count the zeros and tools that leave them out disagree here.",
        _zeros,
        _parameter("share", "Share of exact zeros", 0.95, 0.0, 1.0, 0.05),
        _SIGMA,
    ),
    _entry(
        "spikes",
        "Two values",
        "Only two values occur, as in masks. A degenerate tensor that must still get a valid scale.",
        _spikes,
        _parameter("low", "One value", -1.0, -1e6, 1e6, 0.5),
        _parameter("high", "The other", 1.0, -1e6, 1e6, 0.5),
    ),
    _entry(
        "constant",
        "Constant",
        "One value only. A degenerate tensor that must still get a valid scale.",
        _constant,
        _parameter("value", "Value", 1.0, -1e6, 1e6, 0.5),
    ),
)
DISTRIBUTIONS: dict[str, SyntheticDistribution] = {entry.name: entry for entry in _ALL}
