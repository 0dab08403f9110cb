"""Rows of tables as a modality: features become columns of the network's input, relevance is drawn as bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from app.errors import InternalError, InvalidFeaturesError, InvalidParameterError
from app.modalities.drawing.style import ColourStyle
from app.modalities.json_values import object_of_json
from app.modalities.protocol import Floats, Map
from app.modalities.table.decoding import FeatureValue, decode, row_of_columns
from app.modalities.table.drawing.bars import Bar, bars_of_features, bars_of_units, scale_of_bars
from app.modalities.table.drawing.chart import Chart
from app.modalities.table.drawing.figure import TableFigure
from app.modalities.table.drawing.panels import Panels
from app.modalities.table.scores import ScoredFeature, scored
from app.modalities.table.spec import Category, TableSpec


class Baseline(StrEnum):
    """Row with which a row is compared: the first layer attributes the difference."""

    MEAN = "mean"
    """The mean of each column in the training data."""
    ZERO = "zero"
    """0 of each number, and no category."""


FeatureValues = tuple[tuple[str, Any], ...]
"""A row: names of features with their values."""


@dataclass(frozen=True)
class TableOptions:
    """With which row a row is compared, and how relevance is drawn."""

    baseline: Baseline | FeatureValues = Baseline.MEAN
    style: ColourStyle = field(default_factory=ColourStyle)


@dataclass(frozen=True, eq=False)
class TableSample:
    """A row as the network takes it, with the row that it is compared with."""

    input: Floats
    """Standardised numbers and one-hot columns, (columns,)."""
    baseline: Floats
    """The same of the row that it is compared with, (columns,)."""
    features: tuple[FeatureValue, ...]
    warnings: tuple[str, ...]


class TableModality:
    """Decodes rows for a network with this input ``spec``, and draws its relevance; a `Modality`."""

    def __init__(self, spec: TableSpec) -> None:
        self._spec = spec

    def decode(self, data: Mapping[str, Any] | Floats, options: TableOptions) -> TableSample:
        """Take values by the name of the feature, or numbers in their units and one-hot columns, (columns,).

        Raises `InvalidFeaturesError` for all features of the row that cannot be used, and for those of the
        baseline.
        """
        row = row_of_columns(data, self._spec) if isinstance(data, np.ndarray) else data
        decoded = decode(row, self._spec)
        return TableSample(decoded.columns, self._baseline(options), decoded.features, decoded.warnings)

    def render(self, maps: Sequence[Map], sample: TableSample, options: TableOptions) -> list[TableFigure]:
        """Draw each of ``maps`` as bars, all on one scale.

        Raises `InternalError` for relevance that is not finite.
        """
        scores = [self._scores(one, sample) for one in maps]
        bars = [self._bars(one, mine) for one, mine in zip(maps, scores, strict=True)]
        scale = scale_of_bars(bars, options.style)
        return [
            TableFigure(mine, Chart(one.prediction, one.question, shown), scale, options.style, one.metadata)
            for one, mine, shown in zip(maps, scores, bars, strict=True)
        ]

    def render_together(
        self, maps: Sequence[Map], sample: TableSample, options: TableOptions, metadata: Mapping[str, Any]
    ) -> TableFigure:
        """Draw ``maps`` as panels on one scale: a row for each rule, a column for each question."""
        bars = [self._bars(one, self._scores(one, sample)) for one in maps]
        rows: dict[str, list[list[Bar]]] = {}
        for one, mine in zip(maps, bars, strict=True):
            rows.setdefault(one.rule, []).append(mine)
        questions = [one.question for one in maps[: len(next(iter(rows.values())))]]
        panels = Panels(maps[0].prediction, questions, rows)
        return TableFigure((), panels, scale_of_bars(bars, options.style), options.style, metadata)

    def _baseline(self, options: TableOptions) -> Floats:
        match options.baseline:
            case Baseline.MEAN:
                return _means(self._spec)
            case Baseline.ZERO:
                return _zeros(self._spec)
            case row:
                try:
                    return decode(dict(row), self._spec).columns
                except InvalidFeaturesError as error:
                    error.locate("baseline")
                    raise

    def _scores(self, one: Map, sample: TableSample) -> tuple[ScoredFeature, ...]:
        if not np.isfinite(one.relevance).all():
            raise InternalError("the relevance is not finite")
        return () if one.layer is not None else scored(one.relevance, sample.features, self._spec)

    def _bars(self, one: Map, scores: tuple[ScoredFeature, ...]) -> list[Bar]:
        return (
            bars_of_units(one.relevance, one.bias)
            if one.layer is not None
            else bars_of_features(scores, one.bias)
        )


def baseline_of(text: str) -> Baseline | FeatureValues:
    """Return ``mean``, ``zero`` or the row in a JSON object of features; raises `InvalidParameterError`."""
    if text in tuple(Baseline):
        return Baseline(text)
    row = object_of_json(text)
    if row is None:
        raise InvalidParameterError("baseline", 'must be mean, zero or a row of features, {"NAME": VALUE, …}')
    return tuple(row.items())


def _means(spec: TableSpec) -> Floats:
    """Return the mean of each column in the training data, (columns,)."""
    return np.concatenate(
        [feature.shares if isinstance(feature, Category) else [0.0] for feature in spec.features]
    ).astype(np.float32)


def _zeros(spec: TableSpec) -> Floats:
    """Return 0 of each number, as the network takes it, and no category, (columns,)."""
    return np.concatenate(
        [
            [0.0] * feature.columns if isinstance(feature, Category) else [-feature.mean / feature.std]
            for feature in spec.features
        ]
    ).astype(np.float32)
