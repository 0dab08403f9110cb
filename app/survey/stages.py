"""The stages of a survey: how far they are, and how long they take."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Shows how far a stage is."""

    def start(self, stage: str, total: int, done: int = 0) -> Callable[[int], None]:
        """Begin a stage; return what is called with the number of steps that were done."""


class Stages:
    """Shows and times stages."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.seconds: dict[str, float] = {}
        """Duration of each stage that has ended."""

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time a stage that is too short to be shown."""
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started

    @contextmanager
    def stage(self, name: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
        """Time and show a stage; the value is called with the number of steps that were done."""
        with self.timed(name):
            yield self._progress.start(name, total, done)
