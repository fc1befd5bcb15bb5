"""The range with the least mean squared error, mean((x - x')²) where x' is what x is quantized to."""

from quantscope.core.calibration import Histogram
from quantscope.core.methods import Method
from quantscope.core.quant import QuantSpec
from quantscope.core.thresholds.least import search_least
from quantscope.core.thresholds.outcome import Search


def search_mse(histogram: Histogram, spec: QuantSpec) -> Search:
    """Least MSE over T, or over scale and zero point together for asymmetric types."""
    return search_least(histogram, spec, Method.MSE)
