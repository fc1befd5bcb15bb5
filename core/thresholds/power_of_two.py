"""Make the range that a method chose one whose scale is a power of two: scale = 2^k."""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram
from quantscope.core.quant import (
    Encoding,
    QuantSpec,
    Range,
    ScaleRule,
    encoding_from_range,
    encoding_from_ranges,
    kept_range,
)
from quantscope.core.thresholds.density import density_of
from quantscope.core.thresholds.error import encoding_errors
from quantscope.core.thresholds.outcome import Search
from quantscope.core.thresholds.splits import best_splits

FloatArray = npt.NDArray[np.float64]

_WORDS = {
    ScaleRule.POWER_OF_TWO_UP: "the next larger power of two",
    ScaleRule.POWER_OF_TWO_NEAREST: "the nearest power of two",
    ScaleRule.POWER_OF_TWO_MSE: "of both powers of two nearby the one with less error",
}


def with_ruled_scale(found: Search, histogram: Histogram, spec: QuantSpec) -> Search:
    """The search with its range replaced by the one that the scale allowed by `spec.scale_rule` spans.

    Larger and nearest follow from the range alone. For the least error, the next larger scale competes
    with half of it, which clips more; in asymmetric ranges each with the zero point that costs least.
    """
    encoding = encoding_from_range(found.range, spec)
    if spec.scale_rule is ScaleRule.POWER_OF_TWO_MSE:
        encoding = _less_error(found.range, histogram, spec)
    exponent = math.frexp(float(encoding.scale))[1] - 1
    reason = f"{found.reason[:-1]}; the scale is {_WORDS[spec.scale_rule]}, 2^{exponent}."
    return replace(found, range=kept_range(encoding, spec), asked=found.range, reason=reason)


def ruled_encodings(lows: FloatArray, highs: FloatArray, histogram: Histogram, spec: QuantSpec) -> Encoding:
    """What `search` makes of each range [lows[i], highs[i]] under the rule for scales; all (candidates,)."""
    if spec.scale_rule is not ScaleRule.POWER_OF_TWO_MSE:
        return encoding_from_ranges(lows, highs, spec)
    larger = encoding_from_ranges(lows, highs, replace(spec, scale_rule=ScaleRule.POWER_OF_TWO_UP))
    free = encoding_from_ranges(lows, highs, replace(spec, scale_rule=ScaleRule.FREE))
    scales, zeros = larger.scale.copy(), larger.zero_point.copy()
    # The choice between two powers of two is the same for all ranges between these.
    kinds = np.stack([larger.scale, free.scale < larger.scale, larger.zero_point * spec.symmetric])
    _, firsts, members = np.unique(kinds, axis=1, return_index=True, return_inverse=True)
    for kind, first in enumerate(firsts.tolist()):
        chosen = _less_error(Range(float(lows[first]), float(highs[first])), histogram, spec)
        scales[members == kind], zeros[members == kind] = chosen.scale, chosen.zero_point
    return replace(larger, scale=scales, zero_point=zeros)


def _less_error(range_: Range, histogram: Histogram, spec: QuantSpec) -> Encoding:
    """Of the two powers of two around a range's scale, the one with the less squared error."""
    larger = encoding_from_range(range_, replace(spec, scale_rule=ScaleRule.POWER_OF_TWO_UP))
    free = encoding_from_range(range_, replace(spec, scale_rule=ScaleRule.FREE))
    scales = [larger.scale]
    if free.scale < larger.scale and larger.scale > np.finfo(np.float32).tiny:
        scales.append(np.asarray(larger.scale / 2, np.float32))
    encodings = [replace(larger, scale=scale) for scale in scales]
    if not spec.symmetric:
        density, levels = density_of(histogram), spec.qmax - spec.qmin
        steps = np.array(scales, np.float64) / density.width
        _, above = best_splits(density, steps, levels, by_cosine=False)
        zeros = (np.asarray(spec.qmax - n, np.int32) for n in above)
        encodings = [replace(e, zero_point=zero) for e, zero in zip(encodings, zeros, strict=True)]
    return min(encodings, key=lambda encoding: encoding_errors(histogram, encoding).mse)
