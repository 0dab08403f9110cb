"""Features of a survey's rows: their values, and their relevance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.modalities.table.spec import Category, Feature, TableSpec
from app.survey.arrays import Rows

Floats = npt.NDArray[np.float64]

DECIMALS = 4
"""Decimals of values, in powers of ten of their standard deviation."""


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
    columns: npt.NDArray[np.floating], maps: npt.NDArray[np.floating], spec: TableSpec
) -> Features:
    """Return the features of rows as the network takes them, with their maps, both (n, columns)."""
    starts = [place.start for place in spec.places]
    values = [_values(columns[:, place], one) for one, place in zip(spec.features, spec.places, strict=True)]
    return Features(
        spec.features, np.stack(values, 1), np.add.reduceat(maps.astype(np.float64), starts, axis=1)
    )


def _values(columns: npt.NDArray[np.floating], feature: Feature) -> Floats:
    """Return the values of one feature, (n,), for its columns (n, k). A missing category has shares in them."""
    if isinstance(feature, Category):
        is_given = columns.max(1) == 1
        return np.where(is_given, columns.argmax(1), np.nan)
    values: Floats = columns[:, 0].astype(np.float64) * feature.std + feature.mean
    return values.round(
        DECIMALS - math.floor(math.log10(feature.std))
    )  # the network's float32 is no more precise
