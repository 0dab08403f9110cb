"""What a survey finds of inputs of any kind: what its files and its report are written from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from app.models.protocol import Description
from app.survey.arrays import Rows
from app.survey.counted import counted
from app.survey.items import Item
from app.survey.outcome import Outcome
from app.survey.store import Store


@dataclass(frozen=True)
class Failure:
    """An input that could not be read or explained, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Setup:
    """What was asked for: data, rule and seed."""

    data: str
    rule: str
    parameters: Mapping[str, float]
    """Of the rule."""
    seed: int
    date: str
    versions: Mapping[str, str]


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """Findings about the n inputs that were explained; their numbers are from 0 to n − 1.

    Each kind of input has a subclass with what is found of its maps.
    """

    setup: Setup
    description: Description
    store: Store
    rows: Rows
    """Row of each input in ``store``, and of all items, (n,)."""
    items: Sequence[Item]
    """All n."""
    failures: Sequence[Failure]
    predictions: Outcome
    duplicates: Sequence[Sequence[int]]
    neighbours: Sequence[Rows] = ()
    """Inputs with the same predicted class whose maps are nearest, nearest first; empty: they are not known."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Duration of each stage."""

    @property
    def shared(self) -> dict[str, Any]:
        """What is known of inputs of any kind, as arguments of a subclass."""
        return {one.name: getattr(self, one.name) for one in fields(Findings)}

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the network's classes."""
        return self.description.card.classes

    def relevance(self, number: int) -> npt.NDArray[np.float32]:
        """Return the relevance of an input, as long as the longest one."""
        return np.asarray(self.store.maps(self.rows[number : number + 1])[0])

    def contributions(self, numbers: Rows) -> npt.NDArray[np.float32]:
        """Return the relevance of inputs in units of the output that is explained, (n, …)."""
        maps = self.store.maps(self.rows[numbers])
        starts = self.predictions.starts[numbers].astype(np.float32)
        return maps * starts.reshape(-1, *[1] * (maps.ndim - 1))

    def cluster_numbers(self) -> npt.NDArray[np.int32]:
        """Return the number of each input's cluster within its class, from 1; 0: it belongs to none."""
        return np.zeros(len(self.items), np.int32)

    def notes(self) -> list[str]:
        """Return what a reader should know of the data, one sentence each."""
        labels = [one.label for one in self.items]
        return [
            *self.predictions.notes(labels, self.classes),
            *self._notes_of_duplicates(),
        ]

    def _notes_of_duplicates(self) -> list[str]:
        if not self.duplicates:
            return []
        count = sum(map(len, self.duplicates))
        first = ", ".join(self.items[number].name for number in self.duplicates[0][:3])
        return [
            f"{counted(count, 'item')} are identical to others after preprocessing, in "
            f"{counted(len(self.duplicates), 'group')}, such as {first}."
        ]
