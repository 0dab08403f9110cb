"""Features of a survey's rows: their values, and their relevance."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.modalities.table.decoding import FeatureValue
from app.modalities.table.spec import Category, Feature, TableSpec
from app.survey.arrays import Rows

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Features:
    """Values and relevance of the f features of n rows."""

    features: Sequence[Feature]
    values: Floats
    """In their units; of a category, its number; NaN: missing, (n, f)."""
    relevance: Floats
    """Of a category, that of all of its columns, (n, f)."""

    def of(self, rows: Rows) -> "Features":
        """Return those of some rows."""
        return Features(self.features, self.values[rows], self.relevance[rows])


def features_of(
    rows: Iterable[Sequence[FeatureValue]], maps: npt.NDArray[np.floating], spec: TableSpec
) -> Features:
    """Return the features of n rows, each with a value for each feature, with their maps, (n, columns)."""
    values = [[_number(value, one) for value, one in zip(row, spec.features, strict=True)] for row in rows]
    starts = [place.start for place in spec.places]
    return Features(
        spec.features, np.array(values, np.float64), np.add.reduceat(maps.astype(np.float64), starts, axis=1)
    )


def _number(given: FeatureValue, feature: Feature) -> float:
    if given.value is None:
        return math.nan
    return float(feature.categories.index(str(given.value)) if isinstance(feature, Category) else given.value)
