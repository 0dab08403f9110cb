"""Readiness of the service: whether load balancers should send requests here."""

from typing import Literal

Obstacle = Literal["warming up", "shutting down", "broken"]


class Readiness:
    """State of the service, from warm-up to shutdown. Thread-safe."""

    def __init__(self) -> None:
        self._obstacle: Obstacle | None = "warming up"

    @property
    def obstacle(self) -> Obstacle | None:
        """Reason why the service is not ready; None if it is."""
        return self._obstacle

    def ready(self) -> None:
        """Report that the warm-up has finished."""
        if self._obstacle == "warming up":
            self._obstacle = None

    def drain(self) -> None:
        """Report that the process shuts down and should get no new requests."""
        if self._obstacle != "broken":
            self._obstacle = "shutting down"

    def fail(self) -> None:
        """Report that the model has failed for good."""
        self._obstacle = "broken"
