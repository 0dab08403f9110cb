"""Readiness of the service: whether load balancers should send requests here."""

from typing import Literal

Obstacle = Literal["warming up", "shutting down", "broken"]


class Readiness:
    """State of the service, from warm-up to shutdown.

    Any thread or signal handler may report an event at any time: each event has a flag of its own, which is only
    ever set, so that no event overwrites another.
    """

    def __init__(self) -> None:
        self._is_warm = self._is_draining = self._has_failed = False

    @property
    def obstacle(self) -> Obstacle | None:
        """Reason why the service is not ready; None if it is."""
        if self._has_failed:
            return "broken"
        if self._is_draining:
            return "shutting down"
        return None if self._is_warm else "warming up"

    def ready(self) -> None:
        """Report that the warm-up has finished."""
        self._is_warm = True

    def drain(self) -> None:
        """Report that the process shuts down and should get no new requests."""
        self._is_draining = True

    def fail(self) -> None:
        """Report that the model has failed for good."""
        self._has_failed = True
