"""Values that are kept by key, the most recently used ones; for several threads.

`Recent` holds values of one type. `Memo` holds what follows from an object, of any type, and lives with it.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Recent(Generic[T]):
    """A store of at most `most` values; the one that was asked for least recently makes room."""

    __slots__ = ("_lock", "_most", "_values")

    def __init__(self, most: int | None = None) -> None:
        """Start empty; `most` None = all values stay."""
        self._most = most
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> T | None:
        """The value of `key`, if it is still there."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key]

    def put(self, key: Hashable, value: T) -> None:
        """Keep a value; one that was there for `key` is replaced."""
        with self._lock:
            self._put(key, value)

    def drop(self, key: Hashable) -> None:
        """Keep nothing for `key`."""
        with self._lock:
            self._values.pop(key, None)

    def get_or_make(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`, made by `make` where there is none; nothing is kept if that raises.

        The lock is not held while `make` runs: threads that ask for one key at the same time may both make
        it; all get what was kept first.
        """
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        made = make()
        with self._lock:
            first = self._values.get(key, made)
            self._put(key, first)
            return first

    def newest(self) -> T | None:
        """The value that was kept or asked for last."""
        with self._lock:
            return next(reversed(self._values.values()), None)

    def _put(self, key: Hashable, value: T) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        while self._most is not None and len(self._values) > self._most:
            self._values.popitem(last=False)


class Memo:
    """Results by key, owned by the object that they follow from, so that both go at the same time.

    A cache of a module would keep objects alive that nobody uses any more. Results must not refer to the
    owner, or only the garbage collector could free it.
    """

    __slots__ = ("_results",)

    def __init__(self, most: int | None = None) -> None:
        """Keep the `most` results that were asked for last; None = all."""
        self._results: Recent[object] = Recent(most)

    def __len__(self) -> int:
        return len(self._results)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The result of `key`; made, and kept, as `Recent.get_or_make` does."""
        return cast(T, self._results.get_or_make(key, make))  # a key always stands for one type
