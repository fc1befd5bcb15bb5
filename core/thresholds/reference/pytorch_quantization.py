"""NVIDIA's pytorch-quantization, the ancestor of ModelOpt's `HistogramCalibrator`: see `modelopt`.

The histogram, entropy and percentile are the same code. `mse` calls its quantizer with the arguments in their
places, so that it is what ModelOpt's `mse` was meant to be.
"""

from quantscope.core.thresholds.reference.modelopt import (
    ENTROPY,
    EXACT,
    MSE,
    NEAR_TIES,
    PERCENTILE,
    SEARCH,
    SHARE,
    entropy,
    mse_intended,
    percentile,
)
from quantscope.core.thresholds.reference.result import Reference

TOOL = "pytorch-quantization"
VERSION = "pytorch-quantization 2.2.1 (TensorRT repository @a892d22) with torch 2.13.0 on a CPU"

REFERENCES = (
    Reference(
        tool=TOOL,
        algorithm="entropy",
        version=VERSION,
        function=entropy,
        parameters=SEARCH,
        peculiar=ENTROPY,
        exact=True,
        fidelity=EXACT,
    ),
    Reference(
        tool=TOOL,
        algorithm="mse",
        version=VERSION,
        function=mse_intended,
        parameters=SEARCH,
        peculiar=MSE,
        exact=True,
        tolerance=1e-3,
        fidelity=NEAR_TIES,
    ),
    Reference(
        tool=TOOL,
        algorithm="percentile",
        version=VERSION,
        function=percentile,
        parameters=SHARE,
        peculiar=PERCENTILE,
        exact=True,
        fidelity=EXACT,
    ),
)
