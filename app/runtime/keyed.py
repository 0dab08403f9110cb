"""An executor that several users share, each with a context of its own."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from app.runtime.executor import Executor, Timed

P = ParamSpec("P")
T = TypeVar("T")
Context = TypeVar("Context")


class KeyedExecutor(Generic[Context]):
    """Calls functions with one of the contexts of a shared executor; an `Executor`."""

    def __init__(self, shared: Executor[Mapping[str, Context]], key: str) -> None:
        """``key`` names the context among those of ``shared``."""
        self._shared = shared
        self._key = key

    @property
    def waiting(self) -> int:
        """See `Executor`; the calls of all users."""
        return self._shared.waiting

    def call(
        self, function: Callable[Concatenate[Context, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, Timed[T]]:
        """See `Executor`."""
        return self._shared.call(_with_context, self._key, function, *args, **kwargs)

    def call_before_deadline(
        self, function: Callable[Concatenate[Context, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, Timed[T]]:
        """See `Executor`."""
        return self._shared.call_before_deadline(_with_context, self._key, function, *args, **kwargs)

    async def ready(self) -> None:
        """See `Executor`."""
        await self._shared.ready()

    def close(self) -> None:
        """See `Executor`; has no effect, since others may use the shared executor: its owner closes it."""


def _with_context(
    contexts: Mapping[str, Context],
    key: str,
    function: Callable[Concatenate[Context, P], T],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    return function(contexts[key], *args, **kwargs)
