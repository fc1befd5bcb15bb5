"""The one pass over raw activations: bin, find the extremes, count zeros and non-finite values.

State lies in three arrays, so that Python hands over pointers and nothing else:

* `bins` (2, 2 * half + 1 + SPARE) int32: two interleaved sub-histograms, so that equal neighbours do
  not wait on each other's increments. Column k + half counts grid bin k. The last SPARE columns take
  exact zeros in turn: half of a ReLU's output is zero, and one counter would stall the loop.
* `whole` int64: the fields EXPONENT … MAX_SAMPLE below.
* `real` float64: minimum and maximum of the finite values, and those of the latest pass, which the caller
  resets to +inf and -inf before it.
"""

import math

import numpy as np
import numpy.typing as npt

from quantscope.core.jit import compiled

BLOCK = 2048  # values handled at a time: 8 KB of float32 stay in the first-level cache
SPARE = 16
MIN_EXPONENT = -149  # spacing of float32 denormals: a finer grid could not tell float32 values apart
LARGEST = float(np.finfo(np.float32).max)  # float64 values beyond it count as infinite: no scale reaches them

EXPONENT, COUNT, NANS, INFS, AT_MIN, AT_MAX, MIN_SAMPLE, MAX_SAMPLE, FIELDS = range(9)
MINIMUM, MAXIMUM, LOWEST, HIGHEST = range(4)

Ints = npt.NDArray[np.signedinteger]
Floats = npt.NDArray[np.floating]
Columns = npt.NDArray[np.uint32]


@compiled
def extreme_keys(bits: Ints, mask: int) -> tuple[int, int]:
    """Smallest and largest order-preserving key of IEEE numbers given as integers of the same width.

    `mask` has all bits but the sign bit. Integer minima become vector code, those of floats do not
    (NaN); NaN and inf show up as keys beyond those of the finite numbers.
    """
    low, high = mask, ~mask
    for i in range(bits.size):
        wide = np.int64(bits[i])
        key = wide ^ ((wide >> 63) & mask)
        low = min(low, key)  # type: ignore[assignment]  # int64, as Numba sees it
        high = max(high, key)  # type: ignore[assignment]
    return low, high


@compiled
def keep_finite(x: Floats, whole: Ints) -> Floats:
    """The finite values of `x`; the others are counted."""
    kept = np.empty_like(x)
    n = 0
    for i in range(x.size):
        if abs(x[i]) <= LARGEST:
            kept[n] = x[i]
            n += 1
        elif np.isnan(x[i]):
            whole[NANS] += 1
        else:
            whole[INFS] += 1
    return kept[:n]


@compiled
def grid_exponent(peak: float, log2_half: int) -> int:
    """Smallest e >= MIN_EXPONENT with peak <= 2**(e + log2_half)."""
    fraction, power = math.frexp(peak)
    if fraction == 0.5:
        power -= 1
    return max(power - log2_half, MIN_EXPONENT)


@compiled
def coarsen_bins(bins: Ints, half: int, shift: int) -> None:
    """Move every count of bin k to bin k >> shift, in place."""
    shift = min(shift, 62)
    for row in range(bins.shape[0]):
        for k in range(half + 1):  # outwards from 0: targets lie nearer to 0 than what is still to be read
            moved = bins[row, half + k]
            bins[row, half + k] = 0
            bins[row, half + (k >> shift)] += moved
        for k in range(-1, -half - 1, -1):
            moved = bins[row, half + k]
            bins[row, half + k] = 0
            bins[row, half + (k >> shift)] += moved


@compiled
def count_equal(x: Floats, value: np.floating) -> int:
    """How many elements equal `value`."""
    n = 0
    for i in range(x.size):
        n += int(x[i] == value)
    return n


@compiled
def note_extremes(x: Floats, low: float, high: float, sample: int, whole: Ints, real: Floats) -> None:
    """Update minimum and maximum, how often each occurs, and the (smallest) sample that reached it."""
    if low <= real[MINIMUM]:
        if low < real[MINIMUM]:
            real[MINIMUM], whole[AT_MIN], whole[MIN_SAMPLE] = low, 0, sample
        elif 0 <= sample < whole[MIN_SAMPLE]:
            whole[MIN_SAMPLE] = sample
        if low != 0.0:  # zeros are counted anyhow
            whole[AT_MIN] += count_equal(x, x.dtype.type(low))
    if high >= real[MAXIMUM]:
        if high > real[MAXIMUM]:
            real[MAXIMUM], whole[AT_MAX], whole[MAX_SAMPLE] = high, 0, sample
        elif 0 <= sample < whole[MAX_SAMPLE]:
            whole[MAX_SAMPLE] = sample
        if high != 0.0:
            whole[AT_MAX] += count_equal(x, x.dtype.type(high))


@compiled
def columns_up(x: Floats, factor: np.floating, half: int, columns: Columns) -> None:
    """Columns of `bins` for finite values; `factor` is a power of two >= 1 of the values' own type.

    Such a product is exact. Written for vector code: no branches, one store.
    """
    zero = 2 * half + 1
    for i in range(x.size):
        k = np.int32(np.floor(x[i] * factor))
        columns[i] = np.uint32(zero + (i & (SPARE - 1)) if x[i] == 0 else k + half)


@compiled
def columns_down(x: Floats, factor: float, half: int, columns: Columns) -> None:
    """`columns_up` for any power of two, in float64, where the product is exact or vanishes."""
    zero = 2 * half + 1
    for i in range(x.size):
        scaled = np.float64(x[i]) * factor
        k = np.int32(np.floor(scaled)) - np.int32((scaled == 0.0) & (x[i] < 0))  # -0.0 lies in bin -1
        columns[i] = np.uint32(zero + (i & (SPARE - 1)) if x[i] == 0 else k + half)


@compiled
def count_columns(columns: Columns, bins: Ints) -> None:
    """Add one to `bins` for each column, in turn in one row and the other."""
    even, odd = bins[0], bins[1]
    for i in range(columns.size >> 2):
        even[columns[4 * i]] += np.int32(1)
        odd[columns[4 * i + 1]] += np.int32(1)
        even[columns[4 * i + 2]] += np.int32(1)
        odd[columns[4 * i + 3]] += np.int32(1)
    for i in range(columns.size & ~3, columns.size):
        even[columns[i]] += np.int32(1)


@compiled
def accumulate(
    x: Floats, bits: Ints, sample: int, log2_half: int, bins: Ints, whole: Ints, real: Floats
) -> None:
    """Add all of `x` (1-D, C-contiguous, float32 or float64; `bits` are the same bytes as integers)."""
    half = 1 << log2_half
    mask = (1 << (8 * x.itemsize - 1)) - 1
    cell = np.full(1, LARGEST, x.dtype)
    word = cell.view(bits.dtype)
    largest = np.int64(word[0])
    columns = np.empty(BLOCK, np.uint32)
    for start in range(0, x.size, BLOCK):
        block = x[start : start + BLOCK]
        low, high = extreme_keys(bits[start : start + BLOCK], mask)
        if high > largest or low < ~largest:
            block = keep_finite(block, whole)
            if block.size == 0:
                continue
            low, high = extreme_keys(block.view(bits.dtype), mask)
        word[0] = low ^ ((low >> 63) & mask)
        minimum = np.float64(cell[0]) + 0.0  # -0 becomes 0
        word[0] = high ^ ((high >> 63) & mask)
        maximum = np.float64(cell[0]) + 0.0
        note_extremes(block, minimum, maximum, sample, whole, real)
        real[LOWEST], real[HIGHEST] = min(real[LOWEST], minimum), max(real[HIGHEST], maximum)
        peak = max(-minimum, maximum)
        if peak > math.ldexp(1.0, whole[EXPONENT] + log2_half):
            exponent = grid_exponent(peak, log2_half)
            if whole[COUNT] > 0:
                coarsen_bins(bins, half, exponent - whole[EXPONENT])
            whole[EXPONENT] = exponent
        factor = math.ldexp(1.0, -whole[EXPONENT])
        if 1.0 <= factor <= LARGEST:
            columns_up(block, x.dtype.type(factor), half, columns)
        else:
            columns_down(block, factor, half, columns)
        count_columns(columns[: block.size], bins)
        whole[COUNT] += block.size
