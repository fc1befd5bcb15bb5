"""Choices of methods as people read them: the same spelling on every page."""

from quantscope.core.recipe import Choice
from quantscope.core.thresholds import Method, WeightMethod
from quantscope.ui.content.tensor_view import LABELS

WEIGHT_LABELS = {
    WeightMethod.MINMAX: "MinMax",
    WeightMethod.MSE: "MSE",
    WeightMethod.PERCENTILE: "Percentile",
}


def method_words(choice: Choice) -> str:
    """How a range is chosen, e.g. `Percentile 99.99 %`; empty where that is left to the default."""
    if choice.method is None:
        return ""
    if choice.method is Method.PERCENTILE and choice.percentile is not None:
        return f"{LABELS[choice.method]} {choice.percentile:g} %"
    return LABELS[choice.method]


def default_words(choice: Choice) -> str:
    """A default for the whole network, e.g. `Percentile 99.99 %, weights MSE`."""
    words = method_words(choice)
    if choice.weight_method is not None:
        words += f", weights {WEIGHT_LABELS[choice.weight_method]}"
    return words
