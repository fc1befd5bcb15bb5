"""Why a layer loses accuracy, in one sentence each with the numbers behind it, and what to do about it."""

from collections.abc import Callable, Iterable, Sequence

from quantscope.core.calibration import Statistics
from quantscope.core.data import Samples
from quantscope.core.model import Model
from quantscope.core.progress import ProgressFn
from quantscope.core.quantize import Encodings
from quantscope.core.recipe import Recipe
from quantscope.core.sensitivity import (
    ChannelErrors,
    by_layer,
    layer_noise,
    measure_channel_errors,
    weight_noise,
)
from quantscope.core.tuning.causes import tensors, weights
from quantscope.core.tuning.causes.facts import Cause, LayerFacts, Reason, tensor_facts
from quantscope.core.tuning.causes.remedy_trials import (
    DataParts,
    RemedyEffect,
    RemedyTrial,
    TrialSetup,
    measure_effect,
    most_to_rank_on,
    prepare_trials,
    split_parts,
    try_remedy,
)
from quantscope.core.tuning.remedies import Forecast

__all__ = [
    "Cause",
    "DataParts",
    "Reason",
    "RemedyEffect",
    "RemedyTrial",
    "TrialSetup",
    "causes",
    "diagnose",
    "measure_effect",
    "most_to_rank_on",
    "prepare_trials",
    "split_parts",
    "try_remedy",
]

MOST = 0.5  # of a layer's noise that one cause must stand for; else the rest is spoken of, too
_RULES: tuple[Callable[[LayerFacts], Iterable[Cause]], ...] = (
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
    channel_errors: ChannelErrors | None = None,
    *,
    alone_db: float | None = None,
) -> tuple[Cause, ...]:
    """What is wrong with a layer, what matters most first; empty for one without quantizers of its own.

    Args:
        model: The float model.
        statistics: Its histograms.
        recipe: The choices that `encodings` were resolved from.
        encodings: Its quantizers.
        layer: The layer's name.
        channel_errors: The layer run alone (`measure_channel_errors`); without it, channels of activations
            and shifts are not looked at, and shares are predictions.
        alone_db: SQNR of the layer alone, where that was measured without `channel_errors`: what weights and
            histograms do not explain of it is said.
    """
    own = by_layer(encodings).get(layer)
    if own is None:
        return ()
    predicted = layer_noise(model, statistics, encodings, own)
    measured = None if channel_errors is None else channel_errors.by_channel
    facts = LayerFacts(
        model=model,
        statistics=statistics,
        encodings=encodings,
        layer=model.layer(layer),
        own=own,
        noise=measured or predicted,
        channel_errors=channel_errors,
        alone_db=alone_db,
        weights=tuple(weight_noise(model, encodings, node) for node in sorted(own.weights)),
        tensor=tensor_facts(statistics, encodings, model.layer(layer), own),
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
    found = [cause for rule in _RULES for cause in rule(facts)]
    if not weights.EXPLAINED & {cause.reason for cause in found}:
        found += weights.coarse(facts)
    known = max((cause.share for cause in found), default=0.0)
    if known < MOST and facts.noise.total > 0.0:
        found += tensors.wide(facts, known)
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
    channel_errors = measure_channel_errors(model, encodings, samples, layers, progress=progress)
    return {
        layer: causes(model, statistics, recipe, encodings, layer, channel_errors.get(layer))
        for layer in layers
    }
