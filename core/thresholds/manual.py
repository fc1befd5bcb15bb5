"""The range that the user set."""

from quantscope.core.calibration import Histogram
from quantscope.core.methods import Method
from quantscope.core.quant import QuantSpec, Range
from quantscope.core.thresholds.error import errors_at
from quantscope.core.thresholds.outcome import Search, flags_of, single


def search_manual(histogram: Histogram, spec: QuantSpec, range_: Range) -> Search:
    """The given range as it is, with the MSE that it costs."""
    error = errors_at(histogram, range_, spec)
    reason = f"Set by hand; clips {100 * error.clipped_share:.3g} % of the values."
    return single(Method.MANUAL, range_, error.mse, "MSE", reason, flags_of(histogram, spec))
