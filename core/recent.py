"""The last few values by key, safe to use from several threads."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """A store of at most `keep` values; the one that was asked for least recently makes room."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
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
        """The value of `key`; made if need be, which must not take long."""
        with self._lock:
            if key not in self._values:
                self._put(key, make())
            self._values.move_to_end(key)
            return self._values[key]

    def newest(self) -> T | None:
        """The value that was kept or asked for last."""
        with self._lock:
            return next(reversed(self._values.values()), None)

    def _put(self, key: Hashable, value: T) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        while len(self._values) > self._keep:
            self._values.popitem(last=False)
