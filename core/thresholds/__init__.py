"""Threshold searches: from a histogram to a range, the curve of candidates, and the reason."""

from quantscope.core.methods import AUTOMATIC, FROM_HISTOGRAM, FROM_SAMPLES, METHODS, Method, Needs
from quantscope.core.thresholds.by_method import search
from quantscope.core.thresholds.error import RangeError, encoding_errors, errors_at
from quantscope.core.thresholds.error_curves import (
    Curves,
    DivergenceBins,
    curves,
    divergence_bins,
    divergence_of,
)
from quantscope.core.thresholds.fit import Family, Fit, fits
from quantscope.core.thresholds.grids import (
    Codebook,
    Grid,
    GridError,
    codebook_mse,
    compare_grids,
    linear_codebook,
    log2_codebook,
)
from quantscope.core.thresholds.outcome import FLAGS, Search, full_range
from quantscope.core.thresholds.weights import (
    Float32,
    WeightMethod,
    channel_rows,
    squared_error,
    weight_encoding,
)

__all__ = [
    "AUTOMATIC",
    "FLAGS",
    "FROM_HISTOGRAM",
    "FROM_SAMPLES",
    "METHODS",
    "Codebook",
    "Curves",
    "DivergenceBins",
    "Family",
    "Fit",
    "Float32",
    "Grid",
    "GridError",
    "Method",
    "Needs",
    "RangeError",
    "Search",
    "WeightMethod",
    "channel_rows",
    "codebook_mse",
    "compare_grids",
    "curves",
    "divergence_bins",
    "divergence_of",
    "encoding_errors",
    "errors_at",
    "fits",
    "full_range",
    "linear_codebook",
    "log2_codebook",
    "search",
    "squared_error",
    "weight_encoding",
]
