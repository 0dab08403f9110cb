"""Calls that wait for a worker process."""

import asyncio
import heapq
from dataclasses import dataclass, field
from typing import Any


@dataclass(order=True)
class QueuedCall:
    """A call that waits for a worker; the smallest one runs next."""

    is_low_priority: bool
    number: int
    message: bytes = field(compare=False)
    future: asyncio.Future[Any] = field(compare=False)
    queued_at: float = field(compare=False)
    deadline: float = field(compare=False)


class CallQueue:
    """Calls that wait for a worker, and slots that wait for a call.

    The slot whose worker was busy last gets the next call, because its code and data are in the processor's
    caches: with `asyncio.PriorityQueue`, whose getters take turns, a client alone waited a sixth longer for a
    worker.
    """

    def __init__(self) -> None:
        self._calls: list[QueuedCall] = []
        self._idle: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        return len(self._calls)

    def put(self, call: QueuedCall) -> None:
        """Add a call."""
        heapq.heappush(self._calls, call)
        self._wake()

    async def get(self) -> QueuedCall:
        """Remove and return the smallest call; wait for one."""
        while not self._calls:
            idle = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            try:
                await idle
            except asyncio.CancelledError:
                if (
                    self._calls and not idle.cancelled()
                ):  # it was woken before, for a call that others can take
                    self._wake()
                raise
        return heapq.heappop(self._calls)

    def cancel(self) -> None:
        """Remove all calls, and cancel them."""
        while self._calls:
            self._calls.pop().future.cancel()

    def _wake(self) -> None:
        """Wake the slot that became idle last, if there is one."""
        while self._idle:
            idle = self._idle.pop()
            if not idle.done():  # else cancelled, as its slot
                idle.set_result(None)
                return
