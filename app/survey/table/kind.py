"""Surveys of rows of tables, from their maps to what is written."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from app.lrp.request import ExplanationRequest
from app.modalities.table.decoding import decode
from app.modalities.table.modality import TableModality, TableOptions, TableSample
from app.modalities.table.spec import TableSpec
from app.models.protocol import Job
from app.survey.arrays import Floats, Rows, unit
from app.survey.contrasts import contrasts
from app.survey.findings import Findings
from app.survey.kind import Page
from app.survey.neighbours import nearest
from app.survey.network import Network
from app.survey.predictions import Predictions
from app.survey.stages import Stages
from app.survey.store import Layout
from app.survey.table.features import Features, features_of
from app.survey.table.findings import FeatureFinding, OutputFeatures, TableFindings
from app.survey.table.interactions import interaction
from app.survey.table.page import page
from app.survey.table.summary import summary


class TableKind:
    """Surveys of rows of tables; an `app.survey.kind.SurveyKind`."""

    def __init__(self, spec: TableSpec, options: TableOptions) -> None:
        """``options``: with which row rows are compared."""
        self._spec, self._options, self._modality = spec, options, TableModality(spec)
        self.layout = Layout((spec.columns,), np.float32)
        """See `SurveyKind`: the columns that the network takes."""

    def content(self, sample: TableSample) -> npt.NDArray[np.float32]:
        """See `SurveyKind`."""
        return sample.input

    def find(self, found: Findings, network: Network, stages: Stages) -> TableFindings:
        """See `SurveyKind`: what features count, by their values."""
        with stages.stage("features", len(found.rows)) as advance:
            table = self._table(found)
            classes = found.predictions.classes
            by_output = [_of_output(int(one), table, classes) for one in np.unique(classes)]
            advance(len(found.rows))
        with stages.timed("neighbours"):
            neighbours = _neighbours(table, by_output)
        with stages.timed("contrasts"):
            contrasted = self._contrasts(found, network)
        return TableFindings(
            **{**found.shared, "neighbours": neighbours},
            table=table,
            by_output=by_output,
            contrasts=contrasted,
        )

    def _table(self, found: Findings) -> Features:
        maps = found.contributions(np.arange(len(found.rows)))
        return features_of((decode(one.read(), self._spec).features for one in found.items), maps, self._spec)

    def _contrasts(self, found: Findings, network: Network) -> Mapping[int, Floats]:
        def job(row: int, request: ExplanationRequest) -> Job:
            sample = self._modality.decode(found.items[row].read(), self._options)
            return Job(sample.input, (request,), baseline=sample.baseline)

        if not isinstance(found.predictions, Predictions):
            return {}  # there is no other class
        return asyncio.run(contrasts(network, job, found.predictions))

    def columns(self, findings: TableFindings) -> Mapping[str, pa.Array]:
        """See `SurveyKind`: neighbours, and the relevance of each feature."""
        items = findings.items
        return {
            "neighbours": pa.array(
                [[items[other].name for other in others] for others in findings.neighbours],
                pa.list_(pa.string()),
            ),
            **{
                f"relevance of {one.name}": pa.array(findings.table.relevance[:, number], pa.float32())
                for number, one in enumerate(findings.table.features)
            },
        }

    def summary(self, findings: TableFindings) -> Mapping[str, Any]:
        """See `SurveyKind`."""
        return summary(findings)

    def page(self, findings: TableFindings) -> Page:
        """See `SurveyKind`."""
        return page(findings, self._spec, self._modality)

    def write(self, findings: TableFindings, folder: Path) -> None:
        """See `SurveyKind`: nothing."""


def _of_output(target: int, table: Features, classes: Rows) -> OutputFeatures:
    rows = np.flatnonzero(classes == target)
    mine = table.of(rows)
    magnitudes = np.abs(mine.relevance).mean(0)
    features = [
        FeatureFinding(
            int(number),
            float(magnitudes[number]),
            float(mine.relevance[:, number].mean()),
            interaction(mine, int(number)),
        )
        for number in np.argsort(-magnitudes, kind="stable")
    ]
    return OutputFeatures(target, rows, features)


def _neighbours(table: Features, by_output: list[OutputFeatures]) -> list[Rows]:
    found: list[Rows] = [np.empty(0, np.intp)] * len(table.values)
    for one in by_output:
        vectors = unit(table.relevance[one.rows].astype(np.float32))
        for row, others in zip(one.rows, nearest(vectors), strict=True):
            found[row] = one.rows[others]
    return found
