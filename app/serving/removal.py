"""Parts of an input that an evaluation removes one after another; `app.serving.kinds` says what they are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from app.modalities.protocol import Floats
from app.quality.perturbation import Groups, group_sums
from app.quality.sensitivity import COUNT, RADIUS, inputs_nearby
from app.serving.requests import EvaluateOptions

Scores = npt.NDArray[np.floating[Any]]
Chosen = Sequence[int] | npt.NDArray[np.intp]


class Parts(Protocol):
    """The parts of one input, numbered from 0."""

    @property
    def count(self) -> int:
        """Number of parts, at least one."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Members of the answer that say what the parts are."""

    def scores(self, relevance: Scores) -> Scores:
        """Return the relevance of each part: (…) -> (count,)."""

    def elements(self, relevance: Scores) -> Scores:
        """Return the map as it is compared with others, (channels, …); channels are summed."""

    def without(self, removed: Chosen) -> npt.NDArray[Any]:
        """Return the input without these parts."""

    def nearby(self) -> Iterable[npt.NDArray[Any]]:
        """Return random inputs that hardly differ; none where inputs are not numbers."""


class Removal(Protocol):
    """Divides the inputs of one model into parts."""

    def check(self, options: EvaluateOptions) -> None:
        """Raise `InvalidParameterError` for options that fit no input."""

    def parts(self, sample: Any, options: EvaluateOptions) -> Parts:
        """Return the parts of an `app.modalities.protocol.Sample`."""


@dataclass(frozen=True, eq=False)
class ReplacedParts:
    """Parts of an input of fixed size, whose elements are replaced where a part is removed; `Parts`."""

    x: Floats
    """The input, (…)."""
    values: Floats
    """What elements are replaced by, (…)."""
    groups: Groups
    """Part of each element, from 0 up; broadcastable to the input."""
    range: tuple[Scores, Scores]
    """Smallest and largest value of each element, broadcastable to the input."""
    facts: Mapping[str, Any]

    @property
    def count(self) -> int:
        """See `Parts`."""
        return int(self.groups.max()) + 1

    def scores(self, relevance: Scores) -> Scores:
        """See `Parts`."""
        return group_sums(relevance, self.groups)

    def elements(self, relevance: Scores) -> Scores:
        """See `Parts`: the map itself."""
        return relevance

    def without(self, removed: Chosen) -> Floats:
        """See `Parts`."""
        chosen = np.zeros(self.count, bool)
        chosen[list(removed)] = True
        return np.where(chosen[self.groups], self.values, self.x)

    def nearby(self) -> Iterable[Floats]:
        """See `Parts`."""
        low, high = self.range
        return inputs_nearby(self.x, low, high, RADIUS, COUNT, seed=0)
