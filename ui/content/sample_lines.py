"""Signals of a sample's card: the channel that tells most, and what versions are away from float."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.ui.content import text
from quantscope.ui.content.sample_parts import Line, LinesPart

Array = npt.NDArray[Any]
POINTS = 320  # of a line that are drawn


def lines(values: Sequence[Array], models: Sequence[str], caption: str) -> LinesPart:
    """One signal; of several channels the one in which the models differ most, by its own size."""
    signals, channel, of = _one_channel([np.asarray(one, np.float64) for one in values])
    if of > 1:
        differ = any(one.shape == signals[0].shape and np.any(one != signals[0]) for one in signals[1:])
        most = ", where they differ most" if differ else ""
        caption = f"{caption}, channel {channel + 1} of {of}{most}"
    where = _places(signals)
    known = np.concatenate([one[np.isfinite(one)] for one in signals])
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return LinesPart(
        caption=caption,
        alt=f"{caption} by {', '.join(models)}: {signals[0].size:,} values, from {low:.4g} to {high:.4g}",
        lines=tuple(
            Line(name=model, points=tuple(_finite(float(v)) for v in one[where[where < one.size]]))
            for one, model in zip(signals, models, strict=True)
        ),
        low=low,
        high=high,
        ends=(text.number(low, 3), text.number(high, 3)),
    )


def apart(values: Sequence[Array], models: Sequence[str], caption: str) -> LinesPart | None:
    """What each version's signal is away from the float model's; None where nothing is."""
    signals, _, _ = _one_channel([np.asarray(one, np.float64) for one in values])
    with np.errstate(invalid="ignore"):
        gone = [one - signals[0] for one in signals]
    if not any(np.any(np.nan_to_num(one)) for one in gone):
        return None
    return replace(lines(gone, models, caption), caption=f"{caption}: difference to float")


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _one_channel(values: Sequence[Array]) -> tuple[list[Array], int, int]:
    """(length,) of each, the channel, and how many there are."""
    flat = [one.reshape([size for size in one.shape if size > 1] or [-1]) for one in values]
    if flat[0].ndim < 2:
        return [one.reshape(-1) for one in flat], 0, 1
    channels = [one.reshape(-1, one.shape[-1]) for one in flat]
    if channels[0].shape[0] > channels[0].shape[1]:  # (length, channels)
        channels = [one.T for one in channels]
    count = len(channels[0])
    apart = np.zeros(count)
    for one in channels[1:]:
        if one.shape == channels[0].shape:
            with np.errstate(invalid="ignore"):
                apart += np.nan_to_num(((one - channels[0]) ** 2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        own = np.nan_to_num((channels[0] ** 2).sum(axis=1))
        apart = np.divide(apart, own, out=np.where(apart > 0, np.inf, 0.0), where=own > 0)
    at = int(apart.argmax()) if apart.any() else int(np.nan_to_num(channels[0]).var(axis=1).argmax())
    return [one[min(at, len(one) - 1)] for one in channels], at, count


def _places(signals: Sequence[Array]) -> Array:
    """Which values are drawn: of each stretch of a long signal its lowest and its highest."""
    first = np.nan_to_num(signals[0])
    if first.size <= POINTS:
        return np.arange(first.size)
    kept: list[int] = []
    for part in np.array_split(np.arange(first.size), POINTS // 2):
        kept += sorted({int(part[first[part].argmin()]), int(part[first[part].argmax()])})
    return np.array(kept)
