"""Why a layer loses accuracy, in one sentence each with the numbers behind it, and what to do about it."""

from collections.abc import Callable, Iterable, Sequence

from quantscope.core.calibration import Statistics
from quantscope.core.data import Samples
from quantscope.core.model import Model
from quantscope.core.progress import ProgressFn
from quantscope.core.quantize import Encodings
from quantscope.core.recipe import Recipe
from quantscope.core.sensitivity import Evidence, by_layer, gather, layer_noise, weight_noise
from quantscope.core.tuning.causes import tensors, weights
from quantscope.core.tuning.causes.case import Case, Cause, Reason, seen_tensor
from quantscope.core.tuning.causes.trials import (
    Bench,
    Effect,
    Parts,
    RemedyTrial,
    bench,
    effect,
    rankable,
    split_parts,
    tried,
)
from quantscope.core.tuning.remedies import Forecast

__all__ = [
    "Bench",
    "Cause",
    "Effect",
    "Parts",
    "Reason",
    "RemedyTrial",
    "bench",
    "causes",
    "diagnose",
    "effect",
    "rankable",
    "split_parts",
    "tried",
]

MOST = 0.5  # of a layer's noise that one cause must stand for; else the rest is spoken of, too
_RULES: tuple[Callable[[Case], Iterable[Cause]], ...] = (
    weights.uneven,
    weights.outliers,
    tensors.clipped,
    tensors.stretched,
    tensors.outlier_channel,
    tensors.quiet_channels,
    weights.shift,
    tensors.softmax,
    tensors.gated,
    tensors.shared_range,
)


def causes(
    model: Model,
    statistics: Statistics,
    recipe: Recipe,
    encodings: Encodings,
    layer: str,
    evidence: Evidence | None = None,
) -> tuple[Cause, ...]:
    """What is wrong with a layer, what matters most first; empty for one without quantizers of its own.

    Args:
        model: The float model.
        statistics: Its histograms.
        recipe: The choices that `encodings` were resolved from.
        encodings: Its quantizers.
        layer: The layer's name.
        evidence: The layer run alone (`channel_errors.gather`); without it, channels of activations and
            shifts are not looked at, and shares are predictions.
    """
    own = by_layer(encodings).get(layer)
    if own is None:
        return ()
    predicted = layer_noise(model, statistics, encodings, own)
    measured = None if evidence is None else evidence.by_channel
    case = Case(
        model=model,
        statistics=statistics,
        encodings=encodings,
        layer=model.layer(layer),
        own=own,
        noise=measured or predicted,
        evidence=evidence,
        weights=tuple(weight_noise(model, encodings, node) for node in sorted(own.weights)),
        tensor=seen_tensor(statistics, encodings, model.layer(layer), own),
        forecast=Forecast(
            model=model,
            statistics=statistics,
            recipe=recipe,
            encodings=encodings,
            layer=layer,
            now=predicted,
            measured=measured,
        ),
    )
    found = [cause for rule in _RULES for cause in rule(case)]
    if not weights.EXPLAINED & {cause.reason for cause in found}:
        found += weights.coarse(case)
    known = max((cause.share for cause in found), default=0.0)
    if known < MOST and case.noise.total > 0.0:
        found += tensors.wide(case, known)
    return tuple(sorted(found, key=lambda cause: -cause.share))


def diagnose(
    model: Model,
    statistics: Statistics,
    recipe: Recipe,
    encodings: Encodings,
    samples: Samples,
    layers: Sequence[str],
    *,
    progress: ProgressFn | None = None,
) -> dict[str, tuple[Cause, ...]]:
    """Causes of several layers, each run alone on a few samples first.

    Raises:
        DataError: The samples do not fit the model.
    """
    evidence = gather(model, encodings, samples, layers, progress=progress)
    return {
        layer: causes(model, statistics, recipe, encodings, layer, evidence.get(layer)) for layer in layers
    }
