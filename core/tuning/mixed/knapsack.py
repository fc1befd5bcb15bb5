"""The exact front of choices whose costs and errors add up: a multiple-choice knapsack for every budget."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
STATES = 4000  # kept after each item; more are thinned out evenly


def pareto_order(cost: Floats, error: Floats) -> Ints:
    """Indices of the pairs that no other beats in both, by rising cost; of equals the first."""
    order = np.lexsort((np.arange(cost.size), error, cost))
    best = np.minimum.accumulate(error[order])
    keep = np.ones(order.size, np.bool_)
    keep[1:] = error[order][1:] < best[:-1]
    return np.asarray(order[keep], np.int64)


def additive_front(costs: Sequence[Floats], errors: Sequence[Floats]) -> list[tuple[int, ...]]:
    """All undominated choices of one option an item, by rising cost.

    Items are added one by one, and of the partial sums only those are kept that no other beats
    (Nemhauser & Ullmann, 1969): exact up to `STATES` partial sums.

    Args:
        costs: For each item the cost of each option.
        errors: Likewise the error.
    """
    cost, error = np.zeros(1), np.zeros(1)
    trail: list[tuple[Ints, Ints]] = []
    for own_cost, own_error in zip(costs, errors, strict=True):
        options = own_cost.size
        all_cost = (cost[:, None] + own_cost[None]).reshape(-1)
        all_error = (error[:, None] + own_error[None]).reshape(-1)
        kept = pareto_order(all_cost, all_error)
        if kept.size > STATES:
            kept = kept[np.unique(np.linspace(0, kept.size - 1, STATES).round().astype(np.int64))]
        cost, error = all_cost[kept], all_error[kept]
        trail.append((kept // options, kept % options))
    chosen = []
    for end in range(cost.size):
        picked, state = [], end
        for before, option in reversed(trail):
            picked.append(int(option[state]))
            state = int(before[state])
        chosen.append(tuple(reversed(picked)))
    return chosen
