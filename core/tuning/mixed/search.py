"""Find assignments worth measuring: single layers first, then their sums, then steps from the best found.

The error of an assignment is simulated (`space.py`). What one layer costs is measured at both ends:
taken out of the network that is all in the lowest precision, and put alone into the one that is all in the
highest. If errors added up, a knapsack over either would give the front; what it gives is simulated, and
improved by changing one layer at a time, the most promising change first.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from quantscope.core.targets import Precision, Role
from quantscope.core.tuning.mixed.knapsack import additive_front, pareto_order
from quantscope.core.tuning.mixed.space import Assignment, AssignmentSimulator

Floats = npt.NDArray[np.float64]
TRIALS = 240  # assignments simulated beyond the single layers
FROM_SUMS = 24  # of these taken from each knapsack
BATCH = 8  # steps taken before they are ranked anew
SLACK = 0.3  # decades of noise that a step may seem to lose, since single layers tell only so much
ENOUGH = 1e-12  # noise that counts as none
LOST = 1e6  # noise that leaves nothing, as that of outputs which are not finite
INVISIBLE = 10.0**-3.5  # noise over signal that no task notices: 35 dB
GLUE = frozenset({Role.OWN, Role.NORM, Role.SELECT})  # operators between those that have weights


class AssignmentSearch:
    """What has been simulated so far."""

    def __init__(self, simulator: AssignmentSimulator) -> None:
        self.simulator, self.space = simulator, simulator.space
        self.alive: Callable[[int], None] = lambda done: None
        self.found: dict[Assignment, tuple[float, float]] = {}  # cost, noise
        singles = sum(len(options) - 1 for options in self.space.options)
        self.total = 2 * singles + TRIALS
        self.costs: list[Floats] = []  # of each layer's options, beyond its first one
        self.gains: list[Floats] = []  # noise of each layer's options, as a change tells

    def run(self, alive: Callable[[int], None]) -> None:
        """Simulate all that is worth it; `alive` is told the number of trials so far."""
        self.alive = alive
        for seed in (self.space.bottom, self.space.top, *self._seeds()):
            self.try_(seed)
        down = self._singles(self.space.bottom, 0)
        up = self._singles(self.space.top, -1)
        for costs, noises in (down, up):
            sums = additive_front(costs, noises)
            spread = np.unique(np.linspace(0, len(sums) - 1, FROM_SUMS).round().astype(np.int64))
            for at in spread:
                self.try_(tuple(o[i] for o, i in zip(self.space.options, sums[int(at)], strict=True)))
        self.costs = down[0]
        self.gains = [
            np.sqrt(np.maximum(a, ENOUGH) * np.maximum(b, ENOUGH))
            for a, b in zip(down[1], up[1], strict=True)
        ]
        self._climb()

    def front(self) -> list[Assignment]:
        """What no other found beats in both cost and noise, by rising cost."""
        names = list(self.found)
        figures = np.array([self.found[name] for name in names])
        return [names[i] for i in pareto_order(figures[:, 0], figures[:, 1])]

    def try_(self, assignment: Assignment) -> tuple[float, float]:
        """Cost and noise."""
        if assignment not in self.found:
            self.alive(len(self.found))
            self.found[assignment] = self.simulator.cost(assignment), self.simulator.noise(assignment)
        return self.found[assignment]

    def _seeds(self) -> list[Assignment]:
        """One precision for all, and operators without weights apart from those with them."""
        placement = self.space.built.encodings.placement
        model = self.space.built.model
        glue = [placement.target.roles.get(model.layer(name).op) in GLUE for name in self.space.names]
        seeds = []
        for precision in dict.fromkeys(p for options in self.space.options for p in options):
            seeds.append(self._all(precision, [True] * len(glue)))
            seeds.append(self._all(precision, glue))
            seeds.append(self._all(precision, [not is_glue for is_glue in glue]))
        return seeds

    def _all(self, precision: Precision, which: list[bool]) -> Assignment:
        """The bottom with some layers in one precision, where they may have it."""
        return tuple(
            precision if chosen and precision in options else options[0]
            for options, chosen in zip(self.space.options, which, strict=True)
        )

    def _singles(self, base: Assignment, own: int) -> tuple[list[Floats], list[Floats]]:
        """For each layer the cost and noise of its options, when only it differs from the base."""
        cost, noise = self.try_(base)
        noise = min(noise, LOST)
        costs, noises = [], []
        for at, options in enumerate(self.space.options):
            tried = [self.try_((*base[:at], option, *base[at + 1 :])) for option in options]
            costs.append(np.array([t[0] for t in tried]) - cost)
            change = np.array([min(t[1], LOST) for t in tried]) - noise
            # The noise of the last option counts as none: only differences matter.
            noises.append(np.maximum(change - change.min(), 0.0) if own == 0 else np.maximum(change, 0.0))
        return costs, noises

    def _climb(self) -> None:
        """Change one layer of an assignment on the front, the change with the most to win first."""
        budget = len(self.found) + TRIALS
        while len(self.found) < budget:
            steps = self._promising()[: min(BATCH, budget - len(self.found))]
            if not steps:
                return
            for step in steps:
                self.try_(step)

    def _promising(self) -> list[Assignment]:
        """Untried steps that should come close to the front or beat it, by how far."""
        front = self.front()
        cost = np.array([self.found[member][0] for member in front])
        noise = np.clip([self.found[member][1] for member in front], ENOUGH, LOST)
        scored: list[tuple[float, int, int, int]] = []
        for row, member in enumerate(front):
            for at, options in enumerate(self.space.options):
                now = options.index(member[at])
                for option in range(len(options)):
                    if option == now:
                        continue
                    then = cost[row] + self.costs[at][option] - self.costs[at][now]
                    left = noise[row] + self.gains[at][option] - self.gains[at][now]
                    left = max(left, 0.05 * noise[row], ENOUGH)
                    place = int(np.searchsorted(cost, then, side="right")) - 1
                    beaten = noise[place] if place >= 0 else 1.0 + noise[0]
                    scored.append((math.log10(left / beaten), row, at, option))
        steps: dict[Assignment, None] = {}
        for score, row, at, option in sorted(scored):
            if score >= SLACK or len(steps) >= BATCH:
                break
            member = front[row]
            step = (*member[:at], self.space.options[at][option], *member[at + 1 :])
            if step not in self.found:
                steps[step] = None
        return list(steps)


def spread_out(
    front: list[Assignment], found: dict[Assignment, tuple[float, float]], count: int
) -> list[Assignment]:
    """Up to `count` of a front's assignments, as far apart as can be in cost and in noise; both ends too.

    By repeatedly taking the one farthest from all that were taken (Gonzalez, 1985). Noise counts by its
    logarithm, down to a level that hardly moves a class or a box.
    """
    if len(front) <= count:
        return front
    cost = np.array([found[member][0] for member in front])
    level = -np.log10(np.minimum([found[member][1] for member in front], LOST) + INVISIBLE)
    where = np.stack([_to_unit_interval(cost), _to_unit_interval(level)], axis=1)
    taken = [0, len(front) - 1]
    while len(taken) < count:
        apart = np.min(np.linalg.norm(where[:, None] - where[taken][None], axis=2), axis=1)
        taken.append(int(np.argmax(apart)))
    return [front[at] for at in sorted(taken)]


def _to_unit_interval(values: Floats) -> Floats:
    width = values.max() - values.min()
    return (values - values.min()) / width if width > 0.0 else np.zeros_like(values)
