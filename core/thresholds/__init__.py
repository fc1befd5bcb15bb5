"""Threshold searches: from a histogram to a range, the curve of candidates, and why (ALGORITHMS §3)."""

from collections.abc import Callable
from dataclasses import replace

from quantscope.core.calibration import BySample, Histogram
from quantscope.core.quant import QuantSpec, Range, ScaleRule
from quantscope.core.thresholds.aciq import search_aciq
from quantscope.core.thresholds.admm import search_admm
from quantscope.core.thresholds.cosine import search_cosine
from quantscope.core.thresholds.error import RangeError, encoding_errors, errors_at
from quantscope.core.thresholds.error_curves import Curves, curves
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
from quantscope.core.thresholds.isotone import search_isotone
from quantscope.core.thresholds.kl import search_kl
from quantscope.core.thresholds.kl_v2 import search_kl_v2
from quantscope.core.thresholds.manual import search_manual
from quantscope.core.thresholds.method import FLAGS, Method, Search
from quantscope.core.thresholds.minmax import search_minmax
from quantscope.core.thresholds.moving_average import search_moving_average
from quantscope.core.thresholds.mse import search_mse
from quantscope.core.thresholds.octav import search_octav
from quantscope.core.thresholds.percentile import search_percentile
from quantscope.core.thresholds.power_of_two import with_ruled_scale
from quantscope.core.thresholds.weights import (
    Float32,
    WeightMethod,
    channel_rows,
    squared_error,
    weight_encoding,
)

__all__ = [
    "FLAGS",
    "SAMPLE_SEARCHES",
    "SEARCHES",
    "Codebook",
    "Curves",
    "Family",
    "Fit",
    "Float32",
    "Grid",
    "GridError",
    "Method",
    "RangeError",
    "Search",
    "WeightMethod",
    "channel_rows",
    "codebook_mse",
    "compare_grids",
    "curves",
    "encoding_errors",
    "errors_at",
    "fits",
    "linear_codebook",
    "log2_codebook",
    "search",
    "squared_error",
    "weight_encoding",
]

# Searches that need nothing but the histogram; `percentile` has its usual share.
SEARCHES: dict[Method, Callable[[Histogram, QuantSpec], Search]] = {
    Method.MINMAX: search_minmax,
    Method.PERCENTILE: search_percentile,
    Method.MSE: search_mse,
    Method.COSINE: search_cosine,
    Method.KL: search_kl,
    Method.KL_V2: search_kl_v2,
    Method.ACIQ: search_aciq,
    Method.OCTAV: search_octav,
    Method.ADMM: search_admm,
}
# Searches that also need what single samples showed; without it they keep every value, and say so.
SAMPLE_SEARCHES: dict[Method, Callable[[Histogram, QuantSpec, BySample | None], Search]] = {
    Method.MOVING_AVERAGE: search_moving_average,
    Method.ISOTONE: search_isotone,
}


def search(
    method: Method,
    histogram: Histogram,
    spec: QuantSpec,
    *,
    percentile: float = 99.99,
    manual: Range | None = None,
    by_sample: BySample | None = None,
) -> Search:
    """Choose a range for a tensor.

    A rule for scales (`spec.scale_rule`) works on what the method chose: curve and choice are the method's
    own, and the range is then changed to what an allowed scale spans.

    Args:
        method: how.
        histogram: the tensor's values.
        spec: the type it will have, and the scales that are allowed.
        percentile: share of values kept, in percent; read by `percentile` only.
        manual: the user's range; `manual` needs it, the others do not read it.
        by_sample: what single samples showed; read by those in `SAMPLE_SEARCHES`.

    Raises:
        ValueError: `manual` without a range, or a percentile outside (0, 100].
    """
    free = replace(spec, scale_rule=ScaleRule.FREE)
    if method is Method.MANUAL:
        if manual is None:
            raise ValueError("the method 'manual' needs a range")
        found = search_manual(histogram, free, manual)
    elif method is Method.PERCENTILE:
        found = search_percentile(histogram, free, percentile=percentile)
    elif method in SAMPLE_SEARCHES:
        found = SAMPLE_SEARCHES[method](histogram, free, by_sample)
    else:
        found = SEARCHES[method](histogram, free)
    return found if spec.scale_rule is ScaleRule.FREE else with_ruled_scale(found, histogram, spec)
