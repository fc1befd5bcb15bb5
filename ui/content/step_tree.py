"""The tree of steps as rows with lanes, the newest first: which step was made from which, at a glance."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeRow:
    """One step, and where it stands."""

    number: int
    lane: int  # column that it stands in; 0 = the one on the left
    parent: int  # nearest step before it that is listed; 0 = none


def step_tree(parents: Mapping[int, int], shown: int, listed: Collection[int]) -> tuple[TreeRow, ...]:
    """Rows of the listed steps, the newest first.

    The steps that lead to the shown one stand in the lane on the left; of others, the newest step made from
    one goes on in its lane. A lane is used again where it is free.

    Args:
        parents: Every step with the one it was made from.
        shown: The shown step.
        listed: Those that get a row.
    """
    above = {number: _listed_parent(parents, number, listed) for number in sorted(listed)}
    leads = {shown}
    number = shown
    while number := parents.get(number, 0):
        leads.add(number)
    chains = _chains(above, leads)
    lanes = _lanes(chains, above, leads)
    return tuple(
        TreeRow(number=number, lane=lanes[number], parent=above[number])
        for number in sorted(above, reverse=True)
    )


def _listed_parent(parents: Mapping[int, int], number: int, listed: Collection[int]) -> int:
    number = parents.get(number, 0)
    while number and number not in listed:
        number = parents.get(number, 0)
    return number


def _chains(above: Mapping[int, int], leads: Collection[int]) -> list[list[int]]:
    """Steps that stand below each other, from the first to the last."""
    children: dict[int, list[int]] = {}
    for number, parent in above.items():
        children.setdefault(parent, []).append(number)
    chains = []
    starts = sorted(children.get(0, []))
    while starts:
        chain = [starts.pop(0)]
        while made := children.get(chain[-1]):
            on = next((number for number in made if number in leads), max(made))
            starts += [number for number in made if number != on]
            chain.append(on)
        chains.append(chain)
    return chains


def _lanes(
    chains: Sequence[Sequence[int]], above: Mapping[int, int], leads: Collection[int]
) -> dict[int, int]:
    """A lane for each chain that is free from the step it begins at to its end."""
    lanes: dict[int, int] = {}
    taken: list[list[tuple[int, int]]] = []
    for chain in sorted(chains, key=lambda chain: (not any(n in leads for n in chain), above[chain[0]])):
        first, last = above[chain[0]] + 1, chain[-1]
        lane = next(
            (at for at, spans in enumerate(taken) if all(last < a or first > b for a, b in spans)),
            len(taken),
        )
        if lane == len(taken):
            taken.append([])
        taken[lane].append((first, last))
        lanes |= dict.fromkeys(chain, lane)
    return lanes


def moment(time: str) -> str:
    """When a step was made, in local time; "" where that is not known.

    Args:
        time: ISO 8601, UTC.
    """
    try:
        return f"{datetime.fromisoformat(time).astimezone():%d %b, %H:%M}"
    except ValueError:
        return ""
