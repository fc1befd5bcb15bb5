"""The range with the least mean squared error (ALGORITHMS §3, `mse`)."""

from quantscope.core.calibration import Histogram
from quantscope.core.quant import QuantSpec
from quantscope.core.thresholds.least import search_least
from quantscope.core.thresholds.method import Method, Search


def search_mse(histogram: Histogram, spec: QuantSpec) -> Search:
    """Least MSE over T, or over scale and zero point together for asymmetric types."""
    return search_least(histogram, spec, Method.MSE)
