"""Surveys of pictures, from their maps to what is written."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from app.errors import DataError
from app.lrp.request import ExplanationRequest
from app.modalities.image.spec import ImageSpec
from app.models.protocol import Job
from app.survey.arrays import Floats, Rows, chunks, unit, without_nan
from app.survey.contrasts import contrasts
from app.survey.files import VIRELAY
from app.survey.findings import Findings
from app.survey.image.effects import MAX_CLUSTERS, Trials
from app.survey.image.findings import ImageFindings
from app.survey.image.inputs import Pixels, content_of, job_of
from app.survey.image.location import Location, joined, location_of, mean_of, share_outside
from app.survey.image.masks import Masks
from app.survey.image.page import page
from app.survey.image.pooling import grid_of, pooled
from app.survey.image.strategies import Strategies, strategies_of
from app.survey.image.summary import summary
from app.survey.image.virelay import write_project
from app.survey.kind import Page
from app.survey.neighbours import nearest
from app.survey.network import Network
from app.survey.predictions import Predictions
from app.survey.stages import Stages
from app.survey.store import Layout


@dataclass(frozen=True)
class ImageKind:
    """Surveys of pictures; an `app.survey.kind.SurveyKind`."""

    spec: ImageSpec
    method: str = "spectral"
    masks: Masks | None = None

    @property
    def layout(self) -> Layout:
        """See `SurveyKind`: what the network sees, (channels, height, width)."""
        return Layout((self.spec.channels, self.spec.height, self.spec.width), np.uint8)

    def content(self, sample: Any) -> Pixels:
        """See `SurveyKind`."""
        return content_of(sample)

    def find(self, found: Findings, network: Network, stages: Stages) -> ImageFindings:
        """See `SurveyKind`: strategies, and what the network says of regions and of its mistakes."""
        predictions = found.predictions
        if not isinstance(predictions, Predictions):
            raise DataError("surveys of pictures are for models that predict classes")
        maps, location, outside = self._read(found, stages)
        strategies = self._strategies(maps, predictions, found.setup.seed, stages)
        with stages.timed("neighbours"):
            neighbours = _neighbours(maps, strategies)
        findings = ImageFindings(
            **{**found.shared, "neighbours": neighbours},
            method=self.method,
            maps=maps,
            strategies=strategies,
            clusters=[cluster for one in strategies for cluster in one.clusters],
            contrasts={},
            means=[
                mean_of(int(target), np.flatnonzero(predictions.classes == target), maps, location, outside)
                for target in np.unique(predictions.classes)
            ],
            outside=outside,
            has_equal_channels=location.has_equal_channels,
        )
        return self._asked_again(findings, network, stages)

    def _asked_again(self, findings: ImageFindings, network: Network, stages: Stages) -> ImageFindings:
        """Return ``findings`` with what the network says of regions and of its mistakes."""
        predictions, seed = findings.predictions, findings.setup.seed
        with stages.stage("trials of regions", min(MAX_CLUSTERS, len(findings.clusters))) as advance:
            trials = Trials(network, self.spec, findings.pixels, predictions.classes, seed)
            clusters = asyncio.run(trials.measured(findings.clusters, lambda: advance(1)))

        def job(row: int, request: ExplanationRequest) -> Job:
            return job_of(findings.pixels(row), self.spec, request)

        with stages.timed("contrasts"):
            contrasted = asyncio.run(contrasts(network, job, predictions))
        return replace(findings, clusters=clusters, contrasts=contrasted)

    def _read(self, found: Findings, stages: Stages) -> tuple[Floats, Location, Floats]:
        """Return pooled maps, where relevance lies, and its share outside masks, for all inputs."""
        grid, masks, rows = grid_of(self.spec.height, self.spec.width), self.masks, found.rows
        maps, locations, outside = [], [], []
        with stages.stage("maps", len(rows)) as advance:
            for part in chunks(found.store, len(rows)):
                relevance = found.store.maps(rows[part])
                maps.append(pooled(relevance, grid))
                locations.append(location_of(relevance))
                outside += [
                    np.nan if masks is None or (mask := masks.of(item)) is None else share_outside(one, mask)
                    for one, item in zip(relevance, found.items[part], strict=True)
                ]
                advance(len(relevance))
        return np.concatenate(maps), joined(locations), np.array(outside, np.float32)

    def _strategies(
        self, maps: Floats, predictions: Predictions, seed: int, stages: Stages
    ) -> list[Strategies]:
        with stages.stage("clusters", len(np.unique(predictions.classes))) as advance:
            return strategies_of(
                maps, predictions.classes, predictions.correct, self.method, seed, lambda: advance(1)
            )

    def columns(self, findings: ImageFindings) -> Mapping[str, pa.Array]:
        """See `SurveyKind`: cluster, place in the plot, neighbours, and relevance outside masks."""
        numbers, items = findings.cluster_numbers(), findings.items
        suspicion = {(one.target, one.number): one.suspicion for one in findings.clusters}
        points = {
            int(row): point
            for one in findings.strategies
            for row, point in zip(one.embedded, one.points.tolist(), strict=True)
        }
        places = [points.get(row, (None, None)) for row in range(len(items))]
        keys = zip(findings.predictions.classes.tolist(), numbers.tolist(), strict=True)
        return {
            "cluster": pa.array([int(number) or None for number in numbers], pa.int32()),
            "suspicion": pa.array([suspicion.get(key) for key in keys], pa.float32()),
            "x": pa.array([place[0] for place in places], pa.float32()),
            "y": pa.array([place[1] for place in places], pa.float32()),
            "neighbours": pa.array(
                [[items[other].name for other in others] for others in findings.neighbours],
                pa.list_(pa.string()),
            ),
            "outside_mask": pa.array(without_nan(findings.outside, float), pa.float32()),
        }

    def summary(self, findings: ImageFindings) -> Mapping[str, Any]:
        """See `SurveyKind`."""
        return summary(findings)

    def page(self, findings: ImageFindings) -> Page:
        """See `SurveyKind`."""
        return page(findings)

    def write(self, findings: ImageFindings, folder: Path) -> None:
        """See `SurveyKind`: a project of ViRelAy."""
        write_project(findings, folder / VIRELAY)


def _neighbours(maps: Floats, strategies: Sequence[Strategies]) -> list[Rows]:
    found: list[Rows] = [np.empty(0, np.intp)] * len(maps)
    for one in strategies:
        for row, others in zip(one.rows, nearest(unit(maps[one.rows])), strict=True):
            found[row] = one.rows[others]
    return found
