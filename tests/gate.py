"""An engine that works when it is let, and as badly as it is told to: for tests of what happens meanwhile."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from app.lrp.attribution import Attribution, Batch, BatchAttributions, extremes
from app.lrp.engine.engine import Engine

LIMIT_S = 60
"""Nothing takes as long, so that a test that would hang fails instead."""

Fault = Callable[[Batch, Callable[[], BatchAttributions]], BatchAttributions]
"""Runs a batch in the engine's place, which is the last argument; or raises."""


class Gate:
    """Stands in every `Engine`'s way. ``sizes`` of the batches that came; each waits to be `let` once `shut`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.fault: Fault = lambda _batch, run: run()
        self._came = threading.Semaphore(0)
        self._open = threading.Event()
        self._open.set()
        engines_own = Engine.run

        def run(engine: Engine, batch: Batch) -> BatchAttributions:
            self.sizes.append(len(batch.inputs))
            self._came.release()
            assert self._open.wait(LIMIT_S)
            return self.fault(batch, lambda: engines_own(engine, batch))

        monkeypatch.setattr(Engine, "run", run)

    def shut(self) -> None:
        """Batches wait from now on."""
        self.sizes.clear()
        self._came = threading.Semaphore(0)
        self._open.clear()

    def let(self) -> None:
        """All go on."""
        self._open.set()

    def wait(self) -> None:
        """Until one more batch has come."""
        assert self._came.acquire(timeout=LIMIT_S)


def poisoned(attribution: Attribution, value: float) -> Attribution:
    """The attribution with ``value``, which is no finite number, in its map."""
    relevance = attribution.relevance.clone()
    relevance[0, 0, 0, 0] = value
    return replace(attribution, relevance=relevance, extremes=extremes(relevance))
