"""Bound on the requests in hand."""

from app.errors import UnavailableError
from app.runtime.batcher import QUEUE_FULL
from app.telemetry.metrics import Metrics


class Door:
    """Lets in so many at once. Without it pictures would wait to be decoded in any number, for any time: the
    model's own queue, which is bounded, comes after that.
    """

    def __init__(self, most: int, metrics: Metrics) -> None:
        self._most, self._metrics = most, metrics
        self._inside = 0

    def is_full(self, on_their_way: int = 0) -> bool:
        """Whether nobody is let in now; ``on_their_way`` are so many, those inside among them."""
        return self._inside >= self._most or on_their_way >= self._most

    def refuse_when_full(self) -> None:
        """Raise `UnavailableError` where nobody is let in now."""
        if self.is_full():
            self._metrics.refused("queue_full")
            raise UnavailableError(QUEUE_FULL)

    def __enter__(self) -> None:
        self.refuse_when_full()
        self._inside += 1

    def __exit__(self, *_: object) -> None:
        self._inside -= 1
