"""What a cluster's region does to predictions: when it is covered, and when it is pasted into other pictures."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from app.modalities.image.spec import ImageSpec
from app.models.protocol import Job
from app.quality.perturbation import Floats, Groups, Replacement, occluded, replacement_values
from app.survey.arrays import Rows
from app.survey.image.inputs import Pixels, job_of
from app.survey.image.pooling import pixels_of
from app.survey.image.strategies import Cluster
from app.survey.image.suspicion import Effect
from app.survey.network import Network, run

MAX_TRIED = 100
"""Inputs of a cluster, of the rest of its class, and of other classes that are tried: drawn at random."""
MAX_CLUSTERS = 60
"""Clusters that are measured: those with the largest separation · concentration."""
IN_REGION = 1
"""Group of the pixels of the region."""


class Trials:
    """Measures regions on the inputs of a survey."""

    def __init__(
        self,
        network: Network,
        spec: ImageSpec,
        pixels: Callable[[int], Pixels],
        predicted: Rows,
        seed: int,
    ) -> None:
        """``pixels`` of an input's number; ``predicted``: number of the class that is predicted for each."""
        self._network, self._spec, self._pixels = network, spec, pixels
        self._predicted, self._seed = predicted, seed

    async def measured(self, clusters: Sequence[Cluster], advance: Callable[[], None]) -> list[Cluster]:
        """Return ``clusters`` with their effects, the most suspicious first; ``advance`` is called after each."""
        by_difference = sorted(clusters, key=lambda one: one.order, reverse=True)
        found = []
        for cluster in by_difference[:MAX_CLUSTERS]:
            found.append(replace(cluster, effect=await self._effect(cluster)))
            advance()
        found += by_difference[MAX_CLUSTERS:]
        return sorted(found, key=lambda one: one.order, reverse=True)

    async def _effect(self, cluster: Cluster) -> Effect:
        others = np.flatnonzero(self._predicted != cluster.target)
        if not len(cluster.rest) or not cluster.region.any():
            return Effect(0.0, 0.0, 0.0, 0.0)
        groups = pixels_of(cluster.region, self._spec.height, self._spec.width).astype(np.intp)  # (H, W)
        of_cluster, of_rest, of_others = map(self._drawn, (cluster.rows, cluster.rest, others))
        kept = [
            await self._share(cluster.target, self._covered(rows, groups)) for rows in (of_cluster, of_rest)
        ]
        became = [
            await self._share(cluster.target, self._pasted(rows, of_others, groups))
            for rows in (of_cluster, of_rest)
        ]
        return Effect(1 - kept[0], 1 - kept[1], *became)

    def _drawn(self, rows: Rows) -> Rows:
        return np.random.default_rng(self._seed).permutation(rows)[:MAX_TRIED]

    def _covered(self, rows: Rows, groups: Groups) -> Iterable[Job]:
        for row in rows:
            job = self._job(row)
            yield _replaced(job, replacement_values(job.input, Replacement.MEAN, side=1), groups)

    def _pasted(self, rows: Rows, others: Rows, groups: Groups) -> Iterable[Job]:
        """Yield ``others``, each with the region of one of ``rows``."""
        for row, other in zip(np.resize(rows, len(others)), others, strict=True):
            source = self._job(row).input
            yield _replaced(self._job(other), source, groups)

    def _job(self, row: np.integer[Any]) -> Job:
        return job_of(self._pixels(int(row)), self._spec)

    async def _share(self, target: int, jobs: Iterable[Job]) -> float:
        """Return the share of inputs that are predicted to be of the class ``target``; 0 of none."""
        results = await run(self._network, jobs)
        return float(np.mean([np.argmax(one.logits) == target for one in results])) if results else 0.0


def _replaced(job: Job, values: Floats, groups: Groups) -> Job:
    return replace(job, input=occluded(job.input, values, groups, [IN_REGION])[0])
