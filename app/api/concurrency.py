"""Several inputs of one request, computed concurrently so that they fill batches."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from app.api.dependencies import TicketDep, TimingsDep
from app.api.http.disconnect import while_connected
from app.errors import LRPServeError
from app.serving.admission import Ticket
from app.serving.timings import Timings

T = TypeVar("T")

MAX_AT_ONCE = 64
"""Items of one request that run at the same time: two batches of the default size. More would only wait, in
places that other requests need.
"""


class RunAll:
    """Runs the items of one request concurrently, for routes that take several inputs.

    At most `MAX_AT_ONCE` items run at the same time, and no more than have places in the queue: of 1 000 rows the
    last ones would wait beyond their deadlines.
    """

    def __init__(self, request: Request, ticket: Ticket, timings: Timings) -> None:
        self._request = request
        self._ticket = ticket
        self._timings = timings

    async def __call__(
        self, items: Sequence[Callable[[Timings], Awaitable[T]]], places: int | None = None
    ) -> list[T | Exception]:
        """Return the result of each item, or what it raised.

        The longest of each of the items' stages is reported as the request's. ``places`` in the queue, of all
        items, are by default one for each. Raises `UnavailableError` without running any if they are not free,
        and `ClientDisconnect`.
        """
        turns = self._turns(len(items), places)
        timings = [Timings() for _ in items]
        running = (_in_turn(turns, item, timing) for item, timing in zip(items, timings, strict=True))
        results = await while_connected(self._request, asyncio.gather(*running, return_exceptions=True))
        self._timings.longest_of(timings)
        return [_unless_fatal(result) for result in results]

    async def or_fail(
        self, items: Sequence[Callable[[Timings], Awaitable[T]]], name: str, places: int | None = None
    ) -> list[T]:
        """Return the result of each item. When one fails the others are cancelled. ``places`` as above.

        Raises the error of the first item that failed, with ``name`` and its index in front if it is the
        project's own, `UnavailableError` without running any if there are not places for all, and
        `ClientDisconnect`.
        """
        turns = self._turns(len(items), places)
        timings = [Timings() for _ in items]
        tasks = [
            asyncio.ensure_future(_in_turn(turns, item, timing))
            for item, timing in zip(items, timings, strict=True)
        ]
        try:
            running = asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            done, _ = await while_connected(self._request, running)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        self._timings.longest_of(timings)
        for index, (task, result) in enumerate(zip(tasks, results, strict=True)):
            if task in done and isinstance(result, BaseException):
                if isinstance(result, LRPServeError):
                    result.locate(f"{name}[{index}]")
                raise result
        return [task.result() for task in tasks]

    def _turns(self, count: int, places: int | None) -> asyncio.Semaphore:
        """Take the places of the items that run at the same time, and return what lets so many of ``count`` run.

        The others wait here and take none, so that a request with very many items leaves places to others.
        """
        places = places or count
        self._ticket.acquire_weight(-(-places * min(count, MAX_AT_ONCE) // count))
        return asyncio.Semaphore(min(MAX_AT_ONCE, max(1, self._ticket.held * count // places)))


async def _run_all(request: Request, ticket: TicketDep, timings: TimingsDep) -> RunAll:
    return RunAll(request, ticket, timings)


RunAllDep = Annotated[RunAll, Depends(_run_all)]
"""What runs the items of this request."""


async def _in_turn(turns: asyncio.Semaphore, item: Callable[[Timings], Awaitable[T]], timings: Timings) -> T:
    async with turns:
        return await item(timings)


def _unless_fatal(result: T | BaseException) -> T | Exception:
    if isinstance(result, BaseException) and not isinstance(result, Exception):
        raise result  # such as a cancellation: no result of an item
    return result
