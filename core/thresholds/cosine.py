"""The range with the largest cosine between the values and what becomes of them (ALGORITHMS §3, `cosine`)."""

from quantscope.core.calibration import Histogram
from quantscope.core.quant import QuantSpec
from quantscope.core.thresholds.least import search_least
from quantscope.core.thresholds.method import Method, Search


def search_cosine(histogram: Histogram, spec: QuantSpec) -> Search:
    """Largest cos(x, x') over T, or over scale and zero point together for asymmetric types."""
    return search_least(histogram, spec, Method.COSINE)
