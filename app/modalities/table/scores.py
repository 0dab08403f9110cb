"""Relevance of features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.modalities.table.decoding import FeatureValue
from app.modalities.table.spec import TableSpec


@dataclass(frozen=True)
class ScoredFeature:
    """A feature of a row with its relevance."""

    name: str
    value: float | str | None
    """A number in ``unit``, or a category; ``None``: missing."""
    unit: str | None
    relevance: float
    """Summed over the columns of a category."""
    outside_training_range: bool


def scored(
    relevance: npt.NDArray[Any], features: Sequence[FeatureValue], spec: TableSpec
) -> tuple[ScoredFeature, ...]:
    """Return the features with the relevance of their columns, (columns,), summed for each."""
    return tuple(
        ScoredFeature(
            feature.name,
            feature.value,
            feature.unit,
            float(relevance[place].sum(dtype=np.float64)),
            feature.outside_training_range,
        )
        for feature, place in zip(features, spec.places, strict=True)
    )
