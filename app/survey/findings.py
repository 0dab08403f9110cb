"""What a survey finds: everything that its files and its report are written from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from app.models.protocol import Description
from app.survey.image.location import Mean
from app.survey.image.pooling import Floats, Rows
from app.survey.image.strategies import Cluster, Strategies
from app.survey.items import Item
from app.survey.predictions import Predictions
from app.survey.store import Store


@dataclass(frozen=True)
class Failure:
    """An input that could not be read or explained, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Setup:
    """What was asked for: data, model and methods."""

    data: str
    rule: str
    method: str
    seed: int
    date: str
    versions: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Findings:
    """Findings about the n inputs that were explained; their numbers are from 0 to n − 1."""

    setup: Setup
    description: Description
    store: Store
    rows: Rows
    """Row of each input in ``store``, and of all items, (n,)."""
    items: Sequence[Item]
    """All n."""
    failures: Sequence[Failure]
    predictions: Predictions
    maps: Floats
    """Pooled relevance, (n, rows, columns)."""
    strategies: Sequence[Strategies]
    """Of each class that is predicted."""
    clusters: Sequence[Cluster]
    """Of all classes, the most suspicious first."""
    neighbours: Sequence[Rows]
    """Inputs of the same predicted class whose maps are nearest, nearest first."""
    contrasts: Mapping[int, npt.NDArray[Any]]
    """Relevance for the predicted class rather than the label, of the most confident mistakes."""
    means: Sequence[Mean]
    """Of each class that is predicted."""
    outside: Floats
    """Share of relevance outside each input's mask, NaN without one, (n,)."""
    duplicates: Sequence[Sequence[int]]
    has_equal_channels: bool
    seconds: dict[str, float] = field(default_factory=dict)
    """Duration of each stage."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the network's classes."""
        return self.description.card.classes

    def pixels(self, number: int) -> npt.NDArray[np.uint8]:
        """Return what the network sees of an input, (channels, height, width)."""
        return np.asarray(self.store.data[self.rows[number]])

    def relevance(self, number: int) -> npt.NDArray[np.float32]:
        """Return the relevance of an input, (channels, height, width)."""
        return np.asarray(self.store.maps(self.rows[number : number + 1])[0])

    def cluster_numbers(self) -> npt.NDArray[np.int32]:
        """Return the number of each input's cluster within its class, from 1; 0: it belongs to none."""
        found = np.zeros(len(self.items), np.int32)
        for one in self.strategies:
            found[one.rows] = one.labels + 1
        return found

    def notes(self) -> list[str]:
        """Return what a reader should know of the data, one sentence each."""
        return [*self._notes_of_labels(), *self._notes_of_classes(), *self._notes_of_maps()]

    def _notes_of_labels(self) -> list[str]:
        labels = [one.label for one in self.items]
        unknown = sorted({one for one in labels if one is not None and one not in self.classes})
        notes = []
        if unknown:
            count = sum(one in unknown for one in labels)
            notes.append(
                f"The model does not know {_some(unknown, 'label')}; {_count(count, 'item')} with "
                f"{'it' if len(unknown) == 1 else 'them'} count neither as right nor as wrong."
            )
        if count := labels.count(None):
            notes.append(f"{_count(count, 'item')} without a label count neither as right nor as wrong.")
        return notes

    def _notes_of_classes(self) -> list[str]:
        labels = [one.label for one in self.items]
        empty = [name for name in self.classes if name not in labels]
        single = [name for name in self.classes if labels.count(name) == 1]
        never = [
            name for number, name in enumerate(self.classes) if not (self.predictions.classes == number).any()
        ]
        notes = []
        if empty and len(empty) < len(self.classes):
            notes.append(f"No item has {_some(empty, 'label')}.")
        if single:
            notes.append(f"Only one item has {_some(single, 'label')}: its accuracy says little.")
        if never:
            notes.append(f"The model never predicts {_some(never, 'class')}: without maps, no strategies.")
        return notes

    def _notes_of_maps(self) -> list[str]:
        notes = []
        if self.duplicates:
            count = sum(map(len, self.duplicates))
            first = ", ".join(self.items[number].name for number in self.duplicates[0][:3])
            notes.append(
                f"{_count(count, 'item')} are identical to others after preprocessing, in "
                f"{_count(len(self.duplicates), 'group')}, such as {first}."
            )
        return notes


def _some(names: Sequence[str], noun: str, most: int = 10) -> str:
    plural = {"class": "classes"}.get(noun, f"{noun}s")
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"the {noun if len(names) == 1 else plural} {', '.join(names[:most])}{more}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
