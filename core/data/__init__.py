"""Calibration and evaluation samples, from whatever holds them."""

from quantscope.core.data.opening import check_samples, open_samples
from quantscope.core.data.samples import Array, Load, Sample, Samples, sample_digest
from quantscope.core.data.selection import Picked, pick
from quantscope.core.data.writing import bytes_of, row_of, write_npz

__all__ = [
    "Array",
    "Load",
    "Picked",
    "Sample",
    "Samples",
    "bytes_of",
    "check_samples",
    "open_samples",
    "pick",
    "row_of",
    "sample_digest",
    "write_npz",
]
