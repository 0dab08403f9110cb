"""Several pictures of one request, computed concurrently so that they fill one batch."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from fastapi import Request

from app.api.dependencies import TicketDep, TimingsDep
from app.api.http.disconnect import while_connected
from app.serving.timings import Timings

T = TypeVar("T")


class RunAll:
    """Runs the items of one request concurrently; a dependency of routes that take several pictures."""

    def __init__(self, request: Request, ticket: TicketDep, timings: TimingsDep) -> None:
        self._request = request
        self._ticket = ticket
        self._timings = timings

    async def __call__(self, items: Sequence[Callable[[Timings], Awaitable[T]]]) -> list[T | Exception]:
        """Return the result of each item, or what it raised.

        The longest of each of the items' stages is reported as the request's. Raises `UnavailableError` without
        running any if there are not places for all, and `ClientDisconnect`.
        """
        self._ticket.acquire(len(items))
        timings = [Timings() for _ in items]
        running = (item(timing) for item, timing in zip(items, timings, strict=True))
        results = await while_connected(self._request, asyncio.gather(*running, return_exceptions=True))
        self._timings.longest_of(timings)
        return [_unless_fatal(result) for result in results]


def _unless_fatal(result: T | BaseException) -> T | Exception:
    if isinstance(result, BaseException) and not isinstance(result, Exception):
        raise result  # such as a cancellation: no result of an item
    return result
