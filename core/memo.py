"""What follows from an object, kept with it, so that both go at the same time."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Memo:
    """Results by key, for several threads; owned by the object that they follow from.

    A cache of a module would keep objects alive that nobody uses any more. Results must not refer to the
    owner, or only the garbage collector could free it.
    """

    __slots__ = ("_lock", "_most", "_results")

    def __init__(self, most: int | None = None) -> None:
        """Keep the `most` results that were asked for last; None = all."""
        self._most = most
        self._results: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._results)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The result of `key`, made by `make` where there is none; nothing is kept if that raises.

        Threads that ask for one key at the same time may both make it; all get what was made first.
        """
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                known: T = self._results[key]
                return known
        made = make()
        with self._lock:
            kept: T = self._results.setdefault(key, made)
            self._results.move_to_end(key)
            while self._most is not None and len(self._results) > self._most:
                self._results.popitem(last=False)
            return kept
