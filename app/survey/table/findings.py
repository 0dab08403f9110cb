"""What a survey finds of rows of tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from app.survey.arrays import Rows
from app.survey.findings import Findings
from app.survey.table.features import Features


@dataclass(frozen=True)
class FeatureFinding:
    """A feature in the rows whose maps explain one output."""

    number: int
    magnitude: float
    """Mean magnitude of its relevance."""
    mean: float
    interaction: int | None
    """The feature on which its relevance depends most, besides its own value."""


@dataclass(frozen=True, eq=False)
class OutputFeatures:
    """The features that count for one output: a class that is predicted, or the value."""

    target: int
    rows: Rows
    features: Sequence[FeatureFinding]
    """The largest magnitude first."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TableFindings(Findings):
    """Findings about rows of tables."""

    table: Features
    by_output: Sequence[OutputFeatures]
    contrasts: Mapping[int, npt.NDArray[Any]]
    """Relevance for the predicted class rather than the label, of confident mistakes; none for values."""
