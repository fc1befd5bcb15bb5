"""The search that `mse` and `cosine` share: the candidate with the least loss, exact from the histogram."""

import numpy as np
import numpy.typing as npt

from core.histogram import Histogram
from core.quant import QuantSpec, Range, encoding_from_ranges
from core.thresholds.candidates import candidate_factors, minimize
from core.thresholds.density import ERROR, Density, density_of, sweep
from core.thresholds.error import cosine_loss, errors_at
from core.thresholds.search import Method, Search, flags_of, full_range, single, symmetric_range
from core.thresholds.splits import best_splits

FloatArray = npt.NDArray[np.float64]

_LABELS = {Method.MSE: "MSE", Method.COSINE: "1 - cosine"}


def search_least(histogram: Histogram, spec: QuantSpec, method: Method) -> Search:
    """The range with the least MSE or the largest cosine."""
    full = full_range(histogram, spec)
    flags = flags_of(histogram, spec)
    if full.abs_max == 0.0 or "near_zero" in flags:
        reason = "There is nothing to choose: the values are all (nearly) zero."
        return single(method, full, errors_at(histogram, full, spec).mse, _LABELS[method], reason, flags)
    density = density_of(histogram)
    find = _symmetric if spec.symmetric else _asymmetric
    lows, highs, loss = find(histogram, density, spec, method)
    best = int(np.argmin(loss))
    chosen = Range(float(lows[best]), float(highs[best]))
    return Search(
        method=method,
        range=chosen,
        lows=lows,
        highs=highs,
        loss=loss,
        loss_label=_LABELS[method],
        reason=_reason(histogram, chosen, spec, method, loss.size),
        flags=flags,
    )


def _symmetric(
    histogram: Histogram, density: Density, spec: QuantSpec, method: Method
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Candidates [-T, T] (or [0, T]) and their losses."""
    peak = histogram.abs_max
    negative = symmetric_range(1.0, histogram, spec).low

    def loss(factors: FloatArray) -> FloatArray:
        sums = sweep(density, encoding_from_ranges(negative * factors * peak, factors * peak, spec))
        return cosine_loss(density.energy, sums) if method is Method.COSINE else sums[:, ERROR]

    factors, losses = minimize(loss, candidate_factors())
    return negative * factors * peak, factors * peak, _scaled(losses, density, method)


def _asymmetric(
    histogram: Histogram, density: Density, spec: QuantSpec, method: Method
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Candidates by scale, each with its best zero point, and their losses."""
    levels = spec.qmax - spec.qmin
    full = full_range(histogram, spec)
    widest = (full.high - full.low) / levels

    def loss(factors: FloatArray) -> FloatArray:
        steps = factors * widest / density.width
        return best_splits(density, steps, levels, by_cosine=method is Method.COSINE)[0]

    factors, losses = minimize(loss, candidate_factors())
    steps = factors * widest
    _, above = best_splits(density, steps / density.width, levels, by_cosine=method is Method.COSINE)
    return -(levels - above) * steps, above * steps, _scaled(losses, density, method)


def _scaled(losses: FloatArray, density: Density, method: Method) -> FloatArray:
    """Summed squared errors in bins squared as a mean in the tensor's own unit."""
    return losses if method is Method.COSINE else losses / density.count * density.width * density.width


def _reason(histogram: Histogram, chosen: Range, spec: QuantSpec, method: Method, tried: int) -> str:
    error = errors_at(histogram, chosen, spec)
    share = 0.0 if error.mse == 0.0 else error.clipping_mse / error.mse
    what = "least mean squared error" if method is Method.MSE else "largest cosine"
    return f"The {what} of {tried} candidates; {100 * share:.3g} % of the error comes from clipping."
