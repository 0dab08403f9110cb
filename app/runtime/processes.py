"""An executor of processes: workers that may crash or hang without harm to the service.

Python runs one thread of a process at a time. Threads that decode and draw beside the event loop would make each
of its steps wait for them, up to milliseconds: under load a refusal or a probe then takes hundreds.
"""

import asyncio
import contextlib
import io
import itertools
import logging
import multiprocessing
import os
import pickle
import signal
import socket
import struct
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from app.errors import DeadlineError, LRPServeError
from app.runtime.executor import Timed
from app.runtime.remote_errors import portable

log = logging.getLogger(__name__)

SPAWN = multiprocessing.get_context("spawn")  # a fork of a process with threads would hang
P = ParamSpec("P")
T = TypeVar("T")
Context = TypeVar("Context")

WORK_LIMIT_S = 30.0
"""For one piece of work; the largest picture that is taken needs one. Then its process is killed."""
LENGTH = struct.Struct("!Q")
"""Before each message."""
READ_AHEAD_BYTES = 2**20
END_LIMIT_S = 1.0
"""For a process that was killed."""
LESS_URGENT = 5
"""Than listening, yet more than the model, whose next batch is made here."""


class WorkerLostError(LRPServeError):
    """The process that had the work has died, or was killed over it."""


@dataclass(order=True)
class _Waiting:
    """Work that waits for a worker; ordered by who comes first."""

    can_wait: bool
    number: int
    message: bytes = field(compare=False)
    future: asyncio.Future[Any] = field(compare=False)
    since: float = field(compare=False)
    until: float = field(compare=False)


class ProcessExecutor(Generic[Context]):
    """Processes that do one piece of work at a time each; `Executor` of the event loop that makes them.

    One that dies, or needs longer than `WORK_LIMIT_S`, takes nothing along but its work, and another takes its
    place. They end with this object, or with this process, however that ends.
    """

    def __init__(
        self,
        context: Context,
        count: int,
        *,
        deadline_s: float,
        on_death: Callable[[BaseException], None],
        limit_s: float = WORK_LIMIT_S,
    ) -> None:
        """``on_death`` is called where a process does not even start, so that nobody does any work."""
        self._context, self._deadline_s, self._limit_s = context, deadline_s, limit_s
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.PriorityQueue[_Waiting] = asyncio.PriorityQueue()
        self._numbers = itertools.count()
        self._on_death = on_death
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._places = [self._loop.create_task(self._fill()) for _ in range(count)]

    @property
    def waiting(self) -> int:
        """See `Executor`."""
        return self._waiting.qsize()

    async def call(
        self, function: Callable[Concatenate[Context, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Timed[T]:
        """See `Executor`."""
        timed: Timed[T] = await self._put(False, float("inf"), (function, args, kwargs))
        return timed

    async def call_before_deadline(
        self, function: Callable[Concatenate[Context, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Timed[T]:
        """See `Executor`."""
        timed: Timed[T] = await self._put(
            True, self._loop.time() + self._deadline_s, (function, args, kwargs)
        )
        return timed

    async def ready(self) -> None:
        """See `Executor`."""
        await asyncio.shield(self._ready)

    def close(self) -> None:
        """See `Executor`; what has begun is given up."""
        for place in self._places:
            place.cancel()
        while not self._waiting.empty():
            self._waiting.get_nowait().future.cancel()

    def _put(self, can_wait: bool, until: float, call: tuple[Any, ...]) -> asyncio.Future[Any]:
        """What is to come of a call."""
        future = self._loop.create_future()
        message = pickle.dumps(call, pickle.HIGHEST_PROTOCOL)
        self._waiting.put_nowait(
            _Waiting(can_wait, next(self._numbers), message, future, self._loop.time(), until)
        )
        return future

    async def _fill(self) -> None:
        """Have a process at this place, and another when that is lost."""
        try:
            while True:
                with contextlib.closing(await _Worker.hire(self._context)) as worker:
                    _settle(self._ready, None, None)
                    await self._employ(worker)
                log.warning("a worker was lost and is replaced")
        except Exception as error:  # whatever it is, the next one would not start either
            log.critical("a worker does not start", exc_info=error)
            _settle(self._ready, None, error)
            self._on_death(error)

    async def _employ(self, worker: "_Worker") -> None:
        """Give ``worker`` what waits, until it is lost."""
        while True:
            waiting = await self._waiting.get()
            if worker.is_lost:
                self._waiting.put_nowait(waiting)
                return
            if waiting.future.done():  # its sender has left
                continue
            now = self._loop.time()
            if now > waiting.until:
                late = f"waited {self._deadline_s:g} s without a turn and was not computed; try again later"
                waiting.future.set_exception(DeadlineError(late))
                continue
            try:
                async with asyncio.timeout(self._limit_s):
                    result, error = await worker.ask(waiting.message)
            except (EOFError, OSError) as lost:  # TimeoutError is one of the latter
                _settle(waiting.future, None, WorkerLostError(f"its worker was lost: {type(lost).__name__}"))
                return
            except asyncio.CancelledError:  # all is to end
                waiting.future.cancel()
                raise
            run_s = self._loop.time() - now
            _settle(waiting.future, Timed(result, now - waiting.since, run_s), error)


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    """Unless nobody waits any more."""
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


class _Worker:
    """One process, and the way to it."""

    def __init__(
        self, process: SpawnProcess, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process, self._reader, self._writer = process, reader, writer
        self._end = weakref.finalize(self, process.kill)

    @classmethod
    async def hire(cls, context: object) -> "_Worker":
        """One that takes work; raises EOFError or OSError where its process does not come up."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = SPAWN.Process(target=_serve, args=(theirs, context), name="worker", daemon=True)
            process.start()
        worker = cls(process, *await asyncio.open_connection(sock=ours, limit=READ_AHEAD_BYTES))
        try:
            await worker._answer()
        except BaseException:
            worker.close()
            raise
        return worker

    @property
    def is_lost(self) -> bool:
        """Whether its process is known to be gone."""
        return self._reader.at_eof()

    async def ask(self, message: bytes) -> tuple[Any, BaseException | None]:
        """What came of a call, and what it raised; raises EOFError or OSError where the process is gone."""
        self._writer.writelines((LENGTH.pack(len(message)), message))
        answer: tuple[Any, BaseException | None] = await self._answer()
        return answer

    def close(self) -> None:
        """End the process, whatever it does."""
        self._end()
        self._writer.close()
        self._process.join(END_LIMIT_S)

    async def _answer(self) -> Any:
        (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
        return pickle.loads(await self._reader.readexactly(length))  # noqa: S301 # our own process wrote it


def _serve(wire: socket.socket, context: object) -> None:  # pragma: no cover # in a process of its own
    """A worker's process: does what comes until the other end is closed, as it is when the service has died."""
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C reaches all; the service says when work is over
        signal.signal(number, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(LESS_URGENT)
    _hush_libraries()
    with contextlib.suppress(EOFError, OSError), wire, wire.makefile("rwb") as messages:
        _send(messages, pickle.dumps(None))
        while header := messages.read(LENGTH.size):
            _send(messages, _outcome(context, messages.read(*LENGTH.unpack(header))))


def _hush_libraries() -> None:  # pragma: no cover # as above
    """Keep from the log what libraries in C say of an upload there, as libtiff does. Python's words go on."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)


def _outcome(context: object, message: bytes) -> bytes:  # pragma: no cover # as above
    try:
        work, args, kwargs = pickle.loads(message)  # noqa: S301 # as above
        return pickle.dumps((work(context, *args, **kwargs), None), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:  # noqa: BLE001 # whatever it is belongs to whoever sent the work
        return pickle.dumps((None, portable(error)))


def _send(messages: io.BufferedRWPair, message: bytes) -> None:  # pragma: no cover # as above
    messages.write(LENGTH.pack(len(message)) + message)
    messages.flush()
