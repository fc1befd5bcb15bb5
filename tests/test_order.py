"""The order of the suite: nothing is lost, quick tests come first, and browser tests stay together."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.conftest import ordered


class Item:
    """A collected test with a mark or none."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def get_closest_marker(self, name: str) -> bool:
        return name == self.mark


def parts(counts: dict[str, int], workers: int) -> list[list[str]]:
    """The marks of what each worker is handed."""
    items: list[Any] = [Item(mark) for mark, count in counts.items() for _ in range(count)]
    found = ordered(list(items), workers)
    assert Counter(map(id, found)) == Counter(map(id, items))
    out = []
    for left in range(workers, 0, -1):
        size = len(found) // left
        out.append([item.mark for item in found[:size]])  # type: ignore[attr-defined]
        found = found[size:]
    return out


def test_each_of_two_workers_begins_with_quick_tests() -> None:
    first, second = parts({"slow": 11, "browser": 5, "": 101}, 2)
    assert first == [""] * 53 + ["browser"] * 5
    assert second == [""] * 48 + ["slow"] * 11


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "counts",
    [
        {"": 40, "slow": 6, "browser": 3},
        {"browser": 7},
        {"slow": 7},
        {"": 3, "slow": 1, "browser": 90},
        {"": 1},
        {},
    ],
)
def test_no_test_is_lost_or_run_twice(counts: dict[str, int], workers: int) -> None:
    """Whatever was chosen, by however many workers."""
    found = parts(counts, workers)
    assert Counter(mark for part in found for mark in part) == Counter(counts)
