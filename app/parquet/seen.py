"""A set of texts that takes few bytes for each, for the paths of millions of pictures."""

import base64
import hashlib

import numpy as np
import numpy.typing as npt

RECENT = 2**14
"""Texts that a Python set holds, of about 100 bytes each, before they are sorted into the array."""


class Seen:
    """Texts that were seen, each as 16 bytes of its hash.

    Two of a million texts have the same hash with a probability of 10⁻¹⁷.
    """

    def __init__(self) -> None:
        self._sorted: npt.NDArray[np.bytes_] = np.empty(0, "S16")
        self._recent: set[bytes] = set()

    def add(self, text: str) -> bool:
        """Add ``text``; return whether it is new."""
        key = _key(text)
        if key in self._recent or self._is_sorted_in(key):
            return False
        self._recent.add(key)
        if len(self._recent) > max(
            RECENT, len(self._sorted) // 8
        ):  # sorted rarely enough to take linear time
            self._sorted = np.union1d(self._sorted, np.array(list(self._recent), "S16"))
            self._recent.clear()
        return True

    def _is_sorted_in(self, key: bytes) -> bool:
        place = int(np.searchsorted(self._sorted, np.array(key, "S16")))
        return place < len(self._sorted) and self._sorted[place] == key


def _key(text: str) -> bytes:
    """Return 12 bytes of a hash in base64, without zeros, which NumPy removes from the end of bytes."""
    return base64.b64encode(hashlib.blake2b(text.encode(), digest_size=12).digest())
