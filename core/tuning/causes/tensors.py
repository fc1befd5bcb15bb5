"""Causes in what a layer computes."""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import Histogram
from quantscope.core.model import output_path_of
from quantscope.core.passes import find_streams
from quantscope.core.sensitivity import ChannelErrors, root_of
from quantscope.core.tuning.causes.facts import (
    MANY,
    MATTERS,
    UNEVEN,
    Cause,
    LayerFacts,
    Reason,
    bits_used,
    encoding_text,
    noise_left_when_even,
    noise_text,
    percent,
    range_text,
)
from quantscope.core.tuning.remedies import WORTH, Remedy

Floats = npt.NDArray[np.float64]

TYPICAL = 0.999  # of the values, where a range is compared with what most values need
TURNED_CREST = 4.5  # largest over rms in a basis without outliers: values are then near a bell curve
WASTED = 0.75  # of the levels: what most values may use at most for a range to count as stretched
MOSTLY_WASTED = 0.25  # the same where no other range is better: what is cut off matters as much
QUIET_DB = 20.0  # a channel with less is mostly lost
_FAR = 6  # nodes between a gate and the product it ends in
_GATES = {
    "Erf": "a GELU",
    "Gelu": "a GELU",
    "HardSigmoid": "a HardSwish",
    "Sigmoid": "a SiLU",
    "Tanh": "a GELU",
}
_FUSED_GATES = {
    "Gelu": "a GELU",
    "HardSwish": "a HardSwish",
    "Mish": "a Mish",
    "QuickGelu": "a GELU",
    "SiLU": "a SiLU",
}


def clipped(facts: LayerFacts) -> Iterator[Cause]:
    """A heavy tail is cut off."""
    tensor = facts.tensor if facts.tensor_share >= MATTERS else None
    if tensor is None or tensor.error.clipping_mse <= 0.5 * tensor.error.mse:
        return
    part = tensor.error.clipping_mse / tensor.error.mse
    yield facts.cause(
        Reason.CLIPPED,
        f"{percent(tensor.error.clipped_share)} of the values lie outside {encoding_text(tensor.encoding)} "
        f"and are cut off: that makes {percent(part)} of the error of rounding its output.",
        facts.tensor_share * part,
        {"clipped_share": tensor.error.clipped_share, "part": part},
        *facts.forecast.ranges(),
    )


def stretched(facts: LayerFacts) -> Iterator[Cause]:
    """A few far values set the range."""
    tensor = facts.tensor if facts.tensor_share >= MATTERS else None
    if tensor is None or tensor.error.clipping_mse > 0.5 * tensor.error.mse:
        return
    remedies = facts.forecast.ranges()
    low, high = typical_range(tensor.histogram, TYPICAL)
    levels = max(1.0, (high - low) / float(tensor.encoding.scale))
    helps = bool(remedies) and remedies[0].gain_db >= 1.0
    if levels > (WASTED if helps else MOSTLY_WASTED) * tensor.levels:
        return
    else_ = (
        ""
        if helps
        else " By squared error, cutting them off wins little or loses; "
        "whether the network needs them, only measuring tells."
    )
    yield facts.cause(
        Reason.STRETCHED,
        f"{percent(1.0 - TYPICAL)} of the values set the range {encoding_text(tensor.encoding)}: the other "
        f"{percent(TYPICAL)} lie within {range_text(low, high)} and share {levels:.0f} of {tensor.levels} "
        f"levels.{else_}",
        facts.tensor_share,
        {"low": low, "high": high, "levels": levels},
        *(remedies if helps else (*facts.forecast.cut(1.0 - TYPICAL), *remedies)),
        *facts.forecast.wider(),
    )


def outlier_channel(facts: LayerFacts) -> Iterator[Cause]:
    """One channel needs a far wider range than the others."""
    tensor, errors = facts.tensor, facts.channel_errors
    if tensor is None or errors is None or errors.axis is None:
        return
    used = errors.peak[errors.peak > 0.0]
    if not _stands_out(used):
        return
    channel, widest, middle = int(np.argmax(errors.peak)), float(used.max()), float(np.median(used))
    lost = math.log2(widest / middle)
    where = "In the output of the LayerNorm, channel" if "LayerNorm" in facts.layer.op else "Channel"
    yield facts.cause(
        Reason.OUTLIER_CHANNEL,
        f"{where} {channel} reaches {widest:.3g}, the median channel {middle:.3g}: in one range, half of the "
        f"channels use {lost:.1f} bits less than the {tensor.encoding.type.bits} there are.",
        facts.tensor_share,
        {"channel": channel, "widest": widest, "median": middle, "bits_lost": lost},
        *_channel_fixes(facts, errors),
        *facts.forecast.wider(),
        *_at_the_end(facts),
    )


def _stands_out(peaks: Floats) -> bool:
    """Whether one channel is far wider than the others."""
    return peaks.size >= 4 and float(peaks.max()) > UNEVEN * float(np.median(peaks))


def quiet_channels(facts: LayerFacts) -> Iterator[Cause]:
    """Some channels are smaller than a step that suits the others, which a sum over all values hides."""
    tensor, errors = facts.tensor, facts.channel_errors
    if tensor is None or errors is None or errors.axis is None or facts.tensor_share < MATTERS:
        return
    used = errors.energy > 0.0
    lost = errors.lost[used] / errors.energy[used]
    quiet = int(np.sum(lost > 10.0 ** (-QUIET_DB / 10.0)))
    hidden = errors.by_channel.tensors > 4.0 * errors.tensors
    if not hidden or not 0 < quiet < used.sum() or _stands_out(errors.peak[errors.peak > 0.0]):
        return
    yield facts.cause(
        Reason.QUIET_CHANNELS,
        f"Quiet channels share the steps of loud ones: {quiet} of {int(used.sum())} channels keep less than "
        f"{QUIET_DB:.0f} dB, while all values together keep {noise_text(errors.tensors)}.",
        facts.tensor_share,
        {"quiet": quiet, "channels": int(used.sum()), "together": errors.tensors},
        *_channel_fixes(facts, errors),
        *facts.forecast.wider(),
        *facts.forecast.ranges(),
        *facts.forecast.float_layer(),
    )


def _channel_fixes(facts: LayerFacts, errors: ChannelErrors) -> Iterator[Remedy]:
    """Passes that bring channels to one size, best first."""
    readers = {layer.op for layer in facts.model.layers if facts.layer.output in layer.inputs}
    name = "equalize" if readers.isdisjoint({"MatMul", "Gemm"}) else "smooth"
    found = [*facts.forecast.fix(name, tensors=noise_left_when_even(errors.peak, errors.energy))]
    streams = (s for s in find_streams(facts.model.ir.graph) if not s.blocked)
    if any(facts.layer.output in stream.axes for stream in streams):
        # Turned, every channel has the same rms, and the widest value is that of a bell curve.
        rms = math.sqrt(float(errors.energy.mean()))
        left = (TURNED_CREST * rms / float(errors.peak.max())) ** 2
        found += facts.forecast.fix("rotate", tensors=min(left, 1.0))
    yield from sorted(found, key=lambda remedy: -remedy.gain_db)


def softmax(facts: LayerFacts) -> Iterator[Cause]:
    """Small probabilities vanish."""
    tensor = facts.tensor if facts.tensor_share >= MATTERS else None
    if tensor is None or facts.layer.op not in ("Softmax", "Sigmoid"):
        return
    half = float(tensor.encoding.scale) / 2.0
    lost = _share_within(tensor.histogram, half)
    if lost >= 0.05:
        yield facts.cause(
            Reason.SOFTMAX,
            f"{percent(lost)} of the {facts.layer.op} outputs are smaller than half a step ({half:.2g}) and "
            "become 0.",
            facts.tensor_share,
            {"vanished": lost},
            *facts.forecast.wider(),
            *facts.forecast.ranges(),
            *facts.forecast.float_layer(),
        )


def gated(facts: LayerFacts) -> Iterator[Cause]:
    """GELU, SiLU and HardSwish: most values lie in a short negative stretch."""
    tensor = facts.tensor if facts.tensor_share >= MATTERS else None
    gate = _gate(facts)
    if tensor is None or gate is None:
        return
    negative = float(tensor.histogram.counts[tensor.histogram.centers < 0.0].sum()) / max(
        tensor.histogram.count, 1
    )
    levels = -tensor.histogram.min / float(tensor.encoding.scale)
    if tensor.histogram.min < 0.0 and negative >= 0.2 and levels <= 32.0:
        yield facts.cause(
            Reason.GATED,
            f"Output of {gate}: {percent(negative)} of the values lie in {tensor.histogram.min:.2g} … 0, "
            f"which gets {max(levels, 1.0):.0f} of {tensor.levels} levels; positive values reach "
            f"{tensor.histogram.max:.3g}.",
            facts.tensor_share,
            {"negative": negative, "levels": levels},
            *facts.forecast.wider(),
            *facts.forecast.ranges(),
        )


def _gate(facts: LayerFacts) -> str | None:
    """The activation that a Mul or a fused operator ends; None if it is none."""
    if facts.layer.op != "Mul":
        return _FUSED_GATES.get(facts.layer.op)
    waiting = list(facts.layer.inputs)
    for _ in range(_FAR):
        makers = [maker for name in waiting if (maker := facts.model.layer_of(name)) is not None]
        for maker in makers:
            # Any product with a sigmoid is a gate; only with one of its own other factor it is a SiLU.
            own = maker.op not in ("Sigmoid", "HardSigmoid") or set(maker.inputs) <= set(facts.layer.inputs)
            if maker.op in _GATES and own:
                return _GATES[maker.op]
        waiting = [name for maker in makers if maker.op in ("Add", "Mul", "Div") for name in maker.inputs]
    return None


def shared_range(facts: LayerFacts) -> Iterator[Cause]:
    """Concat and Add: the smallest input lives on the levels that the largest one needs."""
    tensor = facts.tensor
    if tensor is None or facts.layer.op not in ("Concat", "Add"):
        return
    histograms = facts.statistics.histograms
    roots = {name: root_of(facts.encodings, name) for name in facts.layer.inputs}
    reach = {name: histograms[root].abs_max for name, root in roots.items() if root in histograms}
    used = {name: value for name, value in reach.items() if value > 0.0}
    if not used or max(used.values()) <= UNEVEN * min(used.values()):
        return
    least, most = min(used, key=lambda name: used[name]), max(used, key=lambda name: used[name])
    bits = bits_used(used[least] / float(tensor.encoding.scale), signed=bool(tensor.encoding.low < 0.0))
    joins = facts.layer.op == "Concat"
    yield facts.cause(
        Reason.SHARED_RANGE,
        f"It {'joins' if joins else 'adds'} '{least}', which reaches {used[least]:.3g}, and '{most}', which "
        f"reaches {used[most]:.3g}, in one range: the smaller one keeps {bits:.1f} of "
        f"{tensor.encoding.type.bits} bits.",
        facts.tensor_share * (1.0 if joins else 0.5),
        {"spread": used[most] / used[least], "bits": bits},
        *_at_the_end(facts),
        *facts.forecast.wider(),
        *facts.forecast.ranges(),
    )


def _at_the_end(facts: LayerFacts) -> tuple[Remedy, ...]:
    """To leave the layer in float, where nothing computes with its values any more.

    What comes before has ranges of its own, and what follows only moves values, so that little is lost.
    """
    model = facts.model
    end = output_path_of(model, [output.name for output in model.outputs])
    return facts.forecast.float_layer() if facts.layer.output in end.tensors() else ()


def wide(facts: LayerFacts, known: float = 0.0) -> Iterator[Cause]:
    """What to say when nothing else is found: what was looked at, and what is left to try.

    Args:
        facts: The layer.
        known: Share of its noise that another cause stands for.
    """
    bits = 8 if facts.tensor is None else facts.tensor.encoding.type.bits
    ranges = facts.forecast.ranges()
    samples = facts.statistics.samples
    total = facts.noise.total if facts.channel_errors is None else facts.channel_errors.total
    how = "predicted" if facts.channel_errors is None else "alone on a few samples"
    found = "The rest has no" if known else "No"
    checked = "; ".join(_checked(facts, ranges))
    if facts.unexplained_db:
        sentence = (
            f"Rounding its weights and its output predicts {noise_text(total)}, but {facts.alone_db:.1f} dB "
            f"were measured: the other {facts.unexplained_db:.1f} dB have another reason than its ranges"
            f"{f' ({checked})' if checked else ''}."
        )
    else:
        sentence = f"{found} single fault{f' ({checked})' if checked else ''}: {noise_text(total)} {how} is "
        sentence += f"what {bits} bits give for values spread like these."
    if samples < MANY:
        sentence += f" Ranges come from {samples} sample{'' if samples == 1 else 's'}; more may change them."
    yield facts.cause(
        Reason.WIDE,
        sentence,
        1.0 - known,
        {"noise": facts.noise.total, "samples": samples},
        *ranges,
        *facts.forecast.wider(),
        *facts.forecast.float_layer(),
    )


def _checked(facts: LayerFacts, ranges: tuple[Remedy, ...]) -> Iterator[str]:
    """What was looked at, with what was seen."""
    if facts.weights:
        yield f"weights make {percent(facts.weight_share)} of its error"
    tensor, errors = facts.tensor, facts.channel_errors
    if tensor is None:
        return
    cut = tensor.cut_share
    yield f"{percent(cut)} of the values are cut off" if cut else "no value is cut off"
    yield f"another range wins {ranges[0].gain_db:.1f} dB" if ranges else f"no other range wins {WORTH} dB"
    used = errors.peak[errors.peak > 0.0] if errors is not None else np.zeros(0)
    if errors is not None and errors.axis is not None and used.size >= 4:
        yield f"the widest channel reaches {float(used.max() / np.median(used)):.1f} times the median one"


def typical_range(histogram: Histogram, share: float) -> tuple[float, float]:
    """The interval, widened to hold 0, that keeps `share` of the values with equal tails (to a bin)."""
    if not histogram.counts.size:
        return 0.0, 0.0
    tail = histogram.count * (1.0 - share) / 2.0
    below = np.cumsum(histogram.counts) + np.where(histogram.centers >= 0.0, histogram.zeros, 0)
    first = int(np.searchsorted(below, tail, side="right"))
    last = int(np.searchsorted(below, histogram.count - tail))
    low, high = histogram.edges[first], histogram.edges[min(last + 1, below.size)]
    return min(float(low), 0.0), max(float(high), 0.0)


def _share_within(histogram: Histogram, limit: float) -> float:
    """Share of values other than 0 whose magnitude is below `limit`, to a bin."""
    count = histogram.counts[np.abs(histogram.centers) < limit].sum()
    return float(count) / histogram.count if histogram.count else 0.0
