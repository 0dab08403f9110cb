"""What a survey finds of texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from app.survey.findings import Findings
from app.survey.predictions import Predictions
from app.survey.text.occurrences import Occurrences
from app.survey.text.removals import Flipping, Removal
from app.survey.text.words import Word


@dataclass(frozen=True)
class ClassWords:
    """What counts for one class that is predicted."""

    target: int
    count: int
    """Texts for which it is predicted."""
    words: Sequence[Word]
    """The largest mean relevance first."""
    categories: Sequence[Mapping[str, float | int | str]]
    """See `app.survey.text.words.category_means`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TextFindings(Findings):
    """Findings about texts."""

    predictions: Predictions
    occurrences: Occurrences
    by_class: Sequence[ClassWords]
    """Of each class that is predicted."""
    removals: Sequence[Removal]
    flipping: Sequence[Flipping]
    """Words without which predictions change, those without which most change first."""
    contrasts: Mapping[int, npt.NDArray[Any]]
    """Relevance for the predicted class rather than the label, of the most confident mistakes."""
