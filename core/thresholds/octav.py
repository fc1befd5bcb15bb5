"""OCTAV, the fixed point that balances clipping against rounding.

C. Sakr et al., "Optimal Clipping and Magnitude-aware Differentiation for Improved Quantization-aware
Training", ICML 2022. With rounding seen as noise of s^2 / 12 on every value that is kept, the best T of
[-T, T] with b bits (s = 2 T / 2^b) solves

    T = sum(|x|, |x| > T) / (4^-b / 3 * #(0 < |x| <= T) + #(|x| > T)),

which is iterated from the mean magnitude, at most 20 times; zeros are free. A grid [0, T], as unsigned
types have it for data without negative values, has half the step: the factor is 4^-b / 12. For two ends of
their own, h and l, the same condition holds at each, with k = 4^-b / 12 and N values kept:

    h (#(x > h) + k N) = sum(x, x > h) + k N l        l (#(x < l) + k N) = sum(x, x < l) + k N h

two linear equations that each round solves together. Where values repeat, there may be no such point and
rounds circle: then the one with the least loss is taken.
"""

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram
from quantscope.core.jit import compiled
from quantscope.core.methods import Method
from quantscope.core.quant import QuantSpec, Range
from quantscope.core.thresholds.candidates import candidate_factors
from quantscope.core.thresholds.density import Density, Part, density_of
from quantscope.core.thresholds.outcome import Search, flags_of, full_range, single

FloatArray = npt.NDArray[np.float64]

ROUNDS = 20
SETTLED = 1e-9  # relative change of T at which the iteration ends
NEARLY = 1e-2  # relative change of the last round that still counts as settled
_LABEL = "clipping + s²/12"


@compiled
def beyond(part: Part, t: float) -> tuple[float, float, float]:
    """Of the mass above t on one side: how much it is, the sum of (x - t), and of (x - t)**2."""
    table, extent, atoms = part[0], part[1], part[2]
    mass, first, second = 0.0, 0.0, 0.0
    if t < extent:
        j = min(int(t), table.shape[0] - 2)
        x = min(j + 1.0, extent) - t
        d = table[j, 0]
        mass = table[j, 1] + d * x
        first = table[j, 2] + x * (table[j, 1] + 0.5 * d * x)
        second = table[j, 3] + x * (2.0 * table[j, 2] + x * (table[j, 1] + d * x / 3.0))
    for a in range(2):
        if atoms[a, 0] > t:
            mass += atoms[a, 1]
            first += atoms[a, 1] * (atoms[a, 0] - t)
            second += atoms[a, 1] * (atoms[a, 0] - t) ** 2
    return mass, first, second


@compiled
def one_end_rounds(negative: Part, positive: Part, values: float, share: float, rounds: int) -> FloatArray:
    """Every T on the way, in bins; `share` is the factor of the values kept."""
    out = np.zeros(rounds + 1)
    for i in range(rounds + 1):
        t = out[i - 1] if i > 0 else 0.0
        mass_n, first_n, _ = beyond(negative, t)
        mass_p, first_p, _ = beyond(positive, t)
        mass = mass_n + mass_p
        out[i] = (first_n + first_p + t * mass) / (share * (values - mass) + mass)
        if abs(out[i] - t) <= SETTLED * t:
            return out[: i + 1]
    return out


@compiled
def two_ended_rounds(negative: Part, positive: Part, values: float, share: float, rounds: int) -> FloatArray:
    """Every (magnitude of the low end, high end) on the way, in bins: (rounds, 2)."""
    out = np.zeros((rounds + 1, 2))
    low, high = 0.0, 0.0
    for i in range(rounds + 1):
        mass_n, first_n, _ = beyond(negative, low)
        mass_p, first_p, _ = beyond(positive, high)
        kept = share * (values - mass_n - mass_p)
        sum_n, sum_p = first_n + low * mass_n, first_p + high * mass_p
        determinant = mass_n * mass_p + kept * (mass_n + mass_p)
        before_low, before_high = low, high
        low, high = 0.0, 0.0
        if determinant > 0.0:
            high = max((sum_p * (mass_n + kept) - kept * sum_n) / determinant, 0.0)
            low = max((sum_n * (mass_p + kept) - kept * sum_p) / determinant, 0.0)
        out[i, 0], out[i, 1] = min(low, negative[1]), min(high, positive[1])
        low, high = out[i, 0], out[i, 1]
        if abs(low - before_low) + abs(high - before_high) <= SETTLED * (low + high):
            return out[: i + 1]
    return out


@compiled
def losses(
    negative: Part, positive: Part, values: float, lows: FloatArray, highs: FloatArray, steps: float
) -> FloatArray:
    """Summed squared error of ranges [-low, high] under the noise model, in bins squared."""
    out = np.empty(lows.size)
    for i in range(lows.size):
        mass_n, _, second_n = beyond(negative, lows[i])
        mass_p, _, second_p = beyond(positive, highs[i])
        step = (lows[i] + highs[i]) / steps
        out[i] = second_n + second_p + step * step / 12.0 * (values - mass_n - mass_p)
    return out


def search_octav(histogram: Histogram, spec: QuantSpec) -> Search:
    """The fixed point in T, or in both ends together for asymmetric types."""
    full, flags = full_range(histogram, spec), flags_of(histogram, spec)
    if full.abs_max == 0.0 or "near_zero" in flags:
        reason = "There is nothing to choose: the values are all (nearly) zero."
        return single(Method.OCTAV, full, 0.0, _LABEL, reason, flags)
    density, values = density_of(histogram), float(histogram.count - histogram.zeros)
    rounds = _rounds(density, values, histogram, spec)
    factors = candidate_factors()
    whole = np.array([-full.low, full.high]) / density.width
    tried = np.concatenate([factors[factors <= 1.0, None] * whole, rounds])
    parts = density.negative.parts, density.positive.parts
    loss = losses(*parts, values, tried[:, 0].copy(), tried[:, 1].copy(), float(1 << spec.type.bits))
    settled = len(rounds) > 1 and _moved(rounds) <= NEARLY
    chosen = len(tried) - 1 if settled else len(tried) - len(rounds) + int(np.argmin(loss[-len(rounds) :]))
    order = np.argsort(tried.sum(axis=1), kind="stable")
    low, high = tried[chosen] * density.width
    return Search(
        method=Method.OCTAV,
        range=Range(0.0 - float(low), float(high)),
        lows=-tried[order, 0] * density.width,
        highs=tried[order, 1] * density.width,
        loss=loss[order] * (density.width**2 / histogram.count),
        loss_label=_LABEL,
        reason=_reason(len(rounds), settled),
        flags=flags,
    )


def _rounds(density: Density, values: float, histogram: Histogram, spec: QuantSpec) -> FloatArray:
    """Ranges on the way as (magnitude of the low end, high end), in bins."""
    parts = density.negative.parts, density.positive.parts
    share = 4.0**-spec.type.bits / 12.0
    ends = full_range(histogram, spec)
    if ends.low < 0.0 < ends.high and not spec.symmetric:
        return two_ended_rounds(*parts, values, share, ROUNDS)
    mirrored = spec.symmetric and ends.low < 0.0
    found = one_end_rounds(*parts, values, 4.0 * share if mirrored else share, ROUNDS)
    return np.column_stack([found * (ends.low < 0.0), found * (ends.high > 0.0)])


def _moved(rounds: FloatArray) -> float:
    """Relative change of the range in the last round."""
    return float(np.abs(rounds[-1] - rounds[-2]).sum() / max(rounds[-1].sum(), np.finfo(np.float64).tiny))


def _reason(rounds: int, settled: bool) -> str:
    if not settled:
        return (
            f"The best of {rounds} rounds, which circle: values pile up where clipping and rounding balance."
        )
    return f"Clipping and rounding noise balance here, as found in {rounds} rounds."
