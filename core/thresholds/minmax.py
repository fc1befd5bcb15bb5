"""The observed extremes: T = max|x|, or [min, max] where both ends are free; nothing is clipped."""

from quantscope.core.calibration import Histogram
from quantscope.core.methods import Method
from quantscope.core.quant import QuantSpec
from quantscope.core.thresholds.error import errors_at
from quantscope.core.thresholds.outcome import Search, flags_of, full_range, single


def search_minmax(histogram: Histogram, spec: QuantSpec) -> Search:
    """[min, max], or [-T, T] with T = max|x| for symmetric types."""
    range_ = full_range(histogram, spec)
    reason = f"Keeps every value seen, from {histogram.min:.6g} to {histogram.max:.6g}."
    loss = errors_at(histogram, range_, spec).mse
    return single(Method.MINMAX, range_, loss, "MSE", reason, flags_of(histogram, spec))
