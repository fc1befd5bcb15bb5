"""The search of each threshold method; what is declared about the methods is in `core/methods.py`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from quantscope.core.calibration import BySample, Histogram
from quantscope.core.methods import Method
from quantscope.core.quant import QuantSpec, Range
from quantscope.core.thresholds.aciq import search_aciq
from quantscope.core.thresholds.admm import search_admm
from quantscope.core.thresholds.cosine import search_cosine
from quantscope.core.thresholds.isotone import search_isotone
from quantscope.core.thresholds.kl import search_kl
from quantscope.core.thresholds.kl_v2 import search_kl_v2
from quantscope.core.thresholds.manual import search_manual
from quantscope.core.thresholds.minmax import search_minmax
from quantscope.core.thresholds.moving_average import search_moving_average
from quantscope.core.thresholds.mse import search_mse
from quantscope.core.thresholds.octav import search_octav
from quantscope.core.thresholds.outcome import Search
from quantscope.core.thresholds.percentile import search_percentile

SHARE = 99.99  # percent of values that `percentile` keeps unless told


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What there is beside the histogram; a method reads what its `Needs` say."""

    percentile: float = SHARE  # share of values kept, in percent
    manual: Range | None = None  # the user's range
    by_sample: BySample | None = None  # what single samples showed


Searching = Callable[[Histogram, QuantSpec, Given], Search]


def _from_histogram(search: Callable[[Histogram, QuantSpec], Search]) -> Searching:
    return lambda histogram, spec, given: search(histogram, spec)


def _from_samples(search: Callable[[Histogram, QuantSpec, BySample | None], Search]) -> Searching:
    return lambda histogram, spec, given: search(histogram, spec, given.by_sample)


def _percentile(histogram: Histogram, spec: QuantSpec, given: Given) -> Search:
    return search_percentile(histogram, spec, percentile=given.percentile)


def _manual(histogram: Histogram, spec: QuantSpec, given: Given) -> Search:
    if given.manual is None:
        raise ValueError("the method 'manual' needs a range")
    return search_manual(histogram, spec, given.manual)


SEARCHES: Mapping[Method, Searching] = MappingProxyType(
    {
        Method.MINMAX: _from_histogram(search_minmax),
        Method.PERCENTILE: _percentile,
        Method.MSE: _from_histogram(search_mse),
        Method.COSINE: _from_histogram(search_cosine),
        Method.KL: _from_histogram(search_kl),
        Method.KL_V2: _from_histogram(search_kl_v2),
        Method.ACIQ: _from_histogram(search_aciq),
        Method.OCTAV: _from_histogram(search_octav),
        Method.ADMM: _from_histogram(search_admm),
        Method.MOVING_AVERAGE: _from_samples(search_moving_average),
        Method.ISOTONE: _from_samples(search_isotone),
        Method.MANUAL: _manual,
    }
)
