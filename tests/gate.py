"""An engine that works when it is let, and as badly as it is told to: for tests of what happens meanwhile."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from torch import Tensor

from app.lrp.attribution import Answers, Explanation, extremes
from app.lrp.engine.engine import Engine
from app.lrp.request import Ask

LIMIT_S = 60
"""Nothing takes as long, so that a test that would hang fails instead."""

Fault = Callable[[Tensor, Sequence[Ask], Callable[[], Answers]], Answers]
"""Answers in the engine's place, which is the last argument; or raises."""


class Gate:
    """Stands in every `Engine`'s way. ``sizes`` of the batches that came; each waits to be `let` once `shut`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.fault: Fault = lambda _inputs, _asks, answer: answer()
        self._came = threading.Semaphore(0)
        self._open = threading.Event()
        self._open.set()
        engines_own = Engine.answer

        def answer(engine: Engine, inputs: Tensor, asks: Sequence[Ask]) -> Answers:
            self.sizes.append(len(inputs))
            self._came.release()
            assert self._open.wait(LIMIT_S)
            return self.fault(inputs, asks, lambda: engines_own(engine, inputs, asks))

        monkeypatch.setattr(Engine, "answer", answer)

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


def poisoned(explanation: Explanation, value: float) -> Explanation:
    """The explanation with ``value``, which is no finite number, in its map."""
    relevance = explanation.relevance.clone()
    relevance[0, 0, 0, 0] = value
    return replace(explanation, relevance=relevance, extremes=extremes(relevance))
