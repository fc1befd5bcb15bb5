"""For a step size, the zero point with the least loss: both ends of an asymmetric range at once.

Each rounding border b takes 2 s H(b) off the squared error (see `density`), and H falls from the middle
outwards. So of all borders on both sides the `levels` highest ones belong into the range, and where the
two sides meet at equal height is found by bisection: the search over both ends is exact and has one
dimension, where moving one end after the other may stop at a local minimum.
"""

import numpy as np
import numpy.typing as npt

from quantscope.core.jit import compiled
from quantscope.core.thresholds.density import Density, Part, side_sums

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@compiled
def tail(part: Part, t: float) -> tuple[float, float]:
    """(S, H) at t: the mass above it, and the integral of (x - t) over that mass; atoms included."""
    table, extent, atoms = part[0], part[1], part[2]
    mass, height = 0.0, 0.0
    if t < extent:
        j = min(int(t), table.shape[0] - 2)
        x = min(j + 1.0, extent) - t
        mass = table[j, 1] + table[j, 0] * x
        height = table[j, 2] + x * (table[j, 1] + 0.5 * table[j, 0] * x)
    for a in range(2):
        if atoms[a, 0] > t:
            mass += atoms[a, 1]
            height += atoms[a, 1] * (atoms[a, 0] - t)
    return mass, height


@compiled
def even_split(negative: Part, positive: Part, step: float, levels: int) -> int:
    """How many of `levels` steps lie above 0 for the least squared error; the fewest of equal ones."""
    fewest, most = 0, levels
    while fewest < most:
        n = (fewest + most) // 2  # is one more step worth more above than the last one is below?
        if tail(positive, (n + 0.5) * step)[1] > tail(negative, (levels - n - 0.5) * step)[1]:
            fewest = n + 1
        else:
            most = n
    return fewest


@compiled
def cosine_loss_of(length: float, error: float, square: float) -> float:
    """1 - cosine from |x|, |x - x'|**2 and |x'|**2, all positive."""
    quantized = np.sqrt(square)
    return float(max(error - (length - quantized) ** 2, 0.0) / (2.0 * length * quantized))


@compiled
def climb(
    negative: Part,
    positive: Part,
    step: float,
    levels: int,
    above: int,
    error: float,
    square: float,
    way: int,
) -> tuple[float, int]:
    """Move whole steps from one side to the other (`way` is 1 or -1) as long as the cosine grows."""
    length = np.sqrt(negative[3] + positive[3])
    best = cosine_loss_of(length, error, square) if square > 0.0 else 1.0
    while 0 <= above + way <= levels:
        p, n = above + 0.5 * way, levels - above - 0.5 * way  # the borders won and lost, in steps
        mass_p, height_p = tail(positive, p * step)
        mass_n, height_n = tail(negative, n * step)
        error -= way * 2.0 * step * (height_p - height_n)
        square += way * 2.0 * step * step * (p * mass_p - n * mass_n)
        if square <= 0.0:
            break
        loss = cosine_loss_of(length, error, square)
        if loss >= best:
            break
        best = loss
        above += way
    return best, above


@compiled
def split_steps(
    negative: Part, positive: Part, steps: FloatArray, levels: int, by_cosine: bool
) -> tuple[FloatArray, IntArray]:
    """For each step the best number of steps above 0: its loss, and the number."""
    losses, above = np.empty(steps.size), np.empty(steps.size, np.int64)
    for i in range(steps.size):
        n = even_split(negative, positive, steps[i], levels)
        a = side_sums(negative[0], negative[1], negative[2], negative[3], steps[i], levels - n)
        b = side_sums(positive[0], positive[1], positive[2], positive[3], steps[i], n)
        losses[i], above[i] = a[0] + b[0], n
        if by_cosine:
            error, square = a[0] + b[0], a[1] + b[1]
            losses[i] = np.inf
            for way in (-1, 1):
                loss, n_moved = climb(negative, positive, steps[i], levels, n, error, square, way)
                if loss < losses[i]:
                    losses[i], above[i] = loss, n_moved
    return losses, above


def best_splits(
    density: Density, steps: FloatArray, levels: int, *, by_cosine: bool
) -> tuple[FloatArray, IntArray]:
    """The best zero point for each step.

    Args:
        density: the tensor's values, some on each side of 0.
        steps: (candidates,), in bins.
        levels: steps of the whole range, qmax - qmin.
        by_cosine: minimize 1 - cosine instead of the squared error.

    Returns:
        losses (candidates,): 1 - cosine, or the summed squared error in bins squared; and how many of
        the `levels` steps lie above 0.
    """
    return split_steps(density.negative.parts, density.positive.parts, steps, levels, by_cosine)
