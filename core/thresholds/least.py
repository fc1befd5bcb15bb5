"""The search that `mse` and `cosine` share: the candidate with the least loss, exact from the histogram."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from core.histogram import Histogram
from core.quant import QuantSpec, Range, encoding_from_ranges
from core.thresholds.candidates import HIGH, LOSS, LOW, minimize
from core.thresholds.density import ERROR, Density, density_of, sweep
from core.thresholds.error import cosine_loss, errors_at
from core.thresholds.search import Method, Search, flags_of, full_range, single, symmetric_range, widened
from core.thresholds.splits import best_splits

FloatArray = npt.NDArray[np.float64]
RangeLoss = Callable[[FloatArray, FloatArray], FloatArray]  # of lows and highs

_LABELS = {Method.MSE: "MSE", Method.COSINE: "1 - cosine"}


def search_least(histogram: Histogram, spec: QuantSpec, method: Method) -> Search:
    """The range with the least MSE or the largest cosine."""
    full, flags, by_cosine = full_range(histogram, spec), flags_of(histogram, spec), method is Method.COSINE
    if full.abs_max == 0.0 or "near_zero" in flags:
        reason = "There is nothing to choose: the values are all (nearly) zero."
        error = errors_at(histogram, full, spec)
        return single(
            method, full, 1.0 - error.cosine if by_cosine else error.mse, _LABELS[method], reason, flags
        )
    density = density_of(histogram)

    def loss(lows: FloatArray, highs: FloatArray) -> FloatArray:
        sums = sweep(density, encoding_from_ranges(lows, highs, spec))
        return cosine_loss(density.energy, sums) if by_cosine else sums[:, ERROR]

    ends = widened(histogram)
    if spec.symmetric:
        table = _one_end(loss, Range(symmetric_range(1.0, histogram, spec).low * full.high, full.high))
    elif ends.low == 0.0 or ends.high == 0.0:
        table = _one_end(loss, ends)
    else:
        table = _both_ends(density, ends, spec.qmax - spec.qmin, by_cosine)
    return _result(histogram, spec, method, table, 1.0 if by_cosine else density.width**2 / density.count)


def _one_end(loss: RangeLoss, full: Range) -> FloatArray:
    """Candidates that are shares of a range: [-T, T], [0, T], or [-T, 0]."""

    def table_of(factors: FloatArray) -> FloatArray:
        lows, highs = full.low * factors, full.high * factors
        return np.column_stack([loss(lows, highs), lows, highs])

    return minimize(table_of)


def _both_ends(density: Density, full: Range, levels: int, by_cosine: bool) -> FloatArray:
    """Candidates by scale, each with its best zero point: scale and zero point together."""

    def table_of(factors: FloatArray) -> FloatArray:
        steps = factors * ((full.high - full.low) / levels)
        losses, above = best_splits(density, steps / density.width, levels, by_cosine=by_cosine)
        return np.column_stack([losses, (above - levels) * steps, above * steps])

    return minimize(table_of)


def _result(histogram: Histogram, spec: QuantSpec, method: Method, table: FloatArray, unit: float) -> Search:
    """The best row of a table of candidates, whose losses are in `unit`."""
    best = table[np.argmin(table[:, LOSS])]
    chosen = Range(min(float(best[LOW]), 0.0), float(best[HIGH]))
    error = errors_at(histogram, chosen, spec)
    share = 0.0 if error.mse == 0.0 else error.clipping_mse / error.mse
    what = "least mean squared error" if method is Method.MSE else "largest cosine"
    return Search(
        method=method,
        range=chosen,
        lows=table[:, LOW],
        highs=table[:, HIGH],
        loss=table[:, LOSS] * unit,
        loss_label=_LABELS[method],
        reason=f"The {what} of {len(table)} candidates; {100 * share:.3g} % of the error is clipping.",
        flags=flags_of(histogram, spec),
    )
