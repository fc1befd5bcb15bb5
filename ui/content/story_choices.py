"""What was done between two recipes, for people who do not know quantization."""

from collections import Counter

from quantscope.core.recipe import PASSES, Choice, Recipe
from quantscope.core.targets import Granularity, Precision, target
from quantscope.core.thresholds import Method
from quantscope.core.words import plural
from quantscope.ui.content.method_words import method_words

_PASSES = {
    "rotate": (
        "Large and small numbers were mixed",
        "A few channels carried far larger numbers than all others; they now share the load.",
    ),
    "equalize": (
        "Neighbouring layers were balanced",
        "Where one part of a layer was much larger than the rest, the next layer took over the difference.",
    ),
    "smooth": (
        "Peaks were moved into the weights",
        "A few channels with far larger values were scaled down, and the weights behind them scaled up.",
    ),
    "rounding": (
        "Weights were rounded with care",
        "Each weight goes up or down so that the layer's result stays close, not the weight itself.",
    ),
    "bias_correction": (
        "The average error was taken out",
        "Each layer's result was a little off to one side; that much was added back.",
    ),
}
_METHODS = {
    Method.MINMAX: (
        "No value is cut off",
        "The range holds every value that was seen, from the smallest to the largest.",
    ),
    Method.PERCENTILE: (
        "Rare values are cut off",
        "The few at the far ends become the end of the range, so that all others get finer steps.",
    ),
    Method.MSE: (
        "Ranges were chosen for the least error",
        "What is cut off and what is rounded are weighed against each other, value by value.",
    ),
    Method.COSINE: (
        "Ranges were chosen to keep the values' pattern",
        "What counts is how the values stand to each other, not each of them.",
    ),
    Method.KL: (
        "Ranges were chosen to keep the histogram's shape",
        "What is stored is spread as the original values are.",
    ),
    Method.KL_V2: (
        "Ranges were chosen to keep the histogram's shape",
        "What is stored is spread as the original values are, outliers aside.",
    ),
    Method.ACIQ: (
        "Ranges were computed from a curve that fits the values",
        "A few figures of each histogram say where to cut off.",
    ),
    Method.OCTAV: (
        "Cutting off and rounding were balanced",
        "The range is where both kinds of error together are smallest.",
    ),
    Method.ADMM: (
        "Steps were fitted to the values",
        "Step and whole numbers were adapted to each other in turns.",
    ),
    Method.MOVING_AVERAGE: (
        "No single sample decides a range",
        "The range follows what samples reach on average.",
    ),
    Method.ISOTONE: (
        "The winning answer stays ahead",
        "The range keeps the highest score apart from the second.",
    ),
    Method.MANUAL: ("Ranges were set by hand", "Where to cut off was decided by looking at the values."),
}
_PRECISIONS = {
    Precision.INT8: "computes in 8 bits",
    Precision.INT16: "keeps 16 bits for its values",
    Precision.FLOAT: "stays as in the original network",
}


def deeds(before: Recipe, after: Recipe) -> tuple[tuple[str, str], ...]:
    """Name and one sentence of each thing that `after` does and `before` does not."""
    found = [*_passes(before, after), *_default(before.default, after.default)]
    found += _layers(before, after)
    if before.target != after.target:
        found.append(("Another device is aimed at", f"The file is made for {target(after.target).label}."))
    return tuple(found)


def _passes(before: Recipe, after: Recipe) -> list[tuple[str, str]]:
    had = {choice.name: choice for choice in before.passes}
    has = {choice.name: choice for choice in after.passes}
    found = []
    for name, entry in PASSES.items():
        words = _PASSES.get(name, (entry.label, f"{entry.phrase[0].upper()}{entry.phrase[1:]}."))
        if name in has and name not in had:
            found.append(words)
        elif name in had and name not in has:
            found.append((f"{entry.label} was taken back", f"No longer done: {entry.phrase}."))
        elif name in has and has[name] != had[name]:
            found.append((words[0], f"{words[1]} Its strength was changed."))
    return found


def _default(before: Choice, after: Choice) -> list[tuple[str, str]]:
    found = []
    if (before.method, _share(before)) != (after.method, _share(after)) and after.method is not None:
        title, words = _METHODS[after.method]
        found.append((f"{title} ({method_words(after)})", words))
    if before.weights != after.weights:
        each = after.weights is Granularity.PER_CHANNEL
        found.append(
            (
                "Each channel of weights has a range of its own",
                "Small channels get finer steps than large ones.",
            )
            if each
            else (
                "Each layer's weights share one range",
                "Simpler for the device, coarser for small channels.",
            )
        )
    if before.weight_method != after.weight_method and after.weight_method is not None:
        title, words = _METHODS[Method(after.weight_method)]
        label = Method(after.weight_method).facts.label
        found.append((f"For weights: {title[0].lower()}{title[1:]} ({label})", words))
    if before.precision != after.precision and after.precision is not None:
        found.append(("Numbers have another size", f"Every layer {_PRECISIONS[after.precision]}."))
    if before.symmetric != after.symmetric:
        where = "lie evenly around zero" if after.symmetric else "may begin and end anywhere"
        found.append(("Ranges were laid out anew", f"They {where}."))
    if before.scale_rule != after.scale_rule:
        found.append(
            ("Steps follow the device's rule", "Chips that shift instead of multiplying need powers of two.")
        )
    return found


def _layers(before: Recipe, after: Recipe) -> list[tuple[str, str]]:
    """Choices of single layers, those of a kind together."""
    kinds: Counter[tuple[str, str]] = Counter()
    names = dict.fromkeys([*after.layers, *before.layers])
    for name in names:
        old, new = before.choice(name), after.choice(name)
        own, default = after.layers.get(name, Choice()), after.default
        if before.layers.get(name, Choice()) == own:
            continue
        if new.precision != old.precision and new.precision not in (None, default.precision):
            kinds["precision", new.precision] += 1
        if (new.method, _share(new), new.range) != (old.method, _share(old), old.range) and own.method:
            manual = new.method is Method.MANUAL
            kinds["manual" if manual else "method", "" if manual else method_words(new)] += 1
        if (new.weights, new.weight_method, new.weight_factors) != (
            old.weights,
            old.weight_method,
            old.weight_factors,
        ) and own != Choice(method=own.method, percentile=own.percentile, range=own.range):
            kinds["weights", ""] += 1
    return [_layer_words(kind, what, count) for (kind, what), count in kinds.items()]


def _layer_words(kind: str, what: str, count: int) -> tuple[str, str]:
    layers = plural(count, "layer")
    has = "has" if count == 1 else "have"
    if kind == "precision":
        words = {"int16": f"{has} more room", "float": "were left out", "int8": "joined"}
        if count == 1:
            words["float"] = "was left out"
        why = {
            "int16": "Values that 256 steps are too few for are stored in 16 bits.",
            "float": "Where quantization costs too much, the original numbers stay.",
            "int8": "They are computed in 8 bits as well.",
        }
        return f"{layers} {words[what]}", why[what]
    if kind == "manual":
        return f"{layers} {has} a range set by hand", "Where to cut off was decided by looking at the values."
    if kind == "weights":
        return (
            f"{layers} {has} other steps for the weights",
            "Their weights are stored closer to the original.",
        )
    return f"{layers} {has} a range chosen by {what}", "One way of choosing does not suit every layer."


def _share(choice: Choice) -> float | None:
    return choice.percentile if choice.method is Method.PERCENTILE else None
