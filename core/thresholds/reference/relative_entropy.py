"""SciPy's `rel_entr`, which several tools take their KL divergence from."""

import math
from typing import Any

import numpy as np

from quantscope.core.jit import compiled


@compiled
def relative_entropy(p: Any, q: Any) -> Any:
    """P log(p / q) of float64 p, q >= 0: accurate where they are close, infinite where only q is 0."""
    if p == 0:
        return 0.0
    if q == 0:
        return np.inf
    ratio = p / q
    if 0.5 < ratio < 2:
        return p * math.log1p((p - q) / q)
    return p * math.log(ratio)
