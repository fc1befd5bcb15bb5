"""Tensors that no 8-bit range can hold, found from their histogram, so that they stay in float."""

import numpy as np

from core.histogram import Histogram
from core.quant import QuantSpec

FAR_SHARE = 1e-3  # of the values: rarer ones are outliers, which clipping deals with
NEAR_STEPS = 2.0  # quantization steps that the informative values span at most
GAP_SHARE = 0.75  # of the range, empty


def why_float(histogram: Histogram, spec: QuantSpec) -> str | None:
    """Why quantizing a tensor would destroy it, in one sentence; None for ordinary tensors.

    Two kinds occur in real networks, both made by attention masks: infinite values, which an integer
    cannot express, and a cluster of values so far from the others (-10000, -3.4e38) that all the others
    fall into the same one or two steps. A mask alone, two values with nothing between, is not of them.
    """
    return _why(histogram, spec.levels)


def _why(h: Histogram, levels: int) -> str | None:
    if h.infs:
        return "it holds infinite values, which integers cannot express"
    if h.count == 0 or h.counts.size == 0:
        return None
    lows = np.flatnonzero(h.counts) + h.first
    at = int(np.searchsorted(lows, 0))
    if h.zeros and (at == lows.size or lows[at] != 0):
        lows = np.insert(lows, at, 0)
    gaps = np.diff(lows)
    if not gaps.size:
        return None
    cut = int(gaps.argmax())
    span = max(h.max, 0.0) - min(h.min, 0.0)
    if (float(gaps[cut]) - 1.0) * h.width < GAP_SHARE * span:
        return None
    border = lows[cut + 1] - h.first
    below, above = int(h.counts[:border].sum()), int(h.counts[border:].sum())
    zero_below = lows[cut] >= 0
    sides = ((below, lows[0], lows[cut], zero_below), (above, lows[cut + 1], lows[-1], not zero_below))
    near, far = sides if sides[0][3] else sides[::-1]  # the side with 0 carries the information
    width = float(near[2] - near[1] + 1) * h.width
    if near[0] < FAR_SHARE * h.count or far[0] < FAR_SHARE * h.count:
        return None
    if width > NEAR_STEPS * span / levels:
        return None
    extreme = h.min if far is sides[0] else h.max
    return f"values at {extreme:.4g} are so far from the others that those would all become one integer"
