"""What a survey finds of pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.survey.arrays import Floats
from app.survey.findings import Findings
from app.survey.image.location import Mean
from app.survey.image.strategies import Cluster, Strategies
from app.survey.predictions import Predictions


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageFindings(Findings):
    """Findings about pictures."""

    predictions: Predictions
    method: str
    """Of clustering; one of `app.survey.image.clusters.METHODS`."""
    maps: Floats
    """Pooled relevance, (n, rows, columns)."""
    strategies: Sequence[Strategies]
    """Of each class that is predicted."""
    clusters: Sequence[Cluster]
    """Of all classes, the most suspicious first."""
    contrasts: Mapping[int, npt.NDArray[Any]]
    """Relevance for the predicted class rather than the label, of the most confident mistakes."""
    means: Sequence[Mean]
    """Of each class that is predicted."""
    outside: Floats
    """Share of relevance outside each input's mask, NaN without one, (n,)."""
    has_equal_channels: bool

    def pixels(self, number: int) -> npt.NDArray[np.uint8]:
        """Return what the network sees of an input, (channels, height, width)."""
        return np.asarray(self.store.data[self.rows[number]])

    def cluster_numbers(self) -> npt.NDArray[np.int32]:
        """See `Findings`."""
        found = np.zeros(len(self.items), np.int32)
        for one in self.strategies:
            found[one.rows] = one.labels + 1
        return found
