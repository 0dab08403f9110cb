"""An executor of processes, which may crash or hang without harm to the service.

Threads would do the same work in the server's process, but each step of the event loop would then wait for the
interpreter's lock: under load a refusal or a health check takes hundreds of milliseconds.

Why not `anyio.to_process`: an executor on top of it needs half of this code, but costs the event loop twice the
processor time. Measured in turn on 2 cores with uvloop, 8 callers, medians of 9 rounds:

    arguments, result     here                                    anyio 4.16
    1 kB, 1 kB            21 000 calls/s, 41 us of the loop each  9 500 calls/s, 100 us
    300 kB, 1 kB           2 000 calls/s, 0.5 ms                  1 400 calls/s, 0.7 ms
    300 kB, 300 kB         1 050 calls/s, 0.6 ms                    780 calls/s, 1.0 ms

It also ends workers that are idle for 5 minutes, so that the next requests wait for new ones.
"""

import asyncio
import contextlib
import functools
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
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from app.errors import DeadlineError, LRPServeError
from app.runtime.calls import CallQueue, QueuedCall
from app.runtime.executor import Timed
from app.runtime.remote_errors import pack, unpack
from app.system import keep_freed_memory, limit_memory_growth

log = logging.getLogger(__name__)

SPAWN = multiprocessing.get_context("spawn")  # a fork of a process with threads may deadlock
P = ParamSpec("P")
T = TypeVar("T")
Context = TypeVar("Context")

CALL_LIMIT_S = 30.0
"""Longest run of one call, after which its worker is killed; the largest accepted picture takes about 1 s."""
MESSAGE_LENGTH = struct.Struct("!Q")
"""Header of each message."""
READ_BUFFER_BYTES = 2**20
JOIN_TIMEOUT_S = 1.0
"""Wait for a killed process."""
KEPT_BYTES = 2**24
"""Freed memory that a worker keeps for its next call: that of a picture of two megapixels."""
NICE = 5
"""`os.nice` increment of workers: after the server (0), before the model (10), whose next batch they prepare."""


class WorkerLostError(LRPServeError):
    """The worker that ran the call died, or was killed at the time limit."""


class ProcessExecutor(Generic[Context]):
    """Runs calls in ``count`` processes, one call at a time in each; an `Executor` of the running event loop.

    A worker that dies, or runs one call for longer than ``limit_s``, is replaced; only its call fails, with
    `WorkerLostError`. Workers end with this object, and with this process even if it is killed.
    """

    def __init__(
        self,
        context: Context,
        count: int,
        *,
        deadline_s: float,
        on_death: Callable[[BaseException], None],
        limit_s: float = CALL_LIMIT_S,
        memory_limit_bytes: int | None = None,
    ) -> None:
        """Start the workers, which unpickle ``context``.

        ``deadline_s`` is that of `call_before_deadline`. ``on_death`` is called if a worker does not start, as
        no further one is tried. ``memory_limit_bytes`` limits what a worker allocates in addition to what it has
        when it is ready; beyond it, allocations raise `MemoryError` there.
        """
        self._worker_arguments = context, memory_limit_bytes
        self._deadline_s, self._limit_s = deadline_s, limit_s
        self._loop = asyncio.get_running_loop()
        self._queue = CallQueue()
        self._numbers = itertools.count()
        self._on_death = on_death
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._slots = [self._loop.create_task(self._keep_worker()) for _ in range(count)]

    @property
    def waiting(self) -> int:
        """See `Executor`."""
        return len(self._queue)

    async def call(
        self, function: Callable[Concatenate[Context, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Timed[T]:
        """See `Executor`."""
        timed: Timed[T] = await self._enqueue(False, float("inf"), (function, args, kwargs))
        return timed

    async def call_before_deadline(
        self, function: Callable[Concatenate[Context, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Timed[T]:
        """See `Executor`."""
        deadline = self._loop.time() + self._deadline_s
        timed: Timed[T] = await self._enqueue(True, deadline, (function, args, kwargs))
        return timed

    async def ready(self) -> None:
        """See `Executor`."""
        await asyncio.shield(self._ready)

    def close(self) -> None:
        """See `Executor`; cancels running and waiting calls."""
        for slot in self._slots:
            slot.cancel()
        self._queue.cancel()

    def _enqueue(
        self, is_low_priority: bool, deadline: float, function_and_arguments: tuple[Any, ...]
    ) -> asyncio.Future[Any]:
        future = self._loop.create_future()
        message = pickle.dumps(function_and_arguments, pickle.HIGHEST_PROTOCOL)
        self._queue.put(
            QueuedCall(is_low_priority, next(self._numbers), message, future, self._loop.time(), deadline)
        )
        return future

    async def _keep_worker(self) -> None:
        """Run calls on a worker; replace it when it is lost."""
        try:
            while True:
                with contextlib.closing(await _Worker.start(*self._worker_arguments)) as worker:
                    _settle(self._ready, None, None)
                    await self._run_calls(worker)
                log.warning("a worker was lost and is replaced")
        except Exception as error:  # whatever it is, the next worker would not start either
            log.critical("a worker does not start", exc_info=error)
            _settle(self._ready, None, error)
            self._on_death(error)

    async def _run_calls(self, worker: "_Worker") -> None:
        """Run queued calls on ``worker`` until it is lost."""
        while True:
            call = await self._queue.get()
            if worker.is_lost:
                self._queue.put(call)
                return
            if call.future.done():  # cancelled
                continue
            started_at = self._loop.time()
            if started_at > call.deadline:
                late = f"waited {self._deadline_s:g} s without a turn and was not computed; try again later"
                call.future.set_exception(DeadlineError(late))
                continue
            try:
                async with asyncio.timeout(self._limit_s):
                    result, error = unpack(await worker.run(call.message))
            except (EOFError, OSError) as lost:  # TimeoutError is an OSError
                _settle(call.future, None, WorkerLostError(f"its worker was lost: {type(lost).__name__}"))
                return
            except asyncio.CancelledError:  # by `close`
                call.future.cancel()
                raise
            run_s = self._loop.time() - started_at
            _settle(call.future, Timed(result, started_at - call.queued_at, run_s), error)


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    """Set the result or exception of ``future`` unless it is done or cancelled."""
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


class _Worker:
    """One process and the connection to it."""

    def __init__(
        self, process: SpawnProcess, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process, self._reader, self._writer = process, reader, writer
        self._kill = weakref.finalize(self, process.kill)

    @classmethod
    async def start(cls, context: object, memory_limit_bytes: int | None) -> "_Worker":
        """Return a worker that is ready; raises EOFError or OSError if its process does not start."""
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = (theirs, context, memory_limit_bytes)
            process = SPAWN.Process(target=_run_worker, args=arguments, name="worker", daemon=True)
            process.start()
        worker = cls(process, *await asyncio.open_connection(sock=ours, limit=READ_BUFFER_BYTES))
        try:
            await worker._receive()
        except BaseException:
            worker.close()
            raise
        return worker

    @property
    def is_lost(self) -> bool:
        """Whether the process is known to have ended."""
        return self._reader.at_eof()

    async def run(self, message: bytes) -> bytes:
        """Return the reply to a pickled call; raises EOFError or OSError if the process ends."""
        self._writer.writelines((MESSAGE_LENGTH.pack(len(message)), message))
        return await self._receive()

    def close(self) -> None:
        """Kill the process."""
        self._kill()
        self._writer.close()
        self._process.join(JOIN_TIMEOUT_S)

    async def _receive(self) -> bytes:
        (length,) = MESSAGE_LENGTH.unpack(await self._reader.readexactly(MESSAGE_LENGTH.size))
        return await self._reader.readexactly(length)


def _run_worker(
    connection: socket.socket, context: object, memory_limit_bytes: int | None
) -> None:  # pragma: no cover # in another process
    """Run calls until the other end of ``connection`` is closed, as it is when the server's process ends."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # Ctrl-C reaches all processes; the server ends its workers
        signal.signal(number, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICE)
    _discard_output_of_libraries()
    keep_freed_memory(KEPT_BYTES)
    if memory_limit_bytes is not None:
        limit_memory_growth(memory_limit_bytes)
    with contextlib.suppress(EOFError, OSError), connection, connection.makefile("rwb") as messages:
        _send(messages, b"")  # ready
        while header := messages.read(MESSAGE_LENGTH.size):
            message = messages.read(*MESSAGE_LENGTH.unpack(header))
            _send(messages, pack(functools.partial(_run_call, context, message)))


def _discard_output_of_libraries() -> None:  # pragma: no cover # as above
    """Discard what C libraries such as libtiff print about uploads; `sys.stderr` still works."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    with Path(os.devnull).open("w") as null:
        os.dup2(null.fileno(), 2)


def _run_call(context: object, message: bytes) -> object:  # pragma: no cover # as above
    function, args, kwargs = pickle.loads(message)  # noqa: S301 # written by our own process
    return function(context, *args, **kwargs)


def _send(messages: io.BufferedRWPair, message: bytes) -> None:  # pragma: no cover # as above
    messages.write(MESSAGE_LENGTH.pack(len(message)) + message)
    messages.flush()
