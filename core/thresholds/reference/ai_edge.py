"""ai-edge-quantizer (LiteRT): OCTAV from a start of 1, and an "MSE" that is one multiplication.

OCTAV starts at 1.0 whatever the data are, not at the mean magnitude, and takes at most 10 steps. Data below 1
see an empty tail first: the guess falls to 0, counts everything in the next step and recovers from there. The
step that meets the stopping rule (relative 1e-5) is kept. The result is cut back to the largest magnitude.
`mse` never looks at the distribution: scale = 0.05408 (8 bits) or 0.37755 (4 bits) times the root mean
square, which is right for the weights it was fitted on and clips nothing of a heavy tail.
"""

import numpy as np

from quantscope.core.thresholds.reference.result import (
    Data,
    Reference,
    ReferenceThreshold,
    failure,
    flat,
    symmetric,
)

SMALLEST_BOUND = 1e-9
MULTIPLIERS = {8: 0.05408, 4: 0.37755}  # scale over root mean square, by bits


@np.errstate(all="ignore")
def octav(
    data: Data, *, bits: int = 8, max_iterations: int = 10, exponent_divisor: float = 3.0
) -> ReferenceThreshold:
    """`octav.get_tensor_quant_params`, per tensor.

    Args:
        data: one array; batches are joined.
        bits: of the signed type.
        max_iterations: steps at most.
        exponent_divisor: 3 for signed types.
    """
    x = flat(data)
    if not x.size or not np.isfinite(x).all():
        return failure("the bound is not finite" if x.size else "there are no values")
    share = np.float32(4.0 ** (-bits) / exponent_divisor)
    guess = np.float32(1)
    for _ in range(max_iterations):
        old = guess
        above, below = x >= old, x <= -old
        count = np.float32(np.count_nonzero(above) + np.count_nonzero(below))
        mass = np.sum(x, where=above, dtype=np.float32) - np.sum(x, where=below)
        guess = mass / (count * (np.float32(1) - share) + share * np.float32(x.size))
        if np.allclose(old, guess):
            break
    bound = max(np.abs(x).max(), np.float32(SMALLEST_BOUND))
    return _symmetric(np.clip(bound, -guess, guess), 2 ** (bits - 1) - 1)


@np.errstate(all="ignore")
def mse(data: Data, *, bits: int = 8, multiplier: float | None = None) -> ReferenceThreshold:
    """`mse.get_tensor_quant_params`: a multiple of the root mean square.

    Args:
        data: one array; batches are joined.
        bits: 8 or 4.
        multiplier: scale over root mean square; None for the tool's constant.
    """
    x = flat(data)
    if not x.size or not np.isfinite(x).all():
        return failure("the scale is not finite" if x.size else "there are no values")
    factor = MULTIPLIERS[bits] if multiplier is None else multiplier
    scale = factor * np.sqrt(np.mean(x**2))
    if not (np.isfinite(scale) and scale > 0):
        return failure(f"the scale is {scale}")
    return symmetric(float(scale) * (2 ** (bits - 1) - 1), float(scale))


@np.errstate(all="ignore")
def minmax(data: Data, *, bits: int = 8, symmetric: bool = True, signed: bool = True) -> ReferenceThreshold:
    """`naive_min_max_quantize`.

    Args:
        data: one array; batches are joined.
        bits: of the type.
        symmetric: largest magnitude over the largest integer; else min..max with zero included.
        signed: only signed types are reproduced.
    """
    x = flat(data)
    if not x.size or not np.isfinite(x).all() or not signed:
        return failure("there are no finite values, or the type is unsigned")
    low, high = x.min(), x.max()
    top = 2 ** (bits - 1) - 1
    if symmetric:
        return _symmetric(max(abs(low), abs(high), np.float32(SMALLEST_BOUND)), top)
    low, high = min(low, np.float32(0)), max(high, np.float32(0))
    scale = max(high - low, np.float32(SMALLEST_BOUND)) / np.float32(2**bits - 1)
    if not np.isfinite(scale):
        return failure("the range is wider than float32 holds: the scale is infinite")
    zero_point = int(np.rint(np.float32(-top - 1) - low / scale))
    return ReferenceThreshold(low=float(low), high=float(high), scale=float(scale), zero_point=zero_point)


def _symmetric(bound: np.float32, top: int) -> ReferenceThreshold:
    """Scale of float32 `bound` over `top`; the threshold is what the scale reaches."""
    scale = float(bound / np.float32(top))
    return symmetric(scale * top, scale) if scale > 0 else failure(f"the scale is {scale}")


TOOL = "ai-edge-quantizer"
VERSION = "ai-edge-quantizer 0.10.0 with NumPy 2.4.6"
OCTAV = {"max_iterations": 10, "exponent_divisor": 3.0}

REFERENCES = (
    Reference(
        tool=TOOL,
        algorithm="octav",
        version=VERSION,
        function=octav,
        parameters={"bits": 8, **OCTAV},
        variants=({"bits": 4, **OCTAV},),
        peculiar="OCTAV's iteration from 1.0 instead of the mean magnitude, at most 10 steps.",
        exact=True,
        fidelity="Exact: the sums are NumPy's own.",
    ),
    Reference(
        tool=TOOL,
        algorithm="mse",
        version=VERSION,
        function=mse,
        parameters={"bits": 8, "multiplier": MULTIPLIERS[8]},
        variants=({"bits": 4, "multiplier": MULTIPLIERS[4]},),
        peculiar="No search: a constant times the root mean square, whatever the distribution and its "
        "maximum.",
        exact=True,
        fidelity="Exact.",
    ),
    Reference(
        tool=TOOL,
        algorithm="minmax",
        version=VERSION,
        function=minmax,
        parameters={"bits": 8, "symmetric": True, "signed": True},
        variants=({"bits": 8, "symmetric": False, "signed": True},),
        peculiar="The extremes; symmetric scales are the largest magnitude over 127.",
        exact=True,
        fidelity="Exact.",
    ),
)
