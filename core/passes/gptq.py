"""Round weights so that the product with their inputs, not the weights themselves, stays closest."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantscope.core.jit import compiled
from quantscope.core.quantize import LIMIT

Float64 = npt.NDArray[np.float64]
Columns = npt.NDArray[np.int64]
BLOCK = 128
SWEEPS = 20  # of coordinate descent; it mostly stops earlier
PAIRED = 32  # columns up to which two integers are changed at once, too
TINY = 1e-9  # gains below this share are rounding noise

# Shapes: groups G, outputs a group O, columns K. Where two neighbouring integers must keep their sum within
# `LIMIT` (see `quantize.saturation`), `partner` (K,) has for each column that of its neighbour, -1 for none.


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerGrid:
    """The integers that a row may use, and their step."""

    scale: Float64  # (G, O)
    zero: Float64  # (G, O)
    qmin: int
    qmax: int

    def nearest(self, columns: Float64) -> Float64:
        """Integers nearest to real values (G, O, any), half to even."""
        return np.clip(np.rint(columns / self.scale[..., None]) + self.zero[..., None], self.qmin, self.qmax)

    def real(self, integers: Float64) -> Float64:
        """Real values of integers (G, O, any)."""
        return (integers - self.zero[..., None]) * self.scale[..., None]


def row_errors(weight: Float64, integers: Float64, grid: IntegerGrid, gram: Float64) -> Float64:
    """Squared error of every output, (G, O): δ H δᵀ with δ what rounding adds to its weights."""
    delta = grid.real(integers) - weight
    return np.asarray(np.einsum("gok,gok->go", delta @ gram, delta))


def damped(gram: Float64, share: float) -> Float64:
    """H + share · mean(diag H) · I: weights whose inputs were never seen stay near their value."""
    columns = gram.shape[-1]
    mean = np.trace(gram, axis1=1, axis2=2) / columns
    level = np.where(mean > 0, mean * share, 1.0)
    return gram + level[:, None, None] * np.eye(columns)


def round_weights(
    weight: Float64, gram: Float64, grid: IntegerGrid, partner: Columns | None = None
) -> Float64:
    """Integers (G, O, K) of least error under H, found from two starts; never worse than the nearest ones.

    The starts are round-to-nearest and GPTQ (Frantar et al. 2023: columns in the order of their inputs'
    energy, each rounding error made up for by the columns that follow, through the Cholesky factor of the
    inverse of H). From the better one of each row, coordinate descent changes single integers while that
    lowers the error.

    Args:
        weight: (G, O, K).
        gram: (G, K, K), positive definite: X Xᵀ of the layer's inputs, damped.
        grid: Of each row.
        partner: Neighbours whose integers must keep their sum within `LIMIT`, for a zero point of 0; None
            = no such bound.
    """
    mates = np.full(weight.shape[-1], -1) if partner is None else partner
    nearest = within_limit(grid.nearest(weight), mates, weight / grid.scale[..., None])
    integers = _gptq(weight, gram, grid, mates)
    better = row_errors(weight, integers, grid, gram) < row_errors(weight, nearest, grid, gram)
    integers = np.where(better[..., None], integers, nearest)
    delta = grid.real(integers) - weight
    for g in range(len(weight)):
        slope = delta[g] @ gram[g]
        _descend(integers[g], slope, gram[g], grid.scale[g], grid.qmin, grid.qmax, SWEEPS, mates)
    return integers


def within_limit(integers: Float64, partner: Columns, real: Float64) -> Float64:
    """Integers (G, O, K) with each pair's sum brought within `LIMIT` by the one that was rounded away more.

    At the least safe scale a pair is too large only where a `real` value lies on the border of two integers.
    """
    first = np.flatnonzero(partner > np.arange(partner.size))
    second = partner[first]
    out = integers.copy()
    sums = out[..., first] + out[..., second]
    excess = np.sign(sums) * np.maximum(np.abs(sums) - LIMIT, 0.0)
    away = np.sign(sums) * (out - real)[..., first] >= np.sign(sums) * (out - real)[..., second]
    out[..., first] -= np.where(away, excess, 0.0)
    out[..., second] -= np.where(away, 0.0, excess)
    return out


def _gptq(weight: Float64, gram: Float64, grid: IntegerGrid, partner: Columns) -> Float64:
    groups, _, columns = weight.shape
    order = np.argsort(-np.diagonal(gram, axis1=1, axis2=2), axis=1, kind="stable")
    pick = np.arange(groups)[:, None]
    sorted_gram = gram[pick[..., None], order[:, :, None], order[:, None, :]]
    # The upper factor U of H⁻¹ = Uᵀ U.
    upper = np.linalg.cholesky(np.linalg.inv(sorted_gram)).swapaxes(1, 2)
    left = np.take_along_axis(weight, order[:, None, :], axis=2)
    found = np.zeros_like(left)
    # Where each sorted column's neighbour stands; columns that are not rounded yet hold 0, and bind nothing.
    place = np.argsort(order, axis=1)
    mates = np.where(partner[order] < 0, -1, np.take_along_axis(place, partner[order], axis=1))
    for start in range(0, columns, BLOCK):
        stop = min(start + BLOCK, columns)
        errors = np.empty((*left.shape[:2], stop - start))
        for i in range(start, stop):
            mate = np.take_along_axis(found, np.maximum(mates[:, i], 0)[:, None, None], axis=2)
            room = np.where(mates[:, i, None, None] < 0, np.inf, LIMIT)
            found[..., i : i + 1] = np.clip(grid.nearest(left[..., i : i + 1]), -room - mate, room - mate)
            rounded = grid.real(found[..., i : i + 1])[..., 0]
            errors[..., i - start] = (left[..., i] - rounded) / upper[:, None, i, i]
            left[..., i:stop] -= errors[..., i - start, None] * upper[:, None, i, i:stop]
        left[..., stop:] -= errors @ upper[:, start:stop, stop:]
    out = np.empty_like(found)
    np.put_along_axis(out, order[:, None, :], found, axis=2)
    return out


@compiled
def _descend(
    integers: Float64,
    slope: Float64,
    gram: Float64,
    scale: Float64,
    qmin: int,
    qmax: int,
    sweeps: int,
    partner: Columns,
) -> None:
    """Change integers one by one, or two at once, in place, while that lowers δ H δᵀ; `slope` = δ H."""
    rows, columns = integers.shape
    pairs = columns <= PAIRED
    for r in range(rows):
        s = scale[r]
        for _ in range(sweeps):
            changed = False
            for k in range(columns):
                low, high = _room(integers[r], partner[k], qmin, qmax)
                step = _best_step(slope[r, k], gram[k, k], s, integers[r, k], low, high)
                if step * s * (2.0 * slope[r, k] + step * s * gram[k, k]) < 0.0:
                    _update_slope(integers[r], slope[r], gram, s, k, step)
                    changed = True
            if changed or not pairs:
                if changed:
                    continue
                break
            for k in range(columns):
                for first in (-1.0, 1.0):
                    low, high = _room(integers[r], partner[k], qmin, qmax)
                    if not low <= integers[r, k] + first <= high:
                        continue
                    cost = first * s * (2.0 * slope[r, k] + first * s * gram[k, k])
                    best, other, second = 0.0, -1, 0.0
                    for j in range(columns):
                        if j == k:
                            continue
                        moved = slope[r, j] + first * s * gram[k, j]
                        if j == partner[k]:
                            low, high = _beside(integers[r, k] + first, qmin, qmax)
                        else:
                            low, high = _room(integers[r], partner[j], qmin, qmax)
                        step = _best_step(moved, gram[j, j], s, integers[r, j], low, high)
                        gain = cost + step * s * (2.0 * moved + step * s * gram[j, j])
                        if step != 0.0 and gain < best:
                            best, other, second = gain, j, step
                    if best < -TINY * abs(cost):
                        _update_slope(integers[r], slope[r], gram, s, k, first)
                        _update_slope(integers[r], slope[r], gram, s, other, second)
                        changed = True
            if not changed:
                break


@compiled
def _room(integers: Float64, partner: int, qmin: int, qmax: int) -> tuple[float, float]:
    """The smallest and the largest value that an integer may have beside its neighbour."""
    if partner < 0:
        return float(qmin), float(qmax)
    return _beside(integers[partner], qmin, qmax)


@compiled
def _beside(neighbour: float, qmin: int, qmax: int) -> tuple[float, float]:
    return max(float(qmin), -LIMIT - neighbour), min(float(qmax), LIMIT - neighbour)


@compiled
def _best_step(
    slope: float, curvature: float, scale: float, integer: float, low: float, high: float
) -> float:
    """How far one integer should move, within its range."""
    wanted = integer + np.rint(-slope / (curvature * scale))
    return float(min(max(wanted, low), high) - integer)


@compiled
def _update_slope(
    integers: Float64, slope: Float64, gram: Float64, scale: float, k: int, step: float
) -> None:
    integers[k] += step
    for j in range(integers.size):
        slope[j] += step * scale * gram[k, j]
