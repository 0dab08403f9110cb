"""`batched`, which Python 3.12 has in `itertools`."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

ItemT = TypeVar("ItemT")


def batched(items: Iterable[ItemT], size: int) -> Iterator[list[ItemT]]:
    """Yield lists of ``size`` successive items, the last of which may be shorter.

    ``items`` are taken as the lists are.
    """
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
