"""Every method and every other tool on the same values: what each would keep, what it costs, and why."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy.typing as npt

from quantscope.core.calibration import Histogram
from quantscope.core.quant import Range, encoding_from_range
from quantscope.core.thresholds import Method, RangeError, errors_at
from quantscope.core.thresholds.reference import REFERENCES, ReferenceRow, reference_thresholds
from quantscope.ui.content import text
from quantscope.ui.content.tensor_view import LABELS, RangeView

OWN = "QuantScope"
_BINS = ("num_bins", "hist_bins", "bins", "n_bins")
_AS_GOOD = 1.001  # times the least squared error; closer ranges are equally good
_NOT_SHOWN = ("torch_hist",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One row of the table; numbers are None where the tool gives no usable range."""

    id: str  # unique in the table
    tool: str
    algorithm: str
    settings: str  # parameters, as text
    default: bool  # the tool's own settings
    low: float | None = None
    high: float | None = None
    scale: float | None = None  # the tool's own; for QuantScope's methods that of the layer's type
    zero_point: int | None = None
    error: RangeError | None = None  # of that range in the type that is shown
    cause: str = ""  # one sentence
    best: bool = False

    @property
    def label(self) -> str:
        """Short name for a mark on the chart."""
        return self.algorithm if self.tool == OWN else f"{self.tool} {self.algorithm}"


def compute_references(
    values: npt.ArrayLike, tell: Callable[[int, int, str], None] = lambda _done, _total, _label: None
) -> tuple[ReferenceRow, ...]:
    """All reference thresholds of `values`; `tell(done, total, label)` is called before each algorithm."""
    rows: list[ReferenceRow] = []
    for i, key in enumerate(REFERENCES):
        tell(i, len(REFERENCES), key)
        rows += reference_thresholds(values, (key,))
    return tuple(rows)


def verdicts(view: RangeView, references: Sequence[ReferenceRow]) -> list[Verdict]:
    """The methods, then the tools in their order; best are those within 0.1 % of the least squared error."""
    least = view.searches[Method.MSE].range
    found = [_own(view, method) for method in view.searches]
    numbers: dict[str, int] = {}
    errors: dict[tuple[float, float], RangeError] = {}
    for row in references:
        place = numbers[row.key] = numbers.get(row.key, -1) + 1
        found.append(_reference(view, row, place, least, errors))
    limit = _AS_GOOD * min(row.error.mse for row in found if row.error is not None)
    return [replace(row, best=row.error is not None and row.error.mse <= limit) for row in found]


def _own(view: RangeView, method: Method) -> Verdict:
    search, error = view.searches[method], view.errors[method]
    encoding = encoding_from_range(search.range, view.spec)
    return Verdict(
        id=method.value,
        tool=OWN,
        algorithm=LABELS[method],
        settings="",
        default=True,
        low=search.range.low,
        high=search.range.high,
        scale=float(encoding.scale),
        zero_point=int(encoding.zero_point),
        error=error,
        cause=text.typeset(search.reason),
    )


def _reference(
    view: RangeView,
    row: ReferenceRow,
    place: int,
    least: Range,
    errors: dict[tuple[float, float], RangeError],
) -> Verdict:
    reference, result = REFERENCES[row.key], row.result
    unusable = Verdict(
        id=f"{row.key}:{place}",
        tool=reference.tool,
        algorithm=reference.algorithm,
        settings=settings_text(row.parameters),
        default=place == 0,
    )
    range_ = usable_range(row, view.histogram)
    if range_ is None:
        why = result.error or "the scale is 0 or the range is reversed"
        return replace(unusable, cause=f"Gives no usable range for these values: {why}.")
    if (key := (range_.low, range_.high)) not in errors:
        errors[key] = errors_at(view.histogram, range_, view.spec)
    return replace(
        unusable,
        low=result.low,
        high=result.high,
        scale=result.scale,
        zero_point=result.zero_point,
        error=errors[key],
        cause=cause(row, view.histogram, range_, least),
    )


def usable_range(row: ReferenceRow, histogram: Histogram) -> Range | None:
    """What a tool keeps, widened to hold zero as every range here does; None if that cannot be used."""
    result = row.result
    if not result.usable or result.low is None or result.high is None:
        return None
    low, high = min(result.low, 0.0), max(result.high, 0.0)
    if histogram.min >= 0.0:
        low = 0.0
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return None
    return Range(low, high)


def settings_text(parameters: Mapping[str, object]) -> str:
    """Parameters as short words."""
    words = []
    for name, value in parameters.items():
        if isinstance(value, bool):
            words += [name] if value and name not in _NOT_SHOWN else []
        else:
            words.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(words).replace("_", " ").replace("torch.", "")


def cause(row: ReferenceRow, histogram: Histogram, range_: Range, least: Range) -> str:
    """How the range compares with the least-error one, and what is peculiar, with these numbers in it."""
    why = REFERENCES[row.key].peculiar
    facts = []
    bins = next((row.parameters[name] for name in _BINS if name in row.parameters), None)
    if bins and "bin" in why and f"{bins}" not in why:
        facts.append(f"{bins:,} bins")
    zeros = histogram.zeros / max(histogram.count, 1)
    if "zeros" in why and zeros > 0.001:
        facts.append(f"{text.percent(zeros, 1)} of these values are zeros")
    more = f" ({'; '.join(facts)})" if facts else ""
    first = why[0].lower() if _common(why) else why[0]
    return f"{_compared(range_, least)}: {first}{why[1:].rstrip('.')}{more}."


def _common(sentence: str) -> bool:
    """Whether its first word is no name or abbreviation."""
    first = sentence.split()[0]
    return len(first) < 2 or (first[1:].islower() and first.isalpha())


def _compared(range_: Range, least: Range) -> str:
    if least.abs_max == 0.0 or range_.abs_max == 0.0:
        return "As the data leave it"
    ratio = range_.abs_max / least.abs_max
    if 0.985 < ratio < 1.015:
        return "As wide as the least-error range"
    if ratio > 1.0:
        return f"{ratio:.2f} × as wide as the least-error range"
    return f"{100 * ratio:.0f} % of the least-error range"


def shown(rows: Sequence[Verdict], *, everything: bool) -> list[Verdict]:
    """All rows, or only those with the tools' own settings."""
    return [row for row in rows if everything or row.default]
