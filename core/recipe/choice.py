"""What is chosen for a layer, and what holds where nothing is chosen."""

from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict

from quantscope.core.errors import RecipeError
from quantscope.core.quant import Range, ScaleRule
from quantscope.core.recipe.entries import NAMED, READERS
from quantscope.core.targets import Granularity, Precision
from quantscope.core.thresholds import Method, WeightMethod


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is chosen for a layer; None leaves it to the recipe's default.

    A layer's choice governs the tensor it produces and its own weights.
    """

    method: Method | None = None
    percentile: float | None = None  # share kept, in percent; for Method.PERCENTILE
    range: Range | None = None  # for Method.MANUAL
    symmetric: bool | None = None
    precision: Precision | None = None
    weights: Granularity | None = None
    weight_method: WeightMethod | None = None
    scale_rule: ScaleRule | None = None  # for the output and the weights
    # What the weights' scales are multiplied by after `weight_method`: one factor a channel, or only one.
    weight_factors: tuple[float, ...] | None = None

    def over(self, default: "Choice") -> "Choice":
        """This choice, with what it leaves open taken from `default`."""
        open_ = {f.name: getattr(default, f.name) for f in fields(self) if getattr(self, f.name) is None}
        return replace(self, **open_)


class ChoiceChanges(TypedDict, total=False):
    """Fields of a `Choice` that are given another value; those that are left out stay as they are."""

    method: Method | None
    percentile: float | None
    range: Range | None
    symmetric: bool | None
    precision: Precision | None
    weights: Granularity | None
    weight_method: WeightMethod | None
    scale_rule: ScaleRule | None
    weight_factors: tuple[float, ...] | None


class ChoiceEntries(TypedDict, total=False):
    """`ChoiceChanges` as people write them: names as texts, and a range as a pair."""

    method: Method | str | None
    percentile: float | None
    range: Range | tuple[float, float] | None
    symmetric: bool | None
    precision: Precision | str | None
    weights: Granularity | str | None
    weight_method: WeightMethod | str | None
    scale_rule: ScaleRule | str | None
    weight_factors: tuple[float, ...] | None


def changed(choice: Choice, changes: ChoiceEntries, where: str) -> Choice:
    """The choice with other values in some fields.

    Dashes and capitals in names do not matter; a range alone means the manual method.

    Raises:
        RecipeError: A field or a value does not exist; the message begins with `where`.
    """
    values: dict[str, Any] = {}
    for key, value in changes.items():
        if key != "range" and key not in READERS:
            known = ", ".join(field.name for field in fields(Choice))
            raise RecipeError(f"{where}: unknown entry {key!r}; known are {known}")
        if value is None:
            values[key] = None
        elif key == "range":
            values[key] = _range(value, where)
        else:
            text = str(value).lower().replace("-", "_") if key in NAMED else value
            values[key] = READERS[key](text, f"{where}: {key}")
    if values.get("range") is not None:
        values.setdefault("method", Method.MANUAL)
    return replace(choice, **values)


def _range(value: Any, where: str) -> Range:
    if isinstance(value, Range):
        return value
    try:
        low, high = value
        return Range(float(low), float(high))
    except TypeError:
        raise RecipeError(f"{where}: a range is a pair (low, high), not {value!r}") from None
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from None


DEFAULT = Choice(
    method=Method.MINMAX,
    percentile=99.99,
    symmetric=False,
    precision=Precision.INT8,
    weights=Granularity.PER_CHANNEL,
    weight_method=WeightMethod.MINMAX,
    scale_rule=ScaleRule.FREE,
)
