"""The executor interface: work runs elsewhere while the event loop waits for its result."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, Generic, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Context_co = TypeVar("Context_co", covariant=True)


@dataclass(frozen=True)
class Timed(Generic[T]):
    """A result, the seconds that its work waited in a queue, and those that it ran."""

    result: T
    queue_s: float
    run_s: float


class Executor(Protocol[Context_co]):
    """Calls functions elsewhere. Each worker has a ``context``, which is a function's first argument."""

    @property
    def waiting(self) -> int:
        """Number of calls that wait for a worker."""

    async def call(
        self, function: Callable[Concatenate[Context_co, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Timed[T]:
        """Return the result of ``function(context, *args, **kwargs)``, or raise what it raised."""

    async def call_before_deadline(
        self, function: Callable[Concatenate[Context_co, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Timed[T]:
        """Like `call`, at lower priority; raises `DeadlineError` where no worker was free in time."""

    async def ready(self) -> None:
        """Return when a worker takes calls."""

    def close(self) -> None:
        """Take no more calls."""
