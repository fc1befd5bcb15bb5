"""Choices of methods as people read them: the same spelling on every page."""

import re

from quantscope.core.recipe import PASSES, Choice
from quantscope.core.thresholds import Method, WeightMethod
from quantscope.ui.content.tensor_view import LABELS

WEIGHT_LABELS = {
    WeightMethod.MINMAX: "MinMax",
    WeightMethod.MSE: "MSE",
    WeightMethod.PERCENTILE: "Percentile",
}

# A method as Auto-tune names its steps, in words of recipes: at the end, or before what else is said of it.
_CHOICE = re.compile(
    r"(?:^|(?<=^default )|(?<=: ))"
    rf"({'|'.join(method.value for method in LABELS)})( [\d.]+)?"
    rf"(, weights )?((?<=, weights )(?:{'|'.join(method.value for method in WEIGHT_LABELS)}))?"
    r"(?=$|,| instead$| for all samples$)"
)
_FIX = re.compile(r"(\w+) \((.+)\)")


def step_words(what: str) -> str:
    """A step of Auto-tune with the names that pages have, e.g. `SmoothQuant (moving outlier …)`.

    >>> step_words("default percentile 99.9, weights mse")
    'default Percentile 99.9 %, weights MSE'
    """
    if (fix := _FIX.fullmatch(what)) is not None:
        name, meaning = fix.groups()
        return f"{PASSES[name].label} ({meaning})" if name in PASSES else meaning

    def said(found: re.Match[str]) -> str:
        method, share, between, weights = found.groups()
        words = LABELS[Method(method)] + (f"{share} %" if share else "")
        return words + (f"{between}{WEIGHT_LABELS[WeightMethod(weights)]}" if weights else between or "")

    return _CHOICE.sub(said, what, count=1)


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
