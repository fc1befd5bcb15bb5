"""Causes in the weights of a layer."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from quantscope.core.sensitivity import WeightNoise
from quantscope.core.tuning.causes.facts import (
    MATTERS,
    UNEVEN,
    Cause,
    LayerFacts,
    Reason,
    bits_used,
    noise_left_when_even,
    noise_text,
    percent,
)

Floats = npt.NDArray[np.float64]

LONELY = 12.0  # largest weight of a channel over its rms; a bell curve has 4
ROUNDED = 0.5  # of the weights' noise that rounding by outputs leaves; measured, see tests
EXPLAINED = frozenset({Reason.UNEVEN_WEIGHTS, Reason.WEIGHT_OUTLIERS})  # why weights lose
SHIFTED = 0.25  # share of the weights' error that is a constant


def uneven(facts: LayerFacts) -> Iterator[Cause]:
    """One scale for channels that differ widely, as depthwise weights do."""
    for weight in facts.weights:
        encoding = facts.encodings.weights[weight.node]
        if encoding.scale.ndim or facts.placement(weight.node).axis is None or weight.spread <= UNEVEN:
            continue
        used = weight.reach > 0.0
        widest, middle = float(weight.reach.max()), float(np.median(weight.reach[used]))
        bits = bits_used(float(np.median(weight.steps[used])), signed=True)
        kind = "depthwise weight" if _is_depthwise(facts, weight) else "weight"
        yield facts.cause(
            Reason.UNEVEN_WEIGHTS,
            f"One scale serves all {int(used.sum())} channels of the {kind}: the widest reaches "
            f"{widest:.3g}, the median one {middle:.3g}, {weight.spread:.0f} times less, so that half of "
            f"the channels keep at most {bits:.1f} of {encoding.type.bits} bits.",
            facts.weight_share,
            {"widest": widest, "median": middle, "spread": weight.spread, "bits": bits},
            *facts.forecast.per_channel(),
            *facts.forecast.fix(
                "equalize", weights=noise_left_when_even(weight.reach, _channel_energy(weight))
            ),
            *facts.forecast.fix("rounding", weights=ROUNDED),
        )


def _channel_energy(weight: WeightNoise) -> Floats:
    """Mean square of each channel."""
    rms = np.divide(weight.reach, weight.crest, out=np.zeros_like(weight.reach), where=weight.crest > 0.0)
    return np.asarray(rms**2, np.float64)


def _is_depthwise(facts: LayerFacts, weight: WeightNoise) -> bool:
    node = next(n for n in facts.model.ir.graph if n.name == weight.node)
    groups = node.attributes.get_int("group", 1) if node.op_type == "Conv" else 1
    return groups > 1 and groups == weight.reach.size


def outliers(facts: LayerFacts) -> Iterator[Cause]:
    """Single weights far beyond the others of their channel."""
    remedies = facts.forecast.weight_ranges() if facts.weight_share >= MATTERS else ()
    for weight in facts.weights if remedies else ():
        channel = int(np.argmax(weight.crest))
        crest, reach = float(weight.crest[channel]), float(weight.reach[channel])
        if crest < LONELY:
            continue
        yield facts.cause(
            Reason.WEIGHT_OUTLIERS,
            f"Single large weights set the scale: in channel {channel} the largest, {reach:.3g}, is "
            f"{crest:.0f} times the channel's rms, and the rest is left with coarse steps.",
            facts.weight_share,
            {"channel": channel, "reach": reach, "crest": crest},
            *remedies,
            *facts.forecast.fix("rounding", weights=ROUNDED),
        )


def coarse(facts: LayerFacts) -> Iterator[Cause]:
    """The weights lose more than what the layer computes does, whatever the reason."""
    errors = facts.channel_errors
    if facts.weights and facts.weight_share >= 0.5:
        sentence = "Rounding its weights costs more than rounding what it computes"
        if errors is not None and errors.weights > errors.tensors:
            sentence = f"{sentence}: {noise_text(errors.weights)} against {noise_text(errors.tensors)}."
        else:
            sentence = f"{sentence}, on average over its channels."
        yield facts.cause(
            Reason.COARSE_WEIGHTS,
            sentence,
            facts.weight_share,
            {"weights": facts.noise.weights, "tensors": facts.noise.tensors},
            *facts.forecast.weight_ranges(),
            *facts.forecast.fix("rounding", weights=ROUNDED),
            *facts.forecast.float_layer(),
        )


def shift(facts: LayerFacts) -> Iterator[Cause]:
    """Rounded weights move the mean of the output."""
    errors = facts.channel_errors
    if errors is None or not facts.weights or errors.weights <= 0.0:
        return
    share = errors.weights / errors.total * errors.shift_share
    if errors.shift_share < SHIFTED or share < 0.1:
        return
    remedies = facts.forecast.fix("bias_correction", weights=max(1.0 - errors.shift_share, 1e-9))
    if not remedies:
        return
    rms = np.sqrt(errors.energy)
    relative = np.divide(np.abs(errors.shift), rms, out=np.zeros_like(rms), where=rms > 0.0)
    channel = int(np.argmax(relative))
    off, part = float(errors.shift[channel]), float(relative[channel])
    yield facts.cause(
        Reason.SHIFT,
        f"Its rounded weights shift the output: {percent(errors.shift_share)} of their error is the same "
        f"everywhere; channel {channel} is off by {off:.3g} on average, {percent(part)} of its rms.",
        share,
        {"channel": channel, "shift": off, "part": errors.shift_share},
        *remedies,
    )
