"""Dynamic batching: items that arrive while a batch runs form the next batch.

A batch starts as soon as the batcher has its turn on the thread, which it may share with others, without an
artificial delay. Items that wait past a deadline are rejected, and items whose submitter is cancelled are
dropped, both before they are computed. A batch that fails is split in halves until the faulty item runs alone, so
that the other items only lose time.

Items that are submitted in the background run only while no others wait, at any batcher of the thread, in batches
of their own. These are small, because an item that arrives meanwhile waits for one of them. While others arrive,
they also pause between their batches, because they share processor cores with what is done to the others before
and after the model.

The queue has no bound of its own. The service bounds it by admitting requests: see `app.serving.admission`.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Literal, Protocol, TypeVar

from app.errors import DeadlineError, InternalError, UnavailableError
from app.runtime.executor import Timed
from app.runtime.turns import Turns

log = logging.getLogger(__name__)

RECENT_S = 1.0
"""Time after the arrival of an item in which the background pauses."""
PAUSE = 1.0
"""Length of such a pause, in durations of the background's last batch."""

Item = TypeVar("Item")
Result = TypeVar("Result")
Refusal = Literal["deadline", "draining", "broken"]
"""Reason why a valid item was not run."""


class Observer(Protocol):
    """Receives the batcher's events. Its methods are called from any thread and must not raise."""

    def batch(self, size: int) -> None:
        """A batch of ``size`` items starts."""

    def refused(self, reason: Refusal) -> None:
        """An item was not run, for ``reason``."""


@dataclass(eq=False)
class _Waiting(Generic[Item, Result]):
    item: Item
    weight: int
    since: float
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Timed[Result]]
    in_background: bool


class _Queue(OrderedDict[_Waiting[Item, Result], None]):
    """Items that wait, in their order; ``max_batch`` bounds the weights of those that run together."""

    def __init__(self, max_batch: int) -> None:
        super().__init__()
        self.max_batch = max_batch

    def next_batch(self) -> list[_Waiting[Item, Result]]:
        """Remove and return the first items, as many as fit."""
        batch: list[_Waiting[Item, Result]] = []
        room = self.max_batch
        while self and (not batch or next(iter(self)).weight <= room):
            batch.append(self.popitem(last=False)[0])
            room -= batch[-1].weight
        return batch


class Batcher(Generic[Item, Result]):
    """Runs items in batches on the thread of `Turns`. Items may be submitted from several event loops."""

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result | Exception]],
        *,
        max_batch: int,
        max_background_batch: int | None = None,
        deadline_s: float,
        weigh: Callable[[Item], int] = lambda _: 1,
        observer: Observer,
        turns: Turns | None = None,
    ) -> None:
        """Take part in ``turns``; ``None``: those of a thread of its own.

        ``run`` is called on the thread, and returns one result, or exception, for each item of a list.
        ``max_batch`` bounds the sum of the items' weights, and ``max_background_batch``, by default the same,
        that of items in the background; an item that weighs more runs alone. An item waits ``deadline_s`` seconds
        at most, except in the background.
        """
        self._run = run
        self._deadline_s = deadline_s
        self._weigh = weigh
        self._observer = observer
        self._queue = _Queue[Item, Result](max_batch)
        self._background = _Queue[Item, Result](max_background_batch or max_batch)
        self._pause_until = -math.inf
        self._closed_by: Refusal | None = None
        self._turns = turns or Turns()
        self._changed = self._turns.changed
        self._turns.add(self)

    @property
    def waiting(self) -> int:
        """Number of items that wait."""
        return len(self._queue) + len(self._background)

    async def submit(self, item: Item) -> Timed[Result]:
        """Return the result of ``item``.

        Raises `UnavailableError` if the batcher is closed, `DeadlineError` if the item waited past the deadline,
        and the exception that ``run`` raised or returned for it.
        """
        waiting = self._enqueue(item, self._queue)
        self._turns.last_arrival = waiting.since
        late = waiting.loop.call_later(self._deadline_s, self._expire, waiting)
        try:
            return await self._result_of(waiting)
        finally:
            late.cancel()

    async def submit_in_background(self, item: Item) -> Timed[Result]:
        """Return the result of ``item``, which runs while no other item waits, and waits without a deadline.

        Raises what `submit` does, except `DeadlineError`.
        """
        return await self._result_of(self._enqueue(item, self._background))

    def close(self, timeout_s: float | None = None) -> bool:
        """Reject new items, and run those that wait.

        Returns whether all have run, for which this waits ``timeout_s`` seconds; ``None``: without limit.
        """
        with self._changed:
            self._closed_by = self._closed_by or "draining"
            self._changed.notify_all()
        return self._turns.wait_until_gone(self, timeout_s)

    @property
    def is_urgent(self) -> bool:
        """See `app.runtime.turns.Member`; items in the background of a closed batcher wait for no pause."""
        return bool(self._queue or (self._closed_by and self._background))

    @property
    def is_finished(self) -> bool:
        """See `app.runtime.turns.Member`."""
        return bool(self._closed_by) and not self.waiting

    def background_delay_s(self) -> float:
        """See `app.runtime.turns.Member`."""
        return max(0.0, self._pause_until - time.perf_counter()) if self._background else math.inf

    def take(self) -> Callable[[], None]:
        """See `app.runtime.turns.Member`."""
        return partial(self._serve, (self._queue or self._background).next_batch())

    def fail(self) -> None:
        """See `app.runtime.turns.Member`."""
        self._closed_by = "broken"
        batch = [*self._queue, *self._background]
        self._queue.clear()
        self._background.clear()
        _deliver(batch, _broken(len(batch)), time.perf_counter())

    def _enqueue(self, item: Item, queue: _Queue[Item, Result]) -> _Waiting[Item, Result]:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(
            item,
            self._weigh(item),
            time.perf_counter(),
            loop,
            loop.create_future(),
            queue is self._background,
        )
        with self._changed:
            if self._closed_by:
                self._refuse(self._closed_by)
            queue[waiting] = None
            self._changed.notify_all()
        return waiting

    async def _result_of(self, waiting: _Waiting[Item, Result]) -> Timed[Result]:
        try:
            return await waiting.future
        except asyncio.CancelledError:
            self._dequeue(waiting)
            raise

    def _refuse(self, reason: Refusal) -> None:
        self._observer.refused(reason)
        raise UnavailableError(_REFUSALS[reason])

    def _dequeue(self, waiting: _Waiting[Item, Result]) -> bool:
        """Remove an item from its queue; return whether it was there."""
        with self._changed:
            queue = self._background if waiting in self._background else self._queue
            waited = waiting in queue
            queue.pop(waiting, None)
            return waited

    def _expire(self, waiting: _Waiting[Item, Result]) -> None:
        if self._dequeue(waiting) and not waiting.future.done():
            self._observer.refused("deadline")
            waiting.future.set_exception(
                DeadlineError(
                    f"waited {self._deadline_s:g} s without a turn and was not computed; try again later"
                )
            )

    def _serve(self, batch: list[_Waiting[Item, Result]]) -> None:
        started = time.perf_counter()
        self._observer.batch(len(batch))
        try:
            results = self._results([waiting.item for waiting in batch])
        except BaseException:
            _deliver(batch, _broken(len(batch)), started)
            raise
        _deliver(batch, results, started)
        self._pause(batch[0], started)

    def _pause(self, first: _Waiting[Item, Result], started: float) -> None:
        """Set the pause after a batch that began with ``first``; none unless it ran in the background."""
        now = time.perf_counter()
        if first.in_background and now - self._turns.last_arrival < RECENT_S:
            self._pause_until = now + PAUSE * (now - started)

    def _results(self, items: list[Item]) -> list[Result | Exception]:
        """Return a result for each item; run the halves separately if the batch fails."""
        try:
            results = list(self._run(items))
            if len(results) != len(items):
                raise InternalError(f"{len(items)} items went in and {len(results)} results came out")
        except Exception as error:  # any error is the result of the item that causes it
            if len(items) == 1:
                return [error]
            log.warning("a batch of %d failed and is halved", len(items), exc_info=error)
            half = len(items) // 2
            return self._results(items[:half]) + self._results(items[half:])
        return results


_REFUSALS: Mapping[Refusal, str] = {
    "draining": "the service is shutting down; another instance, or this one restarted, will answer",
    "broken": "the model has failed and the service ends; it will answer again when it has been restarted",
}


def _broken(count: int) -> list[UnavailableError]:
    """Return separate errors, because a caller may extend the message of its own."""
    return [UnavailableError(_REFUSALS["broken"]) for _ in range(count)]


def _deliver(
    batch: Sequence[_Waiting[Item, Result]], results: Sequence[Result | Exception], started: float
) -> None:
    """Resolve the items' futures, with one call to each event loop."""
    run_s = time.perf_counter() - started

    def settle(loop: asyncio.AbstractEventLoop) -> None:
        for waiting, result in zip(batch, results, strict=True):
            if waiting.loop is not loop or waiting.future.done():  # cancelled meanwhile
                continue
            if isinstance(result, Exception):
                waiting.future.set_exception(result)
            else:
                waiting.future.set_result(Timed(result, started - waiting.since, run_s))

    for loop in {waiting.loop for waiting in batch}:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, loop)
