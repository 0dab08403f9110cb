"""A cache that is bounded by the memory of what it holds."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Has a known size in memory."""

    @property
    def nbytes(self) -> int:
        """Size in bytes."""


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value", bound=Sized)


class MemoryCache(Generic[Key, Value]):
    """Computes values and keeps them, up to ``max_bytes`` in total. Thread-safe.

    The least recently used values are dropped first, and those whose key is ``preferred`` only when no others are
    left. A value that is larger than ``max_bytes`` is computed each time.
    """

    def __init__(
        self, compute: Callable[[Key], Value], max_bytes: int, preferred: Callable[[Key], bool]
    ) -> None:
        self._compute = compute
        self._max_bytes = max_bytes
        self._preferred = preferred
        self._entries: OrderedDict[Key, Value] = OrderedDict()
        self._changing = threading.Lock()
        self.nbytes = 0
        """Memory of all values."""

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def __call__(self, key: Key) -> Value:
        """Return the value for ``key``."""
        with self._changing:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        value = self._compute(key)
        with self._changing:
            if key in self._entries:  # computed by another thread meanwhile
                return self._entries[key]
            self._entries[key] = value
            self.nbytes += value.nbytes
            while self.nbytes > self._max_bytes:
                self.nbytes -= self._entries.pop(self._victim()).nbytes
        return value

    def _victim(self) -> Key:
        """Return the key of the value to be dropped."""
        return next((key for key in self._entries if not self._preferred(key)), next(iter(self._entries)))
