"""What a model is asked and what it answers, in numbers that travel between processes: nothing of torch's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from app.lrp.composites import Chain
from app.lrp.request import Ask
from app.models.card import ModelCard

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Job:
    """One picture, normalised (3, 32, 32), and what is asked of it: nothing but its logits, if no ``asks``."""

    image: Floats
    asks: tuple[Ask, ...] = ()
    """Their rows count for nothing."""
    verify: bool = False
    """Whether the reference is to explain the same."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of one ask."""

    start: list[float]
    """The relevance that was put in at each class."""
    relevance: npt.NDArray[np.floating[Any]]
    """Shaped like the input of the layer that was asked for; (3, 32, 32) for the pixels."""
    smallest: float
    largest: float
    """Of the map; not a number where one of its values is none."""
    sums: tuple[tuple[str, float], ...]
    """Each layer's name and the relevance that arrived at its input, first layer first."""


@dataclass(frozen=True, eq=False)
class Done:
    """What came of a job."""

    logits: list[float]
    """Of each class."""
    outcomes: tuple[Outcome, ...]
    """In the order of the asks."""
    verified: tuple[Outcome, ...] | None
    """The same by the reference, if that was asked for."""


@dataclass(frozen=True)
class LayerDescription:
    """One layer for people: its name, its class and its own words."""

    name: str
    kind: str
    description: str


@dataclass(frozen=True)
class Description:
    """What there is to know of a model without running it."""

    card: ModelCard
    device: str
    engine: str
    """Who computes relevance: our engine, or the reference where that cannot."""
    reference: str
    """Who verifies it."""
    chain: Chain
    layers: tuple[LayerDescription, ...]


class NoMemoryError(Exception):
    """The machine's or the accelerator's memory does not hold the work."""


class ModelLostError(BaseException):
    """The accelerator does not answer any more, or the model's process is gone: nothing here brings it back."""


class Model(Protocol):
    """A network that runs jobs: in this process (`app.models.local`) or in one of its own
    (`app.runtime.model_process`).
    """

    @property
    def description(self) -> Description:
        """What there is to know of it; raises `RefusedToStartError` where it cannot be run."""

    def run(self, jobs: Sequence[Job]) -> list[Done]:
        """One for each job; threads that call take turns.

        Raises `NoMemoryError` where the jobs are too many for the machine's memory, `ModelLostError` where there
        is nothing more to hope for.
        """

    def prepare_reference(self) -> None:
        """Get ready to verify, which takes seconds the first time; from any thread."""

    def watch(self, on_loss: Callable[[ModelLostError], None]) -> None:
        """Have ``on_loss`` called, from any thread, should it be lost while nobody asks it anything."""

    def kill(self) -> None:
        """End it whatever it does, where that is possible; from any thread."""
