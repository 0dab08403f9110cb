"""An executor of threads in this process, for commands that explain a few pictures."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, Generic, ParamSpec, TypeVar

from app.runtime.executor import Timed

P = ParamSpec("P")
T = TypeVar("T")
Context = TypeVar("Context")


class ThreadExecutor(Generic[Context]):
    """Runs calls on threads of this process, from any event loop, without a deadline; an `Executor`."""

    def __init__(self, context: Context, count: int) -> None:
        self._context = context
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="worker")

    @property
    def waiting(self) -> int:
        """See `Executor`; always 0."""
        return 0

    async def call(
        self, function: Callable[Concatenate[Context, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Timed[T]:
        """See `Executor`."""
        queued_at = time.perf_counter()

        def run() -> Timed[T]:
            started_at = time.perf_counter()
            result = function(self._context, *args, **kwargs)
            return Timed(result, started_at - queued_at, time.perf_counter() - started_at)

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    call_before_deadline = call

    async def ready(self) -> None:
        """See `Executor`."""

    def close(self) -> None:
        """See `Executor`; waits for running calls."""
        self._pool.shutdown(wait=True)
