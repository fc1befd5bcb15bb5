"""What a range costs its own tensor, read off the histogram."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from quantscope.core.calibration import Histogram
from quantscope.core.quant import QuantSpec
from quantscope.core.thresholds import DivergenceBins, divergence_bins, divergence_of
from quantscope.ui.content.tensor_view import RangeView, clipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a range costs its tensor; None for what cannot be told, or is infinite."""

    share: float  # of the values, clipped
    sqnr: float | None  # dB
    cosine: float
    mse: float
    clipping: float  # part of `mse`
    rounding: float
    kl: float | None  # nats
    lossless: bool  # nothing is lost: the SQNR is infinite


def figures_of(view: RangeView) -> Figures:
    """The figures of the range that is set."""
    e = view.error
    return Figures(
        share=clipped(view.histogram, view.range, e),
        sqnr=_finite(e.sqnr_db),
        cosine=e.cosine,
        mse=e.mse,
        clipping=e.clipping_mse,
        rounding=e.rounding_mse,
        kl=_finite(divergence_of(tensor_divergence_bins(view.histogram, view.spec), view.range)),
        lossless=e.mse == 0.0,
    )


@lru_cache(maxsize=16)
def tensor_divergence_bins(h: Histogram, spec: QuantSpec) -> DivergenceBins | None:
    """The bins whose windows KL compares; None where none can be compared."""
    return divergence_bins(h, spec)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
