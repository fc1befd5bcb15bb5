"""From samples to statistics: a histogram of every tensor."""

from quantscope.core.calibration.by_sample import BySample
from quantscope.core.calibration.histogram import BINS_PER_SIDE, Accumulator, Histogram, histogram_of
from quantscope.core.calibration.run import calibrate, data_rows
from quantscope.core.calibration.statistics import Statistics
from quantscope.core.calibration.tensor_values import raw_values

__all__ = [
    "BINS_PER_SIDE",
    "Accumulator",
    "BySample",
    "Histogram",
    "Statistics",
    "calibrate",
    "data_rows",
    "histogram_of",
    "raw_values",
]
