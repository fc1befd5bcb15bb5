"""Remedies as data: a change of a layer's choice, or a fix of the model, with what it should win."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from quantscope.core.calibration import Statistics
from quantscope.core.model import Model
from quantscope.core.pipeline import carry_over
from quantscope.core.quantize import Encodings, resolve
from quantscope.core.recipe import PASSES, ChoiceChanges, Recipe
from quantscope.core.sensitivity import Kind, Noise, Quantizers, Run, Subject, by_layer, layer_noise
from quantscope.core.targets import Granularity, Precision, target
from quantscope.core.thresholds import Method, WeightMethod
from quantscope.core.tuning.fix_trials import switch_pass

WORTH = 0.5  # dB that a change must win to be offered
MOST_RANGES = 2  # methods offered for one tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """Something to do about a layer: either `changes` or `fix`."""

    layer: str
    label: str  # on a button
    changes: ChoiceChanges = field(default_factory=ChoiceChanges)  # for `with_layer`
    fix: str | None = None  # a name in core.passes.PASSES
    gain_db: float  # predicted for the SQNR of the layer alone
    price: str = ""  # what it costs

    def applied(self, recipe: Recipe) -> Recipe:
        """The recipe with `changes`, or with `fix` among its passes."""
        if self.fix is None:
            return recipe.with_layer(self.layer, **self.changes)
        if self.fix in (chosen.name for chosen in recipe.passes):
            return recipe
        return switch_pass(recipe, self.fix, True)


_RANGES: tuple[tuple[str, ChoiceChanges], ...] = (
    ("Range by MinMax", {"method": Method.MINMAX}),
    ("Range by MSE", {"method": Method.MSE}),
    ("Range by KL", {"method": Method.KL}),
    ("Range by Percentile 99.99 %", {"method": Method.PERCENTILE, "percentile": 99.99}),
    ("Range by Percentile 99.9 %", {"method": Method.PERCENTILE, "percentile": 99.9}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Predicts what a change of one layer's choice does, from histograms and weights."""

    model: Model
    statistics: Statistics
    recipe: Recipe
    encodings: Encodings
    layer: str
    now: Noise  # predicted for the present choice
    measured: Noise | None = None  # the same from a run of the layer alone
    ranges_: list[tuple[Remedy, ...]] = field(default_factory=list, repr=False)  # found once

    def edited(self, changes: ChoiceChanges) -> Encodings:
        """The encodings with some fields of the layer's choice changed."""
        changed = self.recipe.with_layer(self.layer, **changes)
        encodings = resolve(changed, self.statistics, self.model, previous=self.encodings)
        return carry_over(self.model, encodings, self.encodings)

    def noise(self, encodings: Encodings) -> Noise:
        """The layer's own noise with other encodings; measured parts are scaled."""
        own = by_layer(encodings).get(self.layer, Quantizers())
        then = layer_noise(self.model, self.statistics, encodings, own)
        return Noise(
            weights=_moved_alike(self.known.weights, self.now.weights, then.weights),
            tensors=_moved_alike(self.known.tensors, self.now.tensors, then.tensors),
        )

    @property
    def known(self) -> Noise:
        """The layer's own noise as it is: measured where it was, else predicted."""
        return self.measured or self.now

    def gain_to(self, then: Noise) -> float:
        """How much the SQNR of the layer alone rises from the present noise to another, in dB."""
        before, after = self.known.total, then.total
        if before <= 0.0:
            return 0.0
        return math.inf if after <= 0.0 else 10.0 * math.log10(before / after)

    def remedy(self, label: str, changes: ChoiceChanges, *, least: float = WORTH) -> Remedy | None:
        """The change as a remedy, if the target has it and it should win `least` dB."""
        precision = changes.get("precision")
        if precision is not None and precision not in target(self.recipe.target).precisions:
            return None
        choice = self.recipe.choice(self.layer)
        if all(getattr(choice, name) == value for name, value in changes.items()):
            return None
        encodings = self.edited(changes)
        gain = self.gain_to(self.noise(encodings))
        if gain < least:
            return None
        return Remedy(
            layer=self.layer,
            label=label,
            changes=changes.copy(),
            gain_db=gain,
            price=self._price(precision, encodings),
        )

    def _price(self, precision: Precision | None, then: Encodings) -> str:
        """What another precision costs: counted, not assumed."""
        if precision is Precision.INT16:
            own = by_layer(then).get(self.layer, Quantizers()).tensors
            shared = [t for t, root in then.placement.sources.items() if root in own]
            return f"16 instead of 8 bits for {_count(len(own) + len(shared), 'tensor')}; slower kernels"
        if precision is not Precision.FLOAT:
            return ""
        before, after = self.encodings.placement, then.placement
        price = f"{_count(len(before.nodes - after.nodes), 'operator')} in float: slower"
        grown = {w.initializer for node, w in before.weights.items() if node not in after.weights}
        stored = (self.model.ir.graph.initializers[name].const_value for name in sorted(grown))
        values = sum(value.size for value in stored if value is not None)
        return f"{price}; weights {_bytes_text(values)} → {_bytes_text(4 * values)}" if values else price

    def ranges(self) -> tuple[Remedy, ...]:
        """Methods that should find a better range, best first."""
        if not self.ranges_:
            found = _not_none(self.remedy(label, changes) for label, changes in _RANGES)
            self.ranges_.append(tuple(sorted(found, key=lambda r: -r.gain_db))[:MOST_RANGES])
        return self.ranges_[0]

    def cut(self, share: float) -> tuple[Remedy, ...]:
        """Give up the values farthest out, also where the layer's own error does not fall by that.

        Args:
            share: Of the values, from 0 to 1.
        """
        keep = round(100.0 * (1.0 - share), 6)
        changes: ChoiceChanges = {"method": Method.PERCENTILE, "percentile": keep}
        found = self.remedy(f"Range by Percentile {keep:g} %", changes, least=-math.inf)
        return (
            () if found is None else (replace(found, price=f"gives up {100.0 * share:.2g} % of the values"),)
        )

    def wider(self) -> tuple[Remedy, ...]:
        """More bits for what the layer computes."""
        return _not_none([self.remedy("16-bit activations", {"precision": Precision.INT16})])

    def per_channel(self) -> tuple[Remedy, ...]:
        """A scale for each channel of the weight."""
        return _not_none([self.remedy("Weights per channel", {"weights": Granularity.PER_CHANNEL})])

    def weight_ranges(self) -> tuple[Remedy, ...]:
        """Other ranges for the weight."""
        return _not_none([self.remedy("Weight range by MSE", {"weight_method": WeightMethod.MSE})])

    def float_layer(self) -> tuple[Remedy, ...]:
        """Leave the layer in float."""
        return _not_none([self.remedy("Leave in float", {"precision": Precision.FLOAT})])

    def fix(self, name: str, *, weights: float = 1.0, tensors: float = 1.0) -> tuple[Remedy, ...]:
        """A pass over the whole model, unless the recipe has it already or it should win too little.

        Args:
            name: Of the pass.
            weights: What should be left of the noise that the layer's weights make, as a factor.
            tensors: The same for rounding what it computes.
        """
        then = Noise(weights=weights * self.known.weights, tensors=tensors * self.known.tensors)
        gain = self.gain_to(then)
        if gain < WORTH or name in (chosen.name for chosen in self.recipe.passes):
            return ()
        return (Remedy(layer=self.layer, label=PASSES[name].label, fix=name, gain_db=gain),)


def _moved_alike(known: float, now: float, then: float) -> float:
    """A measured value moved as the prediction moves."""
    return known * then / now if now > 0.0 else max(known, then)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _bytes_text(count: int) -> str:
    return (
        f"{count} B" if count < 1000 else f"{count / 1e3:.3g} kB" if count < 1e6 else f"{count / 1e6:.3g} MB"
    )


def _not_none(found: Iterable[Remedy | None]) -> tuple[Remedy, ...]:
    return tuple(remedy for remedy in found if remedy is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputForecast:
    """The SQNR of the whole model's outputs, in dB."""

    before: float
    after: float


def output_forecast(runs: Iterable[Run], layer: str, gain_db: float) -> OutputForecast | None:
    """What a better layer does to the model's outputs, from sensitivity runs.

    The part of the output's error that goes with the layer shrinks by `gain_db`. That part is what
    disable-one has won back; where that was not run, the layer's share among all enable-one errors, as if
    errors of different layers simply added up. None where runs are missing.
    """
    energy: dict[Subject, dict[int, float]] = {}
    signal: dict[int, float] = {}
    for run in runs:
        if run.error is not None and not run.error.non_finite:
            energy.setdefault(run.subject, {})[run.sample] = run.error.dd
            signal[run.sample] = run.error.ff
    whole = energy.get(Subject(kind=Kind.ALL), {})
    without = energy.get(Subject(kind=Kind.DISABLE, name=layer))
    alone = {s.name: sums for s, sums in energy.items() if s.kind is Kind.ENABLE}
    if without is not None:
        at = sorted(whole.keys() & without.keys())
        part = 1.0 - _share((without[i] for i in at), (whole[i] for i in at))
    elif layer in alone:
        at = sorted(set(whole).intersection(*alone.values()))
        part = _share((alone[layer][i] for i in at), (sums[i] for sums in alone.values() for i in at))
    else:
        return None
    total = math.fsum(whole[i] for i in at)
    left = total * (1.0 - max(part, 0.0) * (1.0 - 10.0 ** (-gain_db / 10.0)))
    given = math.fsum(signal[i] for i in at)
    return OutputForecast(before=_sqnr(given, total), after=_sqnr(given, left)) if at else None


def _share(part: Iterable[float], whole: Iterable[float]) -> float:
    of = math.fsum(whole)
    return math.fsum(part) / of if of > 0.0 else 0.0


def _sqnr(signal: float, noise: float) -> float:
    if noise <= 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf
