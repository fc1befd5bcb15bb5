"""The search that `mse` and `cosine` share: the candidate with the least loss, exact from the histogram."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram
from quantscope.core.methods import Method
from quantscope.core.quant import QuantSpec, Range, encoding_from_ranges
from quantscope.core.thresholds import alternate
from quantscope.core.thresholds.candidates import HIGH, LOSS, LOW, minimize
from quantscope.core.thresholds.density import ERROR, Density, density_of, sweep
from quantscope.core.thresholds.error import cosine_loss, errors_at, errors_of
from quantscope.core.thresholds.outcome import (
    Search,
    flags_of,
    full_range,
    single,
    symmetric_range,
    widened,
)
from quantscope.core.thresholds.splits import best_splits

FloatArray = npt.NDArray[np.float64]
RangeLoss = Callable[[FloatArray, FloatArray], FloatArray]  # of lows and highs

_POLISH = 24  # rounds of alternating least squares at the end
_NOTHING = 1e-13  # loss of direction that is rounding noise
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
    if not by_cosine:
        table = _polished(table, density, histogram, spec)
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


def _polished(table: FloatArray, density: Density, histogram: Histogram, spec: QuantSpec) -> FloatArray:
    """The table with what alternating least squares makes of its best row.

    Values that repeat can have a scale without any error, which no grid of candidates meets: where few
    bins are in use, it starts from every row.
    """
    below, above, _ = alternate.grid_levels(histogram, spec)
    few = np.count_nonzero(histogram.counts) <= spec.qmax - spec.qmin
    rows = table if few else table[[np.argmin(table[:, LOSS])]]
    if above == alternate.FREE:
        steps = (rows[:, HIGH] - rows[:, LOW]) / below
    else:
        steps = rows[:, HIGH] / above if above else -rows[:, LOW] / below
    parts = density.negative.parts, density.positive.parts
    rounds = alternate.alternate(*parts, steps / density.width, below, above, _POLISH)
    lows, highs = alternate.range_ends(rounds, spec, density.width, one_sided=below == 0)
    table = np.concatenate([table, np.column_stack([rounds[:, alternate.LOSS], lows, highs])])
    return np.asarray(table[np.argsort(table[:, HIGH] - table[:, LOW], kind="stable")], np.float64)


def _best(table: FloatArray, histogram: Histogram, spec: QuantSpec) -> FloatArray:
    """The row with the least loss; where several lose nothing, as many lengths do, that of least MSE."""
    least = float(table[:, LOSS].min())
    if least > _NOTHING:
        return np.asarray(table[np.argmin(table[:, LOSS])], np.float64)
    equal = table[table[:, LOSS] <= _NOTHING]
    errors = errors_of(density_of(histogram), encoding_from_ranges(equal[:, LOW], equal[:, HIGH], spec))
    return np.asarray(equal[np.argmin(errors.mse)], np.float64)


def _result(histogram: Histogram, spec: QuantSpec, method: Method, table: FloatArray, unit: float) -> Search:
    """The best row of a table of candidates, whose losses are in `unit`."""
    best = _best(table, histogram, spec) if method is Method.COSINE else table[np.argmin(table[:, LOSS])]
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
