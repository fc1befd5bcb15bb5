"""The assignments of precisions to layers, their error by simulation and their estimated cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from quantscope.core.data import Sample, Samples
from quantscope.core.evaluate import (
    OutputTotals,
    Preview,
    RunOutputs,
    closeness_db,
    compare_run,
    row_spans,
    scores_spec,
)
from quantscope.core.model import Array, Model
from quantscope.core.pipeline import Quantized
from quantscope.core.recipe import Recipe
from quantscope.core.runtime import parallel_map, thread_count
from quantscope.core.sensitivity import Quantizers, Simulation, Trace, all_quantizers, by_layer, simulation
from quantscope.core.targets import Placement, Precision, find_placement
from quantscope.core.tuning.mixed.costs import Cost, CostModel

Assignment = tuple[Precision, ...]  # in the order of `Space.names`
MEMORY = 1 << 29  # bytes of traces that are kept


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Space:
    """Layers whose precision is free, and what they may be given, the cheapest kind first."""

    built: Quantized  # every free layer in the lowest precision
    recipe: Recipe  # that gave it
    names: tuple[str, ...]
    options: tuple[tuple[Precision, ...], ...]
    lowest: Precision
    _placements: dict[frozenset[str], Placement] = field(default_factory=dict, repr=False)

    @property
    def bottom(self) -> Assignment:
        """Every layer at its first option."""
        return tuple(options[0] for options in self.options)

    @property
    def top(self) -> Assignment:
        """Every layer at its last option."""
        return tuple(options[-1] for options in self.options)

    def with_recipe(self, assignment: Assignment) -> Recipe:
        """The recipe that gives the layers these precisions."""
        recipe = self.recipe
        for name, precision in zip(self.names, assignment, strict=True):
            if recipe.choice(name).precision is not precision:
                recipe = recipe.with_layer(name, precision=precision)
        return recipe

    def placement(self, assignment: Assignment) -> Placement:
        """What is quantized under it."""
        base = self.built.encodings
        floats = {layer.name for layer in self.built.model.layers} - set(self.names)
        floats = {name for name in floats if self.recipe.choice(name).precision is Precision.FLOAT}
        floats |= {n for n, p in zip(self.names, assignment, strict=True) if p is Precision.FLOAT}
        key = frozenset(floats)
        if key not in self._placements:
            self._placements[key] = find_placement(
                self.built.model, base.placement.target, floats, base.kept_float
            )
        return self._placements[key]

    def wide(self, assignment: Assignment) -> frozenset[str]:
        """Activations of 16 bits under it."""
        chosen = dict(zip(self.names, assignment, strict=True))
        placement = self.placement(assignment)
        layers = ((tensor, placement.tensors[tensor]) for tensor in placement.own())
        return frozenset(t for t, layer in layers if self._precision(layer, chosen) is Precision.INT16)

    def _precision(self, layer: str, chosen: dict[str, Precision]) -> Precision | None:
        return chosen[layer] if layer in chosen else self.recipe.choice(layer).precision

    def on(self, assignment: Assignment) -> Quantizers:
        """The base's quantizers that are left; those of 16 bits count as none where the base has 8."""
        base = self.built.encodings.placement
        placement = self.placement(assignment)
        finer = self.wide(assignment) if self.lowest is Precision.INT8 else frozenset()
        chosen = dict(zip(self.names, assignment, strict=True))
        tensors = {base.sources.get(t, t) for t in placement.own() if t not in finer}
        tensors |= {
            name
            for name, layer in placement.constants.items()
            if not finer or self._precision(layer, chosen) is not Precision.INT16
        }
        own = all_quantizers(self.built.encodings)
        return Quantizers(
            weights=own.weights & frozenset(placement.weights), tensors=own.tensors & frozenset(tensors)
        )


def free_layers(
    built: Quantized, model: Model, recipe: Recipe, precisions: Sequence[Precision]
) -> tuple[tuple[str, ...], tuple[tuple[Precision, ...], ...]]:
    """Layers with quantizers of their own whose precision the recipe leaves open, and their options.

    Left out are layers whose tensor no integer can hold, and those that a pass put in: other precisions may
    do without them. A layer that only has weights gains nothing from 16-bit activations.
    """
    owners = by_layer(built.encodings)
    shut = {name for name, choice in recipe.layers.items() if choice.precision is not None}
    for tensor in built.encodings.kept_float:
        layer = built.model.layer_of(tensor)
        shut |= set() if layer is None else {layer.name}
    names = tuple(la.name for la in model.layers if la.name in owners and la.name not in shut)
    return names, tuple(
        tuple(p for p in precisions if p is not Precision.INT16 or p is precisions[0] or owners[name].tensors)
        for name in names
    )


class AssignmentSimulator:
    """Noise of any assignment's outputs, simulated in float, and its cost; each is found once."""

    def __init__(
        self, space: Space, costs: CostModel, kind: Cost, samples: Samples, threads: int | None
    ) -> None:
        self.space, self.costs, self.kind = space, costs, kind
        self.threads = thread_count(threads)
        self.noises: dict[Quantizers, float] = {}
        self.simulation: Simulation = simulation(space.built.model, space.built.encodings)
        everything = all_quantizers(space.built.encodings)
        self.traces: list[tuple[Trace, Trace]] = []  # of each sample all quantized, and all in float
        self.rows = list(row_spans(samples))
        room = MEMORY
        for sample in samples:
            made = self._traced(sample, everything)
            room -= sum(_bytes(trace) for trace in made)
            if self.traces and room < 0:
                break
            self.traces.append(made)
        taken = samples.take(len(self.traces))
        self.spec = scores_spec(self.traces[0][1].outputs, taken)
        model, target_ = space.built.model, space.built.encodings.placement.target
        self.float_time = costs.time(find_placement(model, target_, [layer.name for layer in model.layers]))

    def _traced(self, sample: Sample, everything: Quantizers) -> tuple[Trace, Trace]:
        return self.simulation.trace(sample, everything), self.simulation.trace(sample, Quantizers())

    def noise(self, assignment: Assignment) -> float:
        """Error energy over signal energy of the outputs (see `closeness_db`); inf if not finite."""
        on = self.space.on(assignment)
        if on not in self.noises:
            totals = OutputTotals(names=list(self.traces[0][1].outputs), spec=self.spec)
            near_float = 2 * len(on.tensors) < len(self.traces[0][0].on.tensors)
            total = len(self.traces)

            def run(at: int) -> RunOutputs:
                quantized, plain = self.traces[at]
                given = self.simulation.rerun(plain if near_float else quantized, on)
                return compare_run(plain.outputs, given, rows=self.rows[at], spec=self.spec)

            for part in parallel_map(run, range(total), total=total, threads=self.threads):
                totals.add(part)
            found = closeness_db(Preview(output=totals.result(), layers=(), samples=total, size_bytes=0))
            self.noises[on] = math.inf if found == -math.inf else 10.0 ** (-found / 10.0)
        return self.noises[on]

    def cost(self, assignment: Assignment) -> float:
        """Estimated bytes, or share of the float model's time."""
        if self.kind is Cost.SIZE:
            return self.costs.size(self.space.placement(assignment), self.space.wide(assignment))
        return self.time(assignment)

    def time(self, assignment: Assignment) -> float:
        """Estimated share of the float model's time."""
        placement = self.space.placement(assignment)
        return self.costs.time(placement, self.space.wide(assignment)) / self.float_time


def _bytes(trace: Trace) -> int:
    arrays: dict[int, Array] = {id(array): array for array in trace.values.values()}
    return sum(array.nbytes for array in arrays.values())
