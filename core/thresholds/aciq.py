"""The range that is optimal for the density that fits best.

R. Banner et al., "Post training 4-bit quantization of convolutional networks for rapid-deployment",
NeurIPS 2019. The expected squared error of [l, h] with b bits under a density f, rounding seen as noise
of s^2 / 12 with s = (h - l) / 2^b, is

    integral over x > h of (x - h)^2 f + integral over x < l of (l - x)^2 f + (h - l)^2 / (12 * 4^b)

and is least where, for each end that moves, 2 * integral over x > h of (x - h) f = (h - l) / (6 * 4^b).
For [-T, T] around the centre of f this gives the paper's constants, T = factor * spread:

    Laplace  u exp(u) = 3 * 4^b                          with the spread E|x - mean|
    Gauss    2 (phi(u) - u Q(u)) = u / (3 * 4^b)         with the standard deviation; phi, Q: density, tail

    bits        2     3     4     5     6     7     8    10    12    14    16
    Laplace  2.83  3.89  5.03  6.20  7.41  8.65  9.90 12.44 15.02 17.65 20.29
    Gauss    1.71  2.15  2.56  2.94  3.29  3.61  3.92  4.50  5.03  5.51  5.96

`factor` solves it for any number of bits. Where the density does not lie around zero, is one half only, or
ends before h or l, the two conditions are solved as they stand, for one end after the other.
"""

import math

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram
from quantscope.core.jit import compiled
from quantscope.core.methods import Method
from quantscope.core.quant import QuantSpec, Range
from quantscope.core.thresholds.fit import Family, Fit, fits
from quantscope.core.thresholds.outcome import Search, flags_of, full_range, single

FloatArray = npt.NDArray[np.float64]

_MOST_TURNS = 16  # searches of one end and then the other
_HALVINGS = 60  # of the interval in which an end lies
_LABEL = "MSE of the fitted density"


@compiled
def excess(z: float, laplace: bool) -> tuple[float, float]:
    """Integrals of (x - z) and (x - z)**2 over the part of a standard density beyond z."""
    if laplace:
        tail = 0.5 * math.exp(-abs(z))
        return (tail, 2.0 * tail) if z >= 0.0 else (tail - z, z * z + 2.0 - 2.0 * tail)
    q = 0.5 * math.erfc(z / math.sqrt(2.0))
    phi = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return max(phi - z * q, 0.0), max((1.0 + z * z) * q - z * phi, 0.0)


@compiled
def tails(
    low: float, high: float, center: float, spread: float, side: int, laplace: bool
) -> tuple[float, float, float, float]:
    """First and second moments beyond the low end, then beyond the high end."""
    first_l, second_l = excess((center - low) / spread, laplace)
    first_h, second_h = excess((high - center) / spread, laplace)
    weight_l = 1.0 if side == 0 else (2.0 if side < 0 else 0.0)
    weight_h = 1.0 if side == 0 else (2.0 if side > 0 else 0.0)
    square = spread * spread
    low_sums = weight_l * first_l * spread, weight_l * second_l * square
    return low_sums[0], low_sums[1], weight_h * first_h * spread, weight_h * second_h * square


@compiled
def best_ends(
    low: float,
    high: float,
    symmetric: bool,
    center: float,
    spread: float,
    side: int,
    laplace: bool,
    slope: float,
) -> tuple[float, float]:
    """The best range within [low, high]; rounding costs slope / 2 * (width)**2.

    Each end is found by bisection with the other one fixed, until neither moves; a symmetric range has one.
    """
    a, b = low, high
    for _ in range(_MOST_TURNS):
        before_a, before_b = a, b
        under, over = 0.0, high
        for _ in range(_HALVINGS):
            b = 0.5 * (under + over)
            if symmetric:
                a = -b if low < 0.0 else 0.0
            beyond_l, _, beyond_h, _ = tails(a, b, center, spread, side, laplace)
            gain = 2.0 * (beyond_h + beyond_l) if symmetric and low < 0.0 else 2.0 * beyond_h
            cost = slope * (b - a) * (2.0 if symmetric and low < 0.0 else 1.0)
            if gain > cost:
                under = b
            else:
                over = b
        if symmetric:
            break
        under, over = 0.0, -low
        for _ in range(_HALVINGS):
            a = -0.5 * (under + over)
            beyond_l, _, _, _ = tails(a, b, center, spread, side, laplace)
            if 2.0 * beyond_l > slope * (b - a):
                under = -a
            else:
                over = -a
        if abs(a - before_a) + abs(b - before_b) <= 1e-12 * (b - a):
            break
    return a, b


def factor(family: Family, bits: int) -> float:
    """T in units of the spread for a symmetric range of `bits` bits around the density's centre."""
    slope = 1.0 / (6.0 * 4.0**bits)
    return float(best_ends(-64.0, 64.0, True, 0.0, 1.0, 0, family is Family.LAPLACE, slope)[1])


def search_aciq(histogram: Histogram, spec: QuantSpec) -> Search:
    """The optimum of the best fitting density, no wider than the data; both ends for asymmetric types."""
    full, flags = full_range(histogram, spec), flags_of(histogram, spec)
    if full.abs_max == 0.0 or "near_zero" in flags or "constant" in flags:
        reason = "There is nothing to fit: the values are all the same or (nearly) zero."
        return single(Method.ACIQ, full, 0.0, _LABEL, reason, flags)
    found = fits(histogram)
    fit, slope = found[0], 1.0 / (6.0 * 4.0**spec.type.bits)
    laplace = fit.family is Family.LAPLACE
    low, high = best_ends(
        full.low, full.high, spec.symmetric, fit.center, fit.spread, fit.side, laplace, slope
    )
    lows, highs = _curve(full, low, high)
    return Search(
        method=Method.ACIQ,
        range=Range(low + 0.0, high + 0.0),  # no negative zeros
        lows=lows,
        highs=highs,
        loss=_expected(fit, lows, highs, slope),
        loss_label=_LABEL,
        reason=_reason(found, spec, low, high),
        flags=flags,
    )


def _curve(full: Range, low: float, high: float) -> tuple[FloatArray, FloatArray]:
    """Ranges of the chosen one's proportions, up to the full range, from narrow to wide."""
    widest = max(full.low / low if low else 1.0, full.high / high if high else 1.0, 1.0)
    shares = np.unique(np.concatenate([np.linspace(0.0, 1.0, 65)[1:], np.geomspace(1.0, widest, 64)]))
    return np.maximum(low * shares, full.low), np.minimum(high * shares, full.high)


def _expected(fit: Fit, lows: FloatArray, highs: FloatArray, slope: float) -> FloatArray:
    """Expected squared error of each range."""
    laplace = fit.family is Family.LAPLACE
    out = np.empty(lows.size)
    for i, (low, high) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True)):
        _, below, _, above = tails(low, high, fit.center, fit.spread, fit.side, laplace)
        out[i] = below + above + 0.5 * slope * (high - low) ** 2
    return out


def _reason(found: tuple[Fit, ...], spec: QuantSpec, low: float, high: float) -> str:
    best = found[0]
    other = next(fit for fit in found if fit.family is not best.family)
    name = "standard deviation" if best.family is Family.GAUSS else "mean deviation"
    return (
        f"{best.label} fits best (distribution functions differ by at most {100 * best.distance:.2g} %, "
        f"{other.label} by {100 * other.distance:.2g} %); with a {name} of {best.spread:.4g} around "
        f"{best.center:.3g}, {low:.4g} to {high:.4g} is its optimum for {spec.type}."
    )
