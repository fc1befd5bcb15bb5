"""Entries of recipes, from texts, numbers and flags to what a choice holds; what makes no sense is named."""

from collections.abc import Callable
from typing import Any

from quantscope.core.errors import RecipeError
from quantscope.core.quant import ScaleRule
from quantscope.core.targets import Granularity, Precision
from quantscope.core.thresholds import Method, WeightMethod


def number(value: object, where: str) -> float:
    """A number; `where` names the entry in the message.

    Raises:
        RecipeError: It is none.
    """
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)  # type: ignore[arg-type]  # YAML reads 1e-3 as text, so text is tried too
    except (TypeError, ValueError):
        raise RecipeError(f"{where} should be a number, not {value!r}") from None


def _numbers(value: object, where: str) -> tuple[float, ...]:
    if not isinstance(value, list | tuple):
        raise RecipeError(f"{where} should be a list of numbers, not {value!r}")
    return tuple(number(one, where) for one in value)


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise RecipeError(f"{where} should be true or false, not {value!r}")
    return value


def _one_of(
    kind: type[Method] | type[Precision] | type[Granularity] | type[WeightMethod] | type[ScaleRule],
) -> Callable[..., Any]:
    def read(value: object, where: str) -> Any:
        try:
            return kind(str(value))
        except ValueError:
            raise RecipeError(f"{where} should be one of {', '.join(kind)}, not {value!r}") from None

    return read


# What reads each entry of a choice, given the value and the name of the entry for the message.
READERS: dict[str, Callable[[object, str], Any]] = {
    "method": _one_of(Method),
    "percentile": number,
    "symmetric": _flag,
    "precision": _one_of(Precision),
    "weights": _one_of(Granularity),
    "weight_method": _one_of(WeightMethod),
    "scale_rule": _one_of(ScaleRule),
    "weight_factors": _numbers,
}
NAMED = {"method", "precision", "weights", "weight_method", "scale_rule"}  # entries that are one of a list
