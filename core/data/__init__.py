"""Calibration and evaluation samples, from whatever holds them."""

from quantscope.core.data.joining import joined_samples
from quantscope.core.data.opening import check_samples, open_samples
from quantscope.core.data.samples import Array, Load, Sample, Samples, sample_digest
from quantscope.core.data.selection import Picked, pick

__all__ = [
    "Array",
    "Load",
    "Picked",
    "Sample",
    "Samples",
    "check_samples",
    "joined_samples",
    "open_samples",
    "pick",
    "sample_digest",
]
