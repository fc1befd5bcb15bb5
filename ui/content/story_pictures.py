"""Pictures of a tensor's values as data: how often they occur, the steps on them, and what is cut off."""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram as Counts
from quantscope.core.quant import Encoding
from quantscope.ui.content.story_records import Bracket, Histogram, Staircase, Tick
from quantscope.ui.content.story_shared import everyday

BARS = 72  # of a histogram
STEPS = 12  # of a staircase, of all there are
LEAST = 0.045  # height of a bar with any value in it, so that a single one is seen
RARE = 1e-3  # share of the values that outliers are, at most
ONWARD = 0.02  # of an axis, beyond which a range is said to go on
FLOORS = 5  # labels on an axis, about


def shares_below(counts: Counts, at: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Share of the values below each place; within a bin as if they lay evenly in it.

    Args:
        counts: Histogram of a tensor.
        at: Places, any shape.

    Returns:
        Shares from 0 to 1, of the shape of `at`.
    """
    places = np.asarray(at, np.float64)
    total = max(1, counts.count)
    inside = np.interp(places, counts.edges, np.concatenate([[0], np.cumsum(counts.counts)]), left=0)
    zeros = np.where(places > 0, counts.zeros, 0)
    found = np.where(places > counts.max, total, inside + zeros) / total
    return np.asarray(np.where(places <= counts.min, 0.0, found), np.float64)


def quantile(counts: Counts, share: float) -> float:
    """The place at or below which a share of the values lies, to about a bin."""
    places = np.unique(np.concatenate([counts.edges, [0.0, counts.min, counts.max]]))
    reached = shares_below(counts, np.nextafter(places, np.inf))  # values exactly there count: many are 0
    at = int(np.searchsorted(reached, share))
    return float(np.clip(places[min(at, len(places) - 1)], counts.min, counts.max))


def outside(counts: Counts, low: float, high: float) -> int:
    """How many values lie below `low` or above `high`, to about a bin."""
    if low <= counts.min and counts.max <= high:
        return 0
    share = float(shares_below(counts, low)) + 1 - float(shares_below(counts, np.nextafter(high, np.inf)))
    return max(1, round(share * counts.count))


def heights(counts: Counts, low: float, high: float, bars: int = BARS) -> tuple[float, ...]:
    """Heights of equally wide bars from `low` to `high`, 0 to 1, on a logarithmic scale."""
    edges = np.linspace(low, high, bars + 1)
    below = shares_below(counts, edges)
    below[-1] = float(shares_below(counts, np.nextafter(high, np.inf)))
    number = np.maximum(np.diff(below) * counts.count, 0)
    number[number < 0.5] = 0
    if not number.max(initial=0):
        return (0.0,) * bars
    scaled = np.log1p(number) / np.log1p(number.max())
    return tuple(np.where(number > 0, np.maximum(scaled, LEAST), 0).round(4).tolist())


def ticks(low: float, high: float) -> tuple[Tick, ...]:
    """Round values along an axis."""
    span = high - low
    if not span > 0:
        return (Tick(at=0.5, label=everyday(low, 4)),)
    raw = span / FLOORS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(
        Tick(at=round((k * step - low) / span, 4), label=everyday(k * step, 4))
        for k in range(first, last + 1)
    )


def axis(counts: Counts) -> tuple[float, float]:
    """Ends of an axis that shows all values and 0."""
    low, high = min(counts.min, 0.0), max(counts.max, 0.0)
    return (low, high) if high > low else (low - 1.0, high + 1.0)


def place(value: float, low: float, high: float) -> float:
    """Where a value is on an axis, 0 to 1."""
    return round(float(np.clip((value - low) / (high - low), 0, 1)), 5)


def histogram(
    counts: Counts,
    *,
    label: str,
    brackets: tuple[tuple[Encoding, Bracket], ...] = (),
    window: tuple[float, float] | None = None,
) -> Histogram:
    """The values of a tensor, with the ranges that encodings keep.

    Args:
        counts: Histogram of the tensor.
        label: Of the axis.
        brackets: Encodings, each with the name, note and tone of its range; places are filled in here.
        window: Part of the axis that is shown; None = all of it.
    """
    low, high = window or axis(counts)
    return Histogram(
        heights=heights(counts, low, high),
        ticks=ticks(low, high),
        brackets=tuple(_placed(mark, encoding, low, high) for encoding, mark in brackets),
        label=label,
    )


def _placed(mark: Bracket, encoding: Encoding, low: float, high: float) -> Bracket:
    """The mark where the encoding's range is on an axis; borders of steps lie halfway between them."""
    step = float(encoding.scale)
    start, end = float(encoding.low) - step / 2, float(encoding.high) + step / 2
    first = start if start >= low else start + math.ceil((low - start) / step) * step
    return replace(
        mark,
        low=place(start, low, high),
        high=place(end, low, high),
        steps=step / (high - low),
        offset=max(0.0, (first - max(start, low)) / (high - low)),
        onward=float(encoding.high) > high + ONWARD * (high - low),
        backward=float(encoding.low) < low - ONWARD * (high - low),
    )


def zoomed(counts: Counts, encoding: Encoding) -> tuple[float, float] | None:
    """The part of the axis around a range that is small beside all values; None where it is not."""
    low, high = axis(counts)
    start, end = float(encoding.low), float(encoding.high)
    if end - start > 0.5 * (high - low):
        return None
    room = 0.06 * (end - start)
    return start - (room if start < 0 else room / 6), end + room


def with_outliers(picture: Histogram, counts: Counts) -> Histogram:
    """The picture of all values with a mark at the far end, where few values stand alone."""
    low, high = axis(counts)
    upward = counts.max >= -counts.min
    far, inner = (high, quantile(counts, 1 - RARE)) if upward else (low, quantile(counts, RARE))
    alone = outside(counts, -math.inf, inner) if upward else outside(counts, inner, math.inf)
    start = place(inner, low, high)
    between = picture.heights[int(start * BARS) + 1 :] if upward else picture.heights[: int(start * BARS)]
    lonely = sum(height == 0 for height in between) > len(between) / 2
    if abs(inner) > 0.5 * abs(far) or not alone or not lonely:
        return picture
    words = f"{alone:,} of {counts.count:,} values lie beyond {everyday(inner, 3)}"
    return replace(picture, callout=Tick(at=place(far, low, high), label=words))


def staircase(counts: Counts, encoding: Encoding, *, levels: int) -> Staircase:
    """A few neighbouring steps where the values are, one value, and the step that it becomes.

    Args:
        counts: Histogram of the tensor.
        encoding: Its encoding, with one scale.
        levels: How many steps there are in all.
    """
    step, low, high = float(encoding.scale), float(encoding.low), float(encoding.high)
    middle = np.clip(quantile(counts, 0.6), low, high)
    last = encoding.qmax - encoding.qmin
    first = int(np.clip(round((middle - low) / step) - STEPS // 2, 0, max(0, last - STEPS)))
    values = low + step * np.arange(first, min(first + STEPS, last) + 1)
    start, end = float(values[0] - step / 2), float(values[-1] + step / 2)
    chosen = float(values[len(values) // 2])
    given = chosen + 0.36 * step
    digits = max(3, math.ceil(-math.log10(step / max(abs(given), step))) + 2)
    fine = counts.width < step / 3  # else the bars would show the histogram's own bins
    return Staircase(
        heights=heights(counts, start, end, 3 * len(values)) if fine else (),
        levels=tuple(place(float(value), start, end) for value in values),
        ticks=tuple(
            Tick(at=place(float(value), start, end), label=everyday(float(value), digits))
            for value in values[1::5]
        ),
        example=(place(given, start, end), place(chosen, start, end)),
        example_words=f"{everyday(given, digits)} becomes {everyday(chosen, digits)}",
        caption=f"{len(values)} of the {levels:,} steps, enlarged",
    )
