"""A gate in front of the engine, which delays batches or makes them fail, for tests of concurrent requests."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from app.lrp.attribution import Attribution, Batch, BatchAttributions, extremes
from app.lrp.engine.engine import Engine

LIMIT_S = 60
"""Timeout in seconds for everything that a test waits for: a test fails instead of hanging."""

Fault = Callable[[Batch, Callable[[], BatchAttributions]], BatchAttributions]
"""Replaces `Engine.run`: called with the batch and a function that runs it; returns a result or raises."""


class Gate:
    """Delays batches before `Engine.run`, of all engines, while it is closed.

    Attributes:
        batch_sizes: Number of inputs of each batch since the gate was last closed.
        fault: Called in place of `Engine.run`; by default it runs the batch.

    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batch_sizes: list[int] = []
        self.fault: Fault = lambda _batch, run: run()
        self._arrived = threading.Semaphore(0)
        self._open = threading.Event()
        self._open.set()
        original_run = Engine.run

        def run(engine: Engine, batch: Batch) -> BatchAttributions:
            self.batch_sizes.append(len(batch.inputs))
            self._arrived.release()
            assert self._open.wait(LIMIT_S)
            return self.fault(batch, lambda: original_run(engine, batch))

        monkeypatch.setattr(Engine, "run", run)

    def close(self) -> None:
        """Make all batches from now on wait until `open` is called."""
        self.batch_sizes.clear()
        self._arrived = threading.Semaphore(0)
        self._open.clear()

    def open(self) -> None:
        """Let the waiting batches and all later ones run."""
        self._open.set()

    def wait_for_batch(self) -> None:
        """Wait until one more batch has arrived."""
        assert self._arrived.acquire(timeout=LIMIT_S)


def with_non_finite(attribution: Attribution, value: float) -> Attribution:
    """Return the attribution with ``value``, NaN or infinity, as one element of its relevance."""
    relevance = attribution.relevance.clone()
    relevance[0, 0, 0, 0] = value
    return replace(attribution, relevance=relevance, extremes=extremes(relevance))
