"""Whether requests should be sent here, and why not."""

from typing import Literal

Obstacle = Literal["warming up", "shutting down", "broken"]


class Readiness:
    """Set from any thread."""

    def __init__(self) -> None:
        self._obstacle: Obstacle | None = "warming up"

    @property
    def obstacle(self) -> Obstacle | None:
        """What is in the way; None where nothing is."""
        return self._obstacle

    def ready(self) -> None:
        """The warm-up is done."""
        if self._obstacle == "warming up":
            self._obstacle = None

    def drain(self) -> None:
        """The process is to end: no new requests, please."""
        if self._obstacle != "broken":
            self._obstacle = "shutting down"

    def fail(self) -> None:
        """The model does not work any more."""
        self._obstacle = "broken"
