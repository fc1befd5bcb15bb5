"""The layer at which a quantized model turns bad, from errors layer by layer."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from quantscope.core.evaluate import LayerError, TensorError
from quantscope.core.model import Model
from quantscope.core.sensitivity.rankings import stands_out

# dB; where all layers are alike, a small difference is none. SQNR also falls where errors merely add up.
LEAST_IQR, LEAST_DROP_IQR = 1.5, 3.0
LIMIT_DB = 25.0  # a layer whose output is closer to float than that is no bad one
FINE_DB = 45.0  # all above it counts alike: so little is lost


@dataclass(frozen=True, slots=True, kw_only=True)
class TurningPoint:
    """The layer at which the error becomes far larger than elsewhere."""

    layer: str
    is_input: bool = False  # it reads nothing
    before_db: float  # SQNR of the worst tensor it reads; inf where nothing is lost before it
    after_db: float  # of its output, everything before it quantized too; -inf where it is not finite
    local_db: float | None  # of its output, the layer alone quantized, where that was measured
    source: str  # where to look: the layer itself, or the one it reads whose rounding it suffers from

    @property
    def sentence(self) -> str:
        """For people."""
        if self.is_input:
            return f"It is an input of the model, and rounding it leaves {self.after_db:.1f} dB."
        before = "without loss" if math.isinf(self.before_db) else f"at {self.before_db:.1f} dB"
        if self.after_db == -math.inf:
            return f"What it reads arrives {before}, what it gives holds infinite values or NaN."
        sentence = f"What it reads arrives {before}, what it gives leaves at {self.after_db:.1f} dB"
        if self.local_db is None:
            return f"{sentence}."
        sentence += f"; quantized alone it gives {self.local_db:.1f} dB"
        if self.source == self.layer:
            return f"{sentence}."
        return f"{sentence}, so the loss lies in small values of '{self.source}' that its range rounds away."


def find_turning_point(
    model: Model, errors: Sequence[LayerError], *, untold: Collection[str] = ()
) -> TurningPoint | None:
    """The layer with the largest drop in SQNR, of those that turn bad; None where errors build up evenly.

    A layer turns bad where its own error, or its drop, stands out and leaves less than `LIMIT_DB`, and where
    its output is not finite though what it reads is.

    Args:
        model: The float model.
        errors: Cumulative and local errors of its layers; without local ones, only drops are looked at.
        untold: Layers whose errors say nothing, such as those of masked attention scores.
    """
    found = {error.layer: error for error in errors if error.layer not in untold}
    after, before = reaching_noise(model, found)
    own = {name: nmse(found[name].local) for name in after}
    known = {name: db(noise) for name, noise in own.items() if noise is not None}
    by_own = _standing_out(known, LEAST_IQR)
    drops = {name: db(after[name]) - db(noise) for name, noise in before.items() if noise > 0.0}
    by_drop = _standing_out(drops, LEAST_DROP_IQR)
    broken = {name for name, noise in after.items() if math.isinf(noise) and math.isfinite(before[name])}
    turning = [name for name in after if name in by_own | by_drop | broken and -db(after[name]) < LIMIT_DB]
    if not turning:
        return None
    bad = max(turning, key=lambda name: (name in broken, drop_db(before[name], after[name])))
    local, alone = found[bad].local, own[bad]
    inherited = alone is not None and bad not in by_own | broken and alone < 0.25 * after[bad]
    return TurningPoint(
        layer=bad,
        is_input=not model.layer(bad).inputs,
        before_db=-db(before[bad]),
        after_db=-db(after[bad]),
        local_db=None if local is None else local.sqnr_db,
        source=worst_input(model, bad, after) if inherited else bad,
    )


def drop_db(before: float, after: float) -> float:
    """What SQNR falls by; of what lies above `FINE_DB` nothing counts. Both are noise over signal."""
    return min(-db(before), FINE_DB) - min(-db(after), FINE_DB)


def reaching_noise(
    model: Model, found: Mapping[str, LayerError]
) -> tuple[dict[str, float], dict[str, float]]:
    """Error over signal at the output of each measured layer, in order, and the worst at its inputs."""
    reaching: dict[str, float] = {}  # also through layers that were not measured
    after, before = {}, {}
    for layer in model.layers:
        makers = [maker.name for name in layer.inputs if (maker := model.layer_of(name)) is not None]
        worst = max((reaching.get(name, 0.0) for name in makers), default=0.0)
        error = found.get(layer.name)
        noise = None if error is None else nmse(error.cumulative)
        reaching[layer.name] = worst if noise is None else noise
        if noise is not None:
            after[layer.name], before[layer.name] = noise, worst
    return after, before


def nmse(error: TensorError | None) -> float | None:
    """Noise over signal; inf where it is not finite, None where it is not known."""
    if error is not None and error.non_finite:
        return math.inf
    return None if error is None or error.nmse is None or not math.isfinite(error.nmse) else error.nmse


def _standing_out(loss: Mapping[str, float], least_iqr: float) -> frozenset[str]:
    flags = stands_out(list(loss.values()), least_iqr)
    return frozenset(name for name, out in zip(loss, flags, strict=True) if out)


def worst_input(model: Model, layer: str, after: Mapping[str, float]) -> str:
    """The layer it reads; of several, the one with most error."""
    makers = [model.layer_of(name) for name in model.layer(layer).inputs]
    names = [maker.name for maker in makers if maker is not None]
    return max(names, key=lambda name: after.get(name, 0.0), default=layer)


def db(nmse: float) -> float:
    """Noise over signal in dB."""
    return 10.0 * math.log10(nmse) if nmse > 0.0 else -math.inf
