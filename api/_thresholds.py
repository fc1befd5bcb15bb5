"""Threshold methods on one tensor: the range, scale and error that each of them comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantscope._table import Table, frame
from quantscope._warnings import warn
from quantscope.core.calibration import Accumulator, Histogram
from quantscope.core.errors import DataError, RecipeError
from quantscope.core.quant import TYPES, QuantSpec, Range, ScaleRule, encoding_from_range, fake_quantize
from quantscope.core.thresholds import FROM_HISTOGRAM, Method, errors_at, search

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    import plotly.graph_objects as go

LARGEST = float(np.finfo(np.float32).max)
FIELDS = ("method", "low", "high", "scale", "zero_point", "mse", "sqnr_db", "clipped_share", "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """What one method chose.

    Attributes:
        method: Its name, as in recipes.
        low: Smallest value that is kept.
        high: Largest value that is kept.
        scale: Step between two integers.
        zero_point: Integer that stands for 0.
        mse: Mean squared error of quantizing with that scale and zero point.
        sqnr_db: Signal to quantization noise in dB; inf where nothing is lost.
        clipped_share: Share of the values outside of what the integers can express, 0 to 1.
        reason: Why, in one sentence.
    """

    method: str
    low: float
    high: float
    scale: float
    zero_point: int
    mse: float
    sqnr_db: float
    clipped_share: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Thresholds(Table, Mapping[str, Threshold]):
    """What every method chose for one tensor, by the name of the method.

    Attributes:
        tensor: Name of the tensor.
        type: Name of the integer type.
        histogram: Of the values.
    """

    tensor: str
    type: str
    histogram: Histogram
    _found: Mapping[str, Threshold]

    def __getitem__(self, method: str) -> Threshold:
        if method not in self._found:
            raise KeyError(f"nothing was tried that is called {method!r}; there are {', '.join(self._found)}")
        return self._found[method]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def best(self) -> Threshold:
        """The one with the least mean squared error."""
        return min(self._found.values(), key=lambda found: found.mse)

    def to_pandas(self) -> pd.DataFrame:
        """One row a method, with the fields of `Threshold`."""
        return frame([{name: getattr(f, name) for name in FIELDS} for f in self._found.values()], FIELDS)

    def plot(self) -> go.Figure:
        """The histogram with each method's range."""
        from quantscope._figures import histogram_figure

        ranges = {name: Range(found.low, found.high) for name, found in self._found.items()}
        return histogram_figure(self.histogram, self.tensor, ranges)

    def _headline(self) -> str:
        best = self.best
        return (
            f"{len(self)} methods on {self.histogram.count:,} values as {self.type}, least error with "
            f"{best.method} [{best.low:.4g}, {best.high:.4g}], {best.sqnr_db:.1f} dB"
        )


def thresholds(
    values: npt.ArrayLike,
    *,
    type: str = "int8",
    symmetric: bool = True,
    percentile: float = 99.99,
    scale_rule: str = "free",
) -> Thresholds:
    """Try every threshold method that needs only values on one array.

    Args:
        values: Numbers, of any shape; NaN, infinities and what float32 cannot hold are left out.
        type: Integer type: int2 to int16, or uint2 to uint16.
        symmetric: Ranges around zero rather than as the data lie.
        percentile: Share of the values that method percentile keeps, in percent, 50 to 100.
        scale_rule: Which scales are allowed: free, power_of_two_up, power_of_two_nearest or power_of_two_mse.

    Raises:
        DataError: There is no usable value.
        RecipeError: There is no such type, rule or percentile.

    Warns:
        QuantScopeWarning: Values were left out.

    Examples:
        >>> found = qs.thresholds(np.random.default_rng(0).standard_normal(100_000))
        >>> round(found["minmax"].high, 2), found["minmax"].zero_point
        (4.73, 0)
        >>> found["kl"].high < found["minmax"].high
        True
    """
    spec = _spec(type, symmetric, percentile, scale_rule)
    try:
        given = np.asarray(values)
    except ValueError:
        raise DataError("thresholds are of one array of numbers, not of parts of different shapes") from None
    if given.dtype.kind not in "fiub":
        raise DataError(f"thresholds are of numbers, not of {given.dtype}")
    flat = given.reshape(-1).astype(np.float64 if given.dtype != np.float32 else np.float32)
    with np.errstate(invalid="ignore"):
        usable = np.abs(flat) <= LARGEST  # False for NaN
    if not usable.any():
        raise DataError("there is no finite value that float32 can hold, so there is nothing to quantize")
    left = int(flat.size - np.count_nonzero(usable))
    if left:
        warn([f"{left:,} of {flat.size:,} values are NaN, infinite or too large for float32; left out"])
        flat = flat[usable]
    accumulator = Accumulator()
    accumulator.add(flat)
    return _searched(accumulator.histogram(), "values", spec, percentile, flat.astype(np.float64))


def of_histogram(
    histogram: Histogram, name: str, type_name: str, symmetric: bool, percentile: float, scale_rule: str
) -> Thresholds:
    """The same for a tensor of which only the histogram is known."""
    return _searched(histogram, name, _spec(type_name, symmetric, percentile, scale_rule), percentile, None)


def _spec(type_name: str, symmetric: bool, percentile: float, scale_rule: str) -> QuantSpec:
    if type_name.lower() not in TYPES:
        raise RecipeError(f"there is no type '{type_name}'; choose from int2 to int16 and uint2 to uint16")
    if not 50.0 <= percentile <= 100.0:  # also refuses NaN
        raise RecipeError(f"percentile is the share of values kept in percent, 50 to 100, not {percentile:g}")
    try:
        rule = ScaleRule(scale_rule.lower().replace("-", "_"))
    except ValueError:
        raise RecipeError(
            f"there is no scale rule '{scale_rule}'; choose from {', '.join(ScaleRule)}"
        ) from None
    return QuantSpec(type=TYPES[type_name.lower()], symmetric=symmetric, scale_rule=rule)


def _searched(
    histogram: Histogram,
    name: str,
    spec: QuantSpec,
    percentile: float,
    values: npt.NDArray[np.float64] | None,
) -> Thresholds:
    found = {
        method.value: _threshold(method, histogram, spec, percentile, values) for method in FROM_HISTOGRAM
    }
    return Thresholds(tensor=name, type=spec.type.name, histogram=histogram, _found=found)


def _threshold(
    method: Method,
    histogram: Histogram,
    spec: QuantSpec,
    percentile: float,
    values: npt.NDArray[np.float64] | None,
) -> Threshold:
    """Errors are those of the values, or without them those that the histogram tells."""
    found = search(method, histogram, spec, percentile=percentile)
    encoding = encoding_from_range(found.range, spec)
    error = errors_at(histogram, found.range, spec)
    mse, sqnr_db = error.mse, error.sqnr_db
    if values is not None:
        mse = float(np.mean(np.square(values - fake_quantize(values, encoding))))
        energy = float(np.mean(np.square(values)))
        sqnr_db = float("inf") if mse == 0.0 else float(10.0 * np.log10(energy / mse))
    return Threshold(
        method=method.value,
        low=found.range.low,
        high=found.range.high,
        scale=float(encoding.scale),
        zero_point=int(encoding.zero_point),
        mse=mse,
        sqnr_db=sqnr_db,
        clipped_share=error.clipped_share,
        reason=found.reason,
    )
